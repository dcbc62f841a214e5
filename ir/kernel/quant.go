package kernel

import "math"

// QuantizeInt8 rounds x [outer, n, inner] / scale to the nearest integer, halves to even, adds the zero point and saturates.
func QuantizeInt8(outer, n, inner int, x, scale []float32, zero, y []int8) {
	quantize(outer, n, inner, x, scale, zero, y, math.MinInt8, math.MaxInt8)
}

// QuantizeUint8 is QuantizeInt8 onto 0..255.
func QuantizeUint8(outer, n, inner int, x, scale []float32, zero, y []uint8) {
	quantize(outer, n, inner, x, scale, zero, y, 0, math.MaxUint8)
}

func quantize[T int8 | uint8](outer, n, inner int, x, scale []float32, zero, y []T, lo, hi float64) {
	Parallel(outer*n, max(1, grain/8/max(1, inner)), func(from, to int) {
		for i := from; i < to; i++ {
			s, z := scale[i%n], float64(zero[i%n])
			for j := i * inner; j < (i+1)*inner; j++ {
				y[j] = T(min(max(math.RoundToEven(float64(x[j]/s))+z, lo), hi))
			}
		}
	})
}
