"""Writes the files beside it: make.py; needs torch, segment-anything, onnx, onnxruntime, onnxscript, safetensors."""
import os
import warnings
from functools import partial

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors.numpy import save_file
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.utils.onnx import SamOnnxModel

warnings.filterwarnings("ignore")
torch.manual_seed(0)
HERE = os.path.dirname(os.path.abspath(__file__))
S, G, C = 32, 2, 16
sam = Sam(
    ImageEncoderViT(S, 16, 3, 8, 2, 2, 2, C, True, partial(torch.nn.LayerNorm, eps=1e-6), use_rel_pos=True, window_size=3, global_attn_indexes=(1,)),
    PromptEncoder(C, (G, G), (S, S), 4),
    MaskDecoder(transformer_dim=C, transformer=TwoWayTransformer(1, C, 8, 8), num_multimask_outputs=3, iou_head_depth=2, iou_head_hidden_dim=8),
).eval().requires_grad_(False)
for p in sam.parameters():
    p.data.normal_(0, 0.3)
out = {}


class WithPreprocessing(torch.nn.Module):
    """What samexporter exports of an encoder."""

    def forward(self, x):
        x = torch.permute((x - torch.tensor([123.675, 116.28, 103.53])) / torch.tensor([58.395, 57.12, 57.375]), (2, 0, 1))
        return sam.image_encoder(torch.unsqueeze(torch.nn.functional.pad(x, (0, S - x.shape[-1], 0, S - x.shape[-2])), 0))


def shorten(name):
    """Names, documentation and paths are most of such a small file."""
    m = onnx.load(f"{HERE}/{name}.onnx")
    keep, short = {i.name for i in m.graph.input} | {o.name for o in m.graph.output}, {}
    of = lambda x: x if not x or x in keep else short.setdefault(x, f"v{len(short)}")

    def walk(g):
        for n in g.node:
            n.ClearField("doc_string")
            n.ClearField("metadata_props")
            n.name = ""
            n.input[:], n.output[:] = [of(x) for x in n.input], [of(x) for x in n.output]
            for a in n.attribute:
                if a.HasField("g"):
                    walk(a.g)
        for i in g.initializer:
            i.name = of(i.name)
            i.ClearField("doc_string")
            i.ClearField("metadata_props")
        if g is not m.graph:
            for o in g.output:
                o.name = of(o.name)

    walk(m.graph)
    for v in list(m.graph.input) + list(m.graph.output):
        v.ClearField("metadata_props")
    del m.graph.value_info[:], m.graph.metadata_props[:], m.metadata_props[:]
    onnx.save(m, f"{HERE}/{name}.onnx")


def add(name, feeds):
    shorten(name)
    session = onnxruntime.InferenceSession(f"{HERE}/{name}.onnx")
    for k, v in feeds.items():
        out[f"{name}/in/{k}"] = v
    for o, v in zip(session.get_outputs(), session.run(None, feeds)):
        out[f"{name}/out/{o.name}"] = v


d = {"image_embeddings": torch.randn(1, C, G, G), "point_coords": torch.rand(1, 5, 2) * S, "point_labels": torch.randint(0, 4, (1, 5)).float(),
     "mask_input": torch.randn(1, 1, 4 * G, 4 * G), "has_mask_input": torch.tensor([1.0]), "orig_im_size": torch.tensor([20.0, 32.0])}
torch.onnx.export(SamOnnxModel(sam, return_single_mask=True, use_stability_score=True), tuple(d.values()), f"{HERE}/official.onnx", opset_version=17, dynamo=False,
                  input_names=list(d), output_names=["masks", "iou_predictions", "low_res_masks"], dynamic_axes={"point_coords": {1: "num_points"}, "point_labels": {1: "num_points"}})
f = {k: v.numpy() for k, v in d.items()}
f["point_coords"], f["point_labels"] = f["point_coords"][:, :3], np.array([[1, 0, -1]], np.float32)
f["orig_im_size"], f["has_mask_input"] = np.array([50, 37], np.float32), np.array([-1], np.float32)
add("official", f)
torch.onnx.export(WithPreprocessing(), (torch.randn(20, 32, 3),), f"{HERE}/samexporter.onnx", opset_version=17, dynamo=False, input_names=["input_image"],
                  output_names=["image_embeddings"], dynamic_axes={"input_image": {0: "h", 1: "w"}})
add("samexporter", {"input_image": (np.random.default_rng(0).random((21, 32, 3)) * 255).astype(np.float32)})
torch.onnx.export(sam.image_encoder, (torch.randn(2, 3, S, S),), f"{HERE}/dynamo.onnx", opset_version=18, dynamo=True, external_data=False, verbose=False,
                  input_names=["image"], output_names=["image_embeddings"], dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
add("dynamo", {"image": np.random.default_rng(1).standard_normal((2, 3, S, S)).astype(np.float32)})
save_file({k: np.ascontiguousarray(v.astype(np.float32)) for k, v in out.items()}, f"{HERE}/expected.safetensors")
