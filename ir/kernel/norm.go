package kernel

import "math"

var negInf = float32(math.Inf(-1))

// BatchNorm normalises x [N,C,inner] with fixed statistics: (x - mean) / sqrt(variance + eps) * scale + bias.
func BatchNorm(n, c, inner int, x, scale, bias, mean, variance []float32, eps float32, y []float32) {
	Parallel(n*c, max(1, vectorGrain/max(1, inner)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			ch := i % c
			s := float64(scale[ch]) / math.Sqrt(float64(variance[ch])+float64(eps))
			a, b := float32(s), float32(float64(bias[ch])-float64(float64(mean[ch])*s))
			out := y[i*inner:][:inner]
			affineAll(x[i*inner:][:inner], out, a, b)
		}
	})
}

// LayerNorm normalises each row: (x - mean) / sqrt(variance + eps) * gamma + beta, in two passes with sums in float64; beta may be nil.
func LayerNorm(rows, cols int, x, gamma, beta []float32, eps float32, y []float32) {
	Parallel(rows, max(1, vectorGrain/4/max(1, cols)), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			in, out := x[r*cols:][:cols], y[r*cols:][:cols]
			mean := float32(sum(in) / float64(cols))
			inv := float32(1 / math.Sqrt(sumSquares(in, mean)/float64(cols)+float64(eps)))
			if beta == nil {
				normAll(in, gamma, out, mean, inv)
			} else {
				normBiasAll(in, gamma, beta, out, mean, inv)
			}
		}
	})
}

// Softmax of each row, shifted by the row's maximum. x and y may be the same. Exponentials are added in 16 sums (see lanes).
func Softmax(rows, cols int, x, y []float32) {
	Parallel(rows, max(1, vectorGrain/8/max(1, cols)), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			in, out := x[r*cols:][:cols], y[r*cols:][:cols]
			var sums [16]float32
			expSumAll(in, out, &sums, greatest(in))
			mulOneAll(out, out, 1/lanes(sums))
		}
	})
}

// lanes adds 16 sums: the k-th is of the elements k, k+16, k+32 and so on.
func lanes[T float32 | float64](s [16]T) T {
	for n := 8; n > 0; n /= 2 {
		for i := range n {
			s[i] += s[i+n]
		}
	}
	return s[0]
}
