"""Makes the pictures of this folder and what PIL gives for them. Run here with numpy, pillow and safetensors."""
import numpy as np
from PIL import Image
from safetensors.numpy import save_file

rng = np.random.default_rng(7)
out = {}

# resize: down, up, one axis, odd sizes, single pixels, equal size
for w, h, to_w, to_h in [(61, 47, 32, 25), (20, 31, 45, 64), (33, 40, 33, 17), (50, 9, 12, 9), (1, 1, 5, 3), (1, 40, 1, 16), (97, 3, 16, 1), (24, 24, 24, 24), (300, 200, 7, 5)]:
    a = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
    name = f"{w}x{h}-{to_w}x{to_h}"
    out[name + "/in"] = a
    out[name + "/out"] = np.asarray(Image.fromarray(a).resize((to_w, to_h), Image.BILINEAR))

# decoding: every colour type, as convert("RGB") gives it (16-bit: all its bits)
rgb = rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
alpha = rng.integers(0, 256, (6, 9, 1), dtype=np.uint8)
grey = rng.integers(0, 256, (6, 9), dtype=np.uint8)
deep = rng.integers(0, 65536, (6, 9)).astype(np.uint16)


shown = np.floor(deep * (255 / 65535) + 0.5).astype(np.uint8)


def keep(name, image, want=None, **options):
    image.save(name, **options)
    out["decode/" + name] = np.asarray(Image.open(name).convert("RGB")) if want is None else want


keep("rgb.png", Image.fromarray(rgb))
keep("grey.png", Image.fromarray(grey))
keep("grey_alpha.png", Image.fromarray(np.dstack([grey, alpha[..., 0]])), np.dstack([grey] * 3))
keep("rgba.png", Image.fromarray(np.dstack([rgb, alpha])), rgb)
keep("grey16.png", Image.fromarray(deep), np.dstack([shown] * 3))
keep("palette.png", Image.fromarray(rgb).quantize(16))
keep("one_bit.png", Image.fromarray(grey > 127))
keep("rgb.bmp", Image.fromarray(rgb))
keep("rgb.tiff", Image.fromarray(rgb))
keep("grey16.tiff", Image.fromarray(deep), np.dstack([shown] * 3))
keep("rgb.gif", Image.fromarray(rgb).quantize(16))
keep("one_pixel.png", Image.fromarray(rgb[:1, :1]))
flat = np.zeros((16, 16, 4), np.uint8)
flat[:] = (40, 80, 120, 30)
keep("cmyk.jpg", Image.fromarray(flat, "CMYK"), quality=100)
save_file({k: np.ascontiguousarray(v) for k, v in out.items()}, "pil.safetensors")
