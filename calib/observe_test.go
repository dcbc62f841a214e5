package calib

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// Both ways to look at a graph see the same: whole values, and the amplitudes of all, those of inputs and of constants' results included.
func TestShownAndObserver(t *testing.T) {
	g, err := ir.ParseGraph(`graph g {
  %0 = Input : float32[N,2] "x"
  %1 = Constant {3, -7} : float32[2] "c"
  %2 = Abs(%1) : float32[2] "alone"
  %3 = Mul(%0, %2) : float32[N,2] "scaled"
  %4 = Relu(%3) : float32[N,2] "relu"
  %5 = ReduceMax(%4) : float32[] "top"
  %6 = Less(%0, %3) : bool[N,2] "less"
  return "y" %4
  return "top" %5
  return "less" %6
}
`)
	require.NoError(t, err)
	before := ir.PrintGraph(g)
	for _, peaks := range []bool{true, false} {
		w := Watch{Values: []*ir.Value{g.Values[3], g.Values[0], g.Values[3]}, Peaks: peaks}
		shown, err := Shown(g, w)
		require.NoError(t, err)
		require.NoError(t, ir.Check(shown))
		require.Equal(t, before, ir.PrintGraph(g), "the graph itself stays")
		p, err := ir.Compile(shown)
		require.NoError(t, err)
		o, err := NewObserver(g, w)
		require.NoError(t, err)
		one, other := map[string]float32{}, map[string]float32{}
		for _, x := range [][]float32{{1, -2, 0.5, 0.25}, {-8, 0, 0, 0}} {
			inputs := map[string]*tensor.Tensor{"x": tensor.FromFloat32([]int64{2, 2}, x)}
			results, err := p.Run(context.Background(), inputs)
			require.NoError(t, err)
			own, values, err := Split(g, results, one)
			require.NoError(t, err)
			own2, values2, err := o.Run(context.Background(), inputs, other)
			require.NoError(t, err)
			require.Equal(t, own, own2)
			require.Equal(t, values, values2)
			require.Len(t, own, 3)
			require.Len(t, values, 2)
			require.Equal(t, x, values["x/Input"].Float32s())
		}
		require.Equal(t, one, other)
		if peaks {
			require.Equal(t, map[string]float32{"x/Input": 8, "alone/Abs": 7, "scaled/Mul": 24, "relu/Relu": 3, "top/ReduceMax": 3}, one)
		}
		for _, bad := range []float64{math.NaN(), math.Inf(1)} {
			inputs := map[string]*tensor.Tensor{"x": tensor.FromFloat32([]int64{1, 2}, []float32{float32(bad), 0})}
			_, _, err = o.Run(context.Background(), inputs, other)
			if peaks {
				require.ErrorContains(t, err, `value "x/Input": it reaches`)
				results, err := p.Run(context.Background(), inputs)
				require.NoError(t, err)
				_, _, err = Split(g, results, one)
				require.ErrorContains(t, err, "it reaches")
			}
		}
	}
}
