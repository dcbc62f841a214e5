package passes

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/ir/tensor"
)

// A transformer's MLP whose LayerNorm has one loud channel: all products become INT8 but for the one that the plan keeps and the one that is
// not below the module, GELU's result has a zero point near 0, and smoothing keeps the loud channel from drowning the others.
func TestQuantizeLinear(t *testing.T) {
	b := ir.NewBuilder("encoder")
	constant := func(name string, n int64, dims ...int64) *ir.Value {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32((i*7919)%23-11) / 16
		}
		return b.As(name).Const(tensor.FromFloat32(dims, x))
	}
	const d, h = 32, 64
	x := b.Input("image", tensor.Float32, tensor.Symbol("N"), tensor.Static(8), tensor.Static(8), tensor.Static(d))
	gamma := make([]float32, d)
	for i := range gamma {
		gamma[i] = 1
	}
	gamma[5] = 60
	norm := b.As("vit.blocks.0.norm").Op(ir.LayerNormalization.With(ir.LayerNormAttrs{Axis: -1, Epsilon: 1e-6}), x, b.As("gamma").Const(tensor.FromFloat32([]int64{d}, gamma)), constant("beta", d, d))
	quiet := make([]float32, d*h) // little weight on the loud channel, as training leaves it
	for i := range quiet {
		quiet[i] = float32((i*7919)%23-11) / 16
		if i/h == 5 {
			quiet[i] /= 60
		}
	}
	y := b.As("vit.blocks.0.lin1").MatMul(norm, b.As("vit.blocks.0.lin1.weight").Const(tensor.FromFloat32([]int64{d, h}, quiet)))
	y = b.As("vit.blocks.0.lin1").Add(y, constant("vit.blocks.0.lin1.bias", h, h))
	y = b.As("vit.blocks.0").Gelu(y)
	y = b.As("vit.blocks.0.lin2").MatMul(y, constant("vit.blocks.0.lin2.weight", h*d, h, d))
	y = b.As("vit.blocks.1.kept").MatMul(y, constant("vit.blocks.1.kept.weight", d*d, d, d))
	y = b.As("elsewhere").MatMul(y, constant("elsewhere.weight", d*d, d, d))
	b.Output("y", y)
	g, err := b.Graph()
	require.NoError(t, err)
	in, err := ir.Probe(g, 3, nil)
	require.NoError(t, err)
	want := run(t, g, in)

	plan := &quant.Plan{Method: "max", Images: 1, Values: map[string]quant.Range{}, Float: map[string]string{"vit.blocks.1.kept/MatMul": "asked for"}}
	keys := quant.Keys(g)
	p, err := ir.Compile(g)
	require.NoError(t, err)
	p.Observe = func(v *ir.Value, x *tensor.Tensor) {
		r := quant.Range{Channels: make([]float32, x.Dims()[3]), Mean: make([]float32, x.Dims()[3])}
		for i, f := range x.Float32s() {
			c := i % len(r.Channels)
			r.Channels[c] = max(r.Channels[c], f, -f)
			r.Mean[c] += f / float32(x.Len()) * float32(len(r.Channels))
			r.Max = max(r.Max, f, -f)
		}
		plan.Values[keys[v]] = r
	}
	_, err = p.Run(context.Background(), in)
	require.NoError(t, err)

	require.Len(t, quant.FindLinears(g, []string{"vit.blocks"}), 3)
	done := through(t, g, Input{plan, quant.Scope{Linears: []string{"vit.blocks"}}, ONNXRuntime}, Options{}, "quantize-linear")[0].(*Quantized)
	require.Equal(t, []string{"vit.blocks.0.lin1/MatMul", "vit.blocks.0.lin2/MatMul"}, done.Nodes)
	require.Equal(t, map[string]string{"vit.blocks.1.kept/MatMul": "asked for"}, done.Float)
	require.EqualValues(t, 64*(d*h+h*d+d*d), done.All)
	require.EqualValues(t, 64*(d*h+h*d), done.Int8)
	for _, v := range g.Values {
		if ir.QuantizeLinear.Is(v) && ir.Gelu.Is(v.Args[0]) {
			require.Less(t, v.Args[2].Const.Bytes()[0], uint8(20), "GELU is hardly ever negative")
		}
	}
	diff, err := tensor.Compare(run(t, g, in)["y"], want["y"])
	require.NoError(t, err)
	t.Logf("%.1f dB", diff.SNR)
	require.Greater(t, diff.SNR, 30.0, "without smoothing the loud channel takes the steps, and 9 dB are left")
}
