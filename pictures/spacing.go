package pictures

import (
	"math"

	"syncsam-convert/pictures/internal/dcm"
)

// spacing is the width and height of a pixel as shown, in mm; nil where the file does not say, or says what no pixel is.
func (v *volume) spacing() *[2]float64 {
	var s [2]float64
	switch {
	case v.affine != nil:
		for c := range s {
			s[c] = math.Sqrt(v.affine[0][c]*v.affine[0][c] + v.affine[1][c]*v.affine[1][c] + v.affine[2][c]*v.affine[2][c])
		}
	case v.pixel != nil:
		s = *v.pixel
	}
	for _, x := range s {
		if !(x >= 1e-6 && x <= 1e6) {
			return nil
		}
	}
	if v.turn > 4 {
		s[0], s[1] = s[1], s[0]
	}
	return &s
}

// spacing reads a DICOM file's pixel spacing, which is the height and then the width; nil where there is none.
func (d *dicomFile) spacing() *[2]float64 {
	s, err := d.numbersOf(dcm.PixelSpacing, dcm.PixelMeasuresSequence)
	if err != nil || len(s) != 2 {
		return nil // no picture is refused for it
	}
	return &[2]float64{s[1], s[0]}
}
