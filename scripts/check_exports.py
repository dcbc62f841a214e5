"""Files that other exporters wrote, in the embedded engine beside ONNX Runtime: check_exports.py PROGRAM

SAM's official decoder in its variants, samexporter's encoder, and torch.onnx.export (TorchScript and dynamo) of the encoder, decoder and
text encoder of every family, at random weights; each with two sets of sizes and values.
"""
import contextlib
import io
import os
import random
import subprocess
import sys
import tempfile
import warnings
from functools import partial

import numpy as np
import onnxruntime
import torch
from safetensors.numpy import load_file, save_file
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.utils.onnx import SamOnnxModel

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../golden/reference"))
import imis
import sam as sam_reference
import scribbleprompt_unet
import states
import syncsam

warnings.filterwarnings("ignore")
onnxruntime.set_default_logger_severity(3)
BAR = 5e-5
program = sys.argv[1]
SIZES = [{"N": 2, "B": 3, "P": 4, "T": 8, "num_points": 6, "h": 51, "w": 128}, {"N": 1, "B": 1, "P": 2, "T": 5, "num_points": 2, "h": 128, "w": 77}]
rng = np.random.default_rng(0)
torch.manual_seed(0)


def small(size=128, c=32):
    g = size // 16
    return Sam(
        ImageEncoderViT(size, 16, 3, 64, 2, 2, 4, c, True, partial(torch.nn.LayerNorm, eps=1e-6), use_rel_pos=True, window_size=5, global_attn_indexes=(1,)),
        PromptEncoder(c, (g, g), (size, size), 16),
        MaskDecoder(transformer_dim=c, transformer=TwoWayTransformer(2, c, 8, 64), num_multimask_outputs=3, iou_head_depth=3, iou_head_hidden_dim=32),
    ).eval()


class WithPreprocessing(torch.nn.Module):
    """samexporter's encoder: a picture [h,w,3] of at most the encoder's size is normalised and padded."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.mean, self.std = encoder, torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])

    def forward(self, x):
        x = torch.permute((x - self.mean) / self.std, (2, 0, 1))
        x = torch.nn.functional.pad(x, (0, self.encoder.img_size - x.shape[-1], 0, self.encoder.img_size - x.shape[-2]))
        return self.encoder(torch.unsqueeze(x, 0))


def feed(i, sizes, trial):
    """A tensor for an input; a dimension of a name that nobody chose has its two sizes."""
    dims = [d if isinstance(d, int) else sizes.get(d, [3, 5][k % 2] if trial else [2, 4][k % 2]) for k, d in enumerate(i.shape)]
    if i.name == "orig_im_size":
        return np.array([[75, 112], [240, 181]][trial], np.float32)
    if i.name == "point_labels":
        return rng.integers(-1, 4, dims).astype(np.float32)
    if i.name == "point_coords":
        return (128 * rng.random(dims)).astype(np.float32)
    if i.name == "has_mask_input":
        return np.array([[1], [-1]][trial], np.float32)
    if i.type == "tensor(int64)":
        x = rng.integers(1, 49000, dims)
        x[..., -2] = 49407
        return x
    return rng.standard_normal(dims).astype(np.float32)


def check(folder, name, net, args, names, outputs, kinds=("TorchScript", "dynamo"), dynamic=None, shapes=None):
    for kind in kinds:
        path = f"{folder}/model.onnx"
        if kind == "dynamo":
            call = dict(dynamo=True, external_data=False, verbose=False, opset_version=18, dynamic_shapes=shapes)
        else:
            call = dict(dynamo=False, opset_version=17, dynamic_axes=dynamic)
        with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            torch.onnx.export(net, tuple(args), path, input_names=names, output_names=outputs, **call)
        session, worst = onnxruntime.InferenceSession(path), 0
        for trial, sizes in enumerate(SIZES):
            feeds = {i.name: feed(i, sizes, trial) for i in session.get_inputs()}
            want = session.run(None, feeds)
            save_file({k: np.ascontiguousarray(v) for k, v in feeds.items()}, f"{folder}/in.safetensors")
            p = subprocess.run([program, "exec", path, "--inputs", f"{folder}/in.safetensors", "--outputs", f"{folder}/out.safetensors"], capture_output=True, text=True)
            assert p.returncode == 0, f"{name}, {kind}: {p.stderr}"
            have = load_file(f"{folder}/out.safetensors")
            for o, w in zip(session.get_outputs(), want):
                h = have[o.name]
                assert h.shape == w.shape, (name, kind, o.name, h.shape, w.shape)
                unit = w.std() if w.size > 4 else abs(w).max()
                worst = max(worst, float(abs(h.astype(np.float64) - w).max() / max(unit, 1e-6)))
        assert worst <= BAR, f"{name}, {kind}: {worst:.1e} standard deviations"
        print(f"{name:28s} {kind:12s} {worst:.1e} standard deviations of ONNX Runtime's", flush=True)


with tempfile.TemporaryDirectory() as folder:
    model = small()
    prompt = {"image_embeddings": torch.randn(1, 32, 8, 8), "point_coords": 128 * torch.rand(1, 5, 2), "point_labels": torch.ones(1, 5),
              "mask_input": torch.randn(1, 1, 32, 32), "has_mask_input": torch.ones(1), "orig_im_size": torch.tensor([75.0, 112.0])}
    for options in ({}, {"use_stability_score": True}, {"return_single_mask": True}, {"return_extra_metrics": True}):
        outputs = ["masks", "iou_predictions", "low_res_masks"] if "return_extra_metrics" not in options else ["masks", "iou_predictions", "stability", "areas", "low_res_masks"]
        net = SamOnnxModel(model, **{"return_single_mask": False, **options})
        points = {"point_coords": {1: "num_points"}, "point_labels": {1: "num_points"}}
        check(folder, "official " + (" ".join(options) or "decoder"), net, prompt.values(), list(prompt), outputs, ("TorchScript",) if options else ("TorchScript", "dynamo"),
              points, [None, {1: "num_points"}, {1: "num_points"}, None, None, None])
    check(folder, "samexporter's encoder", WithPreprocessing(model.image_encoder), [torch.rand(100, 128, 3)], ["input_image"], ["image_embeddings"], ("TorchScript",),
          {"input_image": {0: "h", 1: "w"}})
    auto = torch.export.Dim.DYNAMIC
    for name, shapes, module in (("sam", states.sam, sam_reference), ("sam-med2d", lambda r: states.sam(r, adapter=True), sam_reference),
                                 ("sam-hq", lambda r: states.sam(r, hq=True), sam_reference), ("imis-net", states.imis, imis),
                                 ("syncsam", states.syncsam, syncsam), ("scribbleprompt-unet", states.unet, scribbleprompt_unet)):
        shapes, size = shapes(random.Random(name))
        state = states.fill(shapes, 0)
        if module is scribbleprompt_unet:
            check(folder, name, module.Model(state).eval(), [torch.rand(2, 5, size, size)], ["input"], ["logits"], dynamic={"input": {0: "N"}}, shapes=({0: auto},))
            continue
        encoder, decoder = module.Encoder(state).eval(), module.Decoder(state).eval()
        image = torch.randn(2, 3, size, size)
        with torch.no_grad():
            out = encoder(image)
        out = dict(zip(encoder.names_out, (v for v in (out if isinstance(out, tuple) else (out,)) if v is not None)))
        check(folder, name + " encoder", encoder, [image], ["image"], list(out), dynamic={"image": {0: "N"}}, shapes=({0: auto},))
        h = size // 16
        feeds = {k: v[:1] for k, v in out.items()} | {"point_coords": size * torch.rand(2, 3, 2), "point_labels": torch.tensor([[2.0, 3, -1], [1, 0, -1]]),
                                                      "mask_input": torch.randn(2, 1, 4 * h, 4 * h), "has_mask_input": torch.ones(1)}
        axes = {"point_coords": {0: "B", 1: "P"}, "point_labels": {0: "B", 1: "P"}, "mask_input": {0: "B"}}
        given = [k for k in decoder.names_in if feeds.get(k) is not None]
        check(folder, name + " decoder", decoder, [feeds.get(k) for k in decoder.names_in], given, list(decoder.names_out), dynamic=axes,
              shapes=tuple(None if feeds.get(k) is None else {a: auto for a in axes.get(k, {})} for k in decoder.names_in))
        if name == "imis-net":
            ids = torch.randint(1, 49000, (2, 8))
            ids[:, -2] = 49407
            text = module.Text(state).eval()
            check(folder, name + " text encoder", text, [ids], list(text.names_in), list(text.names_out), dynamic={"input_ids": {0: "B", 1: "T"}}, shapes=({0: auto, 1: auto},))
