package edt

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// The nearest site agrees with the definition on every pixel of random grids and spacings; with unit steps to the bit.
func TestNearest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for n := range 600 {
		w, h, sx, sy := 1+rng.IntN(23), 1+rng.IntN(19), 1.0, 1.0
		if n%2 == 1 {
			sx, sy = math.Exp(rng.NormFloat64()), math.Exp(rng.NormFloat64())
		}
		site, fill, any := make([]uint8, w*h), rng.Float64(), false
		for i := range site {
			if rng.Float64() < fill*fill*fill {
				site[i], any = 1, true
			}
		}
		near := Nearest(w, h, site, sx, sy)
		for i, at := range near {
			if !any {
				require.EqualValues(t, -1, at)
				continue
			}
			require.NotZero(t, site[at], "it is a site")
			square := func(j int) float64 {
				dx, dy := sx*float64(i%w-j%w), sy*float64(i/w-j/w)
				return dx*dx + dy*dy
			}
			want := math.Inf(1)
			for j, s := range site {
				if s != 0 {
					want = min(want, square(j))
				}
			}
			if sx == 1 && sy == 1 {
				require.Equal(t, want, square(int(at)))
			} else {
				require.InDelta(t, want, square(int(at)), 1e-12*(1+want))
			}
		}
	}
}

func BenchmarkNearest(b *testing.B) {
	site := make([]uint8, 1024*1024)
	for i := 0; i < len(site); i += 977 {
		site[i] = 1
	}
	for b.Loop() {
		Nearest(1024, 1024, site, 1, 1)
	}
}
