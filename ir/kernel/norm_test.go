package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Short rows are many at once; their softmax has the bits of the way that longer ones go, infinities and NaN included.
func TestSoftmaxNarrow(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for cols := 1; cols <= narrow; cols++ {
		for _, rows := range []int{1, 7, narrowRows, 3*narrowRows + 5} {
			x := random(rng, rows*cols)
			x[0] = float32(math.Inf(-1))
			if cols > 3 {
				x[len(x)-1], x[len(x)-2] = float32(math.NaN()), float32(math.Inf(1))
			}
			have := make([]float32, len(x))
			Softmax(rows, cols, x, have)
			for r := range rows {
				in, want := x[r*cols:][:cols], make([]float32, cols)
				var sums [16]float32
				expSumAll(in, want, &sums, greatest(in))
				mulOneAll(want, want, 1/lanes(sums))
				for i, w := range want {
					h := have[r*cols+i]
					require.True(t, math.Float32bits(h) == math.Float32bits(w) || h != h && w != w, "%d columns, row %d: have %v, want %v", cols, r, h, w)
				}
			}
			in := append([]float32{}, x...)
			Softmax(rows, cols, in, in)
			for i, h := range have {
				require.Equal(t, math.Float32bits(h), math.Float32bits(in[i]), "in place")
			}
		}
	}
}

// A pixel's channels are normalised as a row is.
func TestLayerNorm2d(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []int{1, 3, 16, 17, 64, 1000} {
		n, pixels := 2, 300
		x, gamma, beta := random(rng, n*c*pixels), random(rng, c), random(rng, c)
		have := make([]float32, len(x))
		LayerNorm2d(n, c, pixels, x, gamma, beta, 1e-6, have)
		for i := range n {
			rows, want := make([]float32, c*pixels), make([]float32, c*pixels)
			Transpose(c, pixels, x[i*c*pixels:][:c*pixels], pixels, rows, c)
			LayerNorm(pixels, c, rows, gamma, beta, 1e-6, want)
			for p := range pixels {
				for ch := range c {
					require.InDelta(t, want[p*c+ch], have[(i*c+ch)*pixels+p], 2e-5, "%d channels", c)
				}
			}
		}
	}
}
