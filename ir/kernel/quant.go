package kernel

import (
	"math"
	"unsafe"
)

// QuantizeInt8 rounds x [outer, n, inner] / scale to the nearest integer, halves to even, adds the zero point and saturates; NaN gives the least value, as in ONNX Runtime.
func QuantizeInt8(outer, n, inner int, x, scale []float32, zero, y []int8) {
	quantize(outer, n, inner, x, scale, zero, y, math.MinInt8, math.MaxInt8)
}

// QuantizeUint8 is QuantizeInt8 onto 0..255.
func QuantizeUint8(outer, n, inner int, x, scale []float32, zero, y []uint8) {
	quantize(outer, n, inner, x, scale, zero, y, 0, math.MaxUint8)
}

func quantize[T int8 | uint8](outer, n, inner int, x, scale []float32, zero, y []T, lo, hi float32) {
	part := func(from, to, channel int) {
		s, z := scale[channel], float32(zero[channel])
		least, most, out := lo-z, hi-z, y[from:to]
		quantizeAll(x[from:to], unsafe.Slice((*uint8)(unsafe.Pointer(unsafe.SliceData(out))), len(out)), s, least, most, z)
	}
	if n == 1 { // one scale: cut anywhere
		Parallel(outer*inner, vectorGrain/2, func(from, to int) { part(from, to, 0) })
		return
	}
	Parallel(outer*n, max(1, vectorGrain/2/max(1, inner)), func(from, to int) {
		for i := from; i < to; i++ {
			part(i*inner, (i+1)*inner, i%n)
		}
	})
}

// DequantizeUint8 is (x - zero) * scale.
func DequantizeUint8(x []uint8, scale float32, zero uint8, y []float32) {
	Parallel(len(x), vectorGrain, func(lo, hi int) { dequantizeAll(x[lo:hi], y[lo:hi], float32(zero), scale) })
}
