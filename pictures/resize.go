package pictures

import "math"

// fixedBits is the precision of filter coefficients in 8-bit resampling: 32 bits less 8 for the pixel and 2 for headroom.
const fixedBits = 32 - 8 - 2

// A taps is one output pixel's filter: integer coefficients of the input pixels from first on.
type taps struct {
	first int
	coef  []int32
}

// triangle computes PIL's bilinear (triangle) filter, widened by the scale when it shrinks, normalised in float64 and
// rounded to fixed point.
func triangle(in, out int) []taps {
	scale := float64(in) / float64(out)
	support := max(scale, 1.0)
	all := make([]taps, out)
	for i := range all {
		center := float64((float64(i) + 0.5) * scale)
		lo := max(int(center-support+0.5), 0)
		hi := min(int(center+support+0.5), in)
		weights, sum := make([]float64, hi-lo), 0.0
		for k := range weights {
			w := 1 - math.Abs((float64(k+lo)-center+0.5)/support)
			weights[k] = max(w, 0)
			sum += weights[k]
		}
		coef := make([]int32, hi-lo)
		for k, w := range weights {
			if sum != 0 {
				w /= sum
			}
			coef[k] = int32(float64(w*(1<<fixedBits)) + 0.5)
		}
		all[i] = taps{lo, coef}
	}
	return all
}

// Resize is PIL's Image.resize(size, BILINEAR) on RGB, to the bit: antialiased, columns first, then rows, each result
// rounded to 8 bits.
func Resize(m *Image, w, h int) *Image {
	if w != m.W {
		m = resizeColumns(m, w)
	}
	if h != m.H {
		m = resizeRows(m, h)
	}
	return m
}

func resizeColumns(m *Image, w int) *Image {
	out := &Image{W: w, H: m.H, Pix: make([]uint8, w*m.H*3)}
	filter := triangle(m.W, w)
	for y := range m.H {
		row, to := m.Pix[y*m.W*3:][:m.W*3], out.Pix[y*w*3:][:w*3]
		for x, f := range filter {
			r, g, b := int32(1<<(fixedBits-1)), int32(1<<(fixedBits-1)), int32(1<<(fixedBits-1))
			from := row[f.first*3:]
			for k, c := range f.coef {
				r += int32(from[3*k]) * c
				g += int32(from[3*k+1]) * c
				b += int32(from[3*k+2]) * c
			}
			to[3*x], to[3*x+1], to[3*x+2] = clip8(r), clip8(g), clip8(b)
		}
	}
	return out
}

func resizeRows(m *Image, h int) *Image {
	stride := m.W * 3
	out := &Image{W: m.W, H: h, Pix: make([]uint8, stride*h)}
	sums := make([]int32, stride)
	for y, f := range triangle(m.H, h) {
		for i := range sums {
			sums[i] = 1 << (fixedBits - 1)
		}
		for k, c := range f.coef {
			for i, p := range m.Pix[(f.first+k)*stride:][:stride] {
				sums[i] += int32(p) * c
			}
		}
		for i, s := range sums {
			out.Pix[y*stride+i] = clip8(s)
		}
	}
	return out
}

func clip8(x int32) uint8 { return uint8(min(max(x>>fixedBits, 0), 255)) }
