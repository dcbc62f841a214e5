"""plan lint on other people's files: a ResNet from torch.onnx.export and quantize_static with UINT8 activations, and SAM's official decoder.

usage: check_lint.py PROGRAM SAM_CHECKPOINT
"""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torchvision
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from segment_anything import sam_model_registry
from segment_anything.utils.onnx import SamOnnxModel

program, checkpoint = sys.argv[1:]


class Noise(CalibrationDataReader):
    def __init__(self):
        rng = np.random.default_rng(0)
        self.feeds = iter([{"image": rng.standard_normal((1, 3, 64, 64)).astype(np.float32)} for _ in range(4)])

    def get_next(self):
        return next(self.feeds, None)


def resnet(folder):
    torch.manual_seed(0)
    model = torchvision.models.resnet18(weights=None).eval()
    float_path, path = f"{folder}/float.onnx", f"{folder}/static.onnx"
    torch.onnx.export(model, torch.zeros(1, 3, 64, 64), float_path, input_names=["image"], opset_version=17, dynamo=False)
    quantize_static(float_path, path, Noise(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True)
    return path


def decoder(folder):
    """SAM's decoder as its export script writes it, sizes of the original image included."""
    sam = sam_model_registry["vit_b"]()
    state = torch.load(checkpoint, map_location="cpu", weights_only=False)
    sam.load_state_dict(state.get("model", state))
    model = SamOnnxModel(sam, return_single_mask=False)
    inputs = {"image_embeddings": torch.randn(1, 256, 64, 64), "point_coords": torch.randint(0, 1024, (1, 5, 2)).float(), "point_labels": torch.randint(0, 4, (1, 5)).float(),
              "mask_input": torch.randn(1, 1, 256, 256), "has_mask_input": torch.tensor([1.0]), "orig_im_size": torch.tensor([1500.0, 2250.0])}
    path = f"{folder}/decoder.onnx"
    torch.onnx.export(model, tuple(inputs.values()), path, input_names=list(inputs), output_names=["masks", "iou_predictions", "low_res_masks"], opset_version=17,
                      dynamic_axes={"point_coords": {1: "num_points"}, "point_labels": {1: "num_points"}}, dynamo=False)
    return path


with tempfile.TemporaryDirectory() as folder:
    for make, want in ((resnet, {"uint8", "zero-point", "integer-bias"}), (decoder, {"shape-from-data"})):
        path = make(folder)
        done = subprocess.run([program, "plan", "lint", path, "--json", "--release", "10,11"], stdout=subprocess.PIPE)
        found = {f["rule"] for f in json.loads(done.stdout)}
        assert done.returncode == 1 and want <= found, (os.path.basename(path), done.returncode, found)
        print(f"{make.__name__}: {sorted(found)}")
