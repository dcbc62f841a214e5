"""Golden DSC of INT8 artifacts in OpenVINO and in ONNX Runtime: check_openvino_dsc.py PROGRAM

Recorded prompts are given again; each mode's mean over the items must be at most 0.25 points below the golden one in both runtimes.
"""
import json
import subprocess
import sys

import numpy as np
from PIL import Image

DATA, SIZE, MOST = "golden/data", 256, 0.25
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


def openvino_(path):
    import openvino

    core = openvino.Core()
    m = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda feeds: [np.array(m(feeds)[o]) for o in m.outputs]


def onnxruntime_(path):
    import onnxruntime

    s = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda feeds: s.run(None, feeds)


def resample(x, height, width):
    """Bilinear, half-pixel centres."""
    def axis(n, m):
        at = np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, n - 1)
        low = np.minimum(np.floor(at).astype(int), max(n - 2, 0))
        return low, np.minimum(low + 1, n - 1), (at - low).astype(np.float32)

    low, high, t = axis(x.shape[0], height)
    x = x[low] * (1 - t[:, None]) + x[high] * t[:, None]
    low, high, t = axis(x.shape[1], width)
    return x[:, low] * (1 - t) + x[:, high] * t


def prompts(item, mode):
    """The coordinates and labels of each step, as SAM takes them: a box is two points, clicks alone get a padding point."""
    p = item[mode]
    if mode == "box":
        x0, y0, x1, y1 = p["box"]
        return [([[x0, y0], [x1, y1]], [2, 3], False)]
    return [(p["coords"][: i + 1] , p["labels"][: i + 1], True) for i in range(len(p["coords"]))]


def main(program):
    bad = 0
    for name in ("syncsam-tiny-34", "syncsam-tiny-50"):
        out, golden = f"build/check/{name}-int8", json.load(open(f"{DATA}/{name}/golden.json"))
        subprocess.run([program, "build", f"{DATA}/{name}/{name}.pth", "-o", out, "--force", "--precision", "int8", "--target", "openvino", "--calib", f"{DATA}/calibration"],
                       check=True, stdout=subprocess.DEVNULL)
        for runtime, load in (("OpenVINO", openvino_), ("ONNX Runtime", onnxruntime_)):
            encoder, decoder, known, dsc = load(out + "/encoder.onnx"), load(out + "/decoder.onnx"), {}, {}
            for item in golden["items"]:
                picture = Image.open(f"{DATA}/dataset/{item['image']}").convert("RGB")
                w, h = picture.size
                scale = SIZE / max(w, h)
                nw, nh = int(w * scale + 0.5), int(h * scale + 0.5)
                if item["image"] not in known:
                    x = np.zeros((1, 3, SIZE, SIZE), np.float32)
                    x[0, :, :nh, :nw] = ((np.asarray(picture.resize((nw, nh), Image.BILINEAR)) - MEAN) / STD).transpose(2, 0, 1)
                    known[item["image"]] = encoder({"image": x})
                truth = np.asarray(Image.open(f"{DATA}/dataset/{item['mask']}").convert("L").resize((w, h), Image.NEAREST)) > 0
                for mode in ("box", "point1", "points5"):
                    logits = None
                    for coords, labels, pad in prompts(item, mode):
                        c = np.array([[x * nw / w, y * nh / h] for x, y in coords] + [[0, 0]] * pad, np.float32)[None]
                        feeds = {"image_embeddings": known[item["image"]][0], "multi_scale_features": known[item["image"]][1], "point_coords": c,
                                 "point_labels": np.array([labels + [-1] * pad], np.float32), "has_mask_input": np.array([logits is not None], np.float32),
                                 "mask_input": np.zeros((1, 1, SIZE // 4, SIZE // 4), np.float32) if logits is None else logits}
                        logits = decoder(feeds)[0][:, :1]
                    mask = resample(resample(logits[0, 0], SIZE, SIZE)[:nh, :nw], h, w) > 0
                    both = mask.sum() + truth.sum()
                    dsc.setdefault(mode, []).append(2 * (mask & truth).sum() / both if both else 1.0)
            for mode, values in dsc.items():
                want, have = 100 * golden["summary"][mode], 100 * np.mean(values)
                bad += have < want - MOST
                print(f"{name} int8 {runtime:12s} {mode:8s} DSC {have:.3f}, golden {want:.3f} ({have - want:+.3f} points)")
    sys.exit(f"{bad} means are lower than the golden ones by more than {MOST} points" if bad else 0)


main(sys.argv[1])
