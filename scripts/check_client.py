"""The decoder of `build --decoder-postprocess` in SAM's official client (package segment-anything): check_client.py ARTIFACT CHECKPOINT

Follows the steps of its ONNX example: embedding and coordinates from SamPredictor, masks from the ONNX decoder. Compares them with what
the PyTorch model gives through SamPredictor itself, box, one and five points, and the logits that go back in as a mask prompt.
"""
import sys

import numpy as np
import onnxruntime
import torch
from segment_anything import SamPredictor, sam_model_registry

artifact, checkpoint = sys.argv[1:3]
state = torch.load(checkpoint, map_location="cpu", weights_only=False)
sam = sam_model_registry["vit_b"]()
sam.load_state_dict(state.get("model", state))
predictor = SamPredictor(sam)
rng = np.random.default_rng(5)
image = (rng.random((150, 220, 1)) * 80 + np.linspace(0, 170, 220)[None, :, None]).repeat(3, 2).astype(np.uint8)
predictor.set_image(image)
embedding = predictor.get_image_embedding().numpy()
session = onnxruntime.InferenceSession(artifact + "/decoder.onnx")
encoder = onnxruntime.InferenceSession(artifact + "/encoder.onnx")
x = sam.preprocess(torch.from_numpy(predictor.transform.apply_image(image)).permute(2, 0, 1)[None].float()).numpy()
ours = encoder.run(None, {"image": x})[0]
print(f"image_embeddings: {np.abs(ours - embedding).max() / embedding.std():.1e} standard deviations from the official model")
assert np.abs(ours - embedding).max() / embedding.std() < 5e-5

prompts = {"box": (None, None, np.array([60, 40, 150, 120])), "point1": ([[100, 90]], [1], None), "points5": ([[100, 90], [30, 100], [120, 60], [10, 10], [200, 130]], [1, 0, 1, 0, 1], None)}
low = None
for name, (points, labels, box) in {**prompts, "points5 and logits": prompts["points5"]}.items():
    mask_in = low if name.endswith("logits") else None
    want, iou, low_want = predictor.predict(None if points is None else np.array(points), None if labels is None else np.array(labels), box, None if mask_in is None else mask_in[:1], True, True)
    coords = np.zeros((0, 2)) if points is None else np.array(points, float)
    lab = np.zeros(0) if labels is None else np.array(labels, float)
    if box is None:  # the example pads with a point when there is no box
        coords, lab = np.concatenate([coords, [[0, 0]]]), np.concatenate([lab, [-1]])
    else:
        coords, lab = np.concatenate([coords, box.reshape(2, 2)]), np.concatenate([lab, [2, 3]])
    coords = predictor.transform.apply_coords(coords, image.shape[:2]).astype(np.float32)[None]
    masks, scores, low_res = session.run(None, {
        "image_embeddings": embedding, "point_coords": coords, "point_labels": lab.astype(np.float32)[None],
        "mask_input": np.zeros((1, 1, 256, 256), np.float32) if mask_in is None else mask_in[None, :1], "has_mask_input": np.array([mask_in is not None], np.float32),
        "orig_im_size": np.array(image.shape[:2], np.float32)})
    if low is None or name == "points5":
        low = low_want
    deviation = np.abs(masks[0, 1:] - want).max() / want.std()
    equal = ((masks[0, 1:] > 0) == (want > 0)).mean()
    print(f"{name}: masks {masks.shape}, {deviation:.1e} standard deviations, {100 * equal:.3f} % of the pixels equal; IoU differs by {np.abs(scores[0, 1:] - iou).max():.1e}")
    assert np.abs(low_res[0, 1:] - low_want).max() / low_want.std() < 5e-5
    assert deviation < 1e-3 and equal > 0.999  # two resizes place their samples in float32, each in its own way
