package kernel

import "math"

// RoundFloat16 rounds every element to the nearest number that float16 holds, ties to even; past 65504 to infinity.
func RoundFloat16(x []float32) {
	const (
		normal   = 113 << 23  // 2^-14, float16's least normal number
		overflow = 0x477ff000 // 65520, from which on infinity is nearest
	)
	Parallel(len(x), grain, func(lo, hi int) {
		for i, v := range x[lo:hi] {
			bits := math.Float32bits(v)
			size := bits &^ (1 << 31)
			switch {
			case size-normal < overflow-normal: // float16 has 13 bits of fraction less
				bits = (bits + 0xfff + bits>>13&1) &^ 0x1fff
			case size < normal: // steps of 2^-24, which is what 0.5 has room for
				bits = math.Float32bits(float32(math.Float32frombits(size)+0.5)-0.5) | bits&(1<<31)
			case size <= 0x7f800000: // NaN stays
				bits = bits&(1<<31) | 0x7f800000
			}
			x[lo+i] = math.Float32frombits(bits)
		}
	})
}
