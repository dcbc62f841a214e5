"""SAM ViT-B's encoder at 1024 x 1024 beside torch.onnx.export of the official code, in ONNX Runtime: bench_sam.py PROGRAM CHECKPOINT"""
import subprocess
import sys
import tempfile

import torch
from segment_anything import sam_model_registry

program, checkpoint = sys.argv[1:]
sam = sam_model_registry["vit_b"]()
state = torch.load(checkpoint, map_location="cpu", weights_only=False)
sam.load_state_dict(state.get("model", state))
with tempfile.TemporaryDirectory() as folder:
    exported = folder + "/exported.onnx"
    torch.onnx.export(sam.image_encoder.eval(), torch.zeros(1, 3, 1024, 1024), exported, input_names=["image"], output_names=["image_embeddings"], opset_version=17, dynamo=False)
    subprocess.run([program, "build", checkpoint, "-o", folder + "/ours", "--family", "sam"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([program, "bench", folder + "/ours/encoder.onnx", "--vs", exported, "--engine", "onnxruntime", "--threads", "1", "--rounds", "7"], check=True)
