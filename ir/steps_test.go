package ir

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir/tensor"
)

const stepsGraph = `graph g {
  %0 = Input : float32[N,3,8,8] "image"
  %1 = Constant seed(1) : float32[6,3,3,3] "w"
  %2 = Constant seed(2) : float32[6,1,1] "b"
  %3 = Add(%2, %2) : float32[6,1,1] "twice"
  %4 = Conv(%0, %1) {pads=[1,1,1,1]} : float32[N,6,8,8] "conv"
  %5 = Relu(%4) : float32[N,6,8,8] "relu"
  %6 = Add(%5, %3) : float32[N,6,8,8] "sum"
  return "y" %6
}
`

// Stepping over several inputs gives what a program gives for each, and takes a constant only when it is needed.
func TestSteps(t *testing.T) {
	g, err := ParseGraph(stepsGraph)
	require.NoError(t, err)
	var inputs []map[string]*tensor.Tensor
	for i, n := range []int64{1, 3} {
		in, err := Probe(g, uint64(i+1), map[string]int64{"N": n})
		require.NoError(t, err)
		inputs = append(inputs, in)
	}
	changed := g.Clone()
	late := func(g *Graph) *Value { return g.Values[2] }
	replace := tensor.FromFloat32([]int64{6, 1, 1}, []float32{1, 2, 3, 4, 5, 6})
	require.NoError(t, late(changed).SetConst(replace))
	program, err := Compile(changed)
	require.NoError(t, err)
	var names []string
	for step, err := range Steps(context.Background(), g, inputs) {
		require.NoError(t, err)
		require.Len(t, step.Results, 2)
		names = append(names, step.Value.Name)
		switch step.Value.Name {
		case "relu":
			require.NoError(t, late(g).SetConst(replace))
		case "sum":
			for i, in := range inputs {
				want, err := program.Run(context.Background(), in)
				require.NoError(t, err)
				require.Equal(t, want["y"].Float32s(), step.Results[i].Float32s())
			}
		}
	}
	require.Equal(t, []string{"image", "conv", "relu", "sum"}, names)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, err := range Steps(ctx, g, inputs) {
		require.ErrorIs(t, err, context.Canceled)
	}
	for _, err := range Steps(context.Background(), g, []map[string]*tensor.Tensor{{}}) {
		require.ErrorContains(t, err, `input "image" is missing`)
	}
}
