"""Our reading of pydicom's test files beside pydicom's: check_dicom.py BIN [LIST]. Needs pydicom, pydicom-data, numpy, pillow and
decoders (python-gdcm, pylibjpeg with its plugins).

Every file with pixels is asked of `BIN picture`, and compared with pydicom's pixels after its Modality LUT and VOI LUT (of the frame,
where functional groups have them), within 1 of 255. A file is equal, or refused with the reason that LIST (dicom_refused.txt) gives
for it; any other outcome fails, so a file cannot change sides unseen."""
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings

import data_store
import numpy as np
import pydicom
import pydicom.data
from PIL import Image
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def files():
    """Every file of the two packages that has a pixel attribute and a size: its short name and its path."""
    own = os.path.join(os.path.dirname(pydicom.data.__file__))
    for label, root in (("pydicom", own), ("data", os.path.join(os.path.dirname(data_store.__file__), "data"))):
        for folder, _, names in sorted(os.walk(root)):
            for name in sorted(names):
                path = os.path.join(folder, name)
                try:
                    d = pydicom.dcmread(path, force=True)
                except Exception:
                    continue
                if any(k in d for k in PIXELS) and "Rows" in d:
                    yield label + "/" + os.path.relpath(path, root).replace(os.sep, "/"), path


def group(d, z, sequence):
    """The item of a functional group that holds for frame z."""
    for groups, i in ((d.get("PerFrameFunctionalGroupsSequence"), z), (d.get("SharedFunctionalGroupsSequence"), 0)):
        if groups and groups[i].get(sequence):
            return groups[i][sequence][0]
    return None


def flat(d, z):
    """A data set with what a frame's functional groups say, where pydicom's functions look for it."""
    out = pydicom.Dataset()
    out.file_meta = d.file_meta
    for e in d:
        if e.tag.group in (0x0028, 0x2050):
            out.add(e)
    for sequence in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
        for e in group(d, z, sequence) or []:
            out.add(e)
    return out


def own_range(x, padded):
    """The lowest and the highest value that are no padding."""
    x = x[~padded & np.isfinite(x)].astype(np.float64)
    return (x.min(), x.max()) if x.size else (0.0, 0.0)


def padding(d, pixels):
    if "PixelPaddingValue" not in d:
        return np.zeros(pixels.shape, bool)
    low = d.PixelPaddingValue
    high = d.get("PixelPaddingRangeLimit", low)
    if d.PixelRepresentation == 1:
        low, high = (np.int64(v) - 65536 if v > 32767 else v for v in (low, high))
    return (pixels >= min(low, high)) & (pixels <= max(low, high))


def references(path):
    """Frames as they should look, [row, column, 3] in 0 to 255 without rounding, by their number: all, or first, middle and last."""
    d = pydicom.dcmread(path, force=True)
    if not getattr(d.file_meta, "TransferSyntaxUID", None):
        d.file_meta.TransferSyntaxUID = {
            (True, True): "1.2.840.10008.1.2", (False, True): "1.2.840.10008.1.2.1", (False, False): "1.2.840.10008.1.2.2",
        }[d.original_encoding]
    pixels = d.pixel_array
    n = int(d.get("NumberOfFrames") or 1)
    if n == 1:
        pixels = pixels[None]
    assert len(pixels) == n, f"{len(pixels)} frames, {n} promised"
    if d.PhotometricInterpretation == "PALETTE COLOR":
        for colour in ("Red", "Green", "Blue"):  # pydicom takes words of a big-endian palette for little-endian ones
            e = d.get(colour + "PaletteColorLookupTableData")
            if e and d.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.2" and len(e) == 2 * d.RedPaletteColorLookupTableDescriptor[0]:
                d[colour + "PaletteColorLookupTableData"].value = np.frombuffer(e, ">u2").astype("<u2").tobytes()
        colours = apply_color_lut(pixels, d)
        return n, {z: colours[z].astype(float) * (255 / np.iinfo(colours.dtype).max) for z in range(n)}
    if d.SamplesPerPixel == 3:
        return n, {z: pixels[z].astype(float) * (255 / (2.0**d.BitsStored - 1)) for z in sorted({0, n // 2, n - 1})}
    out, own, frames = {}, None, [flat(d, z) for z in range(n)]
    for z in sorted({0, n // 2, n - 1}):
        f = frames[z]
        x = np.asarray(apply_modality_lut(pixels[z], f))
        if f.get("VOILUTSequence"):
            x = apply_voi_lut(x, f).astype(float) * (255 / (2.0 ** f.VOILUTSequence[0].LUTDescriptor[2] - 1))
        elif "WindowWidth" in f and f.WindowWidth is not None:
            y = apply_voi_lut(x, f)
            signed = f.PixelRepresentation == 1
            low, high = (-(2.0 ** (f.BitsStored - 1)), 2.0 ** (f.BitsStored - 1) - 1) if signed else (0, 2.0**f.BitsStored - 1)
            if f.get("ModalityLUTSequence"):
                low, high = 0, 2.0 ** f.ModalityLUTSequence[0].LUTDescriptor[2] - 1
            slope, inter = float(f.get("RescaleSlope", 1)), float(f.get("RescaleIntercept", 0))
            x = (y - (low * slope + inter)) / ((high - low) * slope) * 255
        elif f.BitsStored <= 8 and f.PixelRepresentation == 0 and np.array_equal(x, pixels[z]):
            x = x.astype(float) * (255 / (2.0**f.BitsStored - 1))
        else:
            if own is None:
                own = own_range(np.stack([apply_modality_lut(p, g) for p, g in zip(pixels, frames)]), padding(d, pixels))
            x = np.clip((x.astype(float) - own[0]) / max(own[1] - own[0], 1e-45), 0, 1) * 255
        if d.PhotometricInterpretation == "MONOCHROME1" or d.get("PresentationLUTShape") == "INVERSE":
            x = 255 - x
        out[z] = np.repeat(x[..., None], 3, axis=2)
    return n, out


def ours(binary, name, folder):
    out = os.path.join(folder, "out.png")
    p = subprocess.run([binary, "picture", name, "-o", out, "--force", "--json"], capture_output=True, text=True)
    if p.returncode:
        return None, p.stderr.strip().splitlines()[-1] if p.stderr.strip() else "no reason"
    return np.asarray(Image.open(out).convert("RGB")).astype(float), json.loads(p.stdout)


def main():
    binary = os.path.abspath(sys.argv[1])
    here = os.path.dirname(os.path.abspath(__file__))
    listed = sys.argv[2] if len(sys.argv) > 2 else os.path.join(here, "..", "pictures", "testdata", "dicom_refused.txt")
    reasons = {}
    for line in open(listed):
        if line.strip() and not line.startswith("#"):
            name, reason = line.rstrip("\n").split("\t")
            reasons[name] = reason
    seen, equal, refused, faults = set(), 0, 0, []
    with tempfile.TemporaryDirectory() as folder:
        for name, path in files():
            seen.add(name)
            try:
                n, want = references(path)
            except Exception as e:
                n, want = 1, {0: str(e)}
            worst, outcome = 0.0, "equal"
            for z, x in want.items():
                m, facts = ours(binary, f"{path}#slice={z}" if n > 1 else path, folder)
                if m is None:
                    outcome = "refused"
                    message = facts.replace(path, "FILE")
                    if name not in reasons or reasons[name] not in message:
                        outcome = "FAULT"
                        faults.append(f"{name}: refused, not as listed: {message}")
                    break
                if isinstance(x, str):
                    outcome = "FAULT"
                    faults.append(f"{name}: read, but pydicom says: {x}")
                    break
                if m.shape != x.shape or facts["slices"] != n:
                    outcome = "FAULT"
                    faults.append(f"{name}: have {m.shape}, {facts['slices']} slices, want {x.shape}, {n}")
                    break
                worst = max(worst, float(np.abs(m - np.floor(np.clip(x, 0, 255) + 0.5)).max()))
            if outcome == "equal":
                if worst > 1:
                    outcome = "FAULT"
                    faults.append(f"{name}: differs by {worst:g} of 255 ({facts['codec']}; {facts['rule']})")
                elif name in reasons:
                    outcome = "FAULT"
                    faults.append(f"{name}: equal, but listed as refused")
            equal, refused = equal + (outcome == "equal"), refused + (outcome == "refused")
            print(f"{name:60} {outcome:8} {worst:4g}  {message if outcome == 'refused' else facts['codec'] + '; ' + facts['rule'] if m is not None else ''}")
    faults += [f"{name}: listed, but not there" for name in sorted(set(reasons) - seen)]
    print(f"{len(seen)} files: {equal} equal, {refused} refused as listed, {len(faults)} faults")
    for fault in faults:
        print("FAULT", fault)
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
