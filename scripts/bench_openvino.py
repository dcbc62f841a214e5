"""Latency of our encoders in OpenVINO beside the exporter's and NNCF's INT8 of it: bench_openvino.py SHARED PROGRAM [MODEL]

One thread, files in turns within one process; a ratio is the median of the rounds' ratios to the exporter's float model, with quartiles.
NNCF quantizes with its defaults (all it can) on the same pictures as ours, --quantize all. Signal to noise is against the exporter's model.
"""
import glob
import os
import subprocess
import sys
import time

import numpy as np
import openvino

BUILD, ROUNDS = os.path.abspath("build/full"), 12


def pictures(folder, count=16):
    from PIL import Image

    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    for path in sorted(glob.glob(folder + "/*.png"))[:count]:
        image = np.asarray(Image.open(path).convert("RGB").resize((256, 256), Image.BILINEAR))
        yield ((image - mean) / std).transpose(2, 0, 1)[None].astype("float32")


def nncf_model(source, folder):
    import nncf

    return nncf.quantize(openvino.Core().read_model(source), nncf.Dataset(list(pictures(folder)), lambda x: {"image": x}), model_type=nncf.ModelType.TRANSFORMER)


def main(shared, program, model="syncsam-50"):
    source, calibration = f"{BUILD}/{model}.pth", f"{shared}/golden/calibration"
    if not os.path.exists(source):
        subprocess.run([sys.executable, f"{shared}/recipe/synth.py", f"{shared}/golden/full/{model}/weights.json", source], check=True)
    exported = f"{BUILD}/{model}-encoder-script.onnx"
    if not os.path.exists(exported):
        subprocess.run([sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "bench_latency.py"), "--export", shared, model, "encoder", "script", exported], check=True)
    files = {"exporter, float": exported}
    for name, flags in {"ours, float": (), "ours, int8": ("int8",), "ours, int8 (all)": ("int8", "--quantize", "all")}.items():
        out = f"{BUILD}/{model}-openvino-{len(files)}"
        more = ("--precision", *flags, "--calib", calibration) if flags else ()
        subprocess.run([program, "build", source, "-o", out, "--force", "--target", "openvino", *more], check=True, stdout=subprocess.DEVNULL)
        files[name] = f"{out}/encoder.onnx"
    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    models = {name: core.compile_model(core.read_model(path), "CPU", settings) for name, path in files.items()}
    models["NNCF's int8 of the exporter's"] = core.compile_model(nncf_model(exported, calibration), "CPU", settings)
    images = list(pictures(calibration, 4))
    times, results = {name: [] for name in models}, {}
    for name, m in models.items():
        results[name] = [np.array(m({"image": x})[0]).astype(float) for x in images]
    for i in range(ROUNDS + 1):
        for name, m in models.items():
            start = time.perf_counter()
            m({"image": images[i % 4]})
            if i:
                times[name].append(time.perf_counter() - start)
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    print(f"{model}, encoder, N = 1, one thread, OpenVINO {openvino.__version__.split('-')[0]}, {cpu}, {core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')}")
    first, want = np.array(next(iter(times.values()))), results["exporter, float"]
    for name, t in times.items():
        q = np.quantile(np.array(t) / first, [0.25, 0.5, 0.75])
        noise = sum(((a - b) ** 2).sum() for a, b in zip(want, results[name]))
        db = 10 * np.log10(sum((a**2).sum() for a in want) / noise) if noise else float("inf")
        print(f"    {name:32s} {np.median(t) * 1e3:8.2f} ms   {q[1]:.3f} ({q[0]:.3f} to {q[2]:.3f})   {db:.1f} dB")


if __name__ == "__main__":
    main(*sys.argv[1:])
