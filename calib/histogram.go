// Package calib collects activation statistics that merge in any order, and turns them into a quantization plan.
package calib

import (
	"fmt"
	"math"
)

// Bins of a histogram of amplitudes. Ranges are powers of two, so that growing merges pairs of bins and is exact: the
// histogram of a union does not depend on the order in which its parts came.
const Bins = 4096

// A Histogram counts amplitudes |x| in [0, 2^Exp) in equal bins.
type Histogram struct {
	Exp      int
	Counts   []int64 // Bins of them; nil while empty
	Max      float32 // largest amplitude
	Negative bool    // some x was below 0
}

// Add counts values. NaN and infinities are an error.
func (h *Histogram) Add(x []float32) error {
	low, high, sum := float32(0), float32(0), float32(0)
	for _, v := range x {
		if v < low {
			low = v
		}
		if v > high {
			high = v
		}
		sum += v - v // NaN when v is not finite
	}
	if sum != 0 {
		for i, v := range x {
			if v-v != 0 {
				return fmt.Errorf("element %d is %v", i, v)
			}
		}
	}
	top := max(high, -low)
	h.Max, h.Negative = max(h.Max, top), h.Negative || low < 0
	h.grow(exponent(top))
	scale := float32(math.Ldexp(Bins, -h.Exp))
	for _, v := range x {
		h.Counts[int(math.Float32frombits(math.Float32bits(v)&^(1<<31))*scale)]++ // |v|, without a branch
	}
	return nil
}

// exponent is the smallest e with x < 2^e, at least -60.
func exponent(x float32) int {
	_, e := math.Frexp(float64(x))
	return max(e, -60)
}

// grow widens the range to at least 2^e.
func (h *Histogram) grow(e int) {
	if h.Counts == nil {
		h.Counts, h.Exp = make([]int64, Bins), e
		return
	}
	for ; h.Exp < e; h.Exp++ {
		for i := range Bins / 2 {
			h.Counts[i] = h.Counts[2*i] + h.Counts[2*i+1]
		}
		clear(h.Counts[Bins/2:])
	}
}

// Merge adds another histogram.
func (h *Histogram) Merge(o *Histogram) {
	if o.Counts == nil {
		return
	}
	other := Histogram{Exp: o.Exp, Counts: append([]int64{}, o.Counts...)}
	e := o.Exp
	if h.Counts != nil {
		e = max(e, h.Exp)
	}
	h.grow(e)
	other.grow(e)
	for i, n := range other.Counts {
		h.Counts[i] += n
	}
	h.Max, h.Negative = max(h.Max, o.Max), h.Negative || o.Negative
}

// width is one bin's, in units of x.
func (h *Histogram) width() float64 { return float64(math.Ldexp(1, h.Exp) / Bins) } // converted, so that no sum is fused with it

// steps is how many quantization steps lie between 0 and the clipping amplitude.
func (h *Histogram) steps() float64 {
	if h.Negative {
		return 127
	}
	return 255
}
