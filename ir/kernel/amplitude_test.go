package kernel

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAmplitude(t *testing.T) {
	x := make([]float32, 1<<18+3)
	require.Zero(t, Amplitude(x))
	x[7], x[1<<17] = 3, -4
	require.Equal(t, float32(4), Amplitude(x))
	x[len(x)-1] = -5
	require.Equal(t, float32(5), Amplitude(x))
	x[9] = float32(math.Inf(-1))
	require.True(t, math.IsInf(float64(Amplitude(x)), 1))
	x[11] = float32(math.NaN())
	require.True(t, math.IsNaN(float64(Amplitude(x))))
	require.Zero(t, Amplitude(nil))
}
