package tensor

import (
	"bytes"
	"fmt"
	"math"
)

// Equal reports whether both tensors have the same type and the same bytes.
func Equal(a, b *Tensor) bool {
	return a == b || a.typ.Equal(b.typ) && bytes.Equal(a.Bytes(), b.Bytes())
}

// A Diff measures a tensor against a reference of the same shape.
type Diff struct {
	MaxAbs float64 // largest absolute difference; NaN when either side has one that the other has not
	At     int64   // its row-major index
	Std    float64 // standard deviation of the reference
	SNR    float64 // 10 log10(sum reference^2 / sum difference^2), in dB; +Inf when equal
}

// Relative is MaxAbs in standard deviations of the reference: the parity measure of this project.
func (d Diff) Relative() float64 {
	if d.MaxAbs == 0 {
		return 0
	}
	return d.MaxAbs / d.Std
}

// Compare measures have against want. Element types may differ, shapes not.
func Compare(have, want *Tensor) (Diff, error) {
	if have.len != want.len || ShapeString(have.typ.Shape) != ShapeString(want.typ.Shape) {
		return Diff{}, fmt.Errorf("compare: have %s, want %s", have.typ, want.typ)
	}
	h, w := have.Float32s(), want.Float32s()
	var d Diff
	var sum, sq, noise float64
	for i, x := range w {
		y, x := float64(h[i]), float64(x)
		sum += x
		sq += float64(x * x)
		if y == x || math.IsNaN(y) && math.IsNaN(x) {
			continue
		}
		e := math.Abs(y - x)
		noise += float64(e * e)
		if e > d.MaxAbs || math.IsNaN(e) && !math.IsNaN(d.MaxAbs) {
			d.MaxAbs, d.At = e, int64(i)
		}
	}
	n := float64(max(1, len(w)))
	d.Std = math.Sqrt(max(0, sq/n-float64((sum/n)*(sum/n))))
	d.SNR = math.Inf(1)
	if noise > 0 || math.IsNaN(noise) {
		d.SNR = 10 * math.Log10(sq/noise)
	}
	return d, nil
}
