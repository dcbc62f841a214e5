package kernel

import (
	"math"
	"slices"
)

// Amplitude is the largest |x|; NaN where there is one. Without the sign numbers are in the order of their bits, and NaN is above them.
func Amplitude(x []float32) float32 {
	const least = 1 << 16 // elements that are worth a goroutine
	parts := make([]uint32, max(1, (len(x)+least-1)/least))
	Parallel(len(parts), 1, func(lo, hi int) {
		for p := lo; p < hi; p++ {
			var a, b, c, d uint32
			part := x[p*least : min((p+1)*least, len(x))]
			for ; len(part) >= 4; part = part[4:] {
				a, b = max(a, math.Float32bits(part[0])&^(1<<31)), max(b, math.Float32bits(part[1])&^(1<<31))
				c, d = max(c, math.Float32bits(part[2])&^(1<<31)), max(d, math.Float32bits(part[3])&^(1<<31))
			}
			for _, v := range part {
				a = max(a, math.Float32bits(v)&^(1<<31))
			}
			parts[p] = max(a, b, c, d)
		}
	})
	return math.Float32frombits(slices.Max(parts))
}
