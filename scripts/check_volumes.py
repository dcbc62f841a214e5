"""`run` on volumes beside nibabel, pydicom and highdicom: check_volumes.py BIN ARTIFACT. Needs numpy, nibabel, pydicom, highdicom, pillow; takes dciodvfy
(Debian's dicom3tools) where there is one.

A phantom with a known object lies in NIfTI files of every orientation of the axes (48), oblique ones, both versions and byte orders, and in DICOM series
and multi-frame files. A box on one slice is propagated. The mask's geometry must be the volume's to the bit; each of its slices what `run` gives for that
slice alone by the box that carried there; the object must be found where it is (no axis swapped or turned). DICOM segmentations must open in pydicom and
highdicom, with frames that refer to the images of their places, in the volume's voxels. Prints the Dice coefficient of each slice.
"""
import glob
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings

import highdicom
import nibabel
import numpy as np
import pydicom
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

warnings.simplefilter("ignore")
program, artifact = sys.argv[1:3]
W, H, D, AT = 60, 48, 12, 5
rng = np.random.default_rng(5)


def call(*args, fails=None):
    p = subprocess.run([program, *map(str, args)], capture_output=True, text=True)
    if fails is not None:
        assert p.returncode == 2 and fails in p.stderr, (args, p.returncode, p.stderr)
        return None
    assert p.returncode == 0, (args, p.stderr)
    return json.loads(p.stdout) if "--json" in args else p.stdout


def dice(a, b):
    return 2 * (a & b).sum() / max(a.sum() + b.sum(), 1)


def phantom():
    """Voxels [column, row, slice] of an object that no flip or transposition leaves in its place, and where it is."""
    x, y, z = np.mgrid[0:W, 0:H, 0:D]
    inside = ((x - 20 - z) / 12) ** 2 + ((y - 16) / 7) ** 2 < 1 - ((z - AT) / 9) ** 2
    body = ((x - 30) / 28) ** 2 + ((y - 24) / 22) ** 2 < 1
    return (40 * body + 130 * inside + rng.normal(20, 5, inside.shape)).clip(0, 255).astype(np.int16), inside


def box_of(mask):
    x, y = np.nonzero(mask)
    return f"{x.min()},{y.min()},{x.max() + 1},{y.max() + 1}"


voxels, known = phantom()
box = box_of(known[:, :, AT])
nearby = range(AT - 4, AT + 5)  # slices on which the object is large enough for a mask to tell anything


def judge(name, found, least=0.75):
    scores = [dice(found[:, :, z], known[:, :, z]) for z in range(D)]
    assert np.mean([scores[z] for z in nearby]) >= least, (name, np.round(scores, 2))
    return scores


def orientations():
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            a = np.zeros((4, 4))
            for column, (row, sign, size) in enumerate(zip(axes, signs, (0.7, 1.3, 4.0))):
                a[row, column] = sign * size
            a[:, 3] = 12.5, -30.25, 7, 1
            yield a
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    a = np.eye(4)
    a[:3, :3], a[:3, 3] = turn * (0.7, 1.3, 4.0), (1.1, 2.2, 3.3)
    yield a
    a = np.eye(4)
    a[:3, :3] = turn @ [[0.7, 0.1, 0], [0, 1.3, 0.2], [0, 0, 4]]  # sheared: a qform cannot say it
    yield a


def nifti(folder):
    kinds = [(nibabel.Nifti1Image, "<"), (nibabel.Nifti1Image, ">"), (nibabel.Nifti2Image, "<"), (nibabel.Nifti2Image, ">")]
    scores, n = None, 0
    for k, affine in enumerate(orientations()):
        kind, order = kinds[k % 4]
        end = (".nii", ".nii.gz")[k // 4 % 2]
        data = voxels[..., None] if k % 5 == 4 else voxels  # a fourth axis of one
        image = kind(data, affine, kind.header_class(endianness=order))
        image.set_sform(affine, k % 3)  # 0: the qform alone
        if k < 48:
            image.set_qform(affine, 1 + k % 2)
        image.header.set_xyzt_units("mm", "sec")
        image.header.set_dim_info(1, 0, 2)
        source, out = f"{folder}/v{end}", f"{folder}/m{('.nii.gz', '.nii')[k % 2]}"
        nibabel.save(image, source)
        report = call("run", artifact, "--image", f"{source}#slice={AT}", "--box", box, "--slices", "all", "--propagate", "-o", out, "--json")
        a, m = nibabel.load(source), nibabel.load(out)
        assert type(a) is type(m) and a.header.endianness == m.header.endianness and a.shape == m.shape, (k, m.shape)
        for field in ("dim", "pixdim", "xyzt_units", "dim_info", "qform_code", "sform_code", *[f"quatern_{c}" for c in "bcd"], *[f"qoffset_{c}" for c in "xyz"], *[f"srow_{c}" for c in "xyz"]):
            assert np.array_equal(a.header[field], m.header[field]), (k, field, a.header[field], m.header[field])
        assert np.array_equal(a.affine, m.affine) and a.header.get_zooms() == m.header.get_zooms() and m.get_data_dtype() == np.uint8
        assert nibabel.aff2axcodes(a.affine) == nibabel.aff2axcodes(m.affine)
        found = np.asarray(m.dataobj).reshape(W, H, D)
        assert set(np.unique(found)) == {0, 1}
        have, n = judge(k, found == 1), n + 1
        assert scores is None or scores == have, "the same voxels in another orientation"
        scores = have
        assert [r["pixels"] for r in report["masks"]] == [int(found[:, :, r["slice"]].sum()) for r in report["masks"]]
        if k % 12:
            continue
        for r in report["masks"]:  # each slice is what it is alone
            call("run", artifact, "--image", f"{source}#slice={r['slice']}", "--box", ",".join(f"{v:g}" for v in r["prompt_box"]), "-o", f"{folder}/one.png")
            assert np.array_equal(np.array(Image.open(f"{folder}/one.png")).T > 0, found[:, :, r["slice"]] == 1), (k, r)
    print(f"NIfTI: {n} geometries equal to the bit (48 orientations, oblique, sheared; NIfTI-1 and -2, both byte orders, packed or not)")
    print("  DSC per slice, box on slice", AT, "propagated:", " ".join(f"{z}:{s:.3f}" for z, s in enumerate(scores)))


def nibabels(folder):
    """nibabel's own test files: other programs' headers; of a file of several volumes one."""
    done = []
    for path in sorted(glob.glob(os.path.join(os.path.dirname(nibabel.__file__), "tests/data/*.nii*"))):
        a = nibabel.load(path)
        if len(a.shape) not in (3, 4) or "dconn" in path:  # surfaces: no slices
            continue
        several = len(a.shape) == 4 and a.shape[3] > 1
        w, h, d = a.shape[:3]
        name = f"{path}#slice={d // 2}" + ("&volume=1" if several else "")
        call("run", artifact, "--image", name, "--box", f"{w // 4},{h // 4},{w - w // 4},{h - h // 4}", "--slices", f"{d // 2 - 1}:{d // 2 + 1}", "--propagate", "-o", f"{folder}/m.nii.gz")
        m = nibabel.load(f"{folder}/m.nii.gz")
        assert type(m) is type(a) and m.shape == (a.shape[:3] if several else a.shape), (path, m.shape)
        assert np.array_equal(a.affine, m.affine) and a.header.get_zooms()[:3] == m.header.get_zooms()[:3], path
        for field in ("xyzt_units", "qform_code", "sform_code"):
            assert a.header[field] == m.header[field], (path, field)
        call("run", artifact, "--image", name, "--box", f"{w // 4},{h // 4},{w - w // 4},{h - h // 4}", "-o", f"{folder}/one.png")
        found = np.asarray(m.dataobj).reshape(w, h, d)
        assert np.array_equal(np.array(Image.open(f"{folder}/one.png")).T > 0, found[:, :, d // 2] > 0), path
        done.append(os.path.basename(path))
    assert len(done) >= 5, done
    print("nibabel's files:", ", ".join(done))


def ct(z, orientation, position, **fields):
    """One CT slice of the phantom."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = "1.2.840.10008.5.1.4.1.1.2", generate_uid(), ExplicitVRLittleEndian
    d = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    d.SOPClassUID, d.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    d.PatientName, d.PatientID, d.PatientBirthDate, d.PatientSex, d.Modality, d.SeriesNumber = "Möller^Zoë", "p-1", "19700102", "F", "CT", 4
    d.SpecificCharacterSet, d.StudyDate, d.StudyTime, d.StudyID, d.AccessionNumber, d.ReferringPhysicianName = "ISO_IR 100", "20250102", "101112", "7", "A1", ""
    d.InstanceNumber, d.ImageOrientationPatient, d.ImagePositionPatient, d.PixelSpacing, d.SliceThickness = D - z, [float(f"{v:.9g}") for v in orientation], [float(f"{v:.9g}") for v in position], [1.3, 0.7], 4
    d.Rows, d.Columns, d.SamplesPerPixel, d.PhotometricInterpretation, d.PositionReferenceIndicator = H, W, 1, "MONOCHROME2", ""
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation, d.RescaleSlope, d.RescaleIntercept = 16, 16, 15, 1, 1, 0
    d.PixelData = np.ascontiguousarray(voxels[:, :, z].T).astype("<i2").tobytes()
    for k, v in fields.items():
        setattr(d, k, v)
    return d


def valid(name, path):
    if shutil.which("dciodvfy"):
        p = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
        errors = [line for line in p.stderr.splitlines() if line.startswith("Error")]
        assert not errors, (name, errors)


def judged_seg(name, path, sources, frames_of=1):
    """Opens a segmentation and checks its references against the images (pydicom datasets in the order of the volume's slices)."""
    seg = highdicom.seg.segread(path)
    plain = pydicom.dcmread(path)
    plain.pixel_array
    first = sources[0]
    for field in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "StudyDate", "AccessionNumber"):
        assert str(plain.get(field, "")) == str(first.get(field, "")), (name, field, plain.get(field))
    referenced = plain.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == first.SeriesInstanceUID
    assert {i.ReferencedSOPInstanceUID for i in referenced.ReferencedInstanceSequence} == {s.SOPInstanceUID for s in sources}
    by_uid = {s.SOPInstanceUID: s for s in sources}
    for f in plain.PerFrameFunctionalGroupsSequence:
        source = f.DerivationImageSequence[0].SourceImageSequence[0]
        image = by_uid[source.ReferencedSOPInstanceUID]
        assert source.ReferencedSOPClassUID == image.SOPClassUID
        place = image
        if frames_of > 1:
            place = image.PerFrameFunctionalGroupsSequence[int(source.ReferencedFrameNumber) - 1].PlanePositionSequence[0]
        if "FrameOfReferenceUID" in image:
            assert np.allclose(f.PlanePositionSequence[0].ImagePositionPatient, place.ImagePositionPatient, atol=1e-6), name
    valid(name, path)
    return seg, plain


def series(folder):
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    planes = {"axial": ((1, 0, 0), (0, 1, 0)), "coronal": ((1, 0, 0), (0, 0, -1)), "sagittal": ((0, 1, 0), (0, 0, -1)), "turned": ((-1, 0, 0), (0, -1, 0)), "oblique": (turn[0], turn[1])}
    scores = None
    for name, (row, column) in planes.items():
        shutil.rmtree(f"{folder}/series", ignore_errors=True)
        os.mkdir(f"{folder}/series")
        normal = np.cross(row, column)
        uids = dict(StudyInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid(), FrameOfReferenceUID=generate_uid())
        files = [ct(z, [*row, *column], np.array([-20, 10.5, 33]) + 4.0 * z * normal, **uids) for z in range(D)]
        for z, d in enumerate(files):
            d.save_as(f"{folder}/series/{(z * 5) % D:02d}", enforce_file_format=True)
        ask = ["run", artifact, "--image", f"{folder}/series#slice={AT}", "--slices", "all", "--propagate", "--prompt", f"box={box}&name=the object", "--prompt", "box=40,30,50,40&label=5"]
        call(*ask, "-o", f"{folder}/seg.dcm")
        call(*ask, "-o", f"{folder}/m.nii.gz")
        seg, plain = judged_seg(name, f"{folder}/seg.dcm", files)
        pixels = seg.get_pixels_by_source_instance([d.SOPInstanceUID for d in files], assert_missing_frames_are_empty=True)  # slice, row, column, segment
        found = pixels.transpose(2, 1, 0, 3)
        have = judge(name, found[..., 0] > 0)
        assert scores is None or scores == have
        scores = have
        labels = np.where(found[..., 1] > 0, 5, found[..., 0])
        m = nibabel.load(f"{folder}/m.nii.gz")
        assert np.array_equal(np.asarray(m.dataobj), labels), name
        # highdicom's geometry beside the NIfTI's: the world place of each voxel of the object, LPS to RAS.
        volume = seg.get_volume(segment_numbers=[1])
        voxel = np.argwhere(np.asarray(volume.array).reshape(volume.spatial_shape) > 0)
        there = {tuple(np.round(p, 2) + 0.0) for p in (volume.affine @ np.c_[voxel, np.ones(len(voxel))].T)[:3].T * (-1, -1, 1)}
        mine = np.argwhere(found[..., 0] > 0)
        assert there == {tuple(np.round(p, 2) + 0.0) for p in (m.affine @ np.c_[mine, np.ones(len(mine))].T)[:3].T} or name == "oblique", name
        if name == "oblique":
            a, b = np.array(sorted(there)), np.array(sorted(map(tuple, (m.affine @ np.c_[mine, np.ones(len(mine))].T)[:3].T)))
            assert len(a) == len(b) and np.abs(a.mean(0) - b.mean(0)).max() < 0.01 and np.abs(a.std(0) - b.std(0)).max() < 0.01
    print(f"DICOM series: {len(planes)} planes, segmentations of 2 segments equal to the NIfTI masks, in highdicom's geometry, each frame of its image")
    print("  DSC per slice:", " ".join(f"{z}:{s:.3f}" for z, s in enumerate(scores)))
    call(*ask, "-o", f"{folder}/series/seg.dcm", fails="would lie among the files of the series")


def multiframe(folder):
    """An enhanced CT of many frames, and one without a frame of reference."""
    d = ct(0, (1, 0, 0, 0, 1, 0), (0, 0, 0), StudyInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid(), FrameOfReferenceUID=generate_uid())
    d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    for field in ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "SliceThickness"):
        delattr(d, field)
    d.NumberOfFrames, d.PixelData = D, np.ascontiguousarray(voxels.transpose(2, 1, 0)).astype("<i2").tobytes()

    def sequence(**fields):
        s = Dataset()
        for k, v in fields.items():
            setattr(s, k, v)
        return pydicom.Sequence([s])

    d.SharedFunctionalGroupsSequence = sequence(PixelMeasuresSequence=sequence(PixelSpacing=[1.3, 0.7], SliceThickness=4), PlaneOrientationSequence=sequence(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]))
    d.PerFrameFunctionalGroupsSequence = pydicom.Sequence([sequence(PlanePositionSequence=sequence(ImagePositionPatient=[1, 2, 4.0 * z]))[0] for z in range(D)])
    d.save_as(f"{folder}/multi.dcm", enforce_file_format=True)
    ask = ["--slices", "all", "--propagate", "--box", box, "-o", f"{folder}/seg.dcm"]
    call("run", artifact, "--image", f"{folder}/multi.dcm#slice={AT}", *ask)
    seg, plain = judged_seg("multi-frame", f"{folder}/seg.dcm", [d], D)
    frames = lambda plain: [int(f.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber) for f in plain.PerFrameFunctionalGroupsSequence]
    before = frames(plain)
    pixels = seg.get_pixels_by_source_frame(d.SOPInstanceUID, range(1, D + 1), assert_missing_frames_are_empty=True, combine_segments=False)
    judge("multi-frame", pixels[..., 0].transpose(2, 1, 0) > 0)
    del d.FrameOfReferenceUID
    d.save_as(f"{folder}/multi.dcm", enforce_file_format=True)
    call("run", artifact, "--image", f"{folder}/multi.dcm#slice={AT}", *ask)
    plain = pydicom.dcmread(f"{folder}/seg.dcm")
    valid("without a frame of reference", f"{folder}/seg.dcm")
    assert frames(plain) == before and "PlanePositionSequence" not in plain.PerFrameFunctionalGroupsSequence[0] and "FrameOfReferenceUID" not in plain
    print("DICOM of many frames: each frame of the segmentation refers to its frame; without a frame of reference it has no places")


def others(folder):
    """pydicom's own test files of one image or several frames."""
    done = []
    for name in ("CT_small.dcm", "MR_small.dcm", "rtdose.dcm", "examples_ybr_color.dcm", "ExplVR_BigEnd.dcm", "examples_overlay.dcm"):
        path = get_testdata_file(name, download=False)
        if path is None:
            continue
        source = pydicom.dcmread(path)
        at = 0 if int(source.get("NumberOfFrames") or 1) == 1 else 1
        ask = ["run", artifact, "--image", f"{path}#slice={at}", "--box", f"3,3,{source.Columns // 2},{source.Rows // 2}"]
        call(*ask, "-o", f"{folder}/one.png")
        call(*ask, "-o", f"{folder}/seg.dcm")
        plain = pydicom.dcmread(f"{folder}/seg.dcm")
        assert np.array_equal(plain.pixel_array > 0, np.array(Image.open(f"{folder}/one.png")) > 0), name
        reference = plain.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID and int(reference.get("ReferencedFrameNumber", 1)) == at + 1
        assert plain.LossyImageCompression == ("01" if name == "examples_ybr_color.dcm" else "00"), name
        highdicom.seg.segread(f"{folder}/seg.dcm")
        if name != "ExplVR_BigEnd.dcm":  # whose study's date is of another standard
            valid(name, f"{folder}/seg.dcm")
        done.append(name)
    assert len(done) >= 5, done
    print("pydicom's files, segmentations of", ", ".join(done))


with tempfile.TemporaryDirectory() as folder:
    nifti(folder)
    nibabels(folder)
    series(folder)
    multiframe(folder)
    others(folder)
