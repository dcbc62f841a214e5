package dicomseg

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/suyashkumar/dicom"
	"github.com/suyashkumar/dicom/pkg/tag"

	"syncsam-convert/pictures"
)

const w, h, count = 5, 3, 4

// series writes a folder of slices whose files' names are in another order than their places; change alters a file's attributes.
func series(t *testing.T, change func(z int, d *item)) string {
	t.Helper()
	dir := t.TempDir()
	for z := range count {
		var d item
		uid := fmt.Sprintf("1.2.3.%d", z)
		d.add(tag.MediaStorageSOPClassUID, "1.2.840.10008.5.1.4.1.1.2", tag.MediaStorageSOPInstanceUID, uid, tag.TransferSyntaxUID, explicitLittle,
			tag.SOPClassUID, "1.2.840.10008.5.1.4.1.1.2", tag.SOPInstanceUID, uid, tag.StudyInstanceUID, "1.2.4", tag.SeriesInstanceUID, "1.2.5", tag.FrameOfReferenceUID, "1.2.6",
			tag.PatientName, "Doe^Jane", tag.PatientID, "p1", tag.StudyDate, "20250102", tag.InstanceNumber, fmt.Sprint(count-z),
			tag.ImageOrientationPatient, []string{"0", "1", "0", "0", "0", "-1"}, tag.ImagePositionPatient, []string{fmt.Sprint(-20 - 2.5*float64(z)), "10.125", "33"},
			tag.PixelSpacing, []string{"1.5", "0.75"}, tag.SliceThickness, "2.5", tag.Rows, h, tag.Columns, w, tag.SamplesPerPixel, 1, tag.PhotometricInterpretation, "MONOCHROME2",
			tag.BitsAllocated, 8, tag.BitsStored, 8, tag.HighBit, 7, tag.PixelRepresentation, 0,
			tag.PixelData, dicom.PixelDataInfo{IntentionallyUnprocessed: true, UnprocessedValueData: make([]byte, w*h+1)})
		if change != nil {
			change(z, &d)
		}
		require.NoError(t, d.err)
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%d.dcm", (z*3)%count)))
		require.NoError(t, err)
		require.NoError(t, dicom.Write(f, dicom.Dataset{Elements: d.sorted()}))
		require.NoError(t, f.Close())
	}
	return dir
}

// without takes an attribute away.
func without(tags ...tag.Tag) func(z int, d *item) {
	return func(_ int, d *item) {
		var kept []*dicom.Element
		for _, e := range d.elements {
			keep := true
			for _, t := range tags {
				keep = keep && e.Tag != t
			}
			if keep {
				kept = append(kept, e)
			}
		}
		d.elements = kept
	}
}

// some are masks: of segment 0 on slices 1 and 2, of segment 1 on slice 2, of segment 2 nowhere.
type some struct{}

func (some) Has(segment, z int) bool {
	return segment == 0 && (z == 1 || z == 2) || segment == 1 && z == 2
}

func (s some) Mask(segment, z int) *pictures.Mask {
	m := pictures.NewMask(w, h)
	if s.Has(segment, z) {
		for i := range m.Pix {
			m.Pix[i] = uint8((i + segment + z) % 3 / 2)
		}
	}
	return m
}

func written(t *testing.T, dir string, labels ...string) (dicom.Dataset, error) {
	t.Helper()
	scan, err := pictures.OpenScan(dir)
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), "seg.dcm")
	if err := (Segmentation{Scan: scan, Labels: labels, Masks: some{}, At: 3, Model: "tiny int8", Version: "1", Serial: "abc"}).Write(out); err != nil {
		require.NoFileExists(t, out)
		return dicom.Dataset{}, err
	}
	ds, err := dicom.ParseFile(out, nil, dicom.SkipProcessingPixelDataValue())
	require.NoError(t, err)
	return ds, nil
}

// get is a value below nested sequences, of the items with these numbers.
func get(t *testing.T, elements []*dicom.Element, path ...any) any {
	t.Helper()
	for _, e := range elements {
		if e.Tag == path[0].(tag.Tag) {
			if len(path) == 1 {
				return e.Value.GetValue()
			}
			items := e.Value.GetValue().([]*dicom.SequenceItemValue)
			return get(t, items[path[1].(int)].GetValue().([]*dicom.Element), path[2:]...)
		}
	}
	require.Fail(t, "missing", "%v", path)
	return nil
}

func TestSegmentation(t *testing.T) {
	ds, err := written(t, series(t, nil), "liver", "spleen", "nothing")
	require.NoError(t, err)
	e := ds.Elements
	for k := 1; k < len(e); k++ {
		require.True(t, e[k-1].Tag.Group < e[k].Tag.Group || e[k-1].Tag.Group == e[k].Tag.Group && e[k-1].Tag.Element < e[k].Tag.Element, "%s before %s", e[k-1].Tag, e[k].Tag)
	}
	for want, path := range map[string][]any{
		storage: {tag.SOPClassUID}, "Doe^Jane": {tag.PatientName}, "p1": {tag.PatientID}, "1.2.4": {tag.StudyInstanceUID}, "1.2.6": {tag.FrameOfReferenceUID}, "SEG": {tag.Modality}, "BINARY": {tag.SegmentationType},
		"1.2.5": {tag.ReferencedSeriesSequence, 0, tag.SeriesInstanceUID}, "1.2.3.3": {tag.ReferencedSeriesSequence, 0, tag.ReferencedInstanceSequence, 3, tag.ReferencedSOPInstanceUID},
		"spleen": {tag.SegmentSequence, 1, tag.SegmentLabel}, "2.5": {tag.SharedFunctionalGroupsSequence, 0, tag.PixelMeasuresSequence, 0, tag.SliceThickness},
	} {
		require.Equal(t, []string{want}, get(t, e, path...), path)
	}
	require.Equal(t, []string{"0", "1", "0", "0", "0", "-1"}, get(t, e, tag.SharedFunctionalGroupsSequence, 0, tag.PlaneOrientationSequence, 0, tag.ImageOrientationPatient))
	frames := []struct {
		segment, z, place int
	}{{1, 1, 1}, {1, 2, 2}, {2, 2, 2}, {3, 3, 3}}
	require.Equal(t, []string{"4"}, get(t, e, tag.NumberOfFrames))
	bits := get(t, e, tag.PixelData).(dicom.PixelDataInfo).UnprocessedValueData
	require.Len(t, bits, 8, "60 bits")
	for k, f := range frames {
		at := func(path ...any) any {
			return get(t, e, append([]any{tag.PerFrameFunctionalGroupsSequence, k}, path...)...)
		}
		require.Equal(t, []int{f.segment}, at(tag.SegmentIdentificationSequence, 0, tag.ReferencedSegmentNumber))
		require.Equal(t, []int{f.segment, f.place}, at(tag.FrameContentSequence, 0, tag.DimensionIndexValues))
		// The slices lie along the normal, -x: as they were written.
		require.Equal(t, []string{fmt.Sprintf("1.2.3.%d", f.z)}, at(tag.DerivationImageSequence, 0, tag.SourceImageSequence, 0, tag.ReferencedSOPInstanceUID))
		require.Equal(t, []string{fmt.Sprint(-20 - 2.5*float64(f.z)), "10.125", "33"}, at(tag.PlanePositionSequence, 0, tag.ImagePositionPatient))
		for i, p := range (some{}).Mask(f.segment-1, f.z).Pix {
			n := k*w*h + i
			require.Equal(t, p, bits[n/8]>>(n%8)&1, "frame %d, pixel %d", k, i)
		}
	}
	uid := get(t, e, tag.SOPInstanceUID).([]string)[0]
	require.Equal(t, uid, get(t, e, tag.MediaStorageSOPInstanceUID).([]string)[0])
	require.Regexp(t, `^2\.25\.[1-9][0-9]{0,38}$`, uid)
}

// Images without a place have a segmentation without one; texts keep their character set.
func TestWithoutAFrameOfReference(t *testing.T) {
	ds, err := written(t, series(t, without(tag.FrameOfReferenceUID, tag.PatientID)), "Leber größer")
	require.NoError(t, err)
	require.Equal(t, []string{"ISO_IR 192"}, get(t, ds.Elements, tag.SpecificCharacterSet))
	_, err = ds.FindElementByTag(tag.FrameOfReferenceUID)
	require.Error(t, err)
	_, err = ds.FindElementByTagNested(tag.PlanePositionSequence)
	require.Error(t, err)
	require.Equal(t, []string{"1.2.3.1"}, get(t, ds.Elements, tag.PerFrameFunctionalGroupsSequence, 0, tag.DerivationImageSequence, 0, tag.SourceImageSequence, 0, tag.ReferencedSOPInstanceUID))
	_, err = ds.FindElementByTag(tag.PatientID)
	require.NoError(t, err, "an empty one")
}

func TestRefused(t *testing.T) {
	_, err := written(t, series(t, without(tag.StudyInstanceUID)), "a")
	require.ErrorContains(t, err, "Study Instance UID: missing")
	_, err = written(t, "../testdata/kinds/two.nii.gz", "a")
	require.ErrorContains(t, err, "it is no DICOM")
	latin := series(t, func(_ int, d *item) { d.add(tag.SpecificCharacterSet, "ISO_IR 100") })
	for label, want := range map[string]string{"": "have 0 characters", "a\\b": "without a backslash", "a\nb": "without a backslash", strings.Repeat("x", 65): "have 65 characters", "größer": "ISO_IR 100"} {
		_, err = written(t, latin, label)
		require.ErrorContains(t, err, want)
	}
	_, err = written(t, series(t, func(z int, d *item) { without(tag.PatientID)(z, d); d.add(tag.PatientID, strings.Repeat("x", 70000/2)) }), "a")
	require.ErrorContains(t, err, "Patient ID: have 35000 bytes, want at most 1024")
	for set, want := range map[string]string{"ISO_of 192": "is not known", "\\ISO 2022 IR 87": "", "ISO 2022 IR 6\\ISO 2022 IR 149": "", "ISO_IR 192\\x": "is not known", "GB18030": ""} {
		_, err = written(t, series(t, func(_ int, d *item) { d.add(tag.SpecificCharacterSet, set) }), "a")
		if want == "" {
			require.NoError(t, err, set)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
	_, err = written(t, latin)
	require.ErrorContains(t, err, "have 0 segments")
}

func TestNumbers(t *testing.T) {
	require.Equal(t, []string{"0.75", "-123.45678901235", "1e-07", "0"}, numbers([]float64{0.75, -123.45678901234567, 1e-7, 0}))
	for _, s := range numbers([]float64{1.0 / 3, -1e-9 / 3, 123456789012345.678, -2.0 / 3e30}) {
		require.LessOrEqual(t, len(s), 16)
	}
}

// A mask of DICOM slices as NIfTI lies where they do: left and posterior are right and anterior with the other sign.
func TestNIfTIOfDICOM(t *testing.T) {
	scan, err := pictures.OpenScan(series(t, nil))
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), "m.nii")
	require.NoError(t, scan.WriteNIfTI(out, func(z int) ([]uint8, error) { return some{}.Mask(0, z).Pix, nil }))
	_, facts, err := pictures.Look(out + "#slice=1&window=0:1")
	require.NoError(t, err)
	require.Equal(t, &[2]float64{0.75, 1.5}, facts.Spacing)
	require.Equal(t, "as stored, axes PIR", facts.Orientation) // columns run to the back, rows down, slices to the right: -x of DICOM
	uneven := series(t, func(z int, d *item) {
		if z == 2 {
			without(tag.ImagePositionPatient)(z, d)
			d.add(tag.ImagePositionPatient, []string{"-26", "10.125", "33"})
		}
	})
	scan, err = pictures.OpenScan(uneven)
	require.NoError(t, err)
	require.ErrorContains(t, scan.WriteNIfTI(out, nil), "do not lie evenly")
}

// FuzzSegmentation: whatever an image's attributes are, a segmentation of it is refused, or can be read.
func FuzzSegmentation(f *testing.F) {
	for _, pattern := range []string{"../testdata/dicom/*", "../testdata/volumes/*.dcm"} {
		names, err := filepath.Glob(pattern)
		require.NoError(f, err)
		for _, name := range names {
			if b, err := os.ReadFile(name); err == nil && len(b) < 20000 {
				f.Add(b)
			}
		}
	}
	pictures.MaxPixels, pictures.MaxVolumeBytes = 1<<12, 1<<14
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		path, out := filepath.Join(dir, "in.dcm"), filepath.Join(dir, "seg.dcm")
		require.NoError(t, os.WriteFile(path, content, 0o600))
		scan, err := pictures.OpenScan(path)
		if err != nil || !scan.IsDICOM() {
			return
		}
		w, h := scan.Size()
		if (Segmentation{Scan: scan, Labels: []string{"a", "b"}, Masks: full{w, h}, Model: "m", Version: "1", Serial: "s"}).Write(out) != nil {
			return
		}
		if _, err := dicom.ParseFile(out, nil, dicom.SkipProcessingPixelDataValue()); err != nil {
			t.Fatal(err)
		}
		if _, err := pictures.OpenScan(out); err != nil {
			t.Fatal(err)
		}
	})
}

// full are masks of every pixel of slice 0.
type full struct{ w, h int }

func (f full) Has(_, z int) bool { return z == 0 }
func (f full) Mask(int, int) *pictures.Mask {
	m := pictures.NewMask(f.w, f.h)
	for i := range m.Pix {
		m.Pix[i] = 1
	}
	return m
}
