package stats

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// exactly adds with a library's arithmetic that is wide enough for any float64.
func exactly(list []float64) float64 {
	sum := new(big.Float).SetPrec(4400)
	for _, x := range list {
		sum.Add(sum, big.NewFloat(x))
	}
	x, _ := sum.Float64()
	return x
}

// sharded adds a list in random order, in random shards that are merged in random order, some of them through their texts.
func sharded(t testing.TB, rng *rand.Rand, list []float64) *Moments {
	shards := make([]Moments, 1+rng.IntN(5))
	for _, i := range rng.Perm(len(list)) {
		shards[rng.IntN(len(shards))].Add(list[i])
	}
	total := &Moments{}
	for _, i := range rng.Perm(len(shards)) {
		if rng.IntN(2) == 0 {
			text, err := json.Marshal(&shards[i])
			require.NoError(t, err)
			shards[i] = Moments{}
			require.NoError(t, json.Unmarshal(text, &shards[i]))
		}
		total.Merge(&shards[i])
	}
	return total
}

// check holds a list's sum against a library's, and any order, sharding and merging against one pass: value and text.
func checkSum(t testing.TB, rng *rand.Rand, list []float64) {
	one := &Moments{}
	for _, x := range list {
		one.Add(x)
	}
	require.Equal(t, exactly(list), one.Sum.Float64())
	text, err := json.Marshal(one)
	require.NoError(t, err)
	for range 3 {
		other := sharded(t, rng, list)
		require.Equal(t, math.Float64bits(one.Mean()), math.Float64bits(other.Mean()))
		require.Equal(t, math.Float64bits(one.Variance()), math.Float64bits(other.Variance()))
		have, err := json.Marshal(other)
		require.NoError(t, err)
		require.Equal(t, string(text), string(have))
	}
}

func TestSumInAnyOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	kinds := []func() float64{
		func() float64 { return rng.Float64() },
		func() float64 { return rng.NormFloat64() * 1e-3 },
		func() float64 { return math.Ldexp(rng.NormFloat64(), rng.IntN(1000)-500) },
		func() float64 { return float64(rng.IntN(3)-1) * 5e-324 * float64(rng.IntN(1<<20)) },
	}
	for n := range 400 {
		list := make([]float64, rng.IntN(60))
		for i := range list {
			list[i] = kinds[n%len(kinds)]()
		}
		checkSum(t, rng, list)
	}
}

func TestSumEdges(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	add := func(list ...float64) float64 {
		s := &Sum{}
		for _, x := range list {
			s.Add(x)
		}
		require.Equal(t, exactly(list), s.Float64(), "%v", list)
		return s.Float64()
	}
	require.Equal(t, 1.0, add(1e308, 1e308, 1e308, 1, -1e308, -1e308, -1e308), "it does not overflow on the way")
	require.Equal(t, math.Inf(1), add(math.MaxFloat64, math.MaxFloat64))
	require.Equal(t, 5e-324, add(1e300, 5e-324, -1e300))
	require.Equal(t, 1.0, add(1, 0x1p-53), "half of the last place, to even")
	require.Equal(t, 1+0x1p-52, add(1, 0x1p-53, 5e-324), "a little more than half")
	require.Equal(t, -1.0, add(-1, -0x1p-53))
	require.Equal(t, 0.0, add())
	require.Equal(t, 0.0, add(0.1, -0.1))
	require.Equal(t, math.SmallestNonzeroFloat64*(1<<52-1), add(0x1p-1022, -5e-324), "subnormal numbers")
	require.Equal(t, 0x1p-1021, add(0x1p-1022, 0x1p-1022))

	strange := &Sum{}
	strange.Add(math.Inf(1))
	strange.Add(1)
	require.Equal(t, math.Inf(1), strange.Float64())
	strange.Add(math.Inf(-1))
	require.True(t, math.IsNaN(strange.Float64()))
	_, err := strange.MarshalText()
	require.Error(t, err)

	many := &Sum{}
	many.Add(3)
	want := 3.0
	for range 40 { // 3 * 2^40: the carries of long runs
		many.Merge(many)
		want *= 2
	}
	require.Equal(t, want, many.Float64())

	same := &Moments{}
	for range 1000 {
		same.Add(0.1)
	}
	require.Equal(t, 0.1, same.Mean())
	require.Zero(t, same.Variance(), "equal numbers have no variance at all")
	checkSum(t, rng, []float64{-0.25, 0.75, -0.5})
}

func TestMomentsVariance(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 200 {
		m, list := &Moments{}, make([]float64, 2+rng.IntN(50))
		mean, square := 0.0, 0.0
		for i := range list {
			list[i] = rng.NormFloat64()
			m.Add(list[i])
			mean += list[i] / float64(len(list))
		}
		for _, x := range list {
			square += (x - mean) * (x - mean)
		}
		require.InDelta(t, square/float64(len(list)-1), m.Variance(), 1e-13)
	}
	require.True(t, math.IsNaN((&Moments{}).Mean()))
	require.True(t, math.IsNaN((&Moments{N: 1}).Variance()))
}

// What is not a sum's text is refused, without much memory.
func TestSumRefuses(t *testing.T) {
	for _, text := range []string{"", "x", "NaN", "+Inf", "0x1p+99999999", "0x1p-1075", "0x1p+1200", "1e999999999", "0x1.8p-1074"} {
		require.Error(t, (&Sum{}).UnmarshalText([]byte(text)), text)
	}
	require.Error(t, (&Sum{}).UnmarshalText(make([]byte, 1<<20)))
	for _, text := range []string{"0", "-0x.8p+1", "0x.8p-1073", "0x.8p+1030"} {
		s := &Sum{}
		require.NoError(t, s.UnmarshalText([]byte(text)), text)
		have, err := s.MarshalText()
		require.NoError(t, err)
		require.Equal(t, text, string(have))
	}
}

func FuzzSum(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 1, 0, 0, 0, 0, 0, 0, 0x80}, uint64(1))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		var list []float64
		for ; len(data) >= 8; data = data[8:] {
			x := math.Float64frombits(binary.LittleEndian.Uint64(data))
			if !math.IsNaN(x) && !math.IsInf(x, 0) && math.Abs(x) < 1e150 { // whose square is a number
				list = append(list, x)
			}
		}
		checkSum(t, rand.New(rand.NewPCG(seed, 0)), list)
	})
}

func BenchmarkSum(b *testing.B) {
	s := &Sum{}
	for b.Loop() {
		s.Add(0.7312)
	}
}

func BenchmarkVariance(b *testing.B) {
	m := &Moments{}
	for i := range 1000 {
		m.Add(1 / float64(i+1))
	}
	for b.Loop() {
		m.Variance()
	}
}
