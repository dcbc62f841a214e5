package passes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// layer is an attention layer with random weights of some size, relative positions included.
func layer(t *testing.T, g, w, d, h int64, spread float32) *ir.Graph {
	b, random, hd := ir.NewBuilder("layer"), rand.New(rand.NewPCG(1, 2)), d/h
	args := []*ir.Value{b.Input("x", tensor.Float32, tensor.Symbol("N"), tensor.Static(g), tensor.Static(g), tensor.Static(d))}
	for _, dims := range [][]int64{{d, 3 * d}, {3 * d}, {w, hd, w}, {w, hd, w}, {d, d}, {d}} {
		n, err := tensor.Elements(dims)
		require.NoError(t, err)
		x := make([]float32, n)
		for i := range x {
			x[i] = spread * float32(random.NormFloat64()) / float32(hd)
		}
		args = append(args, b.Const(tensor.FromFloat32(dims, x)))
	}
	b.Output("y", b.As("attn").Op(ir.WindowAttention.With(ir.AttentionAttrs{Window: w, Heads: h, Scale: 0.5}), args...))
	out, err := b.Graph()
	require.NoError(t, err)
	return out
}

// Grids and windows of every kind: one window and a little, several windows, no padding, global; on a batch, with weak and with strong
// relative positions.
func TestWindowPad(t *testing.T) {
	for _, c := range []struct {
		g, w    int64
		changed bool
	}{{16, 14, true}, {5, 4, true}, {3, 2, true}, {8, 3, true}, {9, 7, true}, {5, 5, false}, {4, 2, false}} {
		for _, spread := range []float32{1, 3} {
			t.Run(fmt.Sprint(c, spread), func(t *testing.T) {
				g := layer(t, c.g, c.w, 12, 3, spread)
				x := rand.New(rand.NewPCG(3, 4))
				in := make([]float32, 2*c.g*c.g*12)
				for i := range in {
					in[i] = float32(x.NormFloat64())
				}
				inputs := map[string]*tensor.Tensor{"x": tensor.FromFloat32([]int64{2, c.g, c.g, 12}, in)}
				eval := func() *tensor.Tensor {
					p, err := ir.Compile(g)
					require.NoError(t, err)
					y, err := p.Run(context.Background(), inputs)
					require.NoError(t, err)
					return y["y"]
				}
				before := eval()
				for _, pass := range []func(*Work) error{windowPad, fuseAttention} {
					w := &Work{Graph: g}
					require.NoError(t, pass(w))
					require.NoError(t, ir.Check(g))
					if w.Changed > 0 {
						d, err := tensor.Compare(eval(), before)
						require.NoError(t, err)
						require.Less(t, d.Relative(), RoundingTolerance)
					}
				}
				for _, v := range g.Values {
					require.False(t, ir.Slice.Is(v) && v.Type.Rank() == 4 && v.From == "", "the padding is cropped, not avoided")
				}
				require.Equal(t, c.changed, count(g, "window-pad") > 0)
			})
		}
	}
}

func count(g *ir.Graph, rule string) (n int) {
	for _, v := range g.Values {
		if v.From == rule {
			n++
		}
	}
	return n
}

// Attention whose weights are computed is nobody's to rewrite, and is spelled out.
func TestAttentionOfComputedWeights(t *testing.T) {
	g := layer(t, 5, 4, 12, 3, 1)
	v := g.Outputs[0].Value
	b := g.Before(v, "")
	require.NoError(t, g.ReplaceIn("", v.Args[projWeight], b.Relu(v.Args[projWeight]), func(u *ir.Value) bool { return u == v }))
	for _, pass := range []func(*Work) error{windowPad, fuseAttention} {
		why := ""
		w := &Work{Graph: g, missed: func(_ *ir.Value, reason string) { why = reason }}
		require.NoError(t, pass(w))
		require.Zero(t, w.Changed)
		require.Equal(t, "its weights are not constant", why)
	}
	w := &Work{Graph: g}
	require.NoError(t, expandAttention(w))
	require.NoError(t, ir.Check(g))
	require.Equal(t, 1, w.Changed)
	require.False(t, slices.ContainsFunc(g.Values, ir.WindowAttention.Is))
}
