"""Holds artifacts against the ONNX project's checker and ONNX Runtime: check_onnx.py ARTIFACT...

Every graph passes onnx.checker with full shape inference, every value's shape is inferred, ONNX Runtime loads it without a
warning, and batches (N), prompts (B) and points (P) of other sizes give what they give one by one.
"""
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime

# float32 sums may be ordered by batch size: in standard deviations
TOLERANCE = 2e-5


def load(path):
    model = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(path, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    known = {v.name for v in list(inferred.graph.value_info) + list(inferred.graph.output) if v.type.tensor_type.HasField("shape")}
    missing = [o for n in inferred.graph.node for o in n.output if o not in known]
    assert not missing, f"{path}: no shape for {missing[:5]}"
    quiet = subprocess.run([sys.executable, "-c", "import onnxruntime, sys; onnxruntime.InferenceSession(sys.argv[1])", path], capture_output=True, text=True)
    assert quiet.returncode == 0 and not quiet.stdout and not quiet.stderr, f"{path}: ONNX Runtime says: {quiet.stdout}{quiet.stderr}"
    return onnxruntime.InferenceSession(path)


def run(session, feeds):
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds)))


def same(all_, one, i, what):
    for name in one:
        d = np.abs(all_[name][i : i + 1] - one[name]).max() / one[name].std()
        assert d <= TOLERANCE, f"{what}: {name}[{i}] differs by {d:.2g} standard deviations"


for artifact in sys.argv[1:]:
    rng = np.random.default_rng(1)
    encoder, decoder = load(os.path.join(artifact, "encoder.onnx")), load(os.path.join(artifact, "decoder.onnx"))
    size = encoder.get_inputs()[0].shape[-1]
    images = rng.standard_normal((3, 3, size, size)).astype(np.float32)
    batch = run(encoder, {"image": images})
    for i in range(3):
        one = run(encoder, {"image": images[i : i + 1]})
        same(batch, one, i, artifact)
    side = size // 4
    for b, p in [(1, 1), (4, 7), (3, 2), (2, 40)]:
        feeds = {"point_coords": rng.uniform(0, size, (b, p, 2)), "point_labels": rng.integers(-1, 4, (b, p)), "mask_input": 5 * rng.standard_normal((b, 1, side, side))}
        feeds = {k: v.astype(np.float32) for k, v in feeds.items()}
        for has in (0, 1):
            shared = {**one, "has_mask_input": np.array([has], np.float32)}
            out = run(decoder, {**shared, **feeds})
            assert out["low_res_masks"].shape[0] == b and out["low_res_masks"].shape[2:] == (side, side)
            for i in range(b):
                same(out, run(decoder, {**shared, **{k: v[i : i + 1] for k, v in feeds.items()}}), i, f"{artifact} B={b} P={p}")
    print(f"{artifact}: ok")
