"""Runs the models of a program in other people's runtimes and writes the matrix: check_runtimes.py PROGRAM CHECKPOINTS OUT.md [MODEL...]

Of models that are not asked for, the matrix keeps the rows of the last run.

CHECKPOINTS holds zoo/NAME.pth and syncsam-N.pth (make test-parity makes them). Environment: OLD, a python with an old ONNX Runtime; WEB, a
folder whose node_modules holds onnxruntime-web. What is missing has no column. Every graph gets the same inputs in every runtime, two batches of
other N, B and P; a cell is the least signal-to-noise ratio in dB over outputs against ONNX Runtime's float model, or the number of the
row of FAULTS that says why it is none. A cell without either fails the run.
"""
import glob
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np

HERE = os.path.abspath(__file__)
DATA, WORK = "golden/data", "build/runtimes"
OPSETS = (17, 18, 20, 21, 26)
PRECISIONS = ("float", "float16", "int8", "tensorrt")
TENSORRT_OPSET = 25  # no release takes a newer one

# What a runtime does wrong with what we emit: (id, runtimes, test of case and error text, what happens, way out).
FAULTS = [
    ("1", ("OpenCV",), lambda c, e: c["graph"] == "encoder" and not e,
     "`MatMul` whose constant has a batch of its own and fewer matrices than the other side: all but the first row of the batch are multiplied with wrong matrices (4.10, too). "
     "Smallest graph: `y = MatMul(x, c)`, x float32 [2,4,3,8], constant c [4,8,5]; with c as an input it is right", "another runtime for the encoder"),
    ("2", ("OpenCV",), lambda c, e: bool(e) and c["precision"] == "int8", "a quantized encoder stops (a `MaxPool` of dequantized values that is not quantized again is one cause)", "float or float16"),
    ("3", ("reference evaluator",), lambda c, e: c["precision"] in ("int8", "tensorrt") and bool(e), "`DequantizeLinear` below opset 19 is refused", "opset 19 and up"),
    ("4", ("reference evaluator",), lambda c, e: "slow" in e,
     "not tried: it keeps every intermediate result, some 18 GB by their sizes for a ViT-B and an image of 1024 (the logits of one global attention are 0.8 GB)", "any other runtime"),
    ("5", ("ONNX Runtime 1.16",), lambda c, e: bool(e) and c["opset"] > 19, "it knows opsets up to 19 and files of IR version 9", "opset 17, the default"),
    ("8", ("ONNX Runtime 1.16",), lambda c, e: "Unrecognized attribute: axes" in e, "of float16 `Softmax`, `LogSoftmax`, `LayerNormalization` and `MeanVarianceNormalization`, which its CPU lacks, it makes functions of opset 13 in a graph of opset 18", "opset 17, the default"),
    ("7", ("onnxruntime-web",), lambda c, e: "slow" in e or "memory" in e.lower() or "alloc" in e, "WebAssembly's memory, or ten minutes, is not enough for it", "ONNX Runtime"),
]
# dB that make a cell right; int8 and the TensorRT dialect are held against ONNX Runtime's own noise, less two.
BARS = {"float": 100, "float16": 60}
# Where the sum of outputs' noise is smaller: OpenCV's convolutions are Winograd's.
RUNTIME_BARS = {"OpenCV": 80}
# The reference evaluator adds up in float16, too.
HALF_BARS = {"reference evaluator": 50}


def load(folder):
    return {os.path.basename(p)[:-4]: np.load(p) for p in sorted(glob.glob(folder + "/*.npy"))}


def save(folder, tensors):
    os.makedirs(folder, exist_ok=True)
    for name, t in tensors.items():
        np.save(f"{folder}/{name}.npy", np.ascontiguousarray(t))


def onnxruntime_(model):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    s = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [o.name for o in s.get_outputs()]
    return lambda feeds: dict(zip(names, s.run(None, feeds)))


def openvino_(model):
    import openvino

    core = openvino.Core()
    c = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda feeds: {name: np.array(r) for o, r in c(feeds).items() for name in o.get_names() if "/" not in name}


def reference_(model):
    from onnx.reference import ReferenceEvaluator

    s = ReferenceEvaluator(model)
    return lambda feeds: dict(zip(s.output_names, s.run(None, feeds)))


def opencv_(model):
    import cv2
    import onnx

    outs = [o.name for o in onnx.load(model, load_external_data=False).graph.output]

    def run(feeds):
        net = cv2.dnn.readNetFromONNX(model)
        for k, v in feeds.items():
            net.setInput(v, k)
        return dict(zip(outs, net.forward(outs)))

    return run


RUNNERS = {"onnxruntime": onnxruntime_, "openvino": openvino_, "reference": reference_, "opencv": opencv_}


def worker(kind, model, job):
    run = RUNNERS[kind](model)
    for folder in sorted(glob.glob(job + "/in*")):
        save(folder.replace("/in", "/out"), run(load(folder)))


def version(python, module):
    p = subprocess.run([python, "-c", f"import {module}; print({module}.__version__)"], capture_output=True, text=True)
    return p.stdout.strip().split("-")[0] if p.returncode == 0 else None


def runtimes():
    """Column -> (title, command)."""
    me, all_ = sys.executable, {}
    for name, kind, module, python in [("ONNX Runtime", "onnxruntime", "onnxruntime", me), ("ONNX Runtime 1.16", "onnxruntime", "onnxruntime", os.environ.get("OLD", "")),
                                       ("OpenVINO", "openvino", "openvino", me), ("reference evaluator", "reference", "onnx", me), ("OpenCV", "opencv", "cv2", me)]:
        v = version(python, module) if python else None
        if v:
            all_[name] = (f"{'ONNX Runtime' if kind == 'onnxruntime' else name} {v}", [python, HERE, "--worker", kind])
    web = os.environ.get("WEB", "")
    package = f"{web}/node_modules/onnxruntime-web/package.json"
    if os.path.exists(package):
        all_["onnxruntime-web"] = ("onnxruntime-web (wasm) " + json.load(open(package))["version"], ["node", os.path.join(os.path.dirname(HERE), "check_runtimes_web.mjs"), web])
    return all_


def execute(command, model, sets, job, limit=600):
    """Outputs of each set of inputs, or the reason there are none."""
    shutil.rmtree(job, ignore_errors=True)
    for i, feeds in enumerate(sets):
        save(f"{job}/in{i}", feeds)
    try:
        p = subprocess.run([*command, model, job], capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return None, "slow"
    if p.returncode != 0:
        return None, (p.stderr or p.stdout or f"exit status {p.returncode}").strip()[-600:]
    return [load(f"{job}/out{i}") for i in range(len(sets))], ""


def noise(want, have):
    """The least dB over outputs, each over all sets of inputs."""
    worst = 400.0
    for name in want[0]:
        s = e = 0.0
        for w, h in zip(want, have):
            if name not in h or h[name].size != w[name].size:
                return -99.0
            d = w[name].astype(float) - h[name].reshape(w[name].shape)
            s, e = s + (w[name].astype(float) ** 2).sum(), e + (d**2).sum()
        if not e <= 1e300:
            return -99.0
        worst = min(worst, 10 * np.log10(s / e) if e > 0 and s > 0 else 400.0)
    return worst


def feeds(model, seed, sizes, given):
    """Random inputs of a graph with the sizes; features of the encoder are given."""
    import onnx

    rng, out = np.random.default_rng(seed), {}
    for i in onnx.load(model, load_external_data=False).graph.input:
        shape = [d.dim_value or sizes[d.dim_param] for d in i.type.tensor_type.shape.dim]
        side = 256
        if i.name in given:
            out[i.name] = given[i.name][:1] if shape[0] == 1 else given[i.name]
        elif i.type.tensor_type.elem_type == onnx.TensorProto.INT64:
            out[i.name] = rng.integers(1, 49000, shape)
            out[i.name][:, -1] = 49407
        elif i.name == "point_labels":
            out[i.name] = rng.integers(-1, 4, shape).astype(np.float32)
        elif i.name == "point_coords":
            out[i.name] = rng.uniform(0, side, shape).astype(np.float32)
        elif i.name == "has_mask_input":
            out[i.name] = np.full(shape, seed % 2, np.float32)
        else:
            out[i.name] = rng.standard_normal(shape).astype(np.float32)
    return out


def pictures():
    """The golden images as SyncSAM's pipeline prepares them, for integers."""
    from PIL import Image

    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    for path in sorted(glob.glob(f"{DATA}/dataset/images/*.png"))[:8]:
        image = Image.open(path).convert("RGB")
        scale = 256 / max(image.size)
        small = np.asarray(image.resize([int(s * scale + 0.5) for s in image.size], Image.BILINEAR))
        x = np.zeros((1, 3, 256, 256), np.float32)
        x[0, :, : small.shape[0], : small.shape[1]] = ((small - mean) / std).transpose(2, 0, 1)
        yield {"image": x}


def build(program, checkpoint, out, *flags):
    subprocess.run([program, "build", checkpoint, "-o", out, "--force", *flags], check=True, stdout=subprocess.DEVNULL)


def variants(program, name, checkpoint, opsets):
    """(precision, opset, folder): built one after another, as they are asked for. int8 is what OpenVINO's users are told to build."""
    plan = f"{WORK}/{name}.plan"
    calibrate = ("--calib", f"{DATA}/calibration", "--rounding", "nearest", "--plan-out", plan)
    for opset in opsets:
        for precision in PRECISIONS if opsets != (17,) else ("float",):
            if precision == "tensorrt" and opset > TENSORRT_OPSET:
                continue
            out = f"{WORK}/{name}-{precision}-{opset}"
            flags = {"float": ("fp32", "onnx"), "float16": ("fp16", "onnx"), "int8": ("int8", "openvino"), "tensorrt": ("int8", "tensorrt")}[precision]
            quantize = () if flags[0] != "int8" else ("--plan", plan) if os.path.exists(plan) else calibrate
            build(program, checkpoint, out, "--precision", flags[0], "--target", flags[1], "--opset", str(opset), *quantize)
            yield precision, opset, out + "/plan" * (precision == "tensorrt")
            shutil.rmtree(out, ignore_errors=True)


def cell(column, case, error, db, own):
    """The text of a cell and whether it is explained."""
    bar = BARS.get(case["precision"], own - 2)
    bars = HALF_BARS if case["precision"] == "float16" else RUNTIME_BARS
    if not error and (db >= bars.get(column, bar) or column == "ONNX Runtime" and case["precision"] in ("int8", "tensorrt")):
        return ("equal" if db >= 400 else f"{db:.0f}"), True
    for number, columns, test, _, _ in FAULTS:
        if column in columns and test(case, error):
            return ("" if error else f"{db:.0f} ") + f"[{number}](#what-each-runtime-does-wrong)", True
    return f"UNEXPLAINED {error or round(db, 1)}", False


def check(program, name, checkpoint, opsets, columns, say):
    rows, good = [], True
    plain = {}  # graph -> (inputs, float results)
    for precision, opset, folder in variants(program, name, checkpoint, opsets):
        given = [{}, {}]
        for path in sorted(glob.glob(folder + "/*.onnx"), key=lambda p: (os.path.basename(p) != "encoder.onnx", "text_encoder" not in p, p)):
            graph, job = os.path.basename(path)[:-5], f"{WORK}/{name}-job"
            case = {"graph": graph, "precision": precision, "opset": opset}
            if precision == "tensorrt" and graph != "encoder":
                continue
            if graph not in plain:
                sets = [feeds(path, i, sizes, given[i]) for i, sizes in enumerate([{"N": 1, "B": 1, "P": 2, "T": 4, "B_mask": 1}, {"N": 2, "B": 3, "P": 5, "T": 8, "B_mask": 3}])]
                big = "image" in sets[0] and max(sets[0]["image"].shape) > 500
                if big:
                    sets = sets[:1]
                want, error = execute(columns["ONNX Runtime"][1], path, sets, job)
                assert want, error
                plain[graph] = sets, want, big
            sets, want, big = plain[graph]
            if graph in ("encoder", "text_encoder"):
                given = [{**g, **{k: v[:1] if graph == "encoder" else v for k, v in w.items()}} for g, w in zip(given, want + want)]
            if precision in ("int8", "tensorrt"):
                if graph != "encoder":
                    continue
                if "pictures" not in plain:
                    reference = f"{WORK}/{name}-plain"
                    build(program, checkpoint, reference)
                    sets = list(pictures())
                    plain["pictures"] = sets, execute(columns["ONNX Runtime"][1], reference + "/encoder.onnx", sets, job)[0], False
                    shutil.rmtree(reference)
                sets, want, big = plain["pictures"]
            own, cells = 0, []
            for column, (_, command) in columns.items():
                have, error = (None, "slow") if column == "reference evaluator" and big else execute(command, path, sets, job)
                db = noise(want, have) if have else -99
                if column == "ONNX Runtime":
                    own = db
                text, fine = cell(column, case, error, db, own)
                good &= fine
                cells.append(text)
                if error or not fine:
                    say(f"{name} {graph} {precision} {opset} {column}: {text}: {error[-300:]}")
            rows.append(f"| {name} | {graph} | {precision} | {opset} | " + " | ".join(cells) + " |")
            say(rows[-1])
    return rows, good


def main(program, checkpoints, out, only):
    os.makedirs(WORK, exist_ok=True)
    columns = runtimes()
    models = {f"tiny-{n}": (f"{DATA}/syncsam-tiny-{n}/syncsam-tiny-{n}.pth", opsets) for n, opsets in ((34, OPSETS), (50, (17, 21)))}
    for path in sorted(glob.glob(checkpoints + "/*.pth") + glob.glob(checkpoints + "/zoo/*.pth")):
        models[os.path.basename(path)[:-4]] = path, (17,)
    good = True
    for name, (path, opsets) in models.items():
        if not only or name in only:
            rows, fine = check(program, name, path, opsets, columns, lambda s: print(s, flush=True))
            good &= fine
            with open(f"{WORK}/{name}.rows", "w") as f:
                f.write("\n".join(rows))
    rows = [line for name in models if os.path.exists(f"{WORK}/{name}.rows") for line in open(f"{WORK}/{name}.rows").read().split("\n")]
    used = {n for n, *_ in FAULTS if any(f"[{n}]" in r for r in rows)}
    with open(out, "w") as f:
        f.write("# The same numbers in every runtime\n\nWritten by `make test-runtimes` on " + time.strftime("%Y-%m-%d") + ", CPU. dB: signal to noise of the worst output against ONNX Runtime's "
                "float model, two batches of other N, B and P (one where the image is 1024). int8 and tensorrt: eight golden images, encoder; a cell is right where it is at most 2 dB below ONNX Runtime's own.\n\n")
        f.write("| model | graph | precision | opset | " + " | ".join(t for t, _ in columns.values()) + " |\n|---|---|---|---|" + "---|" * len(columns) + "\n" + "\n".join(rows) + "\n")
        f.write("\n## What each runtime does wrong\n\n| | runtime | what happens | way out |\n|---|---|---|---|\n")
        for number, who, _, what, way in FAULTS:
            if number in used:
                f.write(f"| {number} | {', '.join(columns[w][0] for w in who if w in columns)} | {what} | {way} |\n")
        f.write(open(os.path.join(os.path.dirname(HERE), "../docs/runtimes.in.md")).read())
    sys.exit(0 if good else "a cell is neither right nor explained")


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        worker(*sys.argv[2:])
    else:
        main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
