package kernel

import "math"

// spread makes an elementwise function of one of slices; so many elements are worth a goroutine.
func spread(grain int, f func(x, y []float32)) func(x, y []float32) {
	return func(x, y []float32) {
		Parallel(len(x), grain, func(lo, hi int) { f(x[lo:hi], y[lo:hi]) })
	}
}

func each1(f func(float32) float32) func(x, y []float32) {
	return func(x, y []float32) {
		for i, v := range x {
			y[i] = f(v)
		}
	}
}

func wide(f func(float64) float64) func(x, y []float32) {
	return each1(func(v float32) float32 { return float32(f(float64(v))) })
}

// Elementwise functions of x into y, which may be the same slice. Those through wide compute in float64 and round once; errors of the others
// are in TestAccuracy.
var (
	Erf        = spread(vectorGrain/4, erfAll)
	Exp        = spread(vectorGrain/4, expAll)
	Gelu       = spread(vectorGrain/4, geluAll)     // x (1 + erf(x/sqrt 2)) / 2
	GeluTanh   = spread(vectorGrain/4, geluTanhAll) // its approximation by tanh
	Tanh       = spread(vectorGrain/4, tanhAll)
	Sigmoid    = spread(vectorGrain/4, sigmoidAll)
	Relu       = spread(vectorGrain, reluAll) // max(x, 0); NaN stays
	Log        = spread(grain/8, wide(log64))
	Sin        = spread(grain/16, wide(sin64))
	Cos        = spread(grain/16, wide(cos64))
	Sqrt       = spread(grain/2, wide(math.Sqrt))
	Floor      = spread(grain/2, wide(math.Floor))
	Ceil       = spread(grain/2, wide(math.Ceil))
	Round      = spread(grain/2, wide(math.RoundToEven)) // half to even
	Neg        = spread(grain, each1(func(v float32) float32 { return -v }))
	Abs        = spread(grain, each1(func(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ (1 << 31)) }))
	Reciprocal = spread(grain, each1(func(v float32) float32 { return 1 / v }))
)

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

// scale is p 2^n for a whole number n of [-126, 128], in two steps because 2^128 is no float32.
func scale(p, n float32) float32 {
	whole := int32(n)
	half := whole >> 1
	return p * math.Float32frombits(uint32(half+127)<<23) * math.Float32frombits(uint32(whole-half+127)<<23)
}
