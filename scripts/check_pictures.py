"""Our reading of pictures beside that of others: check_pictures.py BIN [PART...]. Needs numpy, pillow, tifffile, imagecodecs, nibabel, pydicom,
scipy and opencv-python-headless.

Pictures are written by PIL in every mode and every format that it writes, by tifffile in every layout, by OpenCV and nibabel; together
with the files inside the nibabel wheel they are asked of `BIN picture`, and compared with what PIL, tifffile and nibabel read. Values
of up to 8 bits must be the same (lossy formats within 2), more bits are compared by the rule in shown(). Each is equal, refused by
name with exit status 2 and one line (REFUSED says which kinds may be), or WRONG; what is wrong fails, as does any other refusal."""
import collections
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings

import cv2
import nibabel
import numpy as np
import pydicom
import pydicom.pixels
import tifffile
from PIL import Image, ImageOps, features

warnings.simplefilter("ignore")
BIN = os.path.abspath(sys.argv[1])
rng = np.random.default_rng(16)
counts, refusals, wrong, largest = collections.Counter(), collections.Counter(), [], collections.Counter()

# What may be refused, as the error says it.
REFUSED = [
    r"it is (JPEG 2000|JPEG XL|HEIF or AVIF|PDF|SVG|Netpbm|an icon|DDS|Photoshop|OpenEXR|MINC|HDF5|PAR/REC|NRRD|MetaImage|a NumPy array)",
    r"it is none of DICOM, NIfTI", r"it is an ANALYZE 7.5 file", r"not a (NIfTI-1 or NIfTI-2|DICOM) file", r"TIFF: compression: have",
    r"TIFF: photometric interpretation: have", r"TIFF: samples: have", r"TIFF: have \d+ bits a sample", r"TIFF: sample format", r"BMP: have",
    r"animation's first frame has", r"datatype: have", r"dim: have \d+ values along", r"predictor: have", r"Group 3 (of two|with fill)",
    r"of an animation of this kind only the first frame", r"sizes of a picture|JPEG of four components without", r"YCbCr subsampling: have",
    r"its colours and its alpha channel say different", r"its palette's colours and indices say different", r"image depth: have", r"it is half of a pair",
]


def shown(a):
    """Grey values or colours of more than 8 bits as 8 bits: by the bits that they need, or from the lowest to the highest."""
    finite = a[np.isfinite(a)] if a.dtype.kind == "f" else a
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if a.dtype.kind == "u":
        if a.dtype.itemsize == 1:
            return a
        top = float(2 ** max(int(high).bit_length(), 8))
        if high - low >= top / 4:
            low, high = 0.0, top - 1
    scale = 255 / max(high - low, 1.401298464324817e-45)
    x = (a.astype(np.float64) - low) * scale
    return np.floor(np.clip(np.nan_to_num(x, nan=0, posinf=255, neginf=0), 0, 255) + 0.5).astype(np.uint8)


def rgb(a):
    """Three channels of one or more; alpha is dropped."""
    return np.repeat(a[..., None], 3, -1) if a.ndim == 2 else np.repeat(a[..., :1], 3, -1) if a.shape[-1] < 3 else a[..., :3]


def ask(name, mask=False):
    """What the program understood, or its error."""
    out = os.path.join(folder, "out.png")
    r = subprocess.run([BIN, "picture", name, "-o", out, "--force"] + (["--mask"] if mask else []), capture_output=True, text=True)
    if r.returncode:
        if r.returncode != 2 or r.stderr.count("\n") != 1:
            return "exit %d: %s" % (r.returncode, r.stderr)
        return r.stderr.strip().removeprefix("syncsam-convert: ")
    return np.array(Image.open(out).convert("L")) > 0 if mask else np.array(Image.open(out).convert("RGB"))


def check(kind, name, want, tolerance=0, mask=False, must=False):
    """Compares a file with what others read; want may be None where others read nothing; must: it may not be refused."""
    have = ask(name, mask)
    label = kind + " " + os.path.basename(name)
    if isinstance(have, str):
        known = any(re.search(p, have) for p in REFUSED)
        counts["refused" if known and not must else "WRONG"] += 1
        refusals[re.sub(r"^\S*?: ", "", have.replace(folder, ""))[:110]] += 1
        if not known or must:
            wrong.append(f"{label}: refused: {have}")
        return
    if want is None:
        counts["WRONG"] += 1
        wrong.append(f"{label}: read, and others do not")
        return
    if have.shape != want.shape:
        off = f"have {have.shape}, want {want.shape}"
    else:
        most = int(np.abs(have.astype(int) - want.astype(int)).max())
        largest[kind] = max(largest[kind], most)
        off = f"off by {most}" if most > tolerance else ""
    counts["WRONG" if off else "equal"] += 1
    if off:
        wrong.append(f"{label}: {off}")


def smooth(h, w, channels=3):
    """A picture with edges and gradients."""
    y, x = np.mgrid[0:h, 0:w]
    planes = [(x * (3 + c) + y * (7 - c) + 40 * ((x // 5 + y // 4 + c) % 2)) % 256 for c in range(channels)]
    return np.stack(planes, -1).astype(np.uint8)


def modes(h, w):
    """An image of each of PIL's modes."""
    base = Image.fromarray(smooth(h, w))
    alpha = Image.fromarray(((np.mgrid[0:h, 0:w][1] * 11) % 256).astype(np.uint8))
    grey = base.convert("L")
    deep = (np.array(grey).astype(np.uint16) * 257) ^ 3
    yield "1", Image.fromarray(np.array(grey) > 120)
    yield "L", grey
    la = grey.convert("LA")
    la.putalpha(alpha)
    yield "LA", la
    p = base.quantize(20)
    yield "P", p
    clear = p.copy()
    clear.info["transparency"] = 3
    yield "P-transparency", clear
    yield "PA", p.convert("PA")
    yield "RGB", base
    rgba = base.convert("RGBA")
    rgba.putalpha(alpha)
    yield "RGBA", rgba
    yield "RGBa", rgba.convert("RGBa")
    yield "RGBX", base.convert("RGBX")
    for mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        try:
            yield mode, base.convert(mode)
        except ValueError:
            yield mode, Image.merge(mode, base.split())
    yield "I", Image.fromarray(deep.astype(np.int32))
    yield "I;16", Image.fromarray(deep)
    yield "F", Image.fromarray(np.array(grey).astype(np.float32) / 7 - 4)


def by_pil(path):
    """What PIL shows of a file: 8-bit colours, or deep values by the rule."""
    m = ImageOps.exif_transpose(Image.open(path))
    if m.mode in ("I", "F") or m.mode.startswith("I;16"):
        a = np.array(m)
        if m.mode == "I" and m.format in ("PNG", "PPM"):
            a = a.astype(np.uint16)
        return rgb(shown(a))
    return np.array(m.convert("RGB"))


def pil_formats():
    Image.init()
    tiff = [None, "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "group3", "group4", "tiff_ccitt", "jpeg", "tiff_raw_16", "lzma", "zstd", "webp", "tiff_sgilog", "tiff_thunderscan"]
    options = {"TIFF": [{"compression": c} for c in tiff], "WEBP": [{"quality": 60}, {"quality": 95}, {"lossless": True}, {"lossless": True, "exact": True}]}
    skipped = {"PDF", "XBM", "PALM", "MSP", "BUFR", "GRIB", "HDF5", "WMF"}  # no pictures of several values, or none without a plug-in
    ours = {"PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP"}
    for (h, w), form in itertools.product([(23, 37), (1, 1), (2, 5), (48, 64)], sorted(Image.SAVE)):
        if form in skipped:
            continue
        for (mode, image), extra in itertools.product(modes(h, w), options.get(form, [{}])):
            path = os.path.join(folder, f"{form}-{mode.replace(';', '')}-{h}x{w}-{'-'.join(map(str, extra.values()))}.bin")
            try:
                image.save(path, form, **extra)
            except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, SystemError):
                continue
            try:
                want = by_pil(path)
            except Exception:
                want = None
            lossy = mode == "YCbCr" or form in ("JPEG", "MPO") or extra.get("compression") in ("jpeg", "webp") or form == "WEBP" and "quality" in extra
            plain = form in ours and mode in ("1", "L", "RGB", "RGBA", "P", "I;16") and form != "TIFF"
            check(form, path, want, 2 if lossy else 0, must=plain)
            os.remove(path)


def jpegs():
    for (h, w), q, sub, progressive, grey in itertools.product([(1, 1), (3, 2), (17, 33), (31, 16), (64, 64), (75, 101)], [30, 90, 100], ["4:4:4", "4:2:2", "4:2:0", "4:1:1", "4:4:0"], [False, True], [False, True]):
        path = os.path.join(folder, f"jpeg-{h}x{w}-q{q}-{sub.replace(':', '')}-{'p' if progressive else 's'}{'g' if grey else ''}.jpg")
        a = smooth(h, w)
        if sub in ("4:1:1", "4:4:0"):  # OpenCV writes them
            factor = {"4:1:1": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411, "4:4:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440}[sub]
            cv2.imwrite(path, a[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, q, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive), cv2.IMWRITE_JPEG_RST_INTERVAL, 3])
        else:
            m = Image.fromarray(a)
            (m.convert("L") if grey else m).save(path, quality=q, subsampling=sub, progressive=progressive, optimize=grey, **({} if grey else {"restart_marker_blocks": 4 if q == 30 else 0}))
        check("JPEG", path, by_pil(path), 2, must=True)
    for q in (80, 100):
        path = os.path.join(folder, f"rgb-{q}.jpg")
        Image.fromarray(smooth(40, 50)).save(path, quality=q, keep_rgb=True)
        check("JPEG RGB", path, by_pil(path), 2, must=True)
        Image.fromarray(smooth(40, 50)).convert("CMYK").save(path, quality=q)
        check("JPEG CMYK", path, by_pil(path), 2, must=True)


TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_90}  # as ImageOps.exif_transpose


def orientations():
    a = smooth(12, 20)
    m = np.zeros((12, 20), np.uint8)
    m[2:5, 3:14], m[5:9, 3] = 255, 255
    for turn in range(0, 10):
        exif = Image.Exif()
        exif[0x0112] = turn
        for ending, extra in (("jpg", {"quality": 100, "subsampling": 0}), ("png", {}), ("webp", {"lossless": True}), ("tif", {})):
            for kind, array in (("image", a), ("mask", m)):
                path = os.path.join(folder, f"turn-{turn}-{kind}.{ending}")
                if ending == "tif":
                    Image.fromarray(array).save(path, tiffinfo={274: turn})
                else:
                    Image.fromarray(array).save(path, exif=exif, **extra)
                want = np.array(Image.fromarray(array).transpose(TURNS[turn]).convert("RGB") if turn in TURNS else Image.fromarray(array).convert("RGB"))
                check("orientation", path, want[..., 0] >= 128 if kind == "mask" else want, 2 if ending == "jpg" else 0, mask=kind == "mask", must=True)


def stored(a, bits):
    """Values of a depth below 8 as a full byte."""
    return np.floor(a * (255 / (2**bits - 1)) + 0.5).astype(np.uint8)


def tiffs():
    def one(label, array, want, tolerance=0, must=False, **how):
        path = os.path.join(folder, "tiff-" + label + ".tif")
        try:
            tifffile.imwrite(path, array, **how)
        except Exception:
            return
        check("tifffile", path, want, tolerance, must=must)

    grey = smooth(45, 70)[..., 0]
    types = {"u1": grey, "u2": grey.astype(np.uint16) * 16 + 3, "u2-high": grey.astype(np.uint16) + 32768, "u4": grey.astype(np.uint32) * 70000, "i1": (grey // 2).astype(np.int8) - 60, "i2": grey.astype(np.int16) - 100,
             "i4": grey.astype(np.int32) * 900 - 7, "f2": (grey / 9).astype(np.float16), "f4": (grey / 255).astype(np.float32), "f8": grey / 3.0 - 5, "u8": grey.astype(np.uint64) * 5}
    layouts = {"strips": {}, "rows": {"rowsperstrip": 7}, "tiles": {"tile": (16, 32)}}
    for (name, a), (layout, how), compression, predictor, order, big in itertools.product(types.items(), layouts.items(), [None, "lzw", "zlib", "deflate", "packbits", "zstd", "lzma", "lerc", "jpegxl", "png", "webp", "jpeg2000"],
                                                                                         [False, True], "<>", [False, True]):
        if predictor and compression not in ("lzw", "zlib", "deflate", "zstd") or big and compression:
            continue
        one(f"{name}-{layout}-{compression}-{predictor}-{'le' if order == '<' else 'be'}-{big}", a, rgb(shown(a)), compression=compression, predictor=predictor, byteorder=order, bigtiff=big,
            photometric="minisblack", must=compression in (None, "lzw", "zlib", "packbits") and not (predictor and a.dtype.kind == "f" and a.dtype.itemsize == 2), **how)
    colour = smooth(45, 70)
    alpha = smooth(45, 70, 4)
    for (layout, how), compression, planar, deep, order in itertools.product(layouts.items(), [None, "lzw", "zlib", "packbits"], ["contig", "separate"], [False, True], "<>"):
        for label, a in (("rgb", colour), ("rgba", alpha)):
            if deep:
                a = a.astype(np.uint16) * 200
            data = np.moveaxis(a, -1, 0) if planar == "separate" else a
            extra = {"extrasamples": ["unassalpha"]} if label == "rgba" else {}
            want = shown(a[..., :3]) if deep else a[..., :3]
            one(f"{label}-{layout}-{compression}-{planar}-{deep}-{'le' if order == '<' else 'be'}", np.ascontiguousarray(data), want, photometric="rgb", planarconfig=planar, compression=compression,
                predictor=compression in ("lzw", "zlib"), byteorder=order, must=True, **extra, **how)
    for layout, how in layouts.items():
        for photometric, sub in (("rgb", None), ("ycbcr", (1, 1)), ("ycbcr", (2, 2)), ("ycbcr", (2, 1)), ("minisblack", None)):
            path = os.path.join(folder, f"tiffjpeg-{layout}-{photometric}-{sub}.tif")
            a = grey if photometric == "minisblack" else colour
            how = dict(how, rowsperstrip=16) if layout == "rows" else how
            try:
                tifffile.imwrite(path, a, photometric=photometric, compression="jpeg", compressionargs={"level": 90}, subsampling=sub, **how)
                want = by_pil(path)
            except Exception:
                continue
            check("TIFF JPEG", path, want, 2, must=True)
    for bits in (2, 3, 4, 5, 6, 7):
        a = (grey >> (8 - bits)).astype(np.uint8)
        one(f"bits-{bits}", a, rgb(stored(a, bits)), bitspersample=bits, photometric="minisblack")
    for bits in (9, 10, 12, 14):
        a = (grey.astype(np.uint16) << (bits - 8)) + 1
        one(f"bits-{bits}", a, rgb(shown(a)), bitspersample=bits, photometric="minisblack")
    one("miniswhite", grey, rgb(255 - grey), photometric="miniswhite", must=True)
    one("miniswhite16", grey.astype(np.uint16) * 257, rgb(shown(65535 - grey.astype(np.uint16) * 257)), photometric="miniswhite", must=True)
    one("bool", grey > 99, rgb((grey > 99).astype(np.uint8) * 255), photometric="minisblack", must=True)
    one("bool-white", grey > 99, rgb((grey <= 99).astype(np.uint8) * 255), photometric="miniswhite", must=True)
    table = rng.integers(0, 65536, (3, 256)).astype(np.uint16)
    one("palette", grey, (table >> 8).astype(np.uint8).T[grey], photometric="palette", colormap=table, must=True)
    one("cielab", colour, None, photometric="cielab")
    one("cmyk", alpha, np.array(Image.fromarray(alpha, "CMYK").convert("RGB")), photometric="separated", must=True)
    path = os.path.join(folder, "associated.tif")
    tifffile.imwrite(path, np.dstack([(colour.astype(int) * alpha[..., 3:] // 255).astype(np.uint8), alpha[..., 3]]), photometric="rgb", extrasamples=["assocalpha"])
    check("tifffile", path, by_pil(path), must=True)
    one("complex", grey.astype(np.complex64), None)
    one("five", smooth(45, 70, 5), None, photometric="minisblack", planarconfig="contig")
    one("volumetric", np.zeros((4, 32, 32), np.uint8), None, volumetric=True, tile=(4, 32, 32))
    path = os.path.join(folder, "pages.tif")
    tifffile.imwrite(path, np.stack([grey, 255 - grey, grey // 2]), photometric="minisblack")
    check("TIFF pages", path + "#slice=1", rgb(255 - grey), must=True)
    check("TIFF pages", path + "#slice=2&window=0:127", rgb(np.floor(np.clip((grey // 2) * (255 / 127), 0, 255) + 0.5).astype(np.uint8)), must=True)
    if "it has 3 slices" not in str(ask(path)):
        wrong.append("TIFF pages: none was named, and one was read")
    with tifffile.TiffWriter(os.path.join(folder, "pyramid.tif")) as t:
        t.write(colour, photometric="rgb", subifds=1)
        t.write(colour[::2, ::2], photometric="rgb", subfiletype=1)
        t.write(colour[::4, ::4], photometric="rgb", subfiletype=1)
    check("TIFF pyramid", os.path.join(folder, "pyramid.tif"), colour, must=True)


def opencv():
    a = smooth(30, 41, 4).astype(np.uint16) * 200
    for label, b in (("rgb16", a[..., :3]), ("rgba16", a), ("grey16", a[..., 0])):
        for ending in ("png", "tif"):
            path = os.path.join(folder, f"cv-{label}.{ending}")
            cv2.imwrite(path, b if b.ndim == 2 else cv2.cvtColor(b, cv2.COLOR_RGB2BGR if b.shape[-1] == 3 else cv2.COLOR_RGBA2BGRA))
            check("OpenCV", path, rgb(shown(b[..., :3] if b.ndim == 3 else b)), must=True)
    low = (smooth(30, 41)[..., 0] // 8).astype(np.uint16)
    path = os.path.join(folder, "cv-low.png")
    cv2.imwrite(path, low + 40000)
    check("OpenCV", path, rgb(shown(low + 40000)), must=True)
    check("OpenCV", path + "#window=40000:40010", rgb(np.floor(np.clip(low * 25.5, 0, 255) + 0.5).astype(np.uint8)), must=True)


def masks():
    m = np.zeros((19, 26), np.uint8)
    m[3:9, 4:20], m[11:16, 2:9] = 1, 2
    for dtype, scale, ending in itertools.product([np.uint8, np.uint16, np.uint32, np.int16, np.int32, np.float32], [1, 100, 300], ["png", "tif"]):
        a = (m * float(scale)).astype(dtype)
        if (a != m * float(scale)).any():
            continue
        path = os.path.join(folder, f"mask-{np.dtype(dtype).name}-{scale}.{ending}")
        if ending == "tif":
            tifffile.imwrite(path, a)
        elif dtype in (np.uint8, np.uint16):
            Image.fromarray(a).save(path)
        else:
            continue
        check("mask", path, m > 0, mask=True, must=True)
        check("mask", f"{path}#label={2 * scale}", m == 2, mask=True, must=True)
        check("mask", f"{path}#ignore={2 * scale}", m == 1, mask=True, must=True)
    for bits in (1, 2, 4, 8):
        path = os.path.join(folder, f"mask-bits-{bits}.png")
        a = np.minimum(m, 2**bits - 1)
        image = Image.fromarray(a, "P" if bits < 8 else "L")
        if bits < 8:
            image.putpalette(list(range(3 * 2**bits)))
        image.save(path, bits=bits)
        check("mask", path + "#label=1", a == 1, mask=True, must=True)
    voc = Image.fromarray(m, "P")
    voc.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [9] * 759)
    swapped = Image.fromarray(1 - (m > 0).astype(np.uint8), "P")
    swapped.putpalette([255, 255, 255, 0, 0, 0])
    tricky = Image.fromarray(m, "P")
    tricky.putpalette([200, 10, 10, 0, 0, 0, 0, 128, 0])
    for ending in ("png", "gif", "tif", "bmp"):
        for label, image, want, must in (("voc", voc, m > 0, True), ("grey palette", swapped, m > 0, True), ("tricky", tricky, None, False)):
            path = os.path.join(folder, f"mask-{label}.{ending}")
            image.save(path, optimize=False)
            if label == "grey palette" and np.array(Image.open(path).convert("L") if ending != "gif" else Image.open(path).convert("L")).any():
                want = np.array(Image.open(path).convert("L")) > 0
            if label == "tricky" and ending == "gif":
                continue  # the writer orders the palette as it likes
            check("palette mask", path, want, mask=True, must=must)
    on = (m > 0).astype(np.uint8) * 255
    for label, rgba, want in (("black", np.dstack([on * 0, on * 0, on * 0, on]), m > 0), ("white", np.dstack([on * 0 + 255] * 3 + [on]), m > 0), ("red on clear", np.dstack([on, on * 0, on * 0, on]), m > 0),
                              ("opaque", np.dstack([on, on, on, on * 0 + 255]), m > 0), ("contradiction", np.dstack([on * 0 + 255, on, on, 255 - on]), None)):
        for ending in ("png", "tif", "webp"):
            path = os.path.join(folder, f"mask-alpha-{label}.{ending}")
            Image.fromarray(rgba, "RGBA").save(path, **({"lossless": True, "exact": True} if ending == "webp" else {}))
            check("alpha mask", path, want, mask=True, must=want is not None)


def animations():
    frames = [Image.fromarray(np.roll(smooth(20, 30), k * 4, 1)) for k in range(4)]
    for ending, extra in (("gif", {}), ("png", {}), ("webp", {"lossless": True}), ("webp", {"quality": 80})):
        path = os.path.join(folder, f"animated-{len(extra)}.{ending}")
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=50, **extra)
        check("animation", path, np.array(Image.open(path).convert("RGB")), 2 if "quality" in extra else 0, must=True)
        if ending == "gif":
            for k in range(4):
                m = Image.open(path)
                m.seek(k)
                check("animation", f"{path}#slice={k}", np.array(m.convert("RGB")), must=True)
        else:
            check("animation", path + "#slice=2", None)


def percentiles(x):
    step = -(-x.size // (1 << 20))
    x = x.flatten(order="F")[::step].astype(np.float64)
    x = np.sort(x[(x != 0) & np.isfinite(x)])
    return (x[int(0.005 * (len(x) - 1) + 0.5)], x[int(0.995 * (len(x) - 1) + 0.5)]) if len(x) else (0, 0)


def axes():
    """Orientation by quaternion and by matrix, beside nibabel's."""
    from scipy.spatial.transform import Rotation

    for k in range(40):
        affine = np.eye(4)
        affine[:3, :3] = Rotation.random(random_state=k).as_matrix() @ np.diag([1.5, 2, 3 if k % 3 else -3])
        affine[:3, 3] = rng.normal(0, 50, 3)
        path = os.path.join(folder, f"axes-{k}.nii")
        image = (nibabel.Nifti2Image if k % 2 else nibabel.Nifti1Image)(np.ones((3, 4, 5), np.int16), affine)
        image.set_qform(affine, 1)
        image.set_sform(affine, 0 if k % 4 < 2 else 1)
        nibabel.save(image, path)
        want = "as stored, axes " + "".join(nibabel.aff2axcodes(nibabel.load(path).affine))
        r = subprocess.run([BIN, "picture", path + "#slice=0", "-o", os.path.join(folder, "out.png"), "--force", "--json"], capture_output=True, text=True)
        have = json.loads(r.stdout)["orientation"] if r.returncode == 0 else r.stderr
        counts["equal" if have == want else "WRONG"] += 1
        if have != want:
            wrong.append(f"axes {k}: have {have}, want {want}")


def fax():
    """CCITT of noise and lines, wide and narrow."""
    for k, (h, w) in enumerate([(1, 1), (3, 9), (20, 64), (33, 65), (40, 1000), (12, 2561), (7, 5300)] * 3):
        noise = rng.random((h, w)) < (0.5, 0.03, 0.97)[k % 3]
        lines = np.zeros((h, w), bool)
        lines[:: 1 + k % 4, w // 3 :] = True
        for label, a in (("noise", noise), ("lines", lines)):
            for compression, photometric in itertools.product(["group3", "group4"], [0, 1]):
                path = os.path.join(folder, f"fax-{k}-{label}-{compression}-{photometric}.tif")
                Image.fromarray(a).save(path, compression=compression, tiffinfo={262: photometric})
                check("CCITT", path, by_pil(path), must=True)


def volume(path, kind, must=False):
    try:
        image = nibabel.load(path)
        ours = isinstance(image, (nibabel.Nifti1Image, nibabel.Nifti1Pair, nibabel.Nifti2Image, nibabel.Nifti2Pair))
        data = np.asanyarray(image.dataobj)
    except Exception:
        image, ours, data = None, False, None
    if not ours or data.dtype.kind == "c" or data.ndim < 2 or any(n > 1 for n in data.shape[4:]):
        check(kind, path, None)
        return
    if data.dtype.fields:
        data = np.stack([data[c] for c in "RGB"], -1)
    colour = data.dtype == np.uint8 and data.ndim > 3 and data.shape[-1] == 3 and image.get_data_dtype().fields is not None
    spatial = data.shape[:-1] if colour else data.shape
    spatial = tuple(spatial) + (1,) * (4 - len(spatial))
    data = data.reshape(spatial[:4] + ((3,) if colour else ()), order="F") if not colour else data.reshape(spatial[:4] + (3,))
    for t in {0, spatial[3] - 1}:
        for k in {0, spatial[2] // 2}:
            part = ["slice=%d" % k] if spatial[2] > 1 else []
            part += ["volume=%d" % t] if spatial[3] > 1 else []
            plane = data[:, :, k, t]
            if colour:
                want = np.swapaxes(plane, 0, 1)
            else:
                low, high = percentiles(data[..., t])
                x = np.clip((plane.astype(np.float64) - low) * (255 / max(high - low, 1.401298464324817e-45)), 0, 255)
                want = rgb(np.floor(np.nan_to_num(x) + 0.5).astype(np.uint8).T)
            check(kind, path + ("#" + "&".join(part) if part else ""), want, 1 if data.dtype.kind == "f" else 0, must=must)


def nibabels():
    root = os.path.join(os.path.dirname(nibabel.__file__), "tests", "data")
    for name in sorted(os.listdir(root)):
        path = os.path.join(root, name)
        if name.endswith(".dcm"):  # by its window, as scripts/check_dicom.py has more of
            d = pydicom.dcmread(path)
            x = pydicom.pixels.apply_modality_lut(d.pixel_array, d).astype(float)
            center, width = (float(np.atleast_1d(d[k].value)[0]) for k in ("WindowCenter", "WindowWidth"))
            x = np.clip((x - (center - 0.5 - (width - 1) / 2)) * (255 / (width - 1)), 0, 255)
            check("nibabel's files", path, rgb(np.floor(x + 0.5).astype(np.uint8)), must=True)
        elif os.path.isfile(path) and not name.endswith((".py", ".txt", ".m", ".trk", ".tck")):
            volume(path, "nibabel's files")
    data = (rng.normal(200, 90, (13, 9, 5))).astype(np.float32)
    for dtype, ending in itertools.product([np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float32, np.float64], ["nii", "nii.gz", "hdr", "img", "two.nii", "two.img"]):
        two = ending.startswith("two.")
        kind = {"nii": nibabel.Nifti1Image, "nii.gz": nibabel.Nifti1Image, "hdr": nibabel.Nifti1Pair, "img": nibabel.Nifti1Pair, "two.nii": nibabel.Nifti2Image, "two.img": nibabel.Nifti2Pair}[ending]
        path = os.path.join(folder, f"nib-{np.dtype(dtype).name}.{ending}")
        nibabel.save(kind(np.abs(data).clip(0, 120).astype(dtype), np.diag([2, 3, 4, 1]), dtype=dtype), path.replace(".hdr", ".img"))
        volume(path, "nibabel " + ("2" if two else "1"), must=True)
    nibabel.save(nibabel.Nifti1Image(np.stack([data, data * 2], -1), np.eye(4)), os.path.join(folder, "four.nii.gz"))
    volume(os.path.join(folder, "four.nii.gz"), "nibabel 4-D", must=True)
    colour = np.zeros((13, 9, 5), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    for c in "RGB":
        colour[c] = rng.integers(0, 256, colour.shape)
    nibabel.save(nibabel.Nifti1Image(colour, np.eye(4)), os.path.join(folder, "colour.nii"))
    volume(os.path.join(folder, "colour.nii"), "nibabel RGB", must=True)
    nibabel.save(nibabel.Nifti1Image(data.astype(np.complex64), np.eye(4)), os.path.join(folder, "complex.nii"))
    check("nibabel complex", os.path.join(folder, "complex.nii#slice=1"), None)
    with open(os.path.join(folder, "four.nii.gz"), "ab") as f:
        f.write(bytes(4096))
    volume(os.path.join(folder, "four.nii.gz"), "padded gzip", must=True)
    labels = np.zeros((30, 20, 3), np.float32)
    for top in (2, 7, 40, 104):
        labels[:] = rng.integers(0, top + 1, labels.shape)
        for dtype in (np.uint8, np.int16):
            image = nibabel.Nifti1Image(labels, np.eye(4))
            image.set_data_dtype(dtype)
            path = os.path.join(folder, f"labels-{top}-{np.dtype(dtype).name}.nii.gz")
            nibabel.save(image, path)
            for label in (1, top // 2 + 1, top):
                check("scaled labels", f"{path}#slice=1&label={label}", (labels[:, :, 1] == label).T, mask=True, must=True)
    labels[:4] = -1
    nibabel.save(nibabel.Nifti1Image(labels.astype(np.int16), np.eye(4)), os.path.join(folder, "ignore.nii"))
    check("ignored labels", os.path.join(folder, "ignore.nii#slice=1"), (labels[:, :, 1] > 0).T, mask=True, must=True)


os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff says there what it does not write
sys.stderr = sys.stdout
with tempfile.TemporaryDirectory() as folder:
    for part in [globals()[n] for n in sys.argv[2:]] or (pil_formats, jpegs, orientations, tiffs, opencv, masks, animations, fax, axes, nibabels):
        before = counts.copy()
        part()
        print(f"{part.__name__}: {dict(counts - before)}", flush=True)
print("\nrefusals:")
for text, n in sorted(refusals.items(), key=lambda x: -x[1])[:80]:
    print(f"  {n:4d}  {text}")
print("\nlargest difference:", {k: v for k, v in largest.items() if v})
for line in wrong[:60]:
    print("WRONG", line)
print(f"\n{counts['equal']} equal, {counts['refused']} refused by name, {len(wrong)} wrong")
sys.exit(1 if wrong or len(sys.argv) == 2 and counts["equal"] < 1500 else 0)
