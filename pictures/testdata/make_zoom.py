"""Writes zoom.safetensors: SAMed's way from a slice to its input, scipy.ndimage.zoom of order 3 to 224 x 224 where it is of another size, then to S x S, of
[0,1] in float32; pictures uint8 [h,w,3]. Run here with numpy, scipy and safetensors."""
import numpy as np
from safetensors.numpy import save_file
from scipy.ndimage import zoom

r, out = np.random.default_rng(29), {}
for h, w, s in ((31, 23, 32), (60, 70, 32), (23, 224, 32), (16, 16, 224)):
    x = r.integers(0, 256, (h, w, 3), np.uint8) if s != 224 else np.full((h, w, 3), 77, np.uint8)
    x[h // 3:, w // 3:] //= 4
    y = [x[..., c].astype(np.float32) / 255 for c in range(3)]
    for to in (224, s):
        y = [v if v.shape == (to, to) else zoom(v, (to / v.shape[0], to / v.shape[1]), order=3) for v in y]
    name, step = f"{h}x{w} {s}", max(1, s // 32)
    out[name + "/in"], out[name + "/out"] = x, np.ascontiguousarray(np.stack(y, -1)[::step, ::step])
save_file(out, "zoom.safetensors")
