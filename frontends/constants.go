package frontends

import (
	"fmt"
	"math"
	"strings"

	"syncsam-convert/frontends/blocks"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// A constant is the mean or the deviation of pixels that a file carries.
type constant struct {
	name   string // as the file has it
	std    bool
	v      []float64
	scaled bool // it is known to be on the scale 0 to 255
}

// readConstants takes the buffers that SAM's code keeps beside its modules, and that some programs save: pixel_mean and pixel_std. A
// trainer's module around the model may have them, too.
func readConstants(w *blocks.Weights, p place) []constant {
	var out []constant
	add := func(name string, t *tensor.Tensor) {
		c := constant{name: name, std: strings.HasSuffix(name, "pixel_std")}
		if t.Len() <= 64 {
			for _, x := range t.Float32s() {
				c.v = append(c.v, float64(x))
			}
		}
		out = append(out, c)
	}
	for _, last := range []string{"pixel_mean", "pixel_std"} {
		for _, name := range w.Named(last) {
			add(name, w.Take(name))
		}
		for _, key := range p.others {
			if t := p.file.At(key); t != nil && (key == last || strings.HasSuffix(key, "."+last)) {
				add(key, t)
			}
		}
	}
	return out
}

// takeConstants compares what a file carries with what the family's preprocessing assumes. Where they differ the file's is taken: it is
// what its model computes with. What cannot be taken is an error that names both.
func takeConstants(m *ir.Module, saved []constant) ([]string, error) {
	var notes []string
	p := &m.Meta.Preprocess
	mean, std := p.Mean, p.Std
	usual := p.Normalize == "" && p.Mean == imageNetMean // (x - mean) / std with the usual constants
	if !usual {
		mean, std = imageNetMean, imageNetStd // families that do not use SAM's buffers keep them as SAM set them
	}
	low, identity := true, true // all constants are of the scale 0 to 1; they do nothing
	for _, c := range saved {
		for _, x := range c.v {
			low = low && !c.scaled && math.Abs(x) <= 1
			identity = identity && (c.std && x == 1 || !c.std && x == 0)
		}
	}
	for _, c := range saved {
		want, what := &p.Mean, mean
		if c.std {
			want, what = &p.Std, std
		}
		v := c.v
		if len(v) == 1 {
			v = []float64{v[0], v[0], v[0]}
		}
		fail := func(why string) error {
			return fmt.Errorf("%s: have %v, want %v as the preprocessing of %s has: %s", c.name, c.v, what, m.Meta.Family, why)
		}
		if len(v) != len(what) {
			return nil, fail("it is not three numbers")
		}
		var have [3]float64
		for i := range have {
			have[i] = v[i]
			if low && !identity {
				have[i] *= 255
			}
			if math.IsNaN(have[i]) || math.IsInf(have[i], 0) || c.std && have[i] <= 0 {
				return nil, fail("it cannot be computed with")
			}
		}
		if near(have, what) {
			continue
		}
		switch {
		case !usual:
			return nil, fail("its preprocessing has no such constant")
		case identity:
			return nil, fail("constants that do nothing do not tell the scale of the pixels that the model takes; delete them from the file to use the family's")
		}
		*want = have
		notes = append(notes, fmt.Sprintf("%s of the file is %v and not the family's %v; pictures are prepared with the file's", c.name, have, what))
	}
	return notes, nil
}

// near is equality but for the rounding of one or the other scale to float32 and to three digits.
func near(a, b [3]float64) bool {
	for i := range a {
		if math.Abs(a[i]-b[i]) > 1e-3 {
			return false
		}
	}
	return true
}
