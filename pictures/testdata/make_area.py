"""Writes area.safetensors: what OpenCV's INTER_AREA gives of small random pictures, uint8 [h,w,3], shrunk, halved, enlarged, and enlarged along one
side. Run here with numpy, opencv-python-headless and safetensors."""
import cv2
import numpy as np
from safetensors.numpy import save_file

r, out = np.random.default_rng(23), {}
for h, w, oh, ow in ((31, 23, 16, 12), (30, 24, 15, 12), (30, 24, 10, 8), (27, 40, 11, 16), (33, 50, 32, 49), (9, 17, 15, 28), (12, 8, 24, 16), (7, 40, 9, 16), (40, 7, 16, 9), (1, 9, 1, 5), (13, 13, 13, 13)):
    x = r.integers(0, 256, (h, w, 3), np.uint8)
    name = f"{h}x{w} {oh}x{ow}"
    out[name + "/in"], out[name + "/out"] = x, cv2.resize(x, (ow, oh), interpolation=cv2.INTER_AREA)
out["opencv"] = np.array([int(v) for v in cv2.__version__.split(".")], np.int32)
save_file(out, "area.safetensors")
