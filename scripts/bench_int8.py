"""Measures int8 and fp16 builds of the golden models, and TensorRT's dialect of them, against float: bench_int8.py PROGRAM CALIBRATION [METHOD...]
Of any artifacts of 256 x 256 pixels the noise alone: bench_int8.py noise FLOAT ARTIFACT...

Signal-to-noise of the encoder's outputs over the golden images, and the change of DSC per item, in ONNX Runtime. Methods are measured without
adaptive rounding. The last rows leave out one improvement of mse, nearest each, by editing its plan file.
"""
import glob
import json
import os
import re
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime

DATA = "golden/data"


def build(program, model, out, *flags):
    subprocess.run([program, "build", f"{DATA}/syncsam-{model}/syncsam-{model}.pth", "-o", out, "--force", *flags], check=True, stdout=subprocess.DEVNULL)


def items(program, model, artifact):
    report = artifact + ".json"
    subprocess.run([program, "verify", artifact, "--golden", f"{DATA}/syncsam-{model}", "--engine", "onnxruntime", "--json", report], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return json.load(open(report))["items"]


def inputs():
    """The golden images as the model's own pipeline prepares them."""
    from PIL import Image

    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    for path in sorted(glob.glob(f"{DATA}/dataset/images/*.png")):
        image = Image.open(path).convert("RGB")
        scale = 256 / max(image.size)
        small = np.asarray(image.resize([int(s * scale + 0.5) for s in image.size], Image.BILINEAR))
        x = np.zeros((1, 3, 256, 256), np.float32)
        x[0, :, : small.shape[0], : small.shape[1]] = ((small - mean) / std).transpose(2, 0, 1)
        yield x


def noise(a, b):
    a, b = (onnxruntime.InferenceSession(p + "/encoder.onnx") for p in (a, b))
    signal, error = np.zeros(2), np.zeros(2)
    for x in inputs():
        for i, (u, v) in enumerate(zip(a.run(None, {"image": x}), b.run(None, {"image": x}))):
            signal[i] += (u.astype(float) ** 2).sum()
            error[i] += ((u.astype(float) - v) ** 2).sum()
    return 10 * np.log10(signal / error)


def measure(model, name, artifact, plain, reference):
    db = noise(plain, artifact)
    print(f"{model} {name:26s} {db[0]:.1f} / {db[1]:.1f} dB", end="")
    have = items(program, model, artifact)
    for mode in ("box", "point1", "points5"):
        d = np.array([100 * (q["have"] - f["have"]) for f, q in zip(reference, have) if f["mode"] == mode])
        print(f"; {mode} {d.mean():+.3f}, absolute {np.abs(d).mean():.3f}, worst {d.min():+.2f}", end="")
    print(flush=True)


def weights_alone(artifact, out):
    """The encoder with its integer weights and float activations."""
    model = onnx.load(f"{artifact}/encoder.onnx")
    source = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "QuantizeLinear"}
    renamed = {n.output[0]: source[n.input[0]] for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in source}
    nodes = [n for n in model.graph.node if n.output[0] not in source and n.output[0] not in renamed]
    for n in nodes:
        for i, x in enumerate(n.input):
            while x in renamed:
                x = renamed[x]
            n.input[i] = x
    used = {x for n in nodes for x in n.input}
    weights = [t for t in model.graph.initializer if t.name in used]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(weights)
    os.makedirs(out, exist_ok=True)
    onnx.save(model, f"{out}/encoder.onnx")
    return out


def first_in_float(plan):
    """The plan with the convolution that reads the image in float; the manifest lists convolutions in graph order."""
    nodes = json.load(open("build/int8/plan/manifest.json"))["quantization"]["quantized_nodes"]
    return plan + f'float "{nodes[0]}" reason="first convolution"\n'


if sys.argv[1] == "noise":
    for artifact in sys.argv[3:]:
        print(artifact, "%.1f / %.1f dB" % tuple(noise(sys.argv[2], artifact)), flush=True)
    sys.exit()
program, calibration = sys.argv[1:3]
os.makedirs("build/int8", exist_ok=True)
nearest = ["--rounding", "nearest"]
variants = [("default", ["--precision", "int8"], "")]
variants += [(m + ", nearest", ["--precision", "int8", "--calib-method", m, *nearest], "") for m in sys.argv[3:] or ["mse"]]
variants += [("tensorrt fp16", ["--precision", "fp16", "--target", "tensorrt"], "/plan"), ("tensorrt int8", ["--precision", "int8", "--target", "tensorrt"], "/plan"),
             ("tensorrt int8, nearest", ["--precision", "int8", "--target", "tensorrt", *nearest], "/plan")]
without = {
    "no bias correction": lambda plan: re.sub(r" mean=\[[^]]*]", "", plan),
    "no equalization": lambda plan: re.sub(r" channels=\[[^]]*]", "", plan),
    "neither": lambda plan: re.sub(r" (mean|channels)=\[[^]]*]", "", plan),
    "no one-sided ranges": lambda plan: plan.replace(" nonnegative", ""),
    "first convolution in float": first_in_float,
}
for model in ("tiny-34", "tiny-50"):
    plain = f"build/int8/{model}"
    build(program, model, plain)
    reference = items(program, model, plain)
    for name, flags, folder in variants:
        artifact = f"{plain}-{name.replace(', ', '-').replace(' ', '-')}"
        build(program, model, artifact, "--calib", calibration, "--engine", "onnxruntime", *flags)
        measure(model, name, artifact + folder, plain, reference)
    build(program, model, "build/int8/plan", "--precision", "int8", "--calib", calibration, "--engine", "onnxruntime", "--plan-out", "build/int8/plan.txt", *nearest)
    db = noise(plain, weights_alone("build/int8/plan", "build/int8/weights"))
    print(f"{model} mse, nearest, weights alone {db[0]:.1f} / {db[1]:.1f} dB", flush=True)
    default = open("build/int8/plan.txt").read()
    for name, edit in without.items():
        changed = edit(default)
        assert changed != default, name
        with open("build/int8/changed.txt", "w") as f:
            f.write(changed)
        build(program, model, "build/int8/changed", "--precision", "int8", "--plan", "build/int8/changed.txt")
        measure(model, name, "build/int8/changed", plain, reference)
