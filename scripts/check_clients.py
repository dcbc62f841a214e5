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
FAMILIES = ("medsam", "scribbleprompt-sam", "ft-sam")  # those that keys do not tell
program, kits = (os.path.abspath(p) for p in sys.argv[1:3])
golden = here + "/../golden/data/syncsam-tiny-34"
WORK = os.path.abspath(os.environ.get("WORK", kits + "/work"))  # a folder of its own for each run that goes on at the same time


def build(model, checkpoint, out, *flags):
    if model in FAMILIES:
        flags = ["--family", model, *flags]
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
    def load(folder, plain):
        c, ref = kit(folder), Reference(plain)

        def segment(picture, prompts):
            scale = min(684 / picture.shape[0], 1024 / picture.shape[1])
            m = np.diag([scale, scale, 1.0])
            embedding = c.encode(picture)
            ref.encode(Image.fromarray(cv2.warpAffine(picture, m[:2], (1024, 684), flags=cv2.INTER_LINEAR)))
            for points, labels in prompts:
                masks = ref.predict([(x * scale, y * scale) for x, y in points], labels)
                yield (c.predict_masks(embedding, marks(points, labels))[0, 0] > 0,
                       cv2.warpAffine(masks.astype(np.float32), np.linalg.inv(m)[:2], (picture.shape[1], picture.shape[0]), flags=cv2.INTER_LINEAR) > 0)
        return segment
    return load


def anylabeling(folder):
    kit = module(kits + "/any/anylabeling/services/auto_labeling/sam_onnx.py", "kit.sam_onnx", "kit")
    return kit.SegmentAnythingONNX(folder + "/encoder.onnx", folder + "/decoder.onnx")


def x_anylabeling(name):
    def load(folder):
        kit = module(f"{kits}/xany/anylabeling/services/auto_labeling/{name}.py", "kit." + name, "kit")
        return kit.SegmentAnythingONNX(folder + "/encoder.onnx", folder + "/decoder.onnx")
    return load


def rembg(folder, plain):
    home = tempfile.mkdtemp()
    for part in ("encoder", "decoder"):
        os.symlink(f"{folder}/{part}.onnx", f"{home}/sam_vit_b_01ec64.{part}.onnx")
    os.environ.update(U2NET_HOME=home, MODEL_CHECKSUM_DISABLED="1")
    import onnxruntime
    for name in ("pymatting", "pymatting.alpha", "pymatting.alpha.estimate_alpha_cf", "pymatting.foreground", "pymatting.foreground.estimate_foreground_ml", "pymatting.util", "pymatting.util.util"):  # for matting
        sys.modules.setdefault(name, mock.MagicMock())
    from rembg.sessions import sam as kit
    c, ref = kit.SamSession("sam", onnxruntime.SessionOptions()), Reference(plain)
    shutil.rmtree(home)

    def segment(picture, prompts):
        scale = min(684 / picture.shape[0], 1024 / picture.shape[1])
        m = np.diag([scale, scale, 1.0])
        ref.encode(Image.fromarray(kit.warp_affine(picture, m[:2], (684, 1024))))
        for points, labels in prompts:
            got = c.predict(Image.fromarray(picture), sam_prompt=[{**m, "data": [float(x) for x in m["data"]]} for m in marks(points, labels)])[0]
            masks = ref.predict([(x * scale, y * scale) for x, y in points], labels)
            yield np.asarray(got) > 0, kit.warp_affine(masks.astype(np.float32), np.linalg.inv(m)[:2], picture.shape[:2]) > 0
    return segment


def samexporter(folder, plain):
    from samexporter.sam_onnx import SegmentAnythingONNX
    c, ref = SegmentAnythingONNX(folder + "/encoder.onnx", folder + "/decoder.onnx"), Reference(plain)

    def segment(picture, prompts):
        embedding = c.encode(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        h, w = c.get_preprocess_shape(*picture.shape[:2], 1024)
        ref.encode(Image.fromarray(picture).resize((w, h), Image.BILINEAR))
        for points, labels in prompts:
            got = c.predict_masks(embedding, marks(points, labels))[0][0] > 0
            if "low_res_masks" in c.decoder_output_names:  # of which it makes masks itself, with OpenCV
                ref.size = (w, h)
                ref.predict([(x * w / picture.shape[1], y * h / picture.shape[0]) for x, y in points], labels)
                yield got, c.postprocess_masks(ref.low[None, None], picture.shape[:2], (h, w))[0][0] > 0
            else:
                ref.size = picture.shape[1::-1]
                yield got, ref.predict(points, labels) > 0
    return segment


def osam(folder, plain):
    os.environ["HOME"] = home = kits + "/home"
    import osam.types
    from loguru import logger
    from osam._models.sam._models import Sam
    logger.remove()
    blobs = {}
    for part in ("encoder", "decoder"):
        path = f"{folder}/{part}.onnx"
        name = "sha256:" + hashlib.sha256(open(path, "rb").read()).hexdigest()
        blobs[part] = osam.types.Blob(url="file:///" + path, hash=name)
        os.makedirs(os.path.dirname(blobs[part].path), exist_ok=True)
        shutil.copy(path, blobs[part].path)
    kit, ref = type("Ours", (Sam,), {"name": "ours", "_blobs": blobs})(), Reference(plain).keeping_aspect()
    shutil.rmtree(home + "/.cache/osam")

    def segment(picture, prompts):
        embedding = kit.encode_image(picture)
        ref.encode(Image.fromarray(picture))
        for points, labels in prompts:
            yield kit._generate_mask_from_image_embedding(embedding, osam.types.Prompt(points=np.array(points, float), point_labels=np.array(labels))), ref.predict(points, labels) > 0
    return segment


def sam_med2d(folder, plain):
    c, ref = x_anylabeling("sam_med2d")(folder), Reference(plain)

    def segment(picture, prompts):
        embedding = c.encode(picture)
        ref.size = picture.shape[1::-1]
        ref.features = {"image_embeddings": ref.encoder.run(None, {"image": c.transform(picture)})[0]}
        for points, labels in prompts:
            yield c.predict_masks(embedding, marks(points, labels))[0, 0] > 0, ref.predict(points, labels) > 0
    return segment


def official(folder, plain):
    """The steps of SAM's ONNX example, with the embedding of our encoder (the class that makes it needs PyTorch: make test-peers)."""
    c = Reference(folder)

    def segment(picture, prompts):
        c.encode(Image.fromarray(picture))
        for points, labels in prompts:
            out = c.predict(points, labels)
            feed = {**c.features, "point_coords": np.array([[*points] + ([] if 2 in labels else [(0, 0)])] * np.divide(c.resized(*c.size), c.size), np.float32),
                    "point_labels": np.array([[*labels] + ([] if 2 in labels else [-1])], np.float32), "mask_input": np.zeros((1, 1, *[c.call["mask_input"]["side"]] * 2), np.float32),
                    "has_mask_input": np.zeros(1, np.float32), "orig_im_size": np.array(picture.shape[:2], np.float32)}
            feed = {i.name: feed[i.name] for i in c.decoder.get_inputs()}
            masks = c.decoder.run(["masks"], feed)[0][0]
            choose = c.call["mask"]["choose"]
            mask = masks[0]
            if choose == "best_iou_multimask":
                mask = masks[1 + c.decoder.run(["iou_predictions"], feed)[0][0, 1:].argmax()]
            elif choose == "first_plus_hq":
                mask = masks[0] + masks[-1]
            yield mask > 0, out > 0
    return segment


class Node:
    """A JavaScript client, which takes a picture after the other."""

    def __init__(self, what, folder):
        shutil.copy(here + "/check_clients.mjs", kits + "/npm/")
        self.process = subprocess.Popen(["node", "check_clients.mjs", what, folder], cwd=kits + "/npm", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, picture, prompts, out):
        print(json.dumps({"picture": picture, "asked": [{"points": p, "labels": n} for p, n in prompts], "out": out}), file=self.process.stdin, flush=True)
        answer = ""
        while not answer.startswith("done"):
            answer = self.process.stdout.readline()
            assert answer, "the client ended"

    def __del__(self):
        self.process.stdin.close()
        self.process.wait()


def transformers(folder, plain):
    out, ref, ask = WORK + "/js", Reference(plain), Node("transformers", folder)
    side = ref.call["image"]["side"]

    def segment(picture, prompts):
        Image.fromarray(picture).save(out + ".png")
        ask(out + ".png", prompts, out)
        ref.size = picture.shape[1::-1]
        theirs = tuple(json.load(open(out + ".size"))[::-1])  # its rounding is not always the model's
        ref.resized = lambda w, h: theirs
        pixels = np.fromfile(out + ".pixels", np.float32).reshape(1, 3, side, side)
        ref.features = dict(zip([o.name for o in ref.encoder.get_outputs()], ref.encoder.run(None, {"image": pixels})))
        for i, (points, labels) in enumerate(prompts):
            yield np.fromfile(f"{out}.{i}", np.uint8).reshape(picture.shape[:2]) > 0, ref.predict(points, labels) > 0
    return segment


def cornerstone(folder, plain):
    """The viewport renders a picture into the middle of a canvas of 1024 x 1024; what is compared is the canvas, brought back."""
    out, ref, ask = WORK + "/cs", Reference(plain), Node("cornerstone", folder)

    def segment(picture, prompts):
        h, w = picture.shape[:2]
        scale = 1024 / max(h, w)
        dx, dy = (1024 - w * scale) / 2, (1024 - h * scale) / 2
        m = np.array([[scale, 0, dx], [0, scale, dy]])
        canvas = cv2.warpAffine(picture, m, (1024, 1024), flags=cv2.INTER_LINEAR)
        np.concatenate([canvas, np.full((1024, 1024, 1), 255, np.uint8)], 2).tofile(out + ".rgba")
        prompts = [([(round(x * scale + dx), round(y * scale + dy)) for x, y in points], labels) for points, labels in prompts]
        ask(out + ".rgba", prompts, out)
        ref.encode(Image.fromarray(canvas))
        back = lambda mask: cv2.warpAffine(mask.astype(np.float32), cv2.invertAffineTransform(m), (w, h), flags=cv2.INTER_LINEAR) > 0.5
        for i, (points, labels) in enumerate(prompts):
            got, want = np.fromfile(f"{out}.{i}", np.uint8).reshape(1024, 1024, 4)[..., 0] > 64, ref.predict(points, labels) > 0
            assert (got == want).mean() >= BAR, (got == want).mean()
            yield back(got), back(want)
    return segment


def cvat(folder, plain):
    """The steps of CVAT's plugin: no package of it is to be had."""
    import onnxruntime
    encoder, decoder = (onnxruntime.InferenceSession(f"{folder}/{part}.onnx") for part in ("encoder", "decoder"))
    ref = Reference(plain)

    def segment(picture, prompts):
        blob = np.frombuffer(encoder.run(None, {"image": picture})[0].tobytes(), np.float32).reshape(1, 256, 64, 64)
        scale = 1024 / max(picture.shape[:2])
        ref.encode(Image.fromarray(picture))
        for points, labels in prompts:
            masks, low, x0, y0, x1, y1 = decoder.run(None, {
                "image_embeddings": blob, "point_coords": np.array([[*points, (0, 0)]], np.float32) * np.float32(scale), "point_labels": np.array([[*labels, -1]], np.float32),
                "orig_im_size": np.array(picture.shape[:2], np.float32), "mask_input": np.zeros((1, 1, 256, 256), np.float32), "has_mask_input": np.zeros(1, np.float32)})
            got = np.zeros(picture.shape[:2], bool)
            assert masks.dtype == np.uint8 and low.shape == (1, 1, 256, 256), (masks.dtype, low.shape)
            got[int(y0[0]):int(y1[0]) + 1, int(x0[0]):int(x1[0]) + 1] = masks[0, 0] > 0
            yield got, ref.predict(points, labels) > 0
    return segment


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
    """One item of each golden picture: its path and the prompts. FRAME=1024x684 puts them on canvases of that size, which some clients then leave as they are."""
    frame = [int(n) for n in os.environ["FRAME"].split("x")] if os.environ.get("FRAME") else None
    data = json.load(open(golden + "/golden.json"))
    pictures = {item["image"]: item for item in reversed(data["items"])}
    for image in sorted(pictures)[::max(len(pictures) // limit, 1)][:limit]:
        item = pictures[image]
        x0, y0, x1, y1 = item["box"]["box"]
        path, prompts = golden + "/../dataset/" + image, {"box": ([(x0, y0), (x1, y1)], [2, 3]), "point": ([tuple(p) for p in item["point1"]["coords"]], item["point1"]["labels"])}
        if frame:
            picture, canvas = Image.open(path).convert("RGB"), Image.new("RGB", frame)
            scale = min(np.divide(frame, picture.size))
            canvas.paste(picture.resize([round(n * scale) for n in picture.size], Image.BICUBIC))
            path = f"{WORK}/{os.path.basename(path)}"
            canvas.save(path)
            prompts = {mode: ([(round(x * scale), round(y * scale)) for x, y in points], labels) for mode, (points, labels) in prompts.items()}
        yield path, prompts


def asked(points, labels):
    """A prompt as examples/clients take it."""
    return [",".join(str(v) for p in points for v in p)] if 2 in labels else [f"{p[0]},{p[1]},{n}" for p, n in zip(points, labels)]


def run(plain, path, points, labels):
    """The mask of the program itself."""
    flags = [f for text in asked(points, labels) for f in ("--box" if 2 in labels else "--point", text)]
    subprocess.run([program, "run", plain, "--image", path, *flags, "-o", WORK + "/mask.png"], check=True, capture_output=True)
    return np.asarray(Image.open(WORK + "/mask.png")) > 0


def javascript(checkpoint, model, ours, limit):
    """examples/clients/client.py and, for the first four pictures, client.mjs in both of ONNX Runtime's packages, on an artifact that takes pictures as they are; shares
    of the pixels of run."""
    folder, shares = f"{WORK}/{model}-uint8", []
    code, text = build(model, checkpoint, folder, "--image-input", "uint8-hwc")
    if code:
        print(f"{model:11s} {'examples/clients, uint8':24s} " + text.replace(checkpoint + ": ", ""), flush=True)
        return []
    shutil.copy(here + "/../examples/clients/client.mjs", kits + "/npm/")
    c = example.Client(folder)
    for i, (path, prompts) in enumerate(items(limit)):
        picture = np.asarray(Image.open(path).convert("RGB"))
        picture.tofile(WORK + "/picture.rgb")
        c.encode(Image.open(path))
        for mode, (points, labels) in prompts.items():
            shares.append(((c.predict(points, labels) > c.call["mask"]["threshold"]) == ours[i, mode]).mean())
            for kit in ("onnxruntime-node", "onnxruntime-web")[:(i < 4) + (i == 0)]:
                p = subprocess.run(["node", "client.mjs", folder, WORK + "/picture.rgb", str(picture.shape[1]), str(picture.shape[0]), WORK + "/mask.bin", *asked(points, labels)], cwd=kits + "/npm", env={**os.environ, "ORT": kit}, capture_output=True, text=True)
                assert p.returncode == 0, p.stderr
                shares.append(((np.fromfile(WORK + "/mask.bin", np.uint8).reshape(picture.shape[:2]) > 0) == ours[i, mode]).mean())
    return shares


def figure(model, name, shares, direct):
    """Keeps and prints what was measured, in percent of pixels; figures.json holds those of all runs."""
    path = kits + "/figures.json"
    kept = json.load(open(path)) if os.path.exists(path) else {}
    kept[f"{name} | {model} {os.environ.get('FRAME', '')}".strip()] = row = {"masks": len(shares), "least": 100 * min(shares), "mean": 100 * float(np.mean(shares)), "original": [100 * min(direct), 100 * float(np.mean(direct))]}
    json.dump(kept, open(path, "w"), indent=1, sort_keys=True)
    text = f"{model:11s} {name:24s} {row['masks']} masks: {row['least']:.3f} % of the pixels at least, {row['mean']:.4f} % in the mean; beside run on the original picture {row['original'][0]:.2f} and {row['original'][1]:.2f} %"
    print(text, flush=True)
    return [text] if min(shares) < BAR else []


def table():
    """figures.md: a row a client and model, of all runs so far."""
    rows = ["| client | model | masks | least | mean | beside run on the original picture: least | mean |", "|---|---|---|---|---|---|---|"]
    for key, v in json.load(open(kits + "/figures.json")).items():
        client, model = key.split(" | ")
        rows.append(f"| {client} | {model} | {v['masks']} | {v['least']:.3f} | {v['mean']:.4f} | {v['original'][0]:.2f} | {v['original'][1]:.2f} |")
    open(kits + "/figures.md", "w").write("\n".join(rows) + "\n")


def check(model, checkpoint, limit, chosen):
    plain, failed = f"{WORK}/{model}", []
    code, text = build(model, checkpoint, plain)
    assert code == 0, text
    c, ours = example.Client(plain), {}  # masks of run on the original picture
    shares = []
    for i, (path, prompts) in enumerate(items(limit)):
        c.encode(Image.open(path))
        for mode, (points, labels) in prompts.items():
            ours[i, mode] = run(plain, path, points, labels)
            shares.append(((c.predict(points, labels) > c.call["mask"]["threshold"]) == ours[i, mode]).mean())
    failed += figure(model, "client.py, plain artifact", shares, shares)
    if "examples" in chosen:
        shares = javascript(checkpoint, model, ours, limit)
        failed += figure(model, "examples/clients, uint8", shares, shares) if shares else []
    for name, (profile, only, load) in CLIENTS.items():
        if name not in chosen:
            continue
        folder = f"{WORK}/{model}-{profile}"
        code, text = build(model, checkpoint, folder, "--client", profile)
        if only is not None and model.removesuffix("-full") not in only or code and "not for" in text:
            print(f"{model:11s} {name:24s} " + (text.replace(checkpoint + ": ", "") if code else "builds, is not tried"), flush=True)
            continue
        assert code == 0, text
        segment, shares, direct = load(folder, plain), [], []
        for i, (path, prompts) in enumerate(items(limit)):
            for mode, (got, want) in zip(prompts, segment(np.asarray(Image.open(path).convert("RGB")), list(prompts.values()))):
                shares.append((got == want).mean())
                direct.append((got == ours[i, mode]).mean())
        failed += figure(model, name, shares, direct)
        del segment
    return failed


def main():
    shutil.rmtree(WORK, ignore_errors=True)
    os.makedirs(WORK)
    models = dict(a.split("=") for a in sys.argv[3:]) or {
        "syncsam-34": golden + "/syncsam-tiny-34.pth", "syncsam-50": golden + "/../syncsam-tiny-50/syncsam-tiny-50.pth", "sam": random_model(WORK + "/sam.safetensors", 1),
        "sam-med2d": random_model(WORK + "/sam-med2d.safetensors", 2, adapter=True), "sam-hq": random_model(WORK + "/sam-hq.safetensors", 3, hq=True),
        "medsam": WORK + "/sam.safetensors", "scribbleprompt-sam": WORK + "/sam.safetensors"}
    chosen = os.environ["CLIENTS"].split(",") if os.environ.get("CLIENTS") else ["examples", *CLIENTS]
    failed = []
    for model, checkpoint in models.items():
        failed += check(model, checkpoint, int(os.environ.get("ITEMS", "20")), chosen)
    table()
    print("\n".join(failed) if failed else "all clients equal")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
