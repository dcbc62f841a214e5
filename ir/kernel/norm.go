package kernel

import "math"

var negInf = float32(math.Inf(-1))

// BatchNorm normalises x [N,C,inner] with fixed statistics: (x - mean) / sqrt(variance + eps) * scale + bias.
func BatchNorm(n, c, inner int, x, scale, bias, mean, variance []float32, eps float32, y []float32) {
	Parallel(n*c, max(1, grain/max(1, inner)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			ch := i % c
			s := float64(scale[ch]) / math.Sqrt(float64(variance[ch])+float64(eps))
			a, b := float32(s), float32(float64(bias[ch])-float64(float64(mean[ch])*s))
			out := y[i*inner:][:inner]
			for j, v := range x[i*inner:][:inner] {
				out[j] = float32(v*a) + b
			}
		}
	})
}

// LayerNorm normalises each row: (x - mean) / sqrt(variance + eps) * gamma + beta, in two passes with float64 sums; beta may be nil.
func LayerNorm(rows, cols int, x, gamma, beta []float32, eps float32, y []float32) {
	Parallel(rows, max(1, grain/max(1, cols)), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			in, out := x[r*cols:][:cols], y[r*cols:][:cols]
			var sum float64
			for _, v := range in {
				sum += float64(v)
			}
			mean := float32(sum / float64(cols))
			var sq float64
			for _, v := range in {
				d := v - mean
				sq += float64(d * d)
			}
			inv := float32(1 / math.Sqrt(sq/float64(cols)+float64(eps)))
			for j, v := range in {
				out[j] = (v - mean) * inv * gamma[j]
			}
			for j, b := range beta {
				out[j] += b
			}
		}
	})
}

// Softmax of each row, shifted by the row's maximum. x and y may be the same.
func Softmax(rows, cols int, x, y []float32) {
	Parallel(rows, max(1, grain/8/max(1, cols)), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			in, out := x[r*cols:][:cols], y[r*cols:][:cols]
			m := negInf
			for _, v := range in {
				m = max(m, v)
			}
			var sum float32
			for j, v := range in {
				e := exp32(v - m)
				out[j] = e
				sum += e
			}
			inv := 1 / sum
			for j := range out {
				out[j] *= inv
			}
		}
	})
}
