// Package metrics scores a predicted mask against the true one: overlap, distance of the contours, size.
package metrics

import (
	"fmt"
	"math"

	"syncsam-convert/pictures"
)

// A Spacing is the width and height of a pixel, in millimetres for example; the zero value means that distances are in pixels.
type Spacing struct{ X, Y float64 }

func (s Spacing) orPixels() Spacing {
	if s == (Spacing{}) {
		return Spacing{1, 1}
	}
	return s
}

func (s Spacing) check() error {
	for _, v := range []float64{s.X, s.Y} {
		if !(v >= 1e-6 && v <= 1e6) {
			return fmt.Errorf("spacing: have %g x %g, want a width and a height from 1e-6 to 1e6", s.X, s.Y)
		}
	}
	return nil
}

// Values are the scores of one prediction. NaN is "undefined"; which score is undefined when is said at each function.
type Values struct {
	DSC, IoU       float64
	HD95           float64 // in units of the spacing
	NSD            float64 // 0 to 1
	AreaDifference float64 // signed, in squared units
	AreaRatio      float64 // AreaDifference / true area
}

// Measure computes every score of a prediction; the tolerance of NSD is in units of the spacing. Masks of two sizes, a spacing
// or a tolerance that mean nothing are errors.
func Measure(truth, predicted *pictures.Mask, s Spacing, tolerance float64) (Values, error) {
	c, err := Compare(truth, predicted, s)
	if err != nil {
		return Values{}, err
	}
	if !(tolerance >= 0) || math.IsInf(tolerance, 1) {
		return Values{}, fmt.Errorf("tolerance: have %g, want a distance of 0 or more", tolerance)
	}
	v := Values{DSC: DSC(truth, predicted), IoU: IoU(truth, predicted), HD95: c.Hausdorff(95), NSD: c.NSD(tolerance)}
	v.AreaDifference, v.AreaRatio = AreaDifference(truth, predicted, s)
	return v, nil
}

// DSC is the Dice similarity coefficient (2|A and B| + 1e-7) / (|A| + |B| + 1e-7) of two masks of one size: 1 when both are empty,
// about 0 when one is.
func DSC(a, b *pictures.Mask) float64 {
	const smooth = 1e-7
	both, either := overlap(a, b)
	return (2*float64(both) + smooth) / (float64(both+either) + smooth)
}

// IoU is |A and B| / |A or B| of two masks of one size: 1 when both are empty, 0 when one is.
func IoU(a, b *pictures.Mask) float64 {
	both, either := overlap(a, b)
	if either == 0 {
		return 1
	}
	return float64(both) / float64(either)
}

// overlap counts the pixels of A and B, and of A or B.
func overlap(a, b *pictures.Mask) (both, either int) {
	for i, p := range a.Pix {
		both += int(p & b.Pix[i])
		either += int(p | b.Pix[i])
	}
	return both, either
}

// AreaDifference is the predicted area less the true one in squared units, and as a share of the true one: NaN when that is empty.
// Over the slices of a volume, times the distance of the slices, the sum of the first is the difference of the volumes.
func AreaDifference(truth, predicted *pictures.Mask, s Spacing) (difference, ratio float64) {
	s = s.orPixels()
	want, have := truth.Count(), predicted.Count()
	ratio = math.NaN()
	if want > 0 {
		ratio = float64(have-want) / float64(want)
	}
	return float64(have-want) * (s.X * s.Y), ratio
}

func checkSizes(a, b *pictures.Mask) error {
	for _, m := range []*pictures.Mask{a, b} {
		if m.W < 1 || m.H < 1 || len(m.Pix) != m.W*m.H {
			return fmt.Errorf("mask: have %d pixels, want %d x %d", len(m.Pix), m.W, m.H)
		}
	}
	if a.W != b.W || a.H != b.H {
		return fmt.Errorf("masks: have %d x %d, want %d x %d", b.W, b.H, a.W, a.H)
	}
	return nil
}
