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

func quantize[T int8 | uint8](outer, n, inner int, x, scale []float32, zero, y []T, lo, hi float32) {
	if n == 1 { // one scale: rows as long as they need to be
		outer, inner = 1, outer*inner
	}
	rows, length := outer*n, inner
	for rows == 1 && length > grain && length%2 == 0 {
		rows, length = rows*2, length/2
	}
	rows = outer * n * (inner / max(1, length))
	Parallel(rows, max(1, grain/8/max(1, length)), func(from, to int) {
		for i := from; i < to; i++ {
			channel := i * length / max(1, inner) % n
			s, z := scale[channel], float32(zero[channel])
			least, most := lo-z, hi-z
			in := x[i*length:][:length]
			out := y[i*length:][:length]
			for j, v := range in {
				v = min(max(v/s, least), most)
				out[j] = T(int32(v+roundMagic-roundMagic) + int32(zero[channel]))
			}
		}
	})
}

// DequantizeUint8 is (x - zero) * scale.
func DequantizeUint8(x []uint8, scale float32, zero uint8, y []float32) {
	var table [256]float32
	for i := range table {
		table[i] = float32(i-int(zero)) * scale
	}
	Parallel(len(x), grain, func(lo, hi int) {
		out := y[lo:hi]
		for i, v := range x[lo:hi] {
			out[i] = table[v]
		}
	})
}
