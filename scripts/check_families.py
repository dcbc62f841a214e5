"""Every family at random weights, widths and depths against its PyTorch definition in golden/reference, on both engines: check_families.py PROGRAM [SEEDS [FAMILY...]]

Tensors: every output of every graph, random batches of prompts. Masks: `run` on a random picture by box, one and five points, against
the system's own steps with its own libraries (PIL, OpenCV, scikit-image, PyTorch).
"""
import os
import random
import subprocess
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../golden/reference"))
import adapted
import imis
import sam
import scribbleprompt_unet
import states
import syncsam
import tiny
from pipelines import PIPELINES, once, planes

BAR, PIXELS = 5e-5, 0.999
program, seeds, only = sys.argv[1], int((sys.argv + ["2"])[2]), sys.argv[3:]
ENGINES = ("go", "onnxruntime")

# name: (shapes, networks, family); table 5's rows by the parts that they lack.
CASES = {name: (lambda r: states.sam(r), sam, name) for name in ("sam", "ft-sam", "medsam", "scribbleprompt-sam")}
CASES |= {
    "sam-med2d": (lambda r: states.sam(r, adapter=True), sam, "sam-med2d"),
    "sam-hq": (lambda r: states.sam(r, hq=True), sam, "sam-hq"),
    "imis-net": (states.imis, imis, "imis-net"),
    "syncsam": (states.syncsam, syncsam, "syncsam"),
    "scribbleprompt-unet": (states.unet, scribbleprompt_unet, "scribbleprompt-unet"),
    "samed": (states.sam, sam, "samed"),
    "mobile-sam": (states.tiny, tiny, "mobile-sam"),
    "lite-medsam": (lambda r: states.tiny(r, True), tiny, "lite-medsam"),
}
CASES |= {f"medical-sam-adapter {era}": (lambda r, era=era: states.adapted(r, era), adapted, "medical-sam-adapter") for era in ("2023", "v0.1.0", "2024")}
for lacks in (("cnn", "multi", "med"), ("cnn", "multi"), ("cnn",), ("vit", "multi", "med"), ("vit",), ("multi", "med"), ("stages", "multi"), ("stages",), ("multi",), ("med",)):
    CASES["syncsam without " + ", ".join(lacks)] = (lambda r, lacks=lacks: states.syncsam(r, lacks), syncsam, "syncsam")


def call(*args):
    p = subprocess.run([program, *args], capture_output=True, text=True)
    assert p.returncode == 0, " ".join(args) + ": " + p.stderr


def differs(have, want):
    """Greatest difference in standard deviations of what is wanted."""
    assert have.shape == want.shape, (have.shape, want.shape)
    return float((have - want).abs().max() / want.std().clamp_min(1e-6))


def execute(folder, path, feeds, engine):
    save_file({k: v.contiguous() for k, v in feeds.items()}, f"{folder}/in.safetensors")
    call("exec", path, "--engine", engine, "--inputs", f"{folder}/in.safetensors", "--outputs", f"{folder}/out.safetensors")
    return load_file(f"{folder}/out.safetensors")


def graph(folder, name, net, feeds):
    """Runs one graph on both engines; the reference's outputs by name and the greatest difference."""
    with torch.no_grad():
        want = net(*(feeds.get(k) for k in net.names_in))
    want = dict(zip(net.names_out, want if isinstance(want, tuple) else (want,)))
    worst = 0
    for engine in ENGINES:
        have = execute(folder, f"{folder}/artifact/{name}.onnx", {k: v for k, v in feeds.items() if v is not None}, engine)
        assert set(have) == set(want), (set(have), set(want))
        worst = max([worst] + [differs(have[k], v) for k, v in want.items()])
    return want, worst


def prompts(g, b, h, size):
    p = int(torch.randint(1, 7, (1,), generator=g))
    rand = lambda *shape: torch.rand(shape, generator=g)
    return {
        "point_coords": rand(b, p, 2) * size, "point_labels": torch.randint(-1, 4, (b, p), generator=g).float(),
        "mask_input": 4 * rand(b, 1, 4 * h, 4 * h) - 2, "has_mask_input": torch.randint(0, 2, (1,), generator=g).float(),
    }


def picture(g, h, w, grey):
    """A smooth random picture with noise, uint8 [H,W,3]; grey for the families that take grey, so that nothing need be converted."""
    x = torch.nn.functional.interpolate(torch.rand(1, 3, 9, 9, generator=g), (h, w), mode="bicubic")[0]
    x = (255 * x + 12 * torch.rand(3, h, w, generator=g)).clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return np.repeat(x[:, :, :1], 3, 2) if grey else np.ascontiguousarray(x)


def asked(g, h, w):
    """A box, one point, five points, in pixels: (box, points, labels)."""
    at = lambda: (int(torch.randint(w, (1,), generator=g)), int(torch.randint(h, (1,), generator=g)))
    x0, y0 = w // 5, h // 4
    box = (x0, y0, x0 + w // 3, y0 + h // 3)
    return {"box": (box, [], []), "point1": (None, [at()], [1]), "points5": (None, [at() for _ in range(5)], [1, 0, 1, 1, 0])}


def flags(box, points, labels, text=None):
    out = ["--box", ",".join(map(str, box))] if box else []
    for (x, y), label in zip(points, labels):
        out += ["--point", f"{x},{y},{label}"]
    if text is not None:
        out += ["--text-ids", ",".join(map(str, text[0].tolist()))]
    return out


def wanted(name, family, nets, image, size, box, points, labels, text=None):
    """The system's own mask, bool [H,W]; of IMIS-Net also by token numbers text [1,T], with nets Text and TextDecoder."""
    h, w = image.shape[:2]
    if family == "scribbleprompt-unet":
        return once(nets[0](planes(image, size, box, points, labels)), size, (size, size), (h, w))[0, 0]
    prepare, choose, back = PIPELINES.get(name) or PIPELINES[family]
    x, inside = prepare(image, size)
    out = nets[0](x)
    embedding, extra = out if isinstance(out, tuple) else (out, None)
    scale = torch.tensor([inside[1] / w, inside[0] / h], dtype=torch.float64)
    coords, label = list(points), [float(v) for v in labels]
    if box:
        coords, label = coords + [box[:2], box[2:]], label + [2.0, 3.0]
    elif points:
        coords, label = coords + [(0, 0)], label + [-1.0]
    coords = torch.tensor(coords, dtype=torch.float64).reshape(-1, 2) * scale
    if family == "lite-medsam":  # whole pixels
        coords = (coords / scale * (size / max(h, w))).trunc()
    if label and label[-1] == -1:
        coords[-1] = 0
    side = 4 * embedding.shape[-1]
    rest = (coords.float()[None], torch.tensor([label]), torch.zeros(1, 1, side, side), torch.zeros(1))
    if text is not None:
        result = nets[3](embedding, *rest, nets[2](text))
    else:
        result = nets[1](embedding, *([] if family == "imis-net" else [extra]), *rest)
    masks, iou = (result if isinstance(result, tuple) else (result, None))[:2]
    return back(choose(masks, iou), size, inside, (h, w))[0, 0]


def check(name, seed, folder):
    shapes, module, family = CASES[name]
    r, g = random.Random(f"{name} {seed}"), torch.Generator().manual_seed(seed)
    shapes, size = shapes(r)
    state = states.fill(shapes, seed)
    hw = r.choice([(90, 140), (301, 217), (64, 500)])
    image = picture(g, *hw, family.startswith("scribbleprompt"))
    Image.fromarray(image).save(f"{folder}/image.png")
    asks = asked(g, *hw)
    if module is scribbleprompt_unet:  # logits on both sides of zero
        with torch.no_grad():
            state["final_conv.conv.0.bias"] -= module.Model(state).eval()(planes(image, size, *asks["box"])).median()
    torch.save(state if seed % 2 else {"model": state}, f"{folder}/model.pth")
    extra, vit = [], {"imis-net": "image_encoder.sam_encoder."}.get(name, "image_encoder.")
    if seed % 2 and name in ("imis-net", "sam", "ft-sam", "samed"):  # at another image size
        size += 32 * r.choice([-1, 1])
        state, extra = sam.resized(state, vit, size, name == "imis-net"), ["--image-size", str(size)]
    if seed % 2 and (module is tiny or name.endswith(" v0.1.0")):  # no tensor depends on the size
        size = 32 * r.choice([3, 5]) if name == "lite-medsam" else 64 * r.choice([5, 6]) if module is tiny else 16 * r.choice([11, 20])
        extra = ["--image-size", str(size)]
    merged = []
    if name == "samed":
        lora = states.fill(states.samed(r, shapes), seed + 100)
        torch.save(lora, f"{folder}/lora.pth")
        merged, extra = ["--merge", f"{folder}/lora.pth"], ["--image-size", str(size)]
        state = sam.with_samed(state, lora)
    call("build", f"{folder}/model.pth", "-o", f"{folder}/artifact", "--force", "--family", family, *extra, *merged)
    b = r.choice([1, 2, 3])
    if module is scribbleprompt_unet:
        nets = [module.Model(state).eval()]
        _, worst = graph(folder, "model", nets[0], {"input": torch.rand(b, 5, size, size, generator=g)})
    else:
        nets = [module.Encoder(state).eval(), module.Decoder(state).eval()]
        embedded, worst = graph(folder, "encoder", nets[0], {"image": torch.randn(2, 3, size, size, generator=g)})
        features = {k: v[:1] for k, v in embedded.items()}
        h, nets[1].size = embedded["image_embeddings"].shape[-1], size if module is tiny else None
        worst = max(worst, graph(folder, "decoder", nets[1], {**features, **prompts(g, b, h, size)})[1])
        if family == "imis-net":
            ids = torch.randint(1, 49000, (b, r.choice([4, 8])), generator=g)
            ids[:, -2] = 49407
            nets += [module.Text(state).eval(), module.TextDecoder(state).eval()]
            text, d = graph(folder, "text_encoder", nets[2], {"input_ids": ids})
            worst = max(worst, d, graph(folder, "decoder_text", nets[3], {**features, **prompts(g, b, h, size), **text})[1])
            ids = torch.tensor([[49406, *torch.randint(1, 49000, (r.choice([1, 7]),), generator=g).tolist(), 49407]])
            asks |= {"text": (None, [], [], ids), "box and text": (*asks["box"], ids), "point and text": (*asks["point1"], ids)}
    assert worst <= BAR, f"{name}, seed {seed}: {worst:.1e} standard deviations"
    if name == "samed":  # its masks are classes, which run does not make
        return worst, 1, []
    equal, covered = 1, []
    for mode, ask in asks.items():
        with torch.no_grad():
            want = wanted(name, family, nets, image, size, *ask).numpy()
        covered.append(float(want.mean()))
        for engine in ENGINES[: 1 if mode == "text" else 2]:  # no point at all: the Go binding to ONNX Runtime takes no empty tensor
            call("run", f"{folder}/artifact", "--engine", engine, "--image", f"{folder}/image.png", *flags(*ask), "-o", f"{folder}/mask.png")
            same = float(((np.array(Image.open(f"{folder}/mask.png")) > 0) == want).mean())
            assert same >= PIXELS, f"{name}, seed {seed}, {mode}, {engine}: {100 * same:.3f} % of the pixels equal ({want.mean():.3f} foreground)"
            equal = min(equal, same)
    return worst, equal, covered


with tempfile.TemporaryDirectory() as folder:
    for name in only or CASES:
        worst, equal, covered = zip(*(check(name, seed, folder) for seed in range(seeds)))
        covered = sum(covered, [])
        mixed = sum(0.01 < c < 0.99 for c in covered)
        print(f"{name:32s} {seeds} models, tensors {max(worst):.1e} standard deviations; {mixed} of {len(covered)} masks with both values, {100 * min(equal):.3f} % equal", flush=True)
        assert mixed or not covered, f"{name}: no mask tells anything"
