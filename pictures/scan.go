package pictures

import (
	"fmt"
	"math"

	"syncsam-convert/pictures/internal/dcm"
)

// A Scan is an opened volume, or a picture as a volume of one slice: each slice is a picture, and masks of slices go back into its voxels.
type Scan struct {
	path string
	part Part
	v    *volume
}

// OpenScan opens what a name means (SplitName): all slices of a volume, whichever the name names, or the one picture. Errors name the file.
func OpenScan(name string) (*Scan, error) {
	path, part, err := SplitName(name)
	if err != nil {
		return nil, err
	}
	v, err := open(path, part)
	if err != nil {
		return nil, err
	}
	if v.onlyLabels {
		return nil, named(path, errOnlyLabels)
	}
	s := &Scan{path, part, v}
	if _, err := chosen(volumeKey, part.Volume, max(v.n, 1)); err != nil {
		return nil, named(path, err)
	}
	if part.Slice != nil && v.frames <= 1 { // of several frames the reader chose
		if _, err := chosen(sliceKey, part.Slice, v.d); err != nil {
			return nil, named(path, err)
		}
	}
	return s, nil
}

// Size is that of a slice, in pixels as shown.
func (s *Scan) Size() (w, h int) {
	f := s.v.describe()
	return f.Width, f.Height
}

// Slices is how many slices the volume has; 1 of a picture, also where it is one of several frames.
func (s *Scan) Slices() int { return s.v.d }

// Slice is the slice that the name names; ok is false where it names none. A picture is its own slice 0, whichever frame it is.
func (s *Scan) Slice() (z int, ok bool) {
	if s.part.Slice == nil || s.v.d == 1 {
		return 0, s.v.d == 1
	}
	return *s.part.Slice, true
}

// Picture is slice z as preprocessing gets it. Errors name the file.
func (s *Scan) Picture(z int) (*Image, error) {
	p := s.part
	if s.v.frames <= 1 {
		p.Slice = &z
	}
	m, _, err := s.v.picture(p)
	return m, named(s.path, err)
}

// IsNIfTI and IsDICOM say what the volume was read from; a picture is neither.
func (s *Scan) IsNIfTI() bool { return s.v.header != nil }
func (s *Scan) IsDICOM() bool { return len(s.v.dicom) > 0 }

// Path is the file or folder.
func (s *Scan) Path() string { return s.path }

// An Instance is the DICOM object that a slice is of; Frame counts from 0, and Frames is how many the object has.
type Instance struct {
	*dcm.Dataset
	Frame, Frames               int
	Position, Orientation       []float64 // Image Position and Orientation (Patient), nil where the file does not say
	Spacing                     []float64 // Pixel Spacing: between rows, between columns, mm
	Thickness, Between          float64   // Slice Thickness, Spacing Between Slices in mm; 0 where the file does not say
	Lossy                       bool      // pixels were compressed with loss, as far as they were decoded or the file says so
	SOPClass, SOPInstance, Name string
}

// Instances are the DICOM objects of the slices, in the order of the slices; none where the volume is not DICOM. Errors name the file.
func (s *Scan) Instances() ([]Instance, error) {
	var out []Instance
	for _, f := range s.v.dicom {
		i, err := f.instance()
		if err != nil {
			return nil, named(s.path, err)
		}
		out = append(out, i)
	}
	return out, nil
}

// A dicomFrame is a slice's frame of a file.
type dicomFrame struct {
	*dicomFile
	z int
}

func (f dicomFrame) instance() (i Instance, err error) {
	i = Instance{Dataset: f.Dataset, Frame: f.z, Frames: f.frames, Lossy: f.lossy || f.Text(dcm.LossyImageCompression) == "01", SOPClass: f.Text(dcm.SOPClassUID), SOPInstance: f.Text(dcm.SOPInstanceUID)}
	numbers := func(t, group dcm.Tag, want int) (x []float64) {
		if err == nil {
			x, err = f.numbersAt(f.z, t, group)
		}
		if len(x) != want {
			return nil
		}
		return x
	}
	if own, failed := f.group(f.z, dcm.PlanePositionSequence); f.frames == 1 || failed == nil && own != nil { // else it is the first frame's, as of a dose
		i.Position = numbers(dcm.ImagePosition, dcm.PlanePositionSequence, 3)
	}
	i.Orientation = numbers(dcm.ImageOrientation, dcm.PlaneOrientationSequence, 6)
	i.Spacing = numbers(dcm.PixelSpacing, dcm.PixelMeasuresSequence, 2)
	for t, to := range map[dcm.Tag]*float64{dcm.SliceThickness: &i.Thickness, dcm.SpacingBetweenSlices: &i.Between} {
		if x := numbers(t, dcm.PixelMeasuresSequence, 1); x != nil {
			*to = math.Abs(x[0])
		}
	}
	return i, err
}

// dicomAffine maps column, row and slice of DICOM objects to millimetres right, anterior, superior (DICOM counts left, posterior, superior). Slices
// that do not lie evenly along one line have none.
func (s *Scan) dicomAffine() (*[3][4]float64, error) {
	all, err := s.Instances()
	if err != nil {
		return nil, err
	}
	for z, i := range all {
		if i.Position == nil || i.Orientation == nil || i.Spacing == nil {
			return nil, fmt.Errorf("%s: slice %d: %s, %s or %s is missing: NIfTI cannot say where its voxels lie; write a .dcm", s.path, z, dcm.ImagePosition, dcm.ImageOrientation, dcm.PixelSpacing)
		}
	}
	first, last := all[0], all[len(all)-1]
	var a [3][4]float64
	step := [3]float64{}
	for r := range 3 {
		if len(all) > 1 {
			step[r] = (last.Position[r] - first.Position[r]) / float64(len(all)-1)
			continue
		}
		o, n := first.Orientation, (r+1)%3
		step[r] = (o[n]*o[3+(r+2)%3] - o[(r+2)%3]*o[3+n]) * above0(first.Between, first.Thickness, 1)
	}
	length := math.Sqrt(step[0]*step[0] + step[1]*step[1] + step[2]*step[2])
	for z, i := range all {
		off := 0.0
		for r := range 3 {
			off = max(off, math.Abs(first.Position[r]+float64(z)*step[r]-i.Position[r]))
		}
		if !(length > 0) || off > length/50+1e-3 {
			return nil, fmt.Errorf("%s: its slices do not lie evenly along one line (slice %d is %.3g mm off), which NIfTI cannot say: write a .dcm", s.path, z, off)
		}
	}
	for r := range 3 {
		sign := 1.0
		if r < 2 {
			sign = -1
		}
		a[r] = [4]float64{sign * first.Orientation[r] * first.Spacing[1], sign * first.Orientation[3+r] * first.Spacing[0], sign * step[r], sign * first.Position[r]}
	}
	return &a, nil
}

// above0 is the first of some numbers that is above 0.
func above0(x ...float64) float64 {
	for _, v := range x {
		if v > 0 {
			return v
		}
	}
	return 0
}
