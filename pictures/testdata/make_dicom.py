"""Writes small DICOM files, one for each mechanism that the reader knows, and how they should look by pydicom:
python make_dicom.py dicom. Needs numpy, pydicom, pillow, imagecodecs, pyjpegls and pydicom's decoders (scripts/check_dicom.py)."""
import io
import json
import os
import shutil
import sys

import imagecodecs
import jpeg_ls
import numpy as np
import pydicom.data
from PIL import Image
from pydicom import Dataset, Sequence
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless,
    JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSLossless, JPEGLSNearLossless, JPEGLossless, JPEGLosslessSV1, RLELossless,
)

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "..", "scripts"))
from check_dicom import references  # noqa: E402

folder = sys.argv[1]
shutil.rmtree(folder, ignore_errors=True)
os.makedirs(folder)
rng = np.random.default_rng(11)
pictures, refused = {}, {}
WAVE = 4096 * (np.sin(np.add.outer(np.arange(10) / 3, np.arange(12) / 4)) + 1) / 2.001


def item(**fields):
    d = Dataset()
    for key, value in fields.items():
        setattr(d, key, value)
    return Sequence([d])


def make(pixels, kind="MONOCHROME2", syntax=ExplicitVRLittleEndian, data=None, **fields):
    """A data set of [frame?, row, column, channel?] pixels; data is what Pixel Data holds instead of them."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3", syntax
    d = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128, is_implicit_VR=syntax == ImplicitVRLittleEndian, is_little_endian=syntax != ExplicitVRBigEndian)
    d.SOPClassUID, d.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    colour = kind in ("RGB",) or kind.startswith("YBR")
    shape = pixels.shape[:-1] if colour else pixels.shape
    d.Rows, d.Columns, d.SamplesPerPixel, d.PhotometricInterpretation = *shape[-2:], 3 if colour else 1, kind
    if len(shape) == 3:
        d.NumberOfFrames = shape[0]
    if colour:
        d.PlanarConfiguration = 0
    d.BitsAllocated = 8 * pixels.itemsize
    d.BitsStored, d.PixelRepresentation = d.BitsAllocated, int(pixels.dtype.kind == "i")
    if data is not None:
        d.PixelData = data
        d["PixelData"].is_undefined_length = syntax.is_encapsulated
    elif pixels.dtype.kind != "f":
        raw = pixels.astype(pixels.dtype.newbyteorder(">" if syntax == ExplicitVRBigEndian else "<")).tobytes()
        d.PixelData = raw + b"\0" * (len(raw) % 2)
    d["PixelData" if pixels.dtype.kind != "f" else "Rows"].VR = "OW" if pixels.dtype.kind != "f" else "US"
    for key, value in fields.items():
        setattr(d, key, value)
    if "BitsStored" in fields and "HighBit" not in fields or "HighBit" not in fields:
        d.HighBit = d.BitsStored - 1
    for key in [k for k, v in fields.items() if v is None]:
        delattr(d, key)
    return d


def save(name, d, cut=None, **change):
    path = os.path.join(folder, name)
    d.save_as(path, enforce_file_format=True)
    if cut:
        content = cut(open(path, "rb").read())
        open(path, "wb").write(content)
    return path


def read(name, d, cut=None):
    n, want = references(save(name, d, cut))
    for z, x in want.items():
        key = f"{name}#slice={z}" if n > 1 else name
        pictures[key] = np.floor(np.clip(x, 0, 255) + 0.5).astype(int).tolist()


def refuse(name, words, d, cut=None):
    save(name, d, cut)
    refused[name] = words


def lut(first, bits, entries):
    d = item(LUTDescriptor=[len(entries), first, bits], LUTData=np.asarray(entries, "<u2").tobytes())
    d[0]["LUTDescriptor"].VR, d[0]["LUTData"].VR = "SS" if first < 0 else "US", "OW"
    return d


u8, u16 = (WAVE / 16).astype(np.uint8), WAVE.astype(np.uint16)
i16 = (WAVE - 2048).astype(np.int16)
rgb = np.stack([u8, u8[::-1], u8[:, ::-1]], -1)

# Grey: modality, then VOI.
read("modality_lut.dcm", make(u16, ModalityLUTSequence=lut(100, 16, (np.arange(3900) ** 1.3).astype(int)), WindowCenter=20000, WindowWidth=30000))
read("modality_lut_signed.dcm", make(i16, ModalityLUTSequence=lut(-1000, 16, np.arange(2000) * 2), WindowCenter=2000, WindowWidth=3000))
read("voi_lut.dcm", make(i16, VOILUTSequence=lut(-500, 12, np.arange(1000) ** 2 // 250), WindowCenter=1, WindowWidth=2))
read("voi_lut_8.dcm", make(u8, VOILUTSequence=lut(10, 8, 250 - np.arange(200))))
read("sigmoid.dcm", make(i16, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=40, WindowWidth=900, VOILUTFunction="SIGMOID"))
read("linear_exact.dcm", make(u16, WindowCenter=1500, WindowWidth=7, VOILUTFunction="LINEAR_EXACT"))
read("width_one.dcm", make(u16, WindowCenter=1500, WindowWidth=1))
read("two_windows.dcm", make(i16, WindowCenter=[-200, 300], WindowWidth=[400, 1500]))
read("inverse.dcm", make(u8, PresentationLUTShape="INVERSE"))
read("monochrome1.dcm", make(u16, "MONOCHROME1", BitsStored=12, WindowCenter=2000, WindowWidth=3000, PresentationLUTShape="INVERSE"))
read("padding.dcm", make(np.where(u16 > 3000, -2000, i16).astype(np.int16), PixelPaddingValue=-2000, RescaleSlope=1, RescaleIntercept=-24))
read("padding_range.dcm", make(u16, "MONOCHROME1", PixelPaddingValue=3000, PixelPaddingRangeLimit=4095))
read("high_bits.dcm", make(u16 | 0xF000, BitsStored=12))
read("high_bits_signed.dcm", make(((WAVE - 2048).astype(int) & 0xFFF | 0x5000).astype(np.uint16), BitsStored=12, PixelRepresentation=1, WindowCenter=0, WindowWidth=3000))
read("six_bits.dcm", make(u8 >> 2, BitsStored=6))
read("int32.dcm", make((i16.astype(np.int32) * 70000), WindowCenter=0, WindowWidth=2.0e8))
read("float.dcm", make(WAVE.astype(np.float32) / 1000, FloatPixelData=(WAVE.astype("<f4") / 1000).tobytes(), BitsStored=32, WindowCenter=2, WindowWidth=3, VOILUTFunction="LINEAR_EXACT"))
read("double.dcm", make(WAVE / 1000, DoubleFloatPixelData=(WAVE / 1000).astype("<f8").tobytes(), BitsStored=64, WindowCenter=2, WindowWidth=3, VOILUTFunction="LINEAR_EXACT"))

# Functional groups.
frames = np.stack([i16, i16[::-1], -i16])


def groups(slope, center, **more):
    d = Dataset()
    d.PixelValueTransformationSequence = item(RescaleSlope=slope, RescaleIntercept=-7, RescaleType="US")
    d.FrameVOILUTSequence = item(WindowCenter=center, WindowWidth=800, **more)
    return d


read("shared.dcm", make(frames, SharedFunctionalGroupsSequence=Sequence([groups(1.5, 30, VOILUTFunction="SIGMOID")])))
read("per_frame.dcm", make(frames, RescaleSlope=9, RescaleIntercept=9, SharedFunctionalGroupsSequence=Sequence([Dataset()]),
                           PerFrameFunctionalGroupsSequence=Sequence([groups(z + 1, 100 * z) for z in range(3)])))

# Colour.
palette = {c + "PaletteColorLookupTableDescriptor": [200, 20, 16] for c in ("Red", "Green", "Blue")}
entries = {"Red": np.arange(200) * 300, "Green": 60000 - np.arange(200) * 250, "Blue": (np.arange(200) * 1931) % 65536}
tables = {c + "PaletteColorLookupTableData": e.astype("<u2").tobytes() for c, e in entries.items()}
read("palette.dcm", make(u8, "PALETTE COLOR", **palette, **tables))
eight = {c + "PaletteColorLookupTableDescriptor": [256, 0, 8] for c in ("Red", "Green", "Blue")}
read("palette_8.dcm", make(u8, "PALETTE COLOR", **eight, **{c + "PaletteColorLookupTableData": np.roll(np.arange(256), 9 * i).astype("u1").tobytes() for i, c in enumerate(entries)}))
segments = np.array([0, 3, 10, 20, 5000, 1, 100, 60001, 0, 1, 77, 1, 96, 5], "<u2").tobytes()
read("segmented.dcm", make(u8, "PALETTE COLOR", **palette, **{"Segmented" + c + "PaletteColorLookupTableData": segments for c in entries}))
read("planar.dcm", make(np.stack([rgb, rgb[::-1]]), "RGB", data=np.stack([rgb, rgb[::-1]]).transpose(0, 3, 1, 2).tobytes(), PlanarConfiguration=1))
read("rgb_12.dcm", make((rgb.astype(np.uint16) * 16), "RGB", BitsStored=12))
read("ybr_full.dcm", make(rgb, "YBR_FULL"))
half = rgb.reshape(10, 6, 2, 3)
read("ybr_422.dcm", make(rgb, "YBR_FULL_422", data=np.concatenate([half[..., 0], half[:, :, :1, 1], half[:, :, :1, 2]], -1).tobytes()))

# Layout: bits, byte order, what stands before and behind.
bits = rng.random((3, 5, 7)) < 0.5
packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
read("one_bit.dcm", make(bits.astype(np.uint8), data=packed, BitsAllocated=1, BitsStored=1))
read("big_endian.dcm", make(i16, syntax=ExplicitVRBigEndian, WindowCenter=0, WindowWidth=3000))
odd = u8[:3, :3]
read("big_endian_8.dcm", make(odd, syntax=ExplicitVRBigEndian, data=np.append(odd.reshape(-1), 0).astype("u1").view("<u2").byteswap().tobytes()))
read("deflated.dcm", make(u8, syntax=DeflatedExplicitVRLittleEndian))
read("implicit.dcm", make(i16, syntax=ImplicitVRLittleEndian, VOILUTSequence=lut(-500, 12, np.arange(1000) * 4)))
read("IM000001", make(u8, syntax=ImplicitVRLittleEndian), cut=lambda b: b[b.index(b"\x08\x00\x16\x00"):])
read("1.2.3.IMA", make(i16, syntax=ExplicitVRBigEndian, WindowCenter=0, WindowWidth=3000), cut=lambda b: b[b.index(b"\x00\x08\x00\x16UI"):])
read("trailing.dcm", make(u8), cut=lambda b: b + b"\0" * 300)


# Compression.
def rle(frame):
    """A frame as [row, column, channel]; every run as it comes, and rows of literals."""
    size = frame.itemsize
    raw = np.ascontiguousarray(frame, frame.dtype.newbyteorder(">")).view("u1").reshape(frame.shape[0], -1, frame.shape[2], size)
    parts = []
    for c in range(frame.shape[2]):
        for byte in range(size):
            out = bytearray()
            for row in raw[:, :, c, byte]:
                i = 0
                while i < len(row):
                    run = 1
                    while i + run < len(row) and row[i + run] == row[i]:
                        run += 1
                    out += bytes([257 - run, row[i]]) if run > 1 else bytes([0, row[i]])
                    i += run
            parts.append(bytes(out + b"\0" * (len(out) % 2)))
    offsets = np.cumsum([64] + [len(p) for p in parts])[:-1]
    return np.array([len(parts), *offsets, *[0] * (15 - len(parts))], "<u4").tobytes() + b"".join(parts)


def bitstream(codes):
    """Bits as a JPEG scan's bytes."""
    text = "".join(codes)
    text += "1" * (-len(text) % 8)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8)).replace(b"\xff", b"\xff\0")


def lossless(x, bits, predictor, point=0, restart=0):
    """JPEG process 14 of one component; all categories have codes of five bits. restart counts rows."""
    h, w = x.shape
    x = x.astype(int) >> point
    scan, codes, interval = b"", [], 0
    for r in range(h):
        first = r == 0
        if restart and r and r % restart == 0:
            scan += bitstream(codes) + bytes([0xFF, 0xD0 + interval % 8])
            codes, interval, first = [], interval + 1, True
        for c in range(w):
            a, b = x[r, c - 1], x[r - 1, c]
            d = x[r - 1, c - 1]
            if first:
                p = a if c else 1 << (bits - point - 1)
            elif c == 0:
                p = b
            else:
                p = [a, b, d, a + b - d, a + ((b - d) >> 1), b + ((a - d) >> 1), (a + b) >> 1][predictor - 1]
            e = ((x[r, c] - p + 32768) & 0xFFFF) - 32768
            if e == -32768:
                codes.append(f"{16:05b}")
                continue
            n = int(abs(e)).bit_length()
            codes.append(f"{n:05b}" + (f"{e if e > 0 else e + (1 << n) - 1:0{n}b}" if n else ""))
    scan += bitstream(codes)

    def segment(mark, b):
        return bytes([0xFF, mark]) + (len(b) + 2).to_bytes(2, "big") + b

    huffman = bytes([0, 0, 0, 0, 0, 17]) + bytes(11) + bytes(range(17))
    return (
        b"\xff\xd8" + segment(0xC3, bytes([bits, *h.to_bytes(2, "big"), *w.to_bytes(2, "big"), 1, 1, 0x11, 0])) + segment(0xC4, huffman)
        + (segment(0xDD, (restart * w).to_bytes(2, "big")) if restart else b"")
        + segment(0xDA, bytes([1, 1, 0, predictor, 0, point])) + scan + b"\xff\xd9"
    )


def compressed(pixels, syntax, streams, kind="MONOCHROME2", **fields):
    return make(pixels, kind, syntax, encapsulate(streams), **fields)


window = {"WindowCenter": 0, "WindowWidth": 3000}
read("rle.dcm", compressed(np.stack([i16, -i16]), RLELossless, [rle(x[..., None]) for x in (i16, -i16)], **window))
read("rle_rgb.dcm", compressed(rgb, RLELossless, [rle(rgb)], "RGB"))
for p in range(1, 8):
    x = (i16 if p % 2 else i16[::-1]).astype(np.int16)
    read(f"lossless_{p}.dcm", compressed(x, JPEGLosslessSV1 if p == 1 else JPEGLossless, [lossless(x.view(np.uint16), 16, p)], **window))
read("lossless_restart.dcm", compressed(u16, JPEGLossless, [lossless(u16, 12, 4, restart=3)], BitsStored=12, WindowCenter=2000, WindowWidth=3000))
read("lossless_point.dcm", compressed(u16, JPEGLossless, [lossless(u16, 12, 1, point=2)], BitsStored=12, WindowCenter=2000, WindowWidth=3000))
read("lossless_rgb.dcm", compressed(rgb, JPEGLosslessSV1, [imagecodecs.jpeg8_encode(rgb, lossless=True, predictor=1, colorspace="RGB", outcolorspace="RGB")], "RGB"))
read("extended.dcm", compressed(u16, JPEGExtended12Bit, [imagecodecs.jpeg8_encode(u16, level=95, bitspersample=12)], BitsStored=12, WindowCenter=2000, WindowWidth=4000))


def baseline(x, **options):
    stream = io.BytesIO()
    Image.fromarray(x).save(stream, "jpeg", quality=90, **options)
    return stream.getvalue()


read("baseline.dcm", compressed(u8, JPEGBaseline8Bit, [baseline(u8, restart_marker_blocks=1)]))
read("baseline_420.dcm", compressed(rgb, JPEGBaseline8Bit, [baseline(rgb, subsampling="4:2:0")], "YBR_FULL_422"))
read("baseline_jfif_rgb.dcm", compressed(rgb, JPEGBaseline8Bit, [baseline(rgb, subsampling="4:4:4")], "RGB"))  # the stream is YBR
read("jpegls.dcm", compressed(i16, JPEGLSLossless, [bytes(jpeg_ls.encode_array(i16.view(np.uint16)))], **window))
read("jpegls_near.dcm", compressed(u8, JPEGLSNearLossless, [bytes(jpeg_ls.encode_array(u8, 2))]))
read("jpegls_past.dcm", compressed(u16 // 4, JPEGLSNearLossless, [bytes(jpeg_ls.encode_array(u16 // 4 + np.uint16(2), 3))], BitsStored=10, WindowCenter=500, WindowWidth=1200))
read("jpegls_rgb.dcm", compressed(rgb, JPEGLSLossless, [bytes(jpeg_ls.encode_array(rgb, interleave_mode=2))], "RGB"))

# Fragments.
streams = [baseline(x) for x in (u8, u8[::-1], u8[:, ::-1])]
stack = np.stack([u8, u8[::-1], u8[:, ::-1]])
split = lambda with_table: encapsulate(streams, fragments_per_frame=3, has_bot=with_table)  # noqa: E731
read("offset_table.dcm", make(stack, syntax=JPEGBaseline8Bit, data=split(True)))
read("no_offset_table.dcm", make(stack, syntax=JPEGBaseline8Bit, data=split(False)))
read("one_frame.dcm", make(u8, syntax=JPEGBaseline8Bit, data=encapsulate(streams[:1], fragments_per_frame=4, has_bot=False)))
data, offsets, lengths = encapsulate_extended(streams)
read("extended_offset_table.dcm", make(stack, syntax=JPEGBaseline8Bit, data=data, ExtendedOffsetTable=offsets, ExtendedOffsetTableLengths=lengths))

# A file that is TIFF, too, without what the pixels mean.
head = b"II*\0\x08\0\0\0" + np.array([1, 256, 4, 8, 0, 0], "<u2").tobytes()
read("tiff_too", make(u8, "MONOCHROME1"), cut=lambda b: head + b[len(head):])

# Other people's files.
for name in ("JPEGLSNearLossless_08", "JPEGLSNearLossless_16", "SC_rgb_small_odd_big_endian", "SC_rgb_small_odd_jpeg", "rtdose_rle_1frame"):
    path = os.path.join(folder, f"pydicom_{name}.dcm")
    shutil.copyfile(os.path.join(os.path.dirname(pydicom.data.__file__), "test_files", name + ".dcm"), path)
    pictures[os.path.basename(path)] = np.floor(references(path)[1][0] + 0.5).astype(int).tolist()

# A series: names, instance numbers and positions in three orders. The slices run against the order of their numbers.
os.makedirs(os.path.join(folder, "series"))
for name, instance, z in (("IM3", 1, 30.0), ("IM1", 2, 10.0), ("IM2", 3, -20.0)):
    save(os.path.join("series", name), make(u8 // 4 + np.uint8(z + 20), ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[5, 5, z],
                                            InstanceNumber=instance, SeriesInstanceUID="1.2.3.4"))
for k, z in enumerate((-20, 10, 30)):
    pictures[f"series#slice={k}"] = np.repeat((u8 // 4 + np.uint8(z + 20))[..., None], 3, 2).astype(int).tolist()

# Refusals.
j2k = lambda uid: make(u8, syntax=uid, data=encapsulate([b"\xff\x4f\xff\x51"]))  # noqa: E731
refuse("x_jpeg2000.dcm", "JPEG 2000 Lossless", j2k(JPEG2000Lossless))
refuse("x_photometric.dcm", 'Photometric Interpretation: have "HSV"', make(rgb, "RGB", PhotometricInterpretation="HSV"))
refuse("x_partial.dcm", 'Photometric Interpretation: have "YBR_PARTIAL_422"', make(rgb, "YBR_PARTIAL_422"))
refuse("x_no_photometric.dcm", "Photometric Interpretation: missing", make(u8, PhotometricInterpretation=None))
refuse("x_no_rows.dcm", "Rows: missing", make(u8, Rows=None))
refuse("x_samples.dcm", "Samples per Pixel: have 2", make(u16, BitsAllocated=8, BitsStored=8, SamplesPerPixel=2))
refuse("x_allocated.dcm", "Bits Allocated: have 12", make(u16, BitsAllocated=12, BitsStored=12))
refuse("x_stored.dcm", "Bits Stored: have 12", make(u8, BitsStored=12))
refuse("x_high_bit.dcm", "High Bit: have 3", make(u8, HighBit=3))
refuse("x_planar.dcm", "Planar Configuration: have 2", make(rgb, "RGB", PlanarConfiguration=2))
refuse("x_short.dcm", "Pixel Data: the file is cut short", make(u8, data=u8.tobytes()[:-2]))
refuse("x_more.dcm", "more frames than the 1", make(u8, data=u8.tobytes() * 2))
refuse("x_no_pixels.dcm", "Pixel Data: missing", make(u8, PixelData=None))
refuse("x_function.dcm", 'VOI LUT Function: have "CUBIC"', make(u16, WindowCenter=1, WindowWidth=2, VOILUTFunction="CUBIC"))
refuse("x_width.dcm", "Window Width: have 0", make(u16, WindowCenter=1, WindowWidth=0))
refuse("x_slope.dcm", "Rescale Intercept: missing", make(u16, RescaleSlope=2))
refuse("x_slope_0.dcm", "Rescale Slope: have 0", make(u16, RescaleSlope=0, RescaleIntercept=0))
refuse("x_shape.dcm", 'Presentation LUT Shape: have "LIN OD"', make(u16, PresentationLUTShape="LIN OD"))
refuse("x_lut.dcm", "Modality LUT Sequence: LUT Data: have 8 bytes", make(u16, ModalityLUTSequence=item(LUTDescriptor=[100, 0, 16], LUTData=b"12345678")))
refuse("x_palette.dcm", "Blue Palette Color Lookup Table Data: missing", make(u8, "PALETTE COLOR", **palette, **{**tables, "BluePaletteColorLookupTableData": None}))
refuse("x_indirect.dcm", "indirect segments", make(u8, "PALETTE COLOR", **palette, **{"Segmented" + c + "PaletteColorLookupTableData": np.array([0, 1, 5, 2, 1, 0, 0], "<u2").tobytes() for c in entries}))
refuse("x_odd_422.dcm", "Columns: have 11", make(rgb[:, :11], "YBR_FULL_422"))
refuse("x_full_422.dcm", "is Photometric Interpretation YBR_FULL or RGB?", make(rgb, "YBR_FULL_422"))
refuse("x_groups.dcm", "Per-Frame Functional Groups Sequence: have 2 items for 3 frames", make(frames, PerFrameFunctionalGroupsSequence=Sequence([groups(1, 0)] * 2)))
refuse("x_fragments.dcm", "have 7 fragments for 3 frames", make(stack[..., None], "RGB", RLELossless, encapsulate([rle(u8[..., None])] * 7, has_bot=False), Rows=10, Columns=12, NumberOfFrames=3, SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2"))
refuse("x_size.dcm", "have 12 x 10 pixels, want the 12 x 9", compressed(u8, JPEGBaseline8Bit, streams[:1], Rows=9))
refuse("x_sign.dcm", "where the sign is cannot be told", compressed(i16, JPEGLossless, [lossless(u16, 12, 1)], **window))
adobe = lambda transform: lambda b: b.replace(b"\xff\xe0\x00\x10JFIF\x00", b"\xff\xee\x00\x10Adobe").replace(b"Adobe\x01\x01\x00\x00\x01\x00\x01\x00\x00", b"Adobe\x00\x64\x00\x00\x00\x00" + bytes([transform]) + b"\x00\x00")  # noqa: E731
full = [baseline(rgb, subsampling="4:4:4")]
refuse("x_adobe_ybr.dcm", "an Adobe marker for YBR, want colours as in Photometric Interpretation RGB", compressed(rgb, JPEGBaseline8Bit, full, "RGB"), adobe(1))
refuse("x_adobe_rgb.dcm", "an Adobe marker for RGB", compressed(rgb, JPEGBaseline8Bit, full, "YBR_FULL"), adobe(0))
refuse("x_subsampled.dcm", "components of several sizes", compressed(rgb, JPEGBaseline8Bit, [baseline(rgb, subsampling="4:2:0")], "RGB"), lambda b: b.replace(b"JFIF", b"JFXX"))
refuse("x_too_many_bits.dcm", "have a sample of 4", compressed(u16, JPEGLossless, [lossless(u16 + np.uint16(200), 13, 1)], BitsStored=12))
refuse("x_segments.dcm", "have 1 segments, want 2", compressed(i16, RLELossless, [rle(u8[..., None])]))
refuse("x_progressive.dcm", "it is progressive", compressed(u8, JPEGBaseline8Bit, [baseline(u8, progressive=True)]))
refuse("x_real.dcm", "Bits Allocated: have 16", make(u16, FloatPixelData=WAVE.astype("<f4").tobytes(), PixelData=None))
refuse("x_deflated.dcm", "deflated data set", make(u8, syntax=DeflatedExplicitVRLittleEndian), cut=lambda b: b[:-30])

with open(os.path.join(folder, "expected.json"), "w") as f:
    json.dump({"pictures": {k: [[p if len(set(p)) > 1 else p[0] for p in row] for row in v] for k, v in pictures.items()}, "refused": refused}, f, separators=(",", ":"))
