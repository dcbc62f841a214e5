package quantizer_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/calib"
	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/passes"
	"syncsam-convert/quantizer"
)

const channels, side = 16, 16

// A maker makes random graphs: convolutions, residual additions, pooling, then linear layers behind a LayerNorm. Channels are normal, or of
// the kinds that checkpoints have and nobody tests.
type maker struct {
	*rand.Rand
	b       *ir.Builder
	extreme bool // some channel may be huge, or denormal
	n       int
}

func (m *maker) name(module string) *ir.Builder {
	m.n++
	return m.b.As(fmt.Sprintf("%s.%d", module, m.n))
}

// weights of rows output channels with row elements each, and their biases.
func (m *maker) weights(rows, row int) (w, bias []float32) {
	w, bias = make([]float32, rows*row), make([]float32, rows)
	for o := range rows {
		size, shift := 1/math.Sqrt(float64(row)), m.NormFloat64()*0.3
		kind := m.IntN(24)
		if !m.extreme {
			kind %= 5
			kind += 24 * m.IntN(2)
		}
		switch kind {
		case 0, 1: // dead: batch normalization with gain and bias 0
			size, shift = 0, 0
		case 2: // constant
			size = 0
		case 3: // a ReLU behind it never fires
			shift = -1e3
		case 4:
			size *= 1e-12
		case 5:
			size = 1e-40
		case 6:
			if m.IntN(8) == 0 {
				size = []float64{1e30, 3e37}[m.IntN(2)]
			}
		case 7:
			if m.IntN(8) == 0 {
				shift = 1e30
			}
		case 8:
			size, shift = 1e-40, 1e-40
		}
		for i := range row {
			w[o*row+i] = float32(m.NormFloat64() * size)
		}
		bias[o] = float32(shift)
	}
	return w, bias
}

func (m *maker) conv(x *ir.Value) *ir.Value {
	k := 1 + 2*m.IntN(2)
	groups := 1
	if m.IntN(5) == 0 {
		groups = 4
	}
	w, bias := m.weights(channels, channels/groups*k*k)
	b := m.name("cnn")
	p := int64(k / 2)
	y := b.Op(ir.Conv.With(ir.ConvAttrs{Pads: []int64{p, p, p, p}, Group: int64(groups)}), x,
		b.Const(tensor.FromFloat32([]int64{channels, int64(channels / groups), int64(k), int64(k)}, w)), b.Const(tensor.FromFloat32([]int64{channels}, bias)))
	if m.IntN(4) > 0 {
		y = m.name("cnn").Relu(y)
	}
	return y
}

func (m *maker) linear(x *ir.Value) *ir.Value {
	w, bias := m.weights(channels, channels)
	t := make([]float32, len(w))
	tensor.TransposeFloat32(t, w, []int64{channels, channels}, []int{1, 0})
	b := m.name("vit")
	return b.Add(b.MatMul(x, b.Const(tensor.FromFloat32([]int64{channels, channels}, t))), b.Const(tensor.FromFloat32([]int64{channels}, bias)))
}

func (m *maker) graph(t *testing.T) *ir.Graph {
	m.b = ir.NewBuilder("encoder")
	s := tensor.Static
	x := m.b.Input("image", tensor.Float32, tensor.Symbol("N"), s(channels), s(side), s(side))
	y := m.conv(x)
	for range 1 + m.IntN(3) {
		switch z := m.conv(y); m.IntN(4) {
		case 0:
			y = m.name("cnn").Add(z, y)
		case 1:
			y = m.name("cnn").Relu(m.name("cnn").Add(z, y))
		case 2:
			y = m.name("cnn").Op(ir.MaxPool.With(ir.MaxPoolAttrs{Kernel: []int64{3, 3}, Pads: []int64{1, 1, 1, 1}, Strides: []int64{1, 1}}), z)
		default:
			y = z
		}
	}
	y = m.name("tokens").Transpose(y, 0, 2, 3, 1)
	if m.IntN(3) > 0 {
		gain, bias := m.weights(channels, 1)
		if m.IntN(8) == 0 {
			gain, bias = make([]float32, channels), make([]float32, channels)
		}
		b := m.name("vit")
		y = b.Op(ir.LayerNormalization.With(ir.LayerNormAttrs{Axis: -1, Epsilon: 1e-6}), y, b.Const(tensor.FromFloat32([]int64{channels}, gain)), b.Const(tensor.FromFloat32([]int64{channels}, bias)))
	}
	y = m.linear(y)
	if m.IntN(2) == 0 {
		y = m.name("vit").Gelu(y)
	}
	m.b.Output("y", m.linear(y))
	g, err := m.b.Graph()
	require.NoError(t, err)
	return g
}

// Whatever the channels are: every scale is a normal number above 0, in every spelling, and results are finite. Where no channel is huge or
// denormal they keep a signal of 10 dB above the error of all roundings; else no error passes half of the largest amplitude anywhere in the graph, or 16 times
// where ranges clip; float16 of the same graphs stays within a 32nd of it.
func TestAnyChannels(t *testing.T) {
	ctx := context.Background()
	scope := quant.Scope{Convolutions: []string{"cnn"}, Linears: []string{"vit"}}
	graphs, normal, quantized, kept := 1000, 0, 0, 0
	if testing.Short() {
		graphs = 100
	}
	worst := math.Inf(1)
	for seed := uint64(0); graphs > 0; seed++ {
		m := &maker{Rand: rand.New(rand.NewPCG(seed, 5)), extreme: seed%2 == 0}
		g := m.graph(t)
		in := make([]float32, channels*side*side)
		size := 1.0
		if m.extreme {
			size = []float64{1, 1e-38, 1e20}[m.IntN(3)]
		}
		for i := range in {
			in[i] = float32(m.NormFloat64() * size)
		}
		inputs := map[string]*tensor.Tensor{"image": tensor.FromFloat32([]int64{1, channels, side, side}, in)}
		keys, sites, stats := ir.Keys(g), quantizer.FindSites(g, scope), calib.NewStats("")
		observed := map[string]*tensor.Tensor{"image/Input": inputs["image"]}
		stats.Last = map[string]bool{}
		want, largest := map[string]*tensor.Tensor{}, 1.0
		for step, err := range ir.Steps(ctx, g, []map[string]*tensor.Tensor{inputs}) {
			require.NoError(t, err)
			for _, x := range step.Results[0].Float32s() {
				largest = max(largest, math.Abs(float64(x)))
			}
			want[keys[step.Value]] = step.Results[0]
		}
		for _, v := range sites.Observed() {
			if key := keys[v]; !v.IsInput() {
				observed[key], stats.Last[key] = want[key], sites.ChannelsLast(v)
			}
		}
		if !(largest < math.MaxFloat32) || stats.Collect(ctx, 1, func(int) (map[string]*tensor.Tensor, error) { return observed, nil }, nil) != nil {
			continue // float itself is not finite
		}
		graphs--
		y := want[keys[g.Outputs[0].Value]].Float32s()
		half := halved(t, g, want, inputs)
		for i, x := range half {
			d := math.Abs(float64(x) - float64(y[i]))
			require.True(t, d <= largest/32, "graph %d: float16: have %v, want %v", seed, x, y[i])
		}
		method := calib.MethodNames()[m.IntN(len(calib.MethodNames()))]
		ranges, err := stats.Plan(method)
		require.NoError(t, err)
		for _, spell := range quantizer.Spellings {
			what := fmt.Sprintf("graph %d, %s, %s", seed, spell.Name, method)
			q := g.Clone()
			module := &ir.Module{Graphs: []*ir.Graph{q}}
			plan, err := quantizer.Make(module, ranges, "", scope, spell)
			require.NoError(t, err, what)
			table, err := quantizer.Decide(q, plan, scope, spell)
			require.NoError(t, err, what)
			_, err = quantizer.Write(q, table)
			require.NoError(t, err, what)
			require.NoError(t, ir.Check(q), what)
			checkScales(t, q, what)
			nodes, float, _, _ := table.Report()
			require.True(t, m.extreme || len(float) == 0, "%s: %v", what, float)
			quantized, kept = quantized+len(nodes), kept+len(float)
			p, err := ir.Compile(q)
			require.NoError(t, err, what)
			out, err := p.Run(ctx, inputs)
			require.NoError(t, err, what)
			signal, noise, most := 0.0, 0.0, 0.0
			bound := largest / 2
			if method != "minmax" { // what clips takes apart what cancels out
				bound = 16 * largest
			}
			if seed%4 < 2 {
				for i, x := range executed(t, q, inputs) { // as integers
					d := math.Abs(float64(x) - float64(y[i]))
					require.True(t, d <= bound, "%s: as integers: have %v, want %v", what, x, y[i])
				}
			}
			for i, x := range out["y"].Float32s() {
				d := float64(x) - float64(y[i])
				signal, noise, most = signal+float64(y[i])*float64(y[i]), noise+d*d, max(most, math.Abs(d))
				require.False(t, d != d || math.IsInf(d, 0), what)
			}
			require.LessOrEqual(t, most, bound, what)
			if !m.extreme && method == "minmax" {
				normal++
				db := 10 * math.Log10(signal/max(noise, 1e-30))
				worst = min(worst, db)
				require.Greater(t, db, 10.0, what)
			}
		}
	}
	require.Greater(t, normal, 20)
	require.Greater(t, quantized, 5*kept, "few layers are none for INT8")
	t.Logf("%d layers in int8, %d in float by their numbers; without extremes the worst of %d keeps %.1f dB", quantized, kept, normal, worst)
}

// executed runs a graph as the embedded engine does, with integer products.
func executed(t *testing.T, g *ir.Graph, inputs map[string]*tensor.Tensor) []float32 {
	g = g.Clone()
	_, err := passes.All(context.Background(), &ir.Module{Graphs: []*ir.Graph{g}}, passes.Execute(), passes.Input{}, passes.Options{})
	require.NoError(t, err)
	p, err := ir.Compile(g)
	require.NoError(t, err)
	out, err := p.Run(context.Background(), inputs)
	require.NoError(t, err)
	return out["y"].Float32s()
}

// halved runs a graph in float16, with the amplitudes that its values have.
func halved(t *testing.T, g *ir.Graph, values map[string]*tensor.Tensor, inputs map[string]*tensor.Tensor) []float32 {
	peaks := map[string]float32{}
	for key, v := range values {
		for _, x := range v.Float32s() {
			peaks[key] = max(peaks[key], x, -x)
		}
	}
	list := passes.Pipeline(passes.Goal{Half: true, Calibrated: true})
	g = g.Clone()
	_, err := passes.All(context.Background(), &ir.Module{Graphs: []*ir.Graph{g}}, list[len(list)-1:], passes.Input{Plan: &quant.Plan{Peaks: peaks}}, passes.Options{})
	require.NoError(t, err)
	p, err := ir.Compile(g)
	require.NoError(t, err)
	out, err := p.Run(context.Background(), inputs)
	require.NoError(t, err)
	return out["y"].Float32s()
}

// checkScales finds no scale that is not a normal number above 0.
func checkScales(t *testing.T, g *ir.Graph, what string) {
	for _, v := range g.Values {
		if ir.QuantizeLinear.Is(v) || ir.DequantizeLinear.Is(v) {
			for _, s := range v.Args[1].Const.Float32s() {
				require.True(t, s >= 0x1p-126 && s <= math.MaxFloat32, "%s: %s: scale %v", what, v, s)
			}
		}
	}
}
