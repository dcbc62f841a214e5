package quantizer

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

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
