package kernel

import "math"

// ResizeCubic scales planes of h x w to oh x ow by the bicubic filter with a = -0.5 and antialiasing, half-pixel centres: when it
// shrinks, the filter widens by the scale (PyTorch's interpolate with antialias).
func ResizeCubic(planes, h, w, oh, ow int, x, y []float32) {
	rows, cols := cubicTaps(h, oh), cubicTaps(w, ow)
	Parallel(planes, 1, func(lo, hi int) {
		wide := make([]float32, h*ow)
		for p := lo; p < hi; p++ {
			for r := range h {
				from := x[(p*h+r)*w:][:w]
				for c, f := range cols {
					wide[r*ow+c] = f.of(from[f.first:], 1)
				}
			}
			for r, f := range rows {
				for c := range ow {
					y[(p*oh+r)*ow+c] = f.of(wide[f.first*ow+c:], ow)
				}
			}
		}
	})
}

// taps are one output's weights, of the inputs from first on.
type taps struct {
	first   int
	weights []float64
}

func (t taps) of(x []float32, stride int) float32 {
	sum := 0.0
	for i, w := range t.weights {
		sum += float64(w * float64(x[i*stride]))
	}
	return float32(sum)
}

func cubicTaps(in, out int) []taps {
	scale := float64(in) / float64(out)
	widen := max(scale, 1)
	all := make([]taps, out)
	for i := range all {
		center := float64(scale * (float64(i) + 0.5))
		reach := float64(2 * widen)
		lo, hi := max(int(center-reach+0.5), 0), min(int(center+reach+0.5), in)
		t, sum := taps{first: lo}, 0.0
		for k := lo; k < hi; k++ {
			v := cubic((float64(k) - center + 0.5) / widen)
			t.weights, sum = append(t.weights, v), sum+v
		}
		for k := range t.weights {
			t.weights[k] /= sum
		}
		all[i] = t
	}
	return all
}

// cubic is Keys' kernel with a = -0.5.
func cubic(x float64) float64 {
	const a = -0.5
	switch x = math.Abs(x); {
	case x < 1:
		return float64(float64(float64(float64((a+2)*x)-(a+3))*x)*x) + 1
	case x < 2:
		return (float64((float64((x-5)*x)+8)*x) - 4) * a
	}
	return 0
}

// ResizeCubicPoints scales planes of h x w to oh x ow by cubic convolution with a = -0.75 of the four nearest samples a side, half-pixel centres,
// borders repeated, without antialiasing (PyTorch's interpolate, bicubic).
func ResizeCubicPoints(planes, h, w, oh, ow int, x, y []float32) {
	type tap struct {
		at [4]int
		w  [4]float64
	}
	of := func(in, out int) []tap {
		all := make([]tap, out)
		for i := range all {
			real := float64(float64(in)/float64(out)*(float64(i)+0.5)) - 0.5
			first := math.Floor(real)
			t := real - first
			for k := range 4 {
				all[i].at[k] = min(max(int(first)+k-1, 0), in-1)
				all[i].w[k] = keys75(math.Abs(t - float64(k-1)))
			}
		}
		return all
	}
	rows, cols := of(h, oh), of(w, ow)
	for p := range planes {
		for r, a := range rows {
			for c, b := range cols {
				sum := 0.0
				for i := range 4 {
					line := 0.0
					for k := range 4 {
						line += float64(b.w[k] * float64(x[(p*h+a.at[i])*w+b.at[k]]))
					}
					sum += float64(a.w[i] * line)
				}
				y[(p*oh+r)*ow+c] = float32(sum)
			}
		}
	}
}

// keys75 is Keys' kernel with a = -0.75 at a distance.
func keys75(x float64) float64 {
	const a = -0.75
	switch {
	case x <= 1:
		return float64((float64((a+2)*x)-(a+3))*float64(x*x)) + 1
	case x < 2:
		return float64(float64(float64((float64(a*x)-5*a)*x)+8*a)*x) - 4*a
	}
	return 0
}
