package kernel

import "math"

// fma is x y + z rounded once to float32, which no Go operation promises. The product of two float32 is exact in float64; the sum is rounded
// there, and again to float32. Twice is once except where the first rounding lands on the middle between two float32: then the sum is
// rounded to odd instead (Boldo and Melquiond, 2008), which keeps the side it came from.
func fma(x, y, z float32) float32 {
	p, w := float64(float64(x)*float64(y)), float64(z)
	s := p + w
	bits := math.Float64bits(s)
	if bits<<36 != 0 { // the middle of two float32, subnormal ones included, ends in 28 zeros
		return float32(s)
	}
	part := s - p // the error of the sum, exact (Knuth)
	e := (p - (s - part)) + (w - part)
	if e != 0 && e == e && !math.IsInf(s, 0) {
		if (e > 0) == (s > 0) {
			bits |= 1
		} else {
			bits--
		}
	}
	return float32(math.Float64frombits(bits))
}
