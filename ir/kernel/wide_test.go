package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// ulps is the distance of two float32 in steps between neighbours.
func ulps(x, y float32) int64 {
	at := func(v float32) int64 {
		b := int64(math.Float32bits(v))
		if b >= 1<<31 {
			return 1<<31 - b
		}
		return b
	}
	return max(at(x)-at(y), at(y)-at(x))
}

// The rare functions are those of package math, over the whole range of float32.
func TestWide(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for _, f := range []struct {
		name       string
		have, want func(float64) float64
	}{{"exp", exp64, math.Exp}, {"log", log64, math.Log}, {"sin", sin64, math.Sin}, {"cos", cos64, math.Cos},
		{"pow 0.3", func(x float64) float64 { return pow64(x, 0.3) }, func(x float64) float64 { return math.Pow(x, 0.3) }},
		{"pow -1.5", func(x float64) float64 { return pow64(x, -1.5) }, func(x float64) float64 { return math.Pow(x, -1.5) }},
		{"pow 3", func(x float64) float64 { return pow64(x, 3) }, func(x float64) float64 { return math.Pow(x, 3) }}} {
		check := func(v float32) {
			have, want := f.have(float64(v)), f.want(float64(v))
			if want == 0 || math.IsInf(want, 0) || want != want {
				require.True(t, have == want && math.Signbit(have) == math.Signbit(want) || have != have && want != want, "%s(%g): have %g, want %g", f.name, v, have, want)
				return
			}
			limit := 4e-15*math.Abs(want) + 5e-324
			if f.name[:3] == "pow" {
				limit *= 100
			}
			require.InDelta(t, want, have, limit, "%s(%g)", f.name, v)
			require.LessOrEqual(t, ulps(float32(have), float32(want)), int64(1), "%s(%g)", f.name, v)
		}
		for _, v := range edges {
			check(v)
		}
		for range 100_000 {
			check(float32(rng.NormFloat64()))
			check(float32(rng.NormFloat64() * 50))
			if f.name == "exp" || f.name == "log" || rng.IntN(100) == 0 {
				check(math.Float32frombits(rng.Uint32()))
			}
		}
	}
}
