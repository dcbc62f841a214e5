"""Writes pictures/testdata/volumes with nibabel, pydicom and scipy, and what they read back: make_volumes.py FOLDER"""
import io
import json
import os
import sys

import nibabel
import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit, SecondaryCaptureImageStorage
from scipy import sparse

folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)
rng = np.random.default_rng(7)
pictures, masks = {}, {}


def grey(x, window):
    low, high = window
    x = np.clip((x.astype(np.float64) - low) * (255 / (high - low)), 0, 255)
    return np.floor(x + 0.5).astype(int).tolist()


def percentiles(x):
    x = np.sort(x[x != 0].astype(np.float64))
    return x[int(0.005 * (len(x) - 1) + 0.5)], x[int(0.995 * (len(x) - 1) + 0.5)]


# NIfTI: [column, row, slice]; nibabel applies the scale.
ct = rng.integers(-1000, 1500, (14, 11, 4)).astype(np.int16)
image = nibabel.Nifti1Image(ct, np.eye(4))
image.header.set_slope_inter(0.5, -20)
nibabel.save(image, f"{folder}/ct.nii.gz")
scaled = nibabel.load(f"{folder}/ct.nii.gz").get_fdata()
for k in (0, 3):
    pictures[f"ct.nii.gz#slice={k}"] = grey(scaled[:, :, k].T, percentiles(scaled))
    pictures[f"ct.nii.gz#slice={k}&window=-160:240"] = grey(scaled[:, :, k].T, (-160, 240))
labels = rng.integers(0, 4, (14, 11, 4)).astype(np.uint8)
labels[:, :, 1] = 0
nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), f"{folder}/labels.nii.gz")
for k in range(4):
    for label in (1, 2, 3):
        if (labels[:, :, k] == label).any():
            masks[f"labels.nii.gz#slice={k}&label={label}"] = (labels[:, :, k].T == label).astype(int).tolist()
real = rng.normal(100, 30, (9, 8)).astype(">f4")
nibabel.save(nibabel.Nifti1Image(real, np.eye(4), nibabel.Nifti1Header(endianness=">")), f"{folder}/real.nii")
assert open(f"{folder}/real.nii", "rb").read(4) == b"\0\0\1\x5c"
pictures["real.nii"] = grey(real.T, percentiles(real))


def dicom(name, pixels, kind, syntax=ExplicitVRLittleEndian, **fields):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = SecondaryCaptureImageStorage, "1.2.3", syntax
    d = FileDataset(name, {}, file_meta=meta, preamble=b"\0" * 128)
    d.SOPClassUID, d.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    colour = kind in ("RGB", "YBR_FULL_422")
    shape = pixels.shape[:-1] if colour else pixels.shape
    d.Rows, d.Columns, d.SamplesPerPixel, d.PhotometricInterpretation = shape[-2], shape[-1], 3 if colour else 1, kind
    if len(shape) == 3:
        d.NumberOfFrames = shape[0]
    if colour:
        d.PlanarConfiguration = 0
    d.BitsAllocated = 8 * pixels.itemsize
    d.BitsStored, d.PixelRepresentation = d.BitsAllocated, int(pixels.dtype.kind == "i")
    for key, value in fields.items():
        setattr(d, key, value)
    d.HighBit = d.BitsStored - 1
    if syntax == JPEGBaseline8Bit:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "jpeg", quality=90)
        d.PixelData = encapsulate([stream.getvalue()])
        d["PixelData"].is_undefined_length = True
        stream.seek(0)
        pixels = np.asarray(Image.open(stream))
    else:
        d.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    d.save_as(f"{folder}/{name}", enforce_file_format=True)
    return pydicom.dcmread(f"{folder}/{name}").pixel_array if syntax != JPEGBaseline8Bit else pixels


stored = rng.integers(-1024, 2000, (12, 10)).astype(np.int16)
read = dicom("window.dcm", stored, "MONOCHROME2", RescaleSlope=1, RescaleIntercept=-24, WindowCenter=[40, 300], WindowWidth=[400, 1500])
pictures["window.dcm"] = grey(read.astype(float) - 24, (40 - 0.5 - 399 / 2, 40 - 0.5 + 399 / 2))
stored = rng.integers(0, 4096, (12, 10)).astype(np.uint16)
read = dicom("twelve.dcm", stored, "MONOCHROME1", ImplicitVRLittleEndian, BitsStored=12)
low, high = float(read.min()), float(read.max())
pictures["twelve.dcm"] = np.floor(255 - np.clip((read.astype(float) - low) * (255 / (high - low)), 0, 255) + 0.5).astype(int).tolist()
read = dicom("frames.dcm", rng.integers(0, 256, (3, 7, 6)).astype(np.uint8), "MONOCHROME2")
for k in range(3):
    pictures[f"frames.dcm#slice={k}&window=0:255"] = read[k].astype(int).tolist()
read = dicom("colour.dcm", rng.integers(0, 256, (7, 6, 3)).astype(np.uint8), "RGB")
pictures["colour.dcm"] = read.astype(int).tolist()
smooth = np.add.outer(np.arange(16) * 8, np.arange(16) * 5).astype(np.uint8)
read = dicom("jpeg.dcm", smooth, "MONOCHROME2", JPEGBaseline8Bit)
pictures["jpeg.dcm#window=0:255"] = read.astype(int).tolist()

planes = (rng.random((3, 6, 5)) < 0.4).astype(np.int32)
planes[1] = 0
for form in ("csr", "csc", "coo"):
    name = f"{form}.(3, 6, 5, 1).npz"
    sparse.save_npz(f"{folder}/{name}", sparse.csr_matrix(planes.reshape(3, -1)).asformat(form))
    for k in range(3):
        masks[f"{name}#slice={k}"] = sparse.load_npz(f"{folder}/{name}").toarray().reshape(3, 6, 5)[k].tolist()
with open(f"{folder}/expected.json", "w") as f:
    json.dump({"pictures": pictures, "masks": masks}, f, separators=(",", ":"))
