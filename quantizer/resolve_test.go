package quantizer

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
)

// encoderText has convolutions, an upsampling and linear layers; UP is how the upsampling is spelled.
const encoderText = `graph encoder {
  %0 = Input : float32[N,4,8,8] "image"
  %1 = Constant seed(1) : float32[4,4,3,3] "cnn.c1.weight"
  %2 = Conv(%0, %1) {pads=[1,1,1,1]} : float32[N,4,8,8] "cnn.c1"
  %3 = Relu(%2) : float32[N,4,8,8] "cnn.r1"
  %4 = Constant seed(2) : float32[4,4,1,1] "cnn.c2.weight"
  %5 = Conv(%3, %4) : float32[N,4,8,8] "cnn.c2"
  %6 = Add(%5, %3) : float32[N,4,8,8] "cnn.sum"
UP  %12 = Conv(%11, %4) : float32[N,4,16,16] "cnn.c3"
  %13 = Transpose(%12) {perm=[0,2,3,1]} : float32[N,16,16,4] "tokens"
  %14 = Constant seed(6) : float32[4,64] "vit.lin.weight"
  %15 = MatMul(%13, %14) : float32[N,16,16,64] "vit.lin"
  return "y" %15
}
`

const transposedUp = `  %7 = Constant seed(3) : float32[4,4,2,2] "cnn.up.weight"
  %8 = Relu(%6) : float32[N,4,8,8] "unused"
  %9 = Relu(%6) : float32[N,4,8,8] "unused"
  %10 = Relu(%6) : float32[N,4,8,8] "unused"
  %11 = ConvTranspose(%6, %7) {strides=[2,2]} : float32[N,4,16,16] "cnn.up"
`

const convUp = `  %7 = Constant seed(3) : float32[16,4,1,1] "cnn.up.weight"
  %8 = Conv(%6, %7) : float32[N,16,8,8] "cnn.up"
  %9 = Reshape(%8) {shape=[N,2,2,4,8,8]} : float32[N,2,2,4,8,8] "cnn.up"
  %10 = Transpose(%9) {perm=[0,3,4,1,5,2]} : float32[N,4,8,2,8,2] "cnn.up"
  %11 = Reshape(%10) {shape=[N,4,16,16]} : float32[N,4,16,16] "cnn.up"
`

func encoder(t *testing.T, up string) *ir.Module {
	g, err := ir.ParseGraph(strings.Replace(encoderText, "UP", up, 1))
	require.NoError(t, err)
	g.Sweep()
	return &ir.Module{Graphs: []*ir.Graph{g}}
}

var (
	cnn = quant.Scope{Convolutions: []string{"cnn"}}
	all = quant.Scope{Convolutions: []string{"cnn"}, Linears: []string{"vit"}}
)

// ranges are those that calibration over everything would give.
func ranges(t *testing.T, m *ir.Module) *quant.Plan {
	p := &quant.Plan{Method: "minmax", Images: 1, Values: map[string]quant.Range{}, Float: map[string]string{}, Peaks: map[string]float32{}}
	g := m.Graphs[0]
	sites := FindSites(g, all)
	for v, key := range ir.Keys(g) {
		axis := 1
		if sites.ChannelsLast(v) {
			axis = 3
		}
		p.Peaks[key] = 2
		if v.Type.Rank() == 4 {
			r := quant.Range{Max: 1, Reason: "minmax"}
			for range v.Type.Shape[axis].B {
				r.Channels = append(r.Channels, 2)
			}
			p.Values[key] = r
		}
	}
	return p
}

func made(t *testing.T, m *ir.Module, scope quant.Scope) *quant.Plan {
	p, err := Make(m, ranges(t, m), "5f2c", scope, ONNXRuntime)
	require.NoError(t, err)
	return p
}

// Make takes of calibration's ranges what the scope observes; the text lists every layer, and is held to the model when it comes back.
func TestMake(t *testing.T) {
	m := encoder(t, convUp)
	p := made(t, m, cnn)
	require.Equal(t, []string{"cnn.c1/Conv", "cnn.c2/Conv", "cnn.up/Conv", "cnn.c3/Conv"}, p.Layers)
	require.NotContains(t, p.Values, "tokens/Transpose")
	var b bytes.Buffer
	require.NoError(t, p.Write(&b))
	require.Contains(t, b.String(), "plan version=2 source=5f2c scope=cnn method=minmax images=1\n")
	require.Contains(t, b.String(), "\n# float \"cnn.c1/Conv\"\n# float \"cnn.c2/Conv\"\n# float \"cnn.c3/Conv\"\n# float \"cnn.up/Conv\"\npeak ")
	back, err := quant.Read(&b)
	require.NoError(t, err)
	require.NoError(t, Resolve(m, back, "5f2c", cnn, ONNXRuntime))
	require.Equal(t, p, back)
	require.Contains(t, made(t, m, all).Values, "tokens/Transpose")
	none := made(t, m, quant.Scope{})
	require.Equal(t, "none", none.Scope)
	require.Empty(t, none.Values)
	require.Len(t, none.Peaks, len(p.Peaks), "float16 alone has peaks")
}

// Whatever a plan says that the build would not do is refused by name.
func TestResolveRefuses(t *testing.T) {
	m := encoder(t, convUp)
	for want, change := range map[string]func(p *quant.Plan){
		"source: it is for checkpoint other, this is 5f2c":     func(p *quant.Plan) { p.Source = "other" },
		`scope: it is for "all", the build quantizes "cnn"`:    func(p *quant.Plan) { p.Scope = "all" },
		`value "cnn.c9/Conv": the model has no such value`:     func(p *quant.Plan) { p.Values["cnn.c9/Conv"] = quant.Range{Max: 1} },
		`value "tokens/Transpose": the model has no such`:      func(p *quant.Plan) { p.Values["tokens/Transpose"] = quant.Range{Max: 1} },
		`float "cnn.c9/Conv": scope cnn has no such`:           func(p *quant.Plan) { p.Float["cnn.c9/Conv"] = "why" },
		`float "vit.lin/MatMul": scope cnn has no such`:        func(p *quant.Plan) { p.Float["vit.lin/MatMul"] = "why" },
		`peak "elsewhere/Add": the model has no such value`:    func(p *quant.Plan) { p.Peaks["elsewhere/Add"] = 1 },
		`value "image/Input": it has no line, and is to be`:    func(p *quant.Plan) { delete(p.Values, "image/Input") },
		`value "cnn.r1/Relu": it has no line`:                  func(p *quant.Plan) { delete(p.Values, "cnn.r1/Relu") },
		`value "cnn.sum/Add": it has no line`:                  func(p *quant.Plan) { delete(p.Values, "cnn.sum/Add") },
		`value "cnn.c3/Conv": it has no line`:                  func(p *quant.Plan) { delete(p.Values, "cnn.c3/Conv") },
		`value "cnn.r1/Relu": max: have 0, want a positive`:    func(p *quant.Plan) { p.Values["cnn.r1/Relu"] = quant.Range{} },
		`value "cnn.r1/Relu": channels: channel 0 is -1`:       func(p *quant.Plan) { p.Values["cnn.r1/Relu"] = quant.Range{Max: 1, Channels: []float32{-1}} },
		`value "cnn.r1/Relu": mean: have 3 channels, want tho`: func(p *quant.Plan) { p.Values["cnn.r1/Relu"] = quant.Range{Max: 1, Mean: []float32{1, 2, 3}} },
	} {
		p := made(t, m, cnn)
		change(p)
		require.ErrorContains(t, Resolve(m, p, "5f2c", cnn, ONNXRuntime), "plan: "+want)
	}
	p := made(t, m, cnn)
	p.Float["cnn.c3/Conv"] = "" // a value that nobody needs as integers may go
	delete(p.Values, "cnn.c3/Conv")
	require.NoError(t, Resolve(m, p, "5f2c", cnn, ONNXRuntime))
	table, err := Decide(m.Graphs[0], p, cnn, ONNXRuntime)
	require.NoError(t, err)
	_, float, _, _ := table.Report()
	require.Equal(t, map[string]string{"cnn.c3/Conv": "the plan says so"}, float)
}

// TensorRT keeps transposed convolutions: exactly what the plan says of their other spelling goes.
func TestPlanFor(t *testing.T) {
	plan := made(t, encoder(t, convUp), all)
	m := encoder(t, transposedUp)
	p, err := PlanFor(m, plan, all, TensorRT)
	require.NoError(t, err)
	gone := maps.Clone(plan.Values)
	maps.DeleteFunc(gone, func(key string, _ quant.Range) bool { _, kept := p.Values[key]; return kept })
	require.Len(t, gone, 2)
	require.Contains(t, gone, "cnn.up/Conv")
	require.Contains(t, gone, "cnn.up/Reshape#2")
	require.Equal(t, map[string]string{"cnn.c3/Conv": "the plan has no range for cnn.up/ConvTranspose"}, p.Float)
	require.EqualValues(t, 2, p.Peaks["cnn.up/ConvTranspose"], "its peak is that of the rearranged result")
	require.NotContains(t, p.Peaks, "cnn.up/Reshape#2")
	require.Contains(t, plan.Values, "cnn.up/Conv", "the plan itself is not changed")
	plan.Values["cnn.other/Conv"] = quant.Range{Max: 1}
	_, err = PlanFor(m, plan, all, TensorRT)
	require.ErrorContains(t, err, `plan: value "cnn.other/Conv": the model has no such value`)
}

func TestKeepFloat(t *testing.T) {
	p := made(t, encoder(t, convUp), all)
	p.Float["cnn.c3/Conv"] = "first"
	require.NoError(t, KeepFloat(p, "cnn.c1/Conv", "vit"))
	require.Equal(t, map[string]string{"cnn.c3/Conv": "first", "cnn.c1/Conv": "asked for by cnn.c1/Conv", "vit.lin/MatMul": "asked for by vit"}, p.Float)
	require.ErrorContains(t, KeepFloat(p, "cnn", "cnn.c"), `scope all has no convolution or linear layer "cnn.c"`)
	require.Len(t, p.Float, 3, "all or none")
	require.NoError(t, KeepFloat(p, "cnn"))
	require.Len(t, p.Float, 5)
}

// The table is text: what a person reviews.
func TestTable(t *testing.T) {
	m := encoder(t, convUp)
	p := made(t, m, all)
	p.Float["cnn.c3/Conv"] = "the head"
	r := p.Values["image/Input"]
	r.Channels = []float32{2, 1, 0.5, 0}
	p.Values["image/Input"] = r
	dead := quant.Range{Max: 1, NonNegative: true, Reason: "0 on all images", Channels: make([]float32, 4)}
	p.Values["cnn.r1/Relu"] = dead
	before := ir.PrintGraph(m.Graphs[0])
	for _, c := range []struct {
		spell Spelling
		want  string
	}{{ONNXRuntime, `graph encoder for onnxruntime: 4 of 5 layers, 79872 of 83968 multiply-adds in int8
value "image/Input" uint8 scale=0.01575 zero=128 for convolutions before=1..256 reason="minmax"
value "cnn.r1/Relu" uint8 scale=0.003922 zero=0 reason="0 on all images"
value "cnn.c2/Conv" uint8 scale=0.007874 zero=128 reason="minmax"
value "cnn.sum/Add" uint8 scale=0.007874 zero=128 reason="minmax"
value "cnn.up/Conv" uint8 scale=0.01575 zero=128 after=1..1 reason="minmax"
value "tokens/Transpose" uint8 scale=0.007874 zero=128 for linear layers reason="minmax"
conv "cnn.c1/Conv" int8 in=0.00391..1
conv "cnn.c2/Conv" int8
conv "cnn.up/Conv" int8 out=1..1
conv "cnn.c3/Conv" float: the head
linear "vit.lin/MatMul" int8
`}, {TensorRT, `graph encoder for tensorrt: 4 of 5 layers, 79872 of 83968 multiply-adds in int8
value "image/Input" int8 scale=0.01575 zero=0 for convolutions before=1..256 reason="minmax"
value "cnn.r1/Relu" int8 scale=0.007874 zero=0 reason="0 on all images"
value "cnn.sum/Add" int8 scale=0.007874 zero=0 reason="minmax"
value "cnn.up/Conv" int8 scale=0.01575 zero=0 after=1..1 reason="minmax"
value "tokens/Transpose" int8 scale=0.007874 zero=0 for linear layers reason="minmax"
conv "cnn.c1/Conv" int8 in=0.00391..1
conv "cnn.c2/Conv" int8
conv "cnn.up/Conv" int8 out=1..1
conv "cnn.c3/Conv" float: the head
linear "vit.lin/MatMul" int8
`}} {
		table, err := Decide(m.Graphs[0], p, all, c.spell)
		require.NoError(t, err)
		require.Equal(t, c.want, table.String())
	}
	require.Equal(t, before, ir.PrintGraph(m.Graphs[0]), "deciding changes nothing")
}
