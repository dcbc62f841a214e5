// Package dicomseg writes masks of DICOM images as DICOM Segmentation objects (PS3.3 A.51): binary, one segment an object, with references to the
// images that they are of.
package dicomseg

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"io"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/suyashkumar/dicom"
	"github.com/suyashkumar/dicom/pkg/tag"

	"syncsam-convert/internal/output"
	"syncsam-convert/pictures"
	"syncsam-convert/pictures/internal/dcm"
)

// A Segmentation is what a file says: masks of objects on slices of a volume that was read from DICOM.
type Segmentation struct {
	Scan   *pictures.Scan
	Labels []string // of the segments, which count from 1
	Masks  Masks
	At     int // slice of the frame of a segment without a pixel
	// What made the masks: the model's name, the program's version, and what tells one model's file from another's.
	Model, Version, Serial string
}

// Masks are those of segments (from 0) on slices; Has reports whether one has a pixel.
type Masks interface {
	Has(segment, z int) bool
	Mask(segment, z int) *pictures.Mask
}

const (
	storage        = "1.2.840.10008.5.1.4.1.1.66.4"              // Segmentation Storage
	explicitLittle = "1.2.840.10008.1.2.1"                       // Explicit VR Little Endian
	implementation = "2.25.154719317701669403561761151526713298" // this program
	maker          = "syncsam-convert"
	maxLabel       = 64 // characters of a segment's label (LO)
	maxText        = 1 << 10
	maxPixels      = 1<<32 - 16 // bytes of an element
)

// A frame is a mask that the file has.
type frame struct{ segment, z int }

// Write writes the file. A segment without a pixel has one frame, of slice At, so that the file says that nothing was found. Errors name the
// file at fault.
func (s Segmentation) Write(path string) error {
	all, err := s.Scan.Instances()
	if err != nil {
		return err
	}
	if err := s.check(all); err != nil {
		return fmt.Errorf("%s: %w", s.Scan.Path(), err)
	}
	ds, err := s.dataset(all, s.frames(len(all)), time.Now())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return output.File(path, func(w io.Writer) error { return dicom.Write(w, ds) })
}

// check refuses images that cannot be referred to, and labels that cannot be written.
func (s Segmentation) check(all []pictures.Instance) error {
	if len(all) == 0 {
		return fmt.Errorf("it is no DICOM, whose segmentation a .dcm is; want .nii, .nii.gz or .png")
	}
	for _, i := range all {
		for _, t := range []dcm.Tag{dcm.SOPClassUID, dcm.SOPInstanceUID, dcm.SeriesInstanceUID, dcm.StudyInstanceUID} {
			if i.Text(t) == "" {
				return fmt.Errorf("%s: missing: a segmentation must refer to it; write .nii.gz or .png", t)
			}
		}
	}
	for _, t := range slices.Concat(copied, copiedIfThere, []dcm.Tag{dcm.SpecificCharacterSet, dcm.FrameOfReferenceUID, dcm.PositionReferenceIndicator}) {
		if n := len(text(all[0], t)); n > maxText {
			return fmt.Errorf("%s: have %d bytes, want at most %d", t, n, maxText)
		}
	}
	if set := text(all[0], dcm.SpecificCharacterSet); !charsets.MatchString(set) {
		return fmt.Errorf("%s: have %q, which is not known; write .nii.gz or .png", dcm.SpecificCharacterSet, set)
	}
	if w, h := s.Scan.Size(); int64(len(s.frames(len(all))))*int64(w)*int64(h)/8 > maxPixels {
		return fmt.Errorf("have %d masks of %d x %d pixels, which are more than a DICOM file can hold", len(s.frames(len(all))), w, h)
	}
	if len(s.Labels) < 1 || len(s.Labels) > 1<<16-1 {
		return fmt.Errorf("have %d segments, want 1 to 65535", len(s.Labels))
	}
	for _, l := range s.Labels {
		if l == "" || len([]rune(l)) > maxLabel || strings.ContainsFunc(l, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f }) {
			return fmt.Errorf("label %q: have %d characters, want 1 to %d without a backslash", l, len([]rune(l)), maxLabel)
		}
		if strings.ContainsFunc(l, func(r rune) bool { return r > '~' }) && characters(all[0]) != utf8 {
			return fmt.Errorf("label %q: have letters beyond ASCII, want none beside the images' %s %s", l, dcm.SpecificCharacterSet, characters(all[0]))
		}
	}
	return nil
}

// utf8 is the character set of texts that no image has set another for.
const utf8 = "ISO_IR 192"

// charsets are the character sets that there are (PS3.3 C.12.1.1.2), one or several of them by a backslash.
var charsets = regexp.MustCompile(`^(ISO_IR (100|101|109|110|144|127|126|138|148|203|13|166|192)|GB18030|GBK|(ISO 2022 IR (6|100|101|109|110|144|127|126|138|148|203|13|166|87|159|149|58))?(\\ISO 2022 IR \d+)*)$`)

// characters are the images' Specific Character Set; where there is none and all their texts are ASCII, UTF-8.
func characters(i pictures.Instance) string {
	if i.Has(dcm.SpecificCharacterSet) {
		return text(i, dcm.SpecificCharacterSet)
	}
	for _, c := range copied {
		if strings.ContainsFunc(text(i, c), func(r rune) bool { return r > '~' }) {
			return "none"
		}
	}
	return utf8
}

// text is an attribute's value as it is stored, all of several.
func text(i pictures.Instance, t dcm.Tag) string {
	b, _ := i.Bytes(t)
	return strings.Trim(string(b), " \x00")
}

// frames lists the masks with a pixel, by segment and slice.
func (s Segmentation) frames(slices int) (out []frame) {
	for k := range s.Labels {
		before := len(out)
		for z := range slices {
			if s.Masks.Has(k, z) {
				out = append(out, frame{k, z})
			}
		}
		if len(out) == before {
			out = append(out, frame{k, s.At})
		}
	}
	return out
}

// copied are the attributes of patient, study and frame of reference that the file shares with its images; absent ones are empty.
var copied = []dcm.Tag{dcm.StudyDate, dcm.StudyTime, dcm.AccessionNumber, dcm.ReferringPhysicianName, dcm.PatientName, dcm.PatientID, dcm.PatientBirthDate,
	dcm.PatientSex, dcm.StudyInstanceUID, dcm.StudyID}

// copiedIfThere are those that are left out where the images have none.
var copiedIfThere = []dcm.Tag{dcm.StudyDescription, dcm.IssuerOfPatientID, dcm.PatientAge}

// An item collects elements; the first that cannot be made is its error.
type item struct {
	elements []*dicom.Element
	err      error
}

// add takes tags and values in turns: text, int, []int or items of a sequence.
func (d *item) add(pairs ...any) {
	for i := 0; i < len(pairs); i += 2 {
		t, v := pairs[i].(tag.Tag), pairs[i+1]
		switch x := v.(type) {
		case string:
			v = []string{x}
		case int:
			v = []int{x}
		case []item:
			var list [][]*dicom.Element
			for _, one := range x {
				d.err = cmp.Or(d.err, one.err)
				list = append(list, one.sorted())
			}
			v = list
		}
		e, err := dicom.NewElement(t, v)
		if err != nil {
			d.err = cmp.Or(d.err, fmt.Errorf("%s: %w", t, err))
			continue
		}
		d.elements = append(d.elements, e)
	}
}

// sorted are the elements as a file has them: by tag.
func (d item) sorted() []*dicom.Element {
	slices.SortFunc(d.elements, func(a, b *dicom.Element) int {
		return cmp.Or(cmp.Compare(a.Tag.Group, b.Tag.Group), cmp.Compare(a.Tag.Element, b.Tag.Element))
	})
	return d.elements
}

// of is an item of these elements.
func of(pairs ...any) item {
	var d item
	d.add(pairs...)
	return d
}

// code is a sequence of one coded concept.
func code(value, scheme, meaning string) []item {
	return []item{of(tag.CodeValue, value, tag.CodingSchemeDesignator, scheme, tag.CodeMeaning, meaning)}
}

// dataset is all that the file says.
func (s Segmentation) dataset(all []pictures.Instance, frames []frame, now time.Time) (dicom.Dataset, error) {
	first, uid := all[0], newUID()
	w, h := s.Scan.Size()
	var d item
	d.add(tag.FileMetaInformationVersion, []byte{0, 1}, tag.MediaStorageSOPClassUID, storage, tag.MediaStorageSOPInstanceUID, uid, tag.TransferSyntaxUID, explicitLittle,
		tag.ImplementationClassUID, implementation, tag.ImplementationVersionName, "SYNCSAM_CONVERT")
	d.add(tag.SOPClassUID, storage, tag.SOPInstanceUID, uid)
	if set := characters(first); set != "none" {
		d.add(tag.SpecificCharacterSet, set)
	}
	for _, t := range copied {
		d.add(tagOf(t), text(first, t))
	}
	for _, t := range copiedIfThere {
		if first.Has(t) {
			d.add(tagOf(t), text(first, t))
		}
	}
	date, clock := now.Format("20060102"), now.Format("150405")
	d.add(tag.Modality, "SEG", tag.SeriesInstanceUID, newUID(), tag.SeriesNumber, "1000", tag.SeriesDescription, "Segmentation", tag.SeriesDate, date, tag.SeriesTime, clock,
		tag.Manufacturer, maker, tag.ManufacturerModelName, s.Model, tag.DeviceSerialNumber, s.Serial, tag.SoftwareVersions, s.Version)
	d.add(tag.InstanceNumber, "1", tag.ContentDate, date, tag.ContentTime, clock, tag.ContentLabel, "SEGMENTATION", tag.ContentDescription, "", tag.ContentCreatorName, "",
		tag.ImageType, []string{"DERIVED", "PRIMARY"}, tag.LossyImageCompression, map[bool]string{false: "00", true: "01"}[slices.ContainsFunc(all, func(i pictures.Instance) bool { return i.Lossy })], tag.SegmentationType, "BINARY",
		tag.SegmentsOverlap, map[bool]string{false: "NO", true: "UNDEFINED"}[len(s.Labels) > 1])
	d.add(tag.SamplesPerPixel, 1, tag.PhotometricInterpretation, "MONOCHROME2", tag.NumberOfFrames, strconv.Itoa(len(frames)), tag.Rows, h, tag.Columns, w,
		tag.BitsAllocated, 1, tag.BitsStored, 1, tag.HighBit, 0, tag.PixelRepresentation, 0)
	if thickness(all) > 0 {
		d.add(tag.FrameOfReferenceUID, text(first, dcm.FrameOfReferenceUID), tag.PositionReferenceIndicator, text(first, dcm.PositionReferenceIndicator))
	} else {
		d.add(tag.PatientOrientation, []string{}) // not known
	}
	d.add(tag.SegmentSequence, s.segments(), tag.ReferencedSeriesSequence, []item{references(all)})
	s.groups(&d, all, frames)
	d.add(tag.PixelData, dicom.PixelDataInfo{IntentionallyUnprocessed: true, UnprocessedValueData: s.pixels(frames, w, h)})
	return dicom.Dataset{Elements: d.sorted()}, d.err
}

// segments say what each object is: made by a model that somebody prompted. What it is in anatomy nobody told.
func (s Segmentation) segments() (out []item) {
	for k, label := range s.Labels {
		out = append(out, of(tag.SegmentNumber, k+1, tag.SegmentLabel, label, tag.SegmentAlgorithmType, "SEMIAUTOMATIC", tag.SegmentAlgorithmName, maker+" "+s.Model,
			tag.SegmentedPropertyCategoryCodeSequence, code("85756007", "SCT", "Tissue"), tag.SegmentedPropertyTypeCodeSequence, code("85756007", "SCT", "Tissue")))
	}
	return out
}

// references list the images' objects, each once, in their series.
func references(all []pictures.Instance) item {
	var list []item
	seen := map[string]bool{}
	for _, i := range all {
		if !seen[i.SOPInstance] {
			seen[i.SOPInstance] = true
			list = append(list, of(tag.ReferencedSOPClassUID, i.SOPClass, tag.ReferencedSOPInstanceUID, i.SOPInstance))
		}
	}
	return of(tag.SeriesInstanceUID, all[0].Text(dcm.SeriesInstanceUID), tag.ReferencedInstanceSequence, list)
}

// thickness is that of the slices in mm, 0 where their places are not known: then the file has none, and refers to the images alone. Readers want a
// thickness; where the images do not say theirs it is the way from one slice to the next.
func thickness(all []pictures.Instance) float64 {
	for _, i := range all {
		if !i.Has(dcm.FrameOfReferenceUID) || i.Position == nil || i.Orientation == nil || i.Spacing == nil {
			return 0
		}
	}
	for _, x := range []float64{all[0].Thickness, all[0].Between} {
		if x > 0 {
			return x
		}
	}
	if len(all) == 1 {
		return 0
	}
	a, b := all[0].Position, all[1].Position
	return math.Sqrt((a[0]-b[0])*(a[0]-b[0]) + (a[1]-b[1])*(a[1]-b[1]) + (a[2]-b[2])*(a[2]-b[2]))
}

// groups adds the functional groups: what holds for all frames, where each lies and which image it is of.
func (s Segmentation) groups(d *item, all []pictures.Instance, frames []frame) {
	thick := thickness(all)
	spatial := thick > 0
	var shared item
	if spatial {
		measures := of(tag.PixelSpacing, numbers(all[0].Spacing), tag.SliceThickness, numbers([]float64{thick}))
		if x := all[0].Between; x > 0 {
			measures.add(tag.SpacingBetweenSlices, numbers([]float64{x}))
		}
		shared.add(tag.PixelMeasuresSequence, []item{measures}, tag.PlaneOrientationSequence, []item{of(tag.ImageOrientationPatient, numbers(all[0].Orientation))})
	}
	var used []int
	for _, f := range frames {
		used = append(used, f.z)
	}
	slices.Sort(used)
	used = slices.Compact(used)
	var each []item
	for _, f := range frames {
		i, place := all[f.z], slices.Index(used, f.z)+1
		source := of(tag.ReferencedSOPClassUID, i.SOPClass, tag.ReferencedSOPInstanceUID, i.SOPInstance, tag.SpatialLocationsPreserved, "YES",
			tag.PurposeOfReferenceCodeSequence, code("121322", "DCM", "Source image for image processing operation"))
		if i.Frames > 1 {
			source.add(tag.ReferencedFrameNumber, strconv.Itoa(i.Frame+1))
		}
		group := of(tag.FrameContentSequence, []item{of(tag.StackID, "1", tag.InStackPositionNumber, place, tag.DimensionIndexValues, []int{f.segment + 1, place})},
			tag.SegmentIdentificationSequence, []item{of(tag.ReferencedSegmentNumber, f.segment+1)},
			tag.DerivationImageSequence, []item{of(tag.DerivationCodeSequence, code("113076", "DCM", "Segmentation"), tag.SourceImageSequence, []item{source})})
		if spatial {
			group.add(tag.PlanePositionSequence, []item{of(tag.ImagePositionPatient, numbers(i.Position))})
		}
		each = append(each, group)
	}
	d.add(tag.SharedFunctionalGroupsSequence, []item{shared}, tag.PerFrameFunctionalGroupsSequence, each)
	organization := newUID()
	index := func(pointer, group tag.Tag, label string) item {
		return of(tag.DimensionOrganizationUID, organization, tag.DimensionIndexPointer, []int{int(pointer.Group), int(pointer.Element)},
			tag.FunctionalGroupPointer, []int{int(group.Group), int(group.Element)}, tag.DimensionDescriptionLabel, label)
	}
	second := index(tag.InStackPositionNumber, tag.FrameContentSequence, "In-Stack Position Number")
	if spatial {
		second = index(tag.ImagePositionPatient, tag.PlanePositionSequence, "Image Position (Patient)")
	}
	d.add(tag.DimensionOrganizationSequence, []item{of(tag.DimensionOrganizationUID, organization)},
		tag.DimensionIndexSequence, []item{index(tag.ReferencedSegmentNumber, tag.SegmentIdentificationSequence, "Segment Number"), second})
}

// pixels packs the masks, a bit each, the first in the lowest bit; frames follow each other without a gap.
func (s Segmentation) pixels(frames []frame, w, h int) []byte {
	n := (len(frames)*w*h + 7) / 8
	out := make([]byte, n+n%2)
	for k, f := range frames {
		at := k * w * h
		for i, p := range s.Masks.Mask(f.segment, f.z).Pix {
			out[(at+i)/8] |= p << ((at + i) % 8)
		}
	}
	return out
}

// numbers writes decimal strings, which have at most 16 characters.
func numbers(x []float64) (out []string) {
	for _, v := range x {
		s := strconv.FormatFloat(v, 'g', -1, 64)
		for digits := 15; len(s) > 16; digits-- {
			s = strconv.FormatFloat(v, 'g', digits, 64)
		}
		out = append(out, s)
	}
	return out
}

func tagOf(t dcm.Tag) tag.Tag { return tag.Tag{Group: uint16(t >> 16), Element: uint16(t)} }

// newUID makes an identifier that nobody else makes: 2.25 and 128 random bits (PS3.5 B.2), those of a version 4 UUID.
func newUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return "2.25." + new(big.Int).SetBytes(b[:]).String()
}
