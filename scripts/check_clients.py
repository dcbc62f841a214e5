"""Other people's clients on artifacts of build --client: check_clients.py PROGRAM CLIENTS [MODEL=CHECKPOINT ...]

CLIENTS holds what make test-clients installs: any/ and xany/ (anylabeling and x-anylabeling-cvhub, whose packages have one name), npm/, and the
environment of this interpreter (osam, rembg, samexporter). Each client's own model class loads our files and segments the golden pictures by box and
by point. Its masks must be those of examples/clients/client.py on the artifact without a client, which takes the picture that the client makes of ours
(its own resizing is the client's affair), and is itself held to `run`. The share of pixels that equal `run` on the original picture is printed beside it.
"""
import hashlib
import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import types
from unittest import mock

import cv2
import numpy as np
from PIL import Image

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [here + "/../examples/clients", here + "/../golden/reference"]
import client as example

BAR = 0.999
program, kits = (os.path.abspath(p) for p in sys.argv[1:3])
golden = here + "/../golden/data/syncsam-tiny-34"


def build(checkpoint, out, *flags):
    p = subprocess.run([program, "build", checkpoint, "-o", out, "--force", *flags], capture_output=True, text=True)
    return p.returncode, p.stderr.strip()


def random_model(path, seed, **kind):
    """A small SAM or SAM-Med2D of random weights; the prompt dimension is 256, which clients check."""
    sys.modules.setdefault("torch", types.ModuleType("torch"))
    import states
    from safetensors.numpy import save_file
    rng = np.random.default_rng(seed)
    sizes = states.Sizes

    class Wide(sizes):
        def __init__(self, r):
            super().__init__(r)
            self.out, self.grid = 256, 16
    states.Sizes = Wide
    shapes, _ = states.sam(random.Random(seed), **kind)
    states.Sizes = sizes
    state = {}
    for k, shape in shapes.items():
        u = 2 * rng.random(shape) - 1
        fan = shape[0] if "upscal" in k else np.prod(shape[1:])
        if k.endswith(("running_var",)) or k.endswith("weight") and len(shape) == 1 and shape[0] > 1:
            u = 1 + 0.2 * u
        elif len(shape) == 1:
            u = 0.1 * u
        elif "gaussian" in k:
            u = 1.7 * u
        elif "pos" in k or "embed" in k and "patch" not in k or "token" in k and "attn" not in k:
            u = 0.5 * u
        else:
            u = u * np.sqrt(3 / fan)
        state[k] = u.astype(np.float32)
    save_file(state, path)
    return path


def module(path, name, package=None):
    """One file of a package, without the rest of it; what it imports of a screen is a stand-in."""
    spec = importlib.util.spec_from_file_location(name, path)
    made = importlib.util.module_from_spec(spec)
    made.__package__ = package or ""
    stubs = {n: mock.MagicMock() for n in ("PyQt6", "PyQt6.QtCore", "anylabeling", "anylabeling.app_info", "anylabeling.services", "anylabeling.services.auto_labeling",
                                           "anylabeling.services.auto_labeling.worker", "anylabeling.services.auto_labeling.utils", "anylabeling.views", "anylabeling.views.labeling",
                                           "anylabeling.views.labeling.shape", "anylabeling.views.labeling.logger", "anylabeling.views.labeling.utils", "anylabeling.views.labeling.utils.opencv",
                                           "kit", "kit.lru_cache", "kit.model", "kit.types", "kit.__base__", "kit.__base__.clip", "kit.runtime")}
    stubs["kit.model"].Model = object
    stubs["anylabeling.app_info"] = types.SimpleNamespace(__preferred_device__="CPU")
    import onnxruntime
    stubs["kit.runtime"].create_inference_session = lambda path: onnxruntime.InferenceSession(path)
    with mock.patch.dict(sys.modules, stubs):
        spec.loader.exec_module(made)
    return made


def marks(points, labels):
    if 2 in labels:
        return [{"type": "rectangle", "data": [*points[0], *points[1]]}]
    return [{"type": "point", "data": list(p), "label": n} for p, n in zip(points, labels)]


class Reference(example.Client):
    """The artifact without a client, on any picture; logits above 0 are foreground."""

    def predict(self, points, labels):
        self.call["mask"]["activation"] = ""
        return super().predict(points, labels)

    def keeping_aspect(self):  # what clients do that know nothing of the model
        self.call["image"].update(resize="longest_side", interpolation="pil_bilinear")
        return self


def warped(kit):
    """AnyLabeling and its relatives: the picture is warped to 684 x 1024 outside, the masks are warped back."""
    def run(folder, plain, picture, points, labels):
        c = kit(folder)
        got = c.predict_masks(c.encode(picture), marks(points, labels))[0, 0]
        scale = min(684 / picture.shape[0], 1024 / picture.shape[1])
        m = np.diag([scale, scale, 1.0])
        canvas = cv2.warpAffine(picture, m[:2], (1024, 684), flags=cv2.INTER_LINEAR)
        ref = Reference(plain)
        ref.encode(Image.fromarray(canvas))
        masks = ref.predict([(x * scale, y * scale) for x, y in points], labels)
        return got > 0, cv2.warpAffine(masks.astype(np.float32), np.linalg.inv(m)[:2], (picture.shape[1], picture.shape[0]), flags=cv2.INTER_LINEAR) > 0
    return run


def anylabeling(folder):
    kit = module(kits + "/any/anylabeling/services/auto_labeling/sam_onnx.py", "kit.sam_onnx", "kit")
    return kit.SegmentAnythingONNX(folder + "/encoder.onnx", folder + "/decoder.onnx")


def x_anylabeling(name):
    def load(folder):
        kit = module(f"{kits}/xany/anylabeling/services/auto_labeling/{name}.py", "kit." + name, "kit")
        return kit.SegmentAnythingONNX(folder + "/encoder.onnx", folder + "/decoder.onnx")
    return load


def rembg(folder, plain, picture, points, labels):
    home = tempfile.mkdtemp()
    for part in ("encoder", "decoder"):
        os.symlink(f"{folder}/{part}.onnx", f"{home}/sam_vit_b_01ec64.{part}.onnx")
    os.environ.update(U2NET_HOME=home, MODEL_CHECKSUM_DISABLED="1")
    import onnxruntime
    for name in ("pymatting", "pymatting.alpha", "pymatting.alpha.estimate_alpha_cf", "pymatting.foreground", "pymatting.foreground.estimate_foreground_ml", "pymatting.util", "pymatting.util.util",
                 "skimage", "skimage.morphology"):  # for matting
        sys.modules.setdefault(name, mock.MagicMock())
    from rembg.sessions import sam as kit
    got = np.asarray(kit.SamSession("sam", onnxruntime.SessionOptions()).predict(Image.fromarray(picture), sam_prompt=[{**m, "data": [float(x) for x in m["data"]]} for m in marks(points, labels)])[0]) > 0
    shutil.rmtree(home)
    scale = min(684 / picture.shape[0], 1024 / picture.shape[1])
    m = np.diag([scale, scale, 1.0])
    ref = Reference(plain)
    ref.encode(Image.fromarray(kit.warp_affine(picture, m[:2], (684, 1024))))
    masks = ref.predict([(x * scale, y * scale) for x, y in points], labels)
    return got, kit.warp_affine(masks.astype(np.float32), np.linalg.inv(m)[:2], picture.shape[:2]) > 0


def samexporter(folder, plain, picture, points, labels):
    from samexporter.sam_onnx import SegmentAnythingONNX
    c = SegmentAnythingONNX(folder + "/encoder.onnx", folder + "/decoder.onnx")
    got = c.predict_masks(c.encode(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)), marks(points, labels))[0][0] > 0
    h, w = c.get_preprocess_shape(*picture.shape[:2], 1024)
    ref = Reference(plain)
    ref.encode(Image.fromarray(picture).resize((w, h), Image.BILINEAR))
    masks = ref.predict([(x * w / picture.shape[1], y * h / picture.shape[0]) for x, y in points], labels)
    if "low_res_masks" in c.decoder_output_names:  # of which it makes masks itself, with OpenCV
        return got, c.postprocess_masks(ref.low[None, None], picture.shape[:2], (h, w))[0][0] > 0
    ref.size = picture.shape[1::-1]
    return got, ref.predict(points, labels) > 0


def osam(folder, plain, picture, points, labels):
    os.environ["HOME"] = home = kits + "/home"
    import osam.types
    from osam._models.sam._models import Sam
    blobs = {}
    for part in ("encoder", "decoder"):
        path = f"{folder}/{part}.onnx"
        name = "sha256:" + hashlib.sha256(open(path, "rb").read()).hexdigest()
        blobs[part] = osam.types.Blob(url="file:///" + path, hash=name)
        os.makedirs(os.path.dirname(blobs[part].path), exist_ok=True)
        shutil.copy(path, blobs[part].path)
    kit = type("Ours", (Sam,), {"name": "ours", "_blobs": blobs})()
    shutil.rmtree(home + "/.cache/osam")
    embedding = kit.encode_image(picture)
    got = kit._generate_mask_from_image_embedding(embedding, osam.types.Prompt(points=np.array(points, float), point_labels=np.array(labels)))
    ref = Reference(plain).keeping_aspect()
    ref.encode(Image.fromarray(picture))
    return got, ref.predict(points, labels) > 0


def sam_med2d(folder, plain, picture, points, labels):
    c = x_anylabeling("sam_med2d")(folder)
    embedding = c.encode(picture)
    got = c.predict_masks(embedding, marks(points, labels))[0, 0] > 0
    ref = Reference(plain)
    ref.size = picture.shape[1::-1]
    ref.features = {"image_embeddings": ref.encoder.run(None, {"image": c.transform(picture)})[0]}
    return got, ref.predict(points, labels) > 0


def official(folder, plain, picture, points, labels):
    """The steps of SAM's ONNX example, with the embedding of our encoder (the class that makes it needs PyTorch: make test-peers)."""
    c = Reference(folder)
    c.encode(Image.fromarray(picture))
    out = c.predict(points, labels)
    feed = {**c.features, "point_coords": np.array([[*points] + ([] if 2 in labels else [(0, 0)])] * np.divide(c.resized(*c.size), c.size), np.float32),
            "point_labels": np.array([[*labels] + ([] if 2 in labels else [-1])], np.float32), "mask_input": np.zeros((1, 1, *[c.call["mask_input"]["side"]] * 2), np.float32),
            "has_mask_input": np.zeros(1, np.float32), "orig_im_size": np.array(picture.shape[:2], np.float32)}
    masks = c.decoder.run(["masks"], {i.name: feed[i.name] for i in c.decoder.get_inputs()})[0][0]
    best = 0
    if c.call["mask"]["choose"] == "best_iou_multimask":
        best = 1 + c.decoder.run(["iou_predictions"], {i.name: feed[i.name] for i in c.decoder.get_inputs()})[0][0, 1:].argmax()
    return masks[best] > 0, out > 0


def node(what, folder, picture, prompts, out):
    json.dump([{"points": p, "labels": n} for p, n in prompts], open(out + ".json", "w"))
    shutil.copy(here + "/check_clients.mjs", kits + "/npm/")
    p = subprocess.run(["node", "check_clients.mjs", what, folder, picture, out + ".json", out], cwd=kits + "/npm", capture_output=True, text=True)
    assert p.returncode == 0, p.stderr


def transformers(folder, plain, picture, points, labels):
    out = kits + "/work/js"
    Image.fromarray(picture).save(out + ".png")
    node("transformers", folder, out + ".png", [(points, labels)], out)
    ref = Reference(plain)
    ref.size, side = picture.shape[1::-1], ref.call["image"]["side"]
    theirs = tuple(json.load(open(out + ".size"))[::-1])  # its rounding is not always the model's
    ref.resized = lambda w, h: theirs
    pixels = np.fromfile(out + ".pixels", np.float32).reshape(1, 3, side, side)
    ref.features = dict(zip([o.name for o in ref.encoder.get_outputs()], ref.encoder.run(None, {"image": pixels})))
    return np.fromfile(out + ".0", np.uint8).reshape(picture.shape[:2]) > 0, ref.predict(points, labels) > 0


def cornerstone(folder, plain, picture, points, labels):
    """The viewport renders a picture into the middle of a canvas of 1024 x 1024; what is compared is the canvas, brought back."""
    out, h, w = kits + "/work/cs", *picture.shape[:2]
    scale = 1024 / max(h, w)
    dx, dy = (1024 - w * scale) / 2, (1024 - h * scale) / 2
    m = np.array([[scale, 0, dx], [0, scale, dy]])
    canvas = cv2.warpAffine(picture, m, (1024, 1024), flags=cv2.INTER_LINEAR)
    np.concatenate([canvas, np.full((1024, 1024, 1), 255, np.uint8)], 2).tofile(out + ".rgba")
    points = [(round(x * scale + dx), round(y * scale + dy)) for x, y in points]
    node("cornerstone", folder, out + ".rgba", [(points, labels)], out)
    got = np.fromfile(out + ".0", np.uint8).reshape(1024, 1024, 4)[..., 0] > 64
    ref = Reference(plain)
    ref.encode(Image.fromarray(canvas))
    want = ref.predict(points, labels) > 0
    back = lambda mask: cv2.warpAffine(mask.astype(np.float32), cv2.invertAffineTransform(m), (w, h), flags=cv2.INTER_LINEAR) > 0.5
    assert (got == want).mean() >= BAR, (got == want).mean()
    return back(got), back(want)


def cvat(folder, plain, picture, points, labels):
    """The steps of CVAT's plugin: no package of it is to be had."""
    import onnxruntime
    encoder, decoder = (onnxruntime.InferenceSession(f"{folder}/{part}.onnx") for part in ("encoder", "decoder"))
    blob = np.frombuffer(encoder.run(None, {"image": picture})[0].tobytes(), np.float32).reshape(1, 256, 64, 64)
    scale = 1024 / max(picture.shape[:2])
    masks, low, x0, y0, x1, y1 = decoder.run(None, {
        "image_embeddings": blob, "point_coords": np.array([[*points, (0, 0)]], np.float32) * np.float32(scale), "point_labels": np.array([[*labels, -1]], np.float32),
        "orig_im_size": np.array(picture.shape[:2], np.float32), "mask_input": np.zeros((1, 1, 256, 256), np.float32), "has_mask_input": np.zeros(1, np.float32)})
    got = np.zeros(picture.shape[:2], bool)
    assert masks.dtype == np.uint8 and low.shape == (1, 1, 256, 256), (masks.dtype, low.shape)
    got[int(y0[0]):int(y1[0]) + 1, int(x0[0]):int(x1[0]) + 1] = masks[0, 0] > 0
    ref = Reference(plain)
    ref.encode(Image.fromarray(picture))
    return got, ref.predict(points, labels) > 0


# client: (profile, models it is for, how it runs)
CLIENTS = {
    "official": ("official", None, official),
    "samexporter": ("samexporter", None, samexporter),
    "anylabeling": ("samexporter", None, warped(anylabeling)),
    "x-anylabeling": ("samexporter", None, warped(x_anylabeling("sam_onnx"))),
    "rembg": ("samexporter", None, rembg),
    "osam": ("osam", None, osam),
    "cornerstone": ("cornerstone", None, cornerstone),
    "transformers.js": ("transformers-js", None, transformers),
    "cvat (its steps)": ("cvat", {"syncsam-34", "syncsam-50", "sam", "sam-med2d"}, cvat),
    "x-anylabeling sam_med2d": ("x-anylabeling-sam-med2d", {"sam-med2d"}, sam_med2d),
    "x-anylabeling sam_hq": ("x-anylabeling-sam-hq", {"sam-hq"}, warped(x_anylabeling("sam_hq"))),
}


def items(limit):
    data = json.load(open(golden + "/golden.json"))
    folder = golden + "/../dataset/"
    for item in data["items"][::max(len(data["items"]) // limit, 1)][:limit]:
        x0, y0, x1, y1 = item["box"]["box"]
        yield folder + item["image"], {"box": ([(x0, y0), (x1, y1)], [2, 3]), "point": ([tuple(p) for p in item["point1"]["coords"]], item["point1"]["labels"])}


def run(plain, path, points, labels, work):
    flags = ["--box", ",".join(str(v) for p in points for v in p)] if 2 in labels else [f for p, n in zip(points, labels) for f in ("--point", f"{p[0]},{p[1]},{n}")]
    subprocess.run([program, "run", plain, "--image", path, *flags, "-o", work + "/mask.png"], check=True, capture_output=True)
    return np.asarray(Image.open(work + "/mask.png")) > 0


def javascript(checkpoint, model, ours, limit, work):
    """examples/clients/client.mjs on an artifact that takes pictures as they are, in both of ONNX Runtime's packages; the smallest share of run's pixels."""
    folder, shares = f"{work}/{model}-uint8", []
    code, text = build(checkpoint, folder, "--image-input", "uint8-hwc")
    assert code == 0, text
    shutil.copy(here + "/../examples/clients/client.mjs", kits + "/npm/")
    for i, (path, prompts) in enumerate(items(limit)):
        picture = np.asarray(Image.open(path).convert("RGB"))
        picture.tofile(work + "/picture.rgb")
        c = example.Client(folder)
        c.encode(Image.open(path))
        for mode, (points, labels) in prompts.items():
            shares.append(((c.predict(points, labels) > c.call["mask"]["threshold"]) == ours[i, mode]).mean())
            asked = [",".join(str(v) for p in points for v in p)] if 2 in labels else [f"{p[0]},{p[1]},{n}" for p, n in zip(points, labels)]
            for kit in ("onnxruntime-node", "onnxruntime-web")[:1 + (i == 0)]:
                p = subprocess.run(["node", "client.mjs", folder, work + "/picture.rgb", str(picture.shape[1]), str(picture.shape[0]), work + "/mask.bin", *asked], cwd=kits + "/npm", env={**os.environ, "ORT": kit}, capture_output=True, text=True)
                assert p.returncode == 0, p.stderr
                shares.append((np.fromfile(work + "/mask.bin", np.uint8).reshape(picture.shape[:2]) > 0) == ours[i, mode])
                shares[-1] = shares[-1].mean()
    return shares


def main():
    work = os.environ.get("WORK", kits + "/work")  # a folder of its own for each run
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    models = dict(a.split("=") for a in sys.argv[3:]) or {
        "syncsam-34": golden + "/syncsam-tiny-34.pth", "syncsam-50": golden + "/../syncsam-tiny-50/syncsam-tiny-50.pth", "sam": random_model(work + "/sam.safetensors", 1),
        "sam-med2d": random_model(work + "/sam-med2d.safetensors", 2, adapter=True), "sam-hq": random_model(work + "/sam-hq.safetensors", 3, hq=True)}
    limit = int(os.environ.get("ITEMS", "20"))
    failed = []
    for model, checkpoint in models.items():
        plain = f"{work}/{model}"
        code, text = build(checkpoint, plain)
        assert code == 0, text
        ours = {}  # masks of run on the original picture
        for i, (path, prompts) in enumerate(items(limit)):
            c = example.Client(plain)
            c.encode(Image.open(path))
            for mode, (points, labels) in prompts.items():
                ours[i, mode] = run(plain, path, points, labels, work)
                equal = ((c.predict(points, labels) > c.call["mask"]["threshold"]) == ours[i, mode]).mean()
                if equal < BAR:
                    failed.append(f"{model}: example client: {os.path.basename(path)} {mode}: {equal:.5f}")
        if "examples" in os.environ.get("CLIENTS", "examples"):
            shares = javascript(checkpoint, model, ours, limit, work)
            print(f"{model:11s} {'examples/clients':24s} {len(shares)} masks: {100 * min(shares):.3f} % of the pixels of run at least", flush=True)
            if min(shares) < BAR:
                failed.append(f"{model}: examples/clients: {min(shares):.5f}")
        for name, (profile, only, how) in CLIENTS.items():
            if name not in os.environ.get("CLIENTS", name).split(","):
                continue
            folder = f"{work}/{model}-{profile}"
            code, text = build(checkpoint, folder, "--client", profile)
            if only is not None and model not in only:
                print(f"{model:11s} {name:24s} " + (text.replace(checkpoint + ": ", "") if code else "builds, is not tried"), flush=True)
                continue
            assert code == 0, text
            shares, direct = [], []
            for i, (path, prompts) in enumerate(items(limit)):
                picture = np.asarray(Image.open(path).convert("RGB"))
                for mode, (points, labels) in prompts.items():
                    got, want = how(folder, plain, picture, points, labels)
                    shares.append((got == want).mean())
                    direct.append((got == ours[i, mode]).mean())
            line = f"{model:11s} {name:24s} {len(shares)} masks: {100 * min(shares):.3f} % of the pixels at least ({100 * np.mean(shares):.4f} % in the mean); beside run on the original picture {100 * np.mean(direct):.2f} %"
            print(line, flush=True)
            if min(shares) < BAR:
                failed.append(line)
    print("\n".join(failed) if failed else "all clients equal")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
