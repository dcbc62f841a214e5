"""The golden models as onnx2torch makes PyTorch modules of them, beside ONNX Runtime: check_onnx2torch.py PROGRAM"""
import subprocess
import sys

import numpy as np
import onnx
import onnx2torch
import onnxruntime
import torch

DYNAMIC = {"P": 3, "B_mask": 1}


def feed(rng, i, batch):
    shape = [d if isinstance(d, int) else DYNAMIC.get(d, batch) for d in i.shape]
    x = rng.integers(-1, 4, shape) if i.name == "point_labels" else rng.standard_normal(shape)
    return x.astype(np.float32)


def main(program):
    rng, worst = np.random.default_rng(1), 999.0
    for name in ("syncsam-tiny-34", "syncsam-tiny-50"):
        out = f"build/check/{name}-torch"
        subprocess.run([program, "build", f"golden/data/{name}/{name}.pth", "-o", out, "--force"], check=True, stdout=subprocess.DEVNULL)
        for graph in ("encoder", "decoder"):
            path = f"{out}/{graph}.onnx"
            module, session = onnx2torch.convert(onnx.load(path)), onnxruntime.InferenceSession(path)
            for batch in (1, 3):
                x = {i.name: feed(rng, i, batch) for i in session.get_inputs()}
                with torch.no_grad():
                    have = module(*map(torch.from_numpy, x.values()))
                for want, y in zip(session.run(None, x), have if isinstance(have, (list, tuple)) else [have]):
                    noise = ((want.astype(float) - y.numpy()) ** 2).sum()
                    db = 10 * np.log10((want.astype(float) ** 2).sum() / noise)
                    worst = min(worst, db)
                    print(f"{name} {graph}, batch {batch}: {db:.1f} dB")
    sys.exit(0 if worst >= 100 else "less than 100 dB")


main(sys.argv[1])
