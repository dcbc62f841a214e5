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

// erf32 evaluates the error function with an absolute error below 4e-7: x P(x^2) / Q(x^2), fitted by weighted least squares (1.7e-8 in exact
// arithmetic) on [-3.9, 3.9]; beyond, float32 cannot tell it from 1 by more than that error.
func erf32(v float32) float32 {
	x := min(max(v, -3.9), 3.9)
	s := x * x
	p := float32(2.066493126864232e-06)
	p = p*s + 2.8505959980922296e-04
	p = p*s + 3.738233699397043e-03
	p = p*s + 5.266773968667796e-02
	p = p*s + 1.896642213951819e-01
	p = p*s + 1.128379147716009
	q := float32(3.8270088878756105e-05)
	q = q*s + 1.1573486938572445e-03
	q = q*s + 1.491405353931586e-02
	q = q*s + 1.1381788277147822e-01
	q = q*s + 5.014183222825889e-01
	q = q*s + 1
	return x * p / q
}
