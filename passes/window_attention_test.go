package passes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// layer is an attention layer with random weights of some size, relative positions included.
func layer(t *testing.T, a attention, spread float32) *ir.Graph {
	g, err := a.reference()
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	for _, v := range g.Inputs() {
		if v.Name == "x" {
			continue
		}
		dims, _ := v.Type.Static()
		n, err := tensor.Elements(dims)
		require.NoError(t, err)
		x := make([]float32, n)
		for i := range x {
			x[i] = spread * float32(random.NormFloat64()) / float32(a.hd())
		}
		b := g.Before(g.Values[0], "")
		require.NoError(t, g.Replace("", v, b.As(v.Name).Const(tensor.FromFloat32(dims, x))))
	}
	for i := len(g.Values) - 1; i >= 0; i-- {
		if v := g.Values[i]; v.IsInput() && v.Name != "x" {
			g.Values = append(g.Values[:i], g.Values[i+1:]...)
		}
	}
	return g
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
				g := layer(t, attention{n: tensor.Symbol("N"), g: c.g, w: c.w, d: 12, h: 3}, spread)
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

// What is not exactly SAM's attention stays as it is.
func TestAttentionPatternIsStrict(t *testing.T) {
	for name, spoil := range map[string]func(g *ir.Graph, v *ir.Value) bool{
		"another softmax axis": func(_ *ir.Graph, v *ir.Value) bool {
			if ir.Softmax.Is(v) {
				v.Attrs = ir.SoftmaxAttrs{Axis: 2}
			}
			return ir.Softmax.Is(v)
		},
		"padding that is not zero": func(_ *ir.Graph, v *ir.Value) bool {
			if ir.Pad.Is(v) {
				a := v.Attrs.(ir.PadAttrs)
				a.Value = 1
				v.Attrs = a
			}
			return ir.Pad.Is(v)
		},
		"a part used twice": func(_ *ir.Graph, v *ir.Value) bool {
			if !ir.MatMul.Is(v) || !ir.Softmax.Is(v.Args[0]) {
				return false
			}
			v.Args[1] = v.Args[0].Args[0].Args[0].Args[0].Args[0].Args[0].Args[0].Args[0] // the queries in place of the values
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := layer(t, attention{n: tensor.Symbol("N"), g: 5, w: 4, d: 12, h: 3}, 1)
			done := false
			for _, v := range g.Values {
				done = done || spoil(g, v)
			}
			require.True(t, done)
			require.NoError(t, ir.Check(g))
			w := &Work{Graph: g}
			require.NoError(t, windowPad(w))
			require.Zero(t, w.Changed)
		})
	}
}
