package quantizer

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/ir/tensor"
)

// The chosen weight scale has no more error than the largest weight's, and all-zero channels are harmless.
func TestWeightScales(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	w := make([]float32, 8*100)
	for i := range w[:700] {
		w[i] = float32(rng.NormFloat64() * math.Exp(rng.NormFloat64()))
	}
	scales := weightScales(w, 8)
	require.Equal(t, float32(deadScale), scales[7])
	rounded := roundWeights(w, scales)
	for c := range 7 {
		err := func(s float32) (e float64) {
			for _, v := range w[c*100 : (c+1)*100] {
				q := min(max(math.RoundToEven(float64(v/s)), -127), 127)
				e += math.Pow(float64(v)-q*float64(s), 2)
			}
			return e
		}
		top := float32(0)
		for i, v := range w[c*100 : (c+1)*100] {
			top = max(top, v, -v)
			require.InDelta(t, v/scales[c], float64(int8(rounded[c*100+i])), 0.501+max(0, math.Abs(float64(v/scales[c]))-127))
		}
		require.LessOrEqual(t, err(scales[c]), err(top/127)*1.0001)
	}
}

// Bias correction removes the mean error that rounded weights cause.
func TestCorrectBias(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	w := make([]float32, 3*5)
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	mean := []float32{1, -2, 0.5, 3, 0.25}
	weights := tensor.FromFloat32([]int64{3, 5, 1, 1}, w)
	scales := []float32{0.3, 0.2, 0.4} // coarse, so that there is an error
	bias := make([]float32, 3)
	correctBias(bias, weights, scales, mean)
	for o := range 3 {
		exact, rounded := 0.0, float64(bias[o])
		for i, m := range mean {
			exact += float64(w[o*5+i]) * float64(m)
			rounded += math.RoundToEven(float64(w[o*5+i]/scales[o])) * float64(scales[o]) * float64(m)
		}
		require.InDelta(t, exact, rounded, 1e-5)
	}
}

// A channel whose weights are 0 gives its bias, however small what it reads is: int32 does not saturate.
func TestBiasOfDeadChannel(t *testing.T) {
	g, err := ir.ParseGraph(`graph encoder {
  %0 = Input : float32[N,2,1,1] "image"
  %1 = Constant {0, 0, 1e-12, 0, 2, -1} : float32[3,2,1,1] "cnn.weight"
  %2 = Constant {100, 100, -3} : float32[3] "cnn.bias"
  %3 = Conv(%0, %1, %2) : float32[N,3,1,1] "cnn"
  return "y" %3
}
`)
	require.NoError(t, err)
	plan := &quant.Plan{Values: map[string]quant.Range{"image/Input": {Max: 1e-3}, "cnn/Conv": {Max: 100}}}
	for _, spell := range Spellings {
		q := g.Clone()
		table, err := Decide(q, plan, cnn, spell)
		require.NoError(t, err)
		_, err = Write(q, table)
		require.NoError(t, err)
		p, err := ir.Compile(q)
		require.NoError(t, err)
		out, err := p.Run(context.Background(), map[string]*tensor.Tensor{"image": tensor.FromFloat32([]int64{1, 2, 1, 1}, []float32{1e-3, -1e-3})})
		require.NoError(t, err)
		for i, want := range []float64{100, 100, -3} {
			require.InDelta(t, want, out["y"].Float32s()[i], 0.5, spell.Name)
		}
	}
}
