package kernel

import "math"

// unary makes an elementwise function; cost is its time relative to an addition.
func unary(cost int, f func(float32) float32) func(x, y []float32) {
	return func(x, y []float32) {
		Parallel(len(x), grain/cost, func(lo, hi int) {
			out := y[lo:hi]
			for i, v := range x[lo:hi] {
				out[i] = f(v)
			}
		})
	}
}

func wide(f func(float64) float64) func(float32) float32 {
	return func(v float32) float32 { return float32(f(float64(v))) }
}

// Elementwise functions of x into y, which may be the same slice. Those without a remark go through float64 and round once.
var (
	Erf        = unary(8, erf32)
	Exp        = unary(8, exp32)
	Log        = unary(8, wide(math.Log))
	Sqrt       = unary(2, wide(math.Sqrt))
	Sin        = unary(16, wide(math.Sin))
	Cos        = unary(16, wide(math.Cos))
	Tanh       = unary(16, wide(math.Tanh))
	Sigmoid    = unary(8, func(v float32) float32 { return 1 / (1 + exp32(-v)) })
	Neg        = unary(1, func(v float32) float32 { return -v })
	Abs        = unary(1, func(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ (1 << 31)) })
	Reciprocal = unary(1, func(v float32) float32 { return 1 / v })
	Floor      = unary(2, wide(math.Floor))
	Ceil       = unary(2, wide(math.Ceil))
	Round      = unary(2, wide(math.RoundToEven)) // half to even
	GeluTanh   = unary(16, func(v float32) float32 {
		x := float64(v)
		return float32(x / 2 * (1 + math.Tanh(0.7978845608028654*(x+0.044715*x*x*x))))
	})
)

// Relu is max(x, 0); NaN stays.
func Relu(x, y []float32) {
	Parallel(len(x), grain, func(lo, hi int) {
		out := y[lo:hi]
		for i, v := range x[lo:hi] {
			out[i] = max(v, 0)
		}
	})
}

// Gelu is x (1 + erf(x/sqrt 2)) / 2.
func Gelu(x, y []float32) {
	Parallel(len(x), grain/8, func(lo, hi int) {
		out := y[lo:hi]
		for i, v := range x[lo:hi] {
			out[i] = 0.5 * v * (1 + erf32(v*(1/math.Sqrt2)))
		}
	})
}

// LeakyRelu is x, times alpha below 0.
func LeakyRelu(alpha float32, x, y []float32) {
	for i, v := range x {
		if v < 0 {
			v *= alpha
		}
		y[i] = v
	}
}

// Clip limits x to [lo, hi].
func Clip(lo, hi float32, x, y []float32) {
	for i, v := range x {
		y[i] = min(max(v, lo), hi)
	}
}

// exp32 is e^v within 2 ulp: v = n ln2 + r with |r| <= ln2/2, a polynomial in r, scaled by 2^n.
// Above 88.72 it is +Inf, below -87.33 it is 0 (subnormal results are flushed).
func exp32(v float32) float32 {
	if v > 88.72283 {
		return float32(math.Inf(1))
	}
	if v < -87.33654 {
		return 0
	}
	if v != v {
		return v
	}
	const log2e, ln2hi, ln2lo = 1.44269504, 0.693359375, -2.12194440e-4
	const magic = 1.5 * (1 << 23) // adding it rounds to the nearest integer
	n := (v*log2e + magic) - magic
	r := v - n*ln2hi - n*ln2lo
	// Taylor coefficients up to r^7/7!, truncation error below 6e-9 of the result
	p := float32(1.0 / 5040)
	p = p*r + 1.0/720
	p = p*r + 1.0/120
	p = p*r + 1.0/24
	p = p*r + 1.0/6
	p = p*r + 0.5
	p = p*r*r + r + 1
	return p * math.Float32frombits(uint32(int32(n)+127)<<23)
}

// erf32 evaluates the error function with an absolute error below 2e-7 and a relative one below 1e-6.
// Near 0 it is the Taylor series; beyond, 1 - t exp(-x^2 + P(t)), t = 1/(1 + x/2), with the Chebyshev-fitted P
// of Press et al., Numerical Recipes, section 6.2 (its own error is 1.2e-7).
func erf32(v float32) float32 {
	a := v
	if a < 0 {
		a = -a
	}
	if a < 0.5 {
		s := v * v
		p := float32(1.0 / 9360)
		p = p*s - 1.0/1320
		p = p*s + 1.0/216
		p = p*s - 1.0/42
		p = p*s + 1.0/10
		p = p*s - 1.0/3
		return 1.1283791670955126 * (v + v*s*p)
	}
	if v != v {
		return v
	}
	if a > 4 {
		if v < 0 {
			return -1
		}
		return 1
	}
	t := 1 / (1 + 0.5*float64(a))
	p := 0.17087277
	p = p*t - 0.82215223
	p = p*t + 1.48851587
	p = p*t - 1.13520398
	p = p*t + 0.27886807
	p = p*t - 0.18628806
	p = p*t + 0.09678418
	p = p*t + 0.37409196
	p = p*t + 1.00002368
	p = p*t - 1.26551223
	r := float32(1 - t*float64(exp32(float32(-float64(a)*float64(a)+p))))
	if v < 0 {
		return -r
	}
	return r
}
