"""Makes kinds/, small pictures and masks of every kind that is read, and kinds.safetensors, what PIL, tifffile and nibabel read of
them: image/NAME uint8 [rows, columns, 3], mask/NAME uint8 [rows, columns]. Values of more than 8 bits follow the rule of
scripts/check_pictures.py. Run here with numpy, pillow, tifffile, imagecodecs, nibabel, opencv-python-headless and safetensors."""
import os
import shutil

import cv2
import nibabel
import numpy as np
import tifffile
from PIL import Image
from safetensors.numpy import save_file

shutil.rmtree("kinds", ignore_errors=True)
os.mkdir("kinds")
os.chdir("kinds")
rng = np.random.default_rng(16)
out = {}
y, x = np.mgrid[0:13, 0:18]
grey = ((x * 9 + y * 5) % 256).astype(np.uint8)
rgb = np.stack([grey, 255 - grey, (x * 13 % 256).astype(np.uint8)], -1)
alpha = ((x + y) * 8).astype(np.uint8)
bits = (x // 3 + y // 4) % 2 == 0


def three(a):
    return np.repeat(a[..., None], 3, -1)


def window(a, low, high):
    return np.floor(np.clip((a.astype(float) - low) * (255 / (high - low)), 0, 255) + 0.5).astype(np.uint8)


def image(name, want=None):
    out["image/" + name] = np.array(Image.open(name).convert("RGB")) if want is None else three(want) if want.ndim == 2 else want


def mask(name, want):
    out["mask/" + name] = want.astype(np.uint8)


# TIFF
for compression, photometric in (("group3", 0), ("group3", 1), ("group4", 0), ("group4", 1), ("packbits", 0)):
    name = f"{compression}-{photometric}.tif"
    Image.fromarray(bits).save(name, compression=compression, tiffinfo={262: photometric})
    image(name)
    mask(name, np.array(Image.open(name).convert("L")) > 0)
deep = grey.astype(np.uint16) * 200 + 5
for name, data, want, how in [
    ("planar", np.ascontiguousarray(np.moveaxis(rgb, -1, 0)), rgb, dict(photometric="rgb", planarconfig="separate", compression="lzw", predictor=True)),
    ("big", rgb, rgb, dict(photometric="rgb", bigtiff=True, byteorder=">")),
    ("tiles", deep, window(deep, 0, 65535), dict(tile=(16, 16), compression="zlib", predictor=True, byteorder=">")),
    ("float", (grey / 255).astype(np.float32), window(grey / 255, 0, grey.max() / 255), dict(compression="zlib", predictor=3)),
    ("half", (grey / 8).astype(np.float16), window(grey / 8, 0, grey.max() / 8), {}),
    ("int16", grey.astype(np.int16) - 100, window(grey, 0, grey.max()), {}),
    ("uint32", grey.astype(np.uint32) * 70000, window(grey.astype(float) * 70000, 0, 2 ** (int(grey.max()) * 70000).bit_length() - 1), {}),
    ("four-bits", grey >> 4, (grey >> 4) * 17, dict(bitspersample=4)),
    ("twelve-bits", grey.astype(np.uint16) * 16, window(grey.astype(float) * 16, 0, 4095), dict(bitspersample=12)),
    ("white", deep, window(65535 - deep.astype(float), 0, 65535), dict(photometric="miniswhite")),
    ("cmyk", np.dstack([rgb, grey // 2]), np.array(Image.fromarray(np.dstack([rgb, grey // 2]), "CMYK").convert("RGB")), dict(photometric="separated")),
    ("unassociated", np.dstack([rgb, alpha]), rgb, dict(photometric="rgb", extrasamples=["unassalpha"])),
]:
    how = {"photometric": "minisblack", **how}
    tifffile.imwrite(f"{name}.tif", data, metadata=None, **how)
    image(f"{name}.tif", want)
tifffile.imwrite("associated.tif", np.dstack([(rgb.astype(int) * alpha[..., None] // 255).astype(np.uint8), alpha]), photometric="rgb", extrasamples=["assocalpha"], metadata=None)
image("associated.tif")
Image.fromarray(rgb).quantize(9).save("palette.tif")
image("palette.tif")
tifffile.imwrite("jpeg.tif", np.pad(rgb, ((0, 3), (0, 14), (0, 0)), "edge"), photometric="ycbcr", compression="jpeg", subsampling=(2, 2), rowsperstrip=16, metadata=None)
image("jpeg.tif")
tifffile.imwrite("pages.tif", np.stack([grey, 255 - grey]), photometric="minisblack", metadata=None)
image("pages.tif#slice=1", 255 - grey)
with tifffile.TiffWriter("pyramid.tif") as t:
    t.write(rgb, photometric="rgb", metadata=None)
    t.write(rgb[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
image("pyramid.tif", rgb)

# JPEG and WebP; PNG under another's name
for sub in ("4:4:4", "4:2:2", "4:2:0"):
    for progressive in (False, True):
        name = f"{sub.replace(':', '')}{'-progressive' if progressive else ''}.jpg"
        Image.fromarray(rgb).save(name, quality=80, subsampling=sub, progressive=progressive)
        image(name)
for name, factor in (("411.jpg", cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411), ("440.jpg", cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440)):
    cv2.imwrite(name, rgb[..., ::-1], [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor, cv2.IMWRITE_JPEG_RST_INTERVAL, 1])
    image(name)
Image.fromarray(grey).save("grey.jpg", quality=70, progressive=True)
image("grey.jpg")
Image.fromarray(rgb).save("as-rgb.jpg", keep_rgb=True, quality=90)
image("as-rgb.jpg")
Image.fromarray(rgb).convert("CMYK").save("cmyk.jpg", quality=90)
image("cmyk.jpg")
Image.fromarray(rgb).save("png.jpg", "PNG")
image("png.jpg")
Image.fromarray(rgb).save("lossy.webp", quality=80)
image("lossy.webp")
Image.fromarray(np.dstack([rgb, alpha]), "RGBA").save("alpha.webp", quality=80)
image("alpha.webp")
Image.fromarray(np.dstack([rgb, alpha]), "RGBA").save("lossless.webp", lossless=True, exact=True)
image("lossless.webp", rgb)
frames = [Image.fromarray(np.roll(rgb, 3 * k, 1)) for k in range(3)]
for name in ("animated.webp", "animated.png"):
    frames[0].save(name, save_all=True, append_images=frames[1:], lossless=True)
    image(name, rgb)
frames[0].save("animated.gif", save_all=True, append_images=frames[1:])
for k in range(3):
    m = Image.open("animated.gif")
    m.seek(k)
    image(f"animated.gif#slice={k}", np.array(m.convert("RGB")))
p = Image.fromarray(rgb).quantize(9)
p.save("transparent.gif", transparency=3)
image("transparent.gif")
p.save("transparent.png", transparency=3)
image("transparent.png", np.array(p.convert("RGB")))

# Orientation
turns = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
for k, name in turns.items():
    exif = Image.Exif()
    exif[0x0112] = k
    ending = ("tif", "png", "jpg", "webp")[k % 4]
    m = Image.fromarray(np.dstack([bits * 255] * 3).astype(np.uint8))
    if ending == "tif":
        m.save(f"turn-{k}.tif", tiffinfo={274: k})
    else:
        m.save(f"turn-{k}.{ending}", exif=exif, **{"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(ending, {}))
    want = np.array(m.transpose(Image.Transpose[name]))
    if ending != "jpg":
        image(f"turn-{k}.{ending}", want)
    mask(f"turn-{k}.{ending}", want[..., 0] > 127)

# More than 8 bits
Image.fromarray(deep).save("sixteen.png")
image("sixteen.png", window(deep, 0, 65535))
image("sixteen.png#window=1000:2000", window(deep, 1000, 2000))
Image.fromarray(grey.astype(np.uint16) * 16).save("twelve.png")
image("twelve.png", window(grey.astype(float) * 16, 0, 4095))
offset = (grey.astype(np.uint16) * 4 + 32768 - 200).astype(np.uint16)
Image.fromarray(offset).save("offset.png")
image("offset.png", window(offset, offset.min(), offset.max()))
cv2.imwrite("colour16.png", rgb.astype(np.uint16)[..., ::-1] * 257)
image("colour16.png", rgb)

# Masks
labels = ((x // 5) * (y // 4 + 1) % 4).astype(np.uint8)
Image.fromarray(labels.astype(np.uint16)).save("labels16.png")
tifffile.imwrite("labels32.tif", labels.astype(np.uint32) * 70000, metadata=None)
tifffile.imwrite("labels-signed.tif", labels.astype(np.int16) - 1, metadata=None)
mask("labels16.png", labels > 0)
mask("labels16.png#label=2", labels == 2)
mask("labels16.png#ignore=3", (labels > 0) & (labels != 3))
mask("labels32.tif", labels > 0)
mask("labels32.tif#label=140000", labels == 2)
mask("labels-signed.tif", labels > 1)
m = Image.fromarray(labels, "P")
m.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 0, 0, 128])
m.save("voc.png", bits=2)
mask("voc.png", labels > 0)
mask("voc.png#label=2", labels == 2)
mask("voc.png#ignore=3", (labels > 0) & (labels != 3))
m = Image.fromarray((labels == 0).astype(np.uint8), "P")
m.putpalette([255, 255, 255, 0, 0, 0])
m.save("grey-palette.png", bits=1)
mask("grey-palette.png", labels > 0)
m = Image.fromarray(labels, "P")
m.putpalette([200, 0, 0, 0, 0, 0, 0, 128, 0, 0, 0, 128])
m.save("contradictory-palette.png", bits=2)
mask("contradictory-palette.png#label=1", labels == 1)
on = ((labels > 0) * 255).astype(np.uint8)
for name, layers in (("alpha-black", (on * 0, on * 0, on * 0, on)), ("alpha-red", (on, on * 0, on * 0, on)), ("opaque", (on, on, on, on * 0 + 255))):
    Image.fromarray(np.dstack(layers), "RGBA").save(name + ".png")
    mask(name + ".png", labels > 0)
Image.fromarray(np.dstack([on * 0 + 255, on, on, 255 - on]), "RGBA").save("contradictory-alpha.png")

Image.fromarray(labels).save("faint.jpg")

# NIfTI
ct = rng.integers(-1000, 1500, (9, 7, 4)).astype(np.int16)
affine = np.array([[-2.0, 0, 0, 50], [0, 2, 0, -60], [0, 0, 4, 7], [0, 0, 0, 1]])


def slices(name, data):
    v = np.sort(data[data != 0].astype(float), axis=None)
    image(name, window(data[:, :, 2], v[int(0.005 * (v.size - 1) + 0.5)], v[int(0.995 * (v.size - 1) + 0.5)]).T)


nibabel.save(nibabel.Nifti2Image(ct, affine), "two.nii.gz")
slices("two.nii.gz#slice=2", ct)
nibabel.save(nibabel.Nifti1Pair(ct, affine), "pair.img")
slices("pair.img#slice=2", ct)
out["image/pair.hdr#slice=2"] = out["image/pair.img#slice=2"]
nibabel.save(nibabel.Nifti1Image(np.stack([ct, ct // 3], -1), affine), "four.nii.gz")
slices("four.nii.gz#slice=2&volume=1", ct // 3)
with open("two.nii.gz", "rb") as f, open("padded.nii.gz", "wb") as g:
    g.write(f.read() + bytes(512))
out["image/padded.nii.gz#slice=2"] = out["image/two.nii.gz#slice=2"]
colour = np.zeros((9, 7, 4), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
for c in "RGB":
    colour[c] = rng.integers(0, 256, colour.shape)
nibabel.save(nibabel.Nifti1Image(colour, affine), "colour.nii")
image("colour.nii#slice=2", np.stack([colour[c][:, :, 2].T for c in "RGB"], -1))
volume = rng.integers(0, 4, (9, 7, 4))
scaled = nibabel.Nifti1Image(volume.astype(np.float32), affine)
scaled.set_data_dtype(np.uint8)
nibabel.save(scaled, "scaled.nii")
for k in (1, 2, 3):
    mask(f"scaled.nii#slice=2&label={k}", (volume[:, :, 2] == k).T)
mask("scaled.nii#slice=2", (volume[:, :, 2] > 0).T)
nibabel.save(nibabel.Nifti1Image((volume - 1).astype(np.int16), affine), "ignore.nii")
mask("ignore.nii#slice=2", (volume[:, :, 2] > 1).T)
nibabel.save(nibabel.Nifti1Image(volume.astype(np.uint8), affine), "labels.nii.gz")
flipped = affine.copy()
flipped[0] *= -1
nibabel.save(nibabel.Nifti1Image(volume[::-1].astype(np.uint8), affine * np.array([[-1], [1], [1], [1]])), "flipped.nii.gz")
nibabel.save(nibabel.Nifti1Image(volume.astype(np.uint8), affine * [2, 1, 1, 1]), "wider.nii.gz")
nibabel.save(nibabel.Nifti1Image(volume[:8].astype(np.uint8), affine), "smaller.nii.gz")
nibabel.save(nibabel.Nifti1Image(ct.astype(np.complex64), affine), "complex.nii")
nibabel.save(nibabel.Nifti1Image((volume * 0.3).astype(np.float32), affine), "fractions.nii")
nibabel.save(nibabel.AnalyzeImage(ct, affine), "analyze.img")

# What is refused
tifffile.imwrite("lzma.tif", grey, compression="lzma", metadata=None)
tifffile.imwrite("lab.tif", rgb, photometric="cielab", metadata=None)
tifffile.imwrite("complex.tif", grey.astype(np.complex64), metadata=None)
tifffile.imwrite("five.tif", np.dstack([rgb, grey, grey]), photometric="minisblack", planarconfig="contig", metadata=None)
save_file({k: np.ascontiguousarray(v) for k, v in out.items()}, "../kinds.safetensors")
