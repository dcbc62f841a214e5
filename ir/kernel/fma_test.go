package kernel

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// exactFMA is x y + z rounded once, by arbitrary precision.
func exactFMA(x, y, z float32) float32 {
	wide := float64(x)*float64(y) + float64(z)
	if math.IsNaN(wide) || math.IsInf(wide, 0) || wide == 0 { // signs of zero and what is not finite follow float64's rules
		return float32(wide)
	}
	b := func(v float32) *big.Float { return new(big.Float).SetPrec(2000).SetFloat64(float64(v)) }
	r, _ := new(big.Float).SetPrec(2000).Add(new(big.Float).SetPrec(2000).Mul(b(x), b(y)), b(z)).Float32()
	return r
}

// edges are the numbers at which rounding, overflow and underflow happen.
var edges = func() []float32 {
	var e []float32
	for _, bits := range []uint32{0, 1, 2, 3, 0x7fffff, 0x800000, 0x800001, 0xffffff, 0x1000000, 0x33800000, 0x33800001, 0x34000000, 0x3effffff,
		0x3f000000, 0x3f7fffff, 0x3f800000, 0x3f800001, 0x3f800002, 0x3fc00000, 0x40490fdb, 0x4b000000, 0x4b7fffff, 0x4b800001, 0x5f800000, 0x7f000000,
		0x7f7ffffe, 0x7f7fffff, 0x7f800000, 0x7fc00000} {
		e = append(e, math.Float32frombits(bits), math.Float32frombits(bits|1<<31))
	}
	return e
}()

// sameFloat holds bits equal; every NaN is like every other, because processors choose their payloads.
func sameFloat(x, y float32) bool {
	return math.Float32bits(x) == math.Float32bits(y) || x != x && y != y
}

// fma rounds once: at every combination of edges, at sums made to fall beside the middle of two numbers, and at random bits.
func TestFMA(t *testing.T) {
	check := func(x, y, z float32) {
		if want, have := exactFMA(x, y, z), fma(x, y, z); !sameFloat(want, have) {
			t.Fatalf("%x %x %x: have %x, want %x", math.Float32bits(x), math.Float32bits(y), math.Float32bits(z), math.Float32bits(have), math.Float32bits(want))
		}
	}
	for _, x := range edges {
		for _, y := range edges {
			for _, z := range edges {
				check(x, y, z)
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	differ := 0
	for range 200_000 {
		// z has half a unit of the last place of x y less, or more, by something tiny
		x, y := float32(1+rng.IntN(1<<12))/4096+1, float32(1+rng.IntN(1<<12))/4096+1
		z := float32(math.Ldexp(float64(1+rng.IntN(3)), -24-rng.IntN(60))) * float32(1-2*rng.IntN(2))
		check(x, y, z)
		check(z, 1, float32(1+rng.IntN(1<<22)))
		check(float32(math.Ldexp(float64(rng.IntN(1<<24)), -149+rng.IntN(30))), float32(math.Ldexp(float64(rng.IntN(1<<24)), -24-rng.IntN(30))), float32(math.Ldexp(float64(rng.IntN(1<<10)), -149)))
		check(math.Float32frombits(rng.Uint32()), math.Float32frombits(rng.Uint32()), math.Float32frombits(rng.Uint32()))
		if a, b, c := x, y, z; float32(math.FMA(float64(a), float64(b), float64(c))) != fma(a, b, c) {
			differ++
		}
	}
	require.Positive(t, differ, "no case tells one rounding from two")
}

func BenchmarkFMA(b *testing.B) {
	s := float32(0)
	for b.Loop() {
		s = fma(s, 0.99, 1.01)
	}
}
