package passes

import (
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/ir/tensor"
)

// halfModel has a place for every rule of cast-half, and some that none applies to.
func halfModel(t *testing.T) *ir.Graph {
	b := ir.NewBuilder("g")
	x := b.Input("x", tensor.Float32, tensor.Symbol("N"), tensor.Static(4))
	named := func(name string, op ir.Applied, args ...*ir.Value) *ir.Value {
		return b.As(name).Op(op, args...)
	}
	constant := func(name string, v ...float32) *ir.Value {
		return b.As(name).Const(tensor.FromFloat32([]int64{int64(len(v))}, v))
	}
	sum := named("sum", ir.Add, x, constant("ones", 1, 1, 1, 1))
	norm := named("norm", ir.LayerNormalization.With(ir.LayerNormAttrs{Axis: -1, Epsilon: 1e-5}), sum, constant("scale", 1, 2, 3, 4), constant("bias", 0, 1, 0, 1))
	scaled := named("scaled", ir.Mul, x, constant("pi", 3, 3, 3, 3))
	wave := named("wave", ir.Sin, scaled)
	large := named("large", ir.Mul, sum, constant("thousand", 1000, 1, 1, 1))
	after := named("after", ir.Relu, large)
	tiny := named("tiny", ir.Add, sum, constant("epsilon", 1e-8, 0, 0, 0))
	exp := named("exp", ir.Exp, norm)
	kept := named("kept", ir.Mul, exp, constant("half", 0.5, 0.5, 0.5, 0.5))
	log := named("log", ir.Log, kept)
	b.Output("y", named("join", ir.Concat.With(ir.AxisAttrs{Axis: 1}), wave, after, tiny, log))
	b.Output("less", named("less", ir.Less, x, constant("zero", 0, 0, 0, 0)))
	g, err := b.Graph()
	require.NoError(t, err)
	return g
}

func TestCastHalf(t *testing.T) {
	for name, c := range map[string]struct {
		peaks  map[string]float32
		wide   []string // results in float32
		reason map[string]string
	}{
		"nothing is known": {nil, []string{"norm", "scaled", "wave", "tiny", "exp", "kept", "log"}, map[string]string{"norm": "square", "scaled": "phase", "tiny": "constant", "exp": "logarithm"}},
		"small":            {map[string]float32{"sum/Add": 200, "large/Mul": 32000, "after/Relu": 32000}, []string{"scaled", "wave", "tiny", "exp", "kept", "log"}, map[string]string{"kept": "logarithm"}},
		"large": {map[string]float32{"sum/Add": 300, "large/Mul": 33000, "after/Relu": 33000}, []string{"norm", "scaled", "wave", "large", "after", "tiny", "exp", "kept", "log", "join"},
			map[string]string{"norm": "square", "large": "range", "after": "range"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := halfModel(t)
			in, err := ir.Probe(g, 3, map[string]int64{"N": 2})
			require.NoError(t, err)
			want := run(t, g, in)
			done := through(t, g, Input{Plan: &quant.Plan{Peaks: c.peaks}}, Options{}, "cast-half")[0].(*Halved)
			var wide []string
			for _, v := range g.Values {
				if !v.IsInput() && !v.IsConst() && !ir.Cast.Is(v) && v.Type.DType == tensor.Float32 {
					wide = append(wide, v.Name)
				}
			}
			require.ElementsMatch(t, c.wide, wide)
			rules := map[string]string{}
			for _, k := range done.Float32 {
				rules[quant.NameOf(k.Value)] = k.Rule
			}
			for value, rule := range c.reason {
				require.Equal(t, rule, rules[value], value)
			}
			have := run(t, g, in)
			require.Equal(t, want["less"].Bytes(), have["less"].Bytes())
			require.Equal(t, tensor.Float32, have["y"].DType(), "outputs stay float32")
			d, err := tensor.Compare(have["y"], want["y"])
			require.NoError(t, err)
			require.Greater(t, d.SNR, 55.0)
			require.Less(t, d.SNR, 100.0, "it is not the float32 graph")
		})
	}
}

// Values between integers stay in float32, and nothing is cast on the way from one to the next.
func TestCastHalfAroundIntegers(t *testing.T) {
	g := prepared(t)
	plan := planOf(t, g, false)
	done := through(t, g, Input{plan, quant.Scope{Convolutions: []string{"cnn"}}, TensorRT}, Options{}, "insert-qdq", "cast-half")[1].(*Halved)
	require.Positive(t, done.Values)
	for _, v := range g.Values {
		if ir.Conv.Is(v) {
			require.Equal(t, tensor.Float32, v.Type.DType)
			require.Equal(t, "DequantizeLinear", v.Args[0].Op.Name)
		}
		if ir.QuantizeLinear.Is(v) {
			require.NotEqual(t, "Cast", v.Args[0].Op.Name)
		}
	}
}

func TestSoftenMasks(t *testing.T) {
	b := ir.NewBuilder("g")
	x := b.Input("x", tensor.Float32, tensor.Static(3))
	mask := b.Const(tensor.FromFloat32([]int64{3}, []float32{0, masked, 1}))
	other := b.Const(tensor.FromFloat32([]int64{3}, []float32{-1e20, 5, 1}))
	b.Output("y", b.Softmax(b.Add(x, mask), 0))
	b.Output("z", b.Add(x, other))
	g, err := b.Graph()
	require.NoError(t, err)
	in, err := ir.Probe(g, 1, nil)
	require.NoError(t, err)
	want := run(t, g, in)
	w := &Work{Graph: g}
	require.NoError(t, row(t, "soften-masks").Run(w))
	require.Equal(t, 1, w.Changed, "a large number that is no mask stays")
	have := run(t, g, in)
	require.Equal(t, want["y"].Bytes(), have["y"].Bytes(), "what is masked has no part")
	require.Equal(t, want["z"].Bytes(), have["z"].Bytes())
}
