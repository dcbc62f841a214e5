package front

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func names(groups []*Group) (out []string) {
	for _, g := range groups {
		out = append(out, fmt.Sprintf("%s %d", g.Name, len(g.Layers)))
	}
	return out
}

// Layers of a branch go by stage, those of a ViT by kind and quarter of its blocks, whatever the numbers behind # are; every layer is in one group.
func TestGroups(t *testing.T) {
	layers := []string{"resnet.stage0.0/Conv", "resnet.stage1.0.conv1/Conv", "resnet.stage1.0.conv2/Conv", "adapters.0.reshaper.3/Conv", "adapters.1/Conv"}
	for i := range 5 {
		at := fmt.Sprintf("vit.blocks.%d.", i)
		layers = append(layers, at+"attn/MatMul", fmt.Sprintf("%sattn/MatMul#%d", at, 6+i%2), at+"mlp.lin1/MatMul")
	}
	layers = append(layers, "vit.neck/MatMul", "features.3.0/Conv")
	groups := Groups(layers)
	require.Equal(t, []string{"resnet.stage0 1", "resnet.stage1 2", "adapters 2",
		"vit.blocks.0-1.attn#1 2", "vit.blocks.0-1.attn#2 2", "vit.blocks.0-1.mlp.lin1 2", "vit.blocks.2.attn#1 1", "vit.blocks.2.attn#2 1", "vit.blocks.2.mlp.lin1 1",
		"vit.blocks.3.attn#1 1", "vit.blocks.3.attn#2 1", "vit.blocks.3.mlp.lin1 1", "vit.blocks.4.attn#1 1", "vit.blocks.4.attn#2 1", "vit.blocks.4.mlp.lin1 1",
		"vit.neck 1", "features 1"}, names(groups))
	var all []string
	for _, g := range groups {
		all = append(all, g.Layers...)
	}
	require.ElementsMatch(t, layers, all)
	require.Empty(t, Groups(nil))
}

// A node's time goes to the group that has its layer, or alone has its module; what nobody has is made up for.
func TestTime(t *testing.T) {
	groups := Groups([]string{"cnn.stage1.0/Conv", "vit.blocks.0.attn/MatMul", "vit.blocks.0.attn/MatMul#7", "vit.blocks.0.lin/MatMul"})
	float := map[string]float64{"cnn.stage1.0/Relu_nchwc": 8, "vit.blocks.0.attn/MatMul[window-pad]": 4, "vit.blocks.0.attn/MatMul_7[window-pad]": 2, "vit.blocks.0.attn/Softmax": 50, "vit.blocks.0.lin/MatMul": 3, "BiasGelu": 9}
	int8 := map[string]float64{"cnn.stage1.0.equalized/Conv[insert-qdq]_token_5": 2, "vit.blocks.0.attn/MatMul[quantize-linear]": 1, "vit.blocks.0.attn/MatMul_7[quantize-linear]": 1, "vit.blocks.0.attn/Softmax": 70, "vit.blocks.0.lin/QuantizeLinear": 2, "vit.blocks.0.lin/MatMul": 3}
	Time(groups, float, int8, 4) // of 6 + 3 + 1 - 2
	var have []string
	for _, g := range groups {
		have = append(have, fmt.Sprintf("%g %g", g.Float, g.saved()))
	}
	require.Equal(t, []string{"8 3", "4 1.5", "2 0.5", "3 -1"}, have)
}

// A path has all groups that save time, those first that add least noise for it, in at most 17 steps; figures that differ by little leave it as it is.
func TestPath(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		var groups []*Group
		for i := range 1 + r.IntN(40) {
			groups = append(groups, &Group{Name: fmt.Sprint(i), Layers: []string{fmt.Sprint(i)}, Float: 1, Int8: r.Float64() * 1.2, Noise: 30 + 40*r.Float64()})
		}
		steps := Path(groups)
		require.LessOrEqual(t, len(steps), most)
		all := slices.Concat(steps...)
		for _, g := range groups {
			require.Equal(t, g.Int8 < 1, slices.Contains(all, g))
			require.Equal(t, g.Int8 >= 1, g.Slow)
		}
		again := Path(groups)
		require.Equal(t, steps, again)
	}
	a, b, c := &Group{Name: "a", Float: 1, Int8: .5, Noise: 40}, &Group{Name: "b", Float: 1, Int8: .5, Noise: 60}, &Group{Name: "c", Float: 1, Int8: 0.96, Noise: 58}
	require.Equal(t, [][]*Group{{b}, {c}, {a}}, Path([]*Group{a, b, c}))
	b.Noise, b.Int8 = 60.1, 0.51
	require.Equal(t, [][]*Group{{b}, {c}, {a}}, Path([]*Group{a, b, c}))
}

// The point in the middle of the widest gap is tried next.
func TestMiddle(t *testing.T) {
	var points []*Point
	for i := range 10 {
		points = append(points, &Point{Latency: float64(100 - 10*i), Decision: Untried})
	}
	points[0].Decision, points[9].Decision = "equivalent", "inferior"
	var order []int
	for at := Middle(points); at >= 0; at = Middle(points) {
		require.Equal(t, Untried, points[at].Decision)
		points[at].Decision = "equivalent"
		order = append(order, at)
	}
	require.Len(t, order, 8)
	require.Equal(t, 4, order[0])
	require.Equal(t, -1, Middle(nil))
}

// Where data were too few, a line says so.
func TestShort(t *testing.T) {
	chosen := &Point{Ratio: 0.8, Decision: "equivalent"}
	f := &Front{Points: []*Point{{Ratio: 1}, chosen, {Ratio: 0.6, Decision: "undecided", Modes: map[string]Mode{"box": {Needed: 900}, "point1": {Needed: 300}}},
		{Ratio: 0.7, Decision: "undecided", Modes: map[string]Mode{"box": {Needed: 500}}}, {Ratio: 0.5, Decision: Untried, Predicted: true}}}
	require.Equal(t, "what is faster could not be decided: not enough data (needs about 500 items)", f.Short(chosen))
	f.Points[2].Decision, f.Points[3].Decision = "inferior", "inferior"
	require.Empty(t, f.Short(chosen))
}
