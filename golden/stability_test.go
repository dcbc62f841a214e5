package golden

import (
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir/tensor"
	"syncsam-convert/pictures"
	"syncsam-convert/segment"
)

// Noise is seeded, of the size that is asked for, and its other sign is the other way.
func TestDisturbed(t *testing.T) {
	x := make([]float32, 4096)
	for i := range x {
		x[i] = float32(i%64) - 31.5 // its standard deviation is 18.47
	}
	e := &segment.Embedded{Features: map[string]*tensor.Tensor{"image_embeddings": tensor.FromFloat32([]int64{4096}, x)}}
	plus, again, minus := e.Disturbed("a", 0.01), e.Disturbed("a", 0.01), e.Disturbed("a", -0.01)
	p, m := plus.Features["image_embeddings"].Float32s(), minus.Features["image_embeddings"].Float32s()
	require.Equal(t, p, again.Features["image_embeddings"].Float32s())
	require.NotEqual(t, p, e.Disturbed("b", 0.01).Features["image_embeddings"].Float32s())
	most := 0.0
	for i := range x {
		require.InDelta(t, p[i]-x[i], x[i]-m[i], 1e-5)
		most = max(most, float64(p[i]-x[i]))
	}
	require.InDelta(t, 0.1847, most, 0.002)
}

// A decoder that answers by the sign of a feature near zero is what an ambiguous prompt is; the same far from zero is not.
func TestUnstable(t *testing.T) {
	for _, c := range []struct {
		near float32
		want bool
	}{{1e-6, true}, {-1e-6, true}, {0.5, false}} {
		ask := func(e *segment.Embedded) *pictures.Mask {
			out := pictures.NewMask(4, 4)
			for i := range out.Pix {
				if (e.Features["f"].Float32s()[0] > 0) == (i < 8) {
					out.Pix[i] = 1
				}
			}
			return out
		}
		e := &segment.Embedded{Features: map[string]*tensor.Tensor{"f": tensor.FromFloat32([]int64{3}, []float32{c.near, -1, 1})}}
		first, other := ask(e), false
		for _, by := range draws {
			other = other || !sameAnswer(first, ask(e.Disturbed("a", by)))
		}
		require.Equal(t, c.want, other, c.near)
	}
}
