package ir

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir/tensor"
)

// Every mistake in the text is one error that names the line.
func TestParseErrors(t *testing.T) {
	in := "  %0 = Input : float32[N,4] \"x\"\n"
	for text, want := range map[string]string{
		"graph g {\n": "line",
		"graph g {\n" + in + "  %1 = Frob(%0) : float32[N,4]\n}\n":                                       "Frob",
		"graph g {\n" + in + "  %1 = Relu(%7) : float32[N,4]\n}\n":                                       "line 3",
		"graph g {\n" + in + "  %1 = Relu(%0) : float32[N,5]\n}\n":                                       "have type float32[N,5], want float32[N,4]",
		"graph g {\n" + in + "  %1 = Relu(%0, %0) : float32[N,4]\n}\n":                                   "have 2 arguments, want 1",
		"graph g {\n" + in + "  %1 = Relu(%0) {axis=1} : float32[N,4]\n}\n":                              "Relu has no attributes",
		"graph g {\n" + in + "  %1 = Softmax(%0) {axis=9} : float32[N,4]\n}\n":                           "axis",
		"graph g {\n" + in + "  %1 = Constant @3 : float32[4]\n}\n":                                      "line 3",
		"graph g {\n" + in + "  %1 = Constant {1, 2} : float32[4]\n}\n":                                  "line 3",
		"graph g {\n" + in + "  return \"y\" %0\n  return \"y\" %0\n}\n":                                 "occurs twice",
		"graph g {\n" + in + in + "}\n":                                                                  "line 3",
		"graph g {\n" + in + "  %1 = Reshape(%0) {shape=[N,5]} : float32[N,5]\n}\n":                      "elements",
		"graph g {\n" + in + "  %1 = Transpose(%0) {perm=[0,0]} : float32[N,N]\n}\n":                     "perm",
		"graph g {\n" + in + "  %1 = Input : float32[4] \"y\"\n  %2 = Equal(%0, %1) : float32[N,4]\n}\n": "have type float32[N,4], want bool[N,4]",
	} {
		_, err := Parse(text, nil)
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "\n")
	}
}

// Whatever the text: an error, or a module that prints and parses to itself.
func FuzzParsePrint(f *testing.F) {
	files, err := filepath.Glob("testdata/ops/*.ir")
	require.NoError(f, err)
	for _, path := range files {
		text, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(string(text))
	}
	f.Add(metaExample + "\ngraph g {\n  %0 = Input : float16[N,2*P+1] \"x\"\n  %1 = Constant {NaN, -0} : float16[2]\n  %2 = Relu(%0) : float16[N,2*P+1] \"\\xff\" from \"r\"\n  return \"y\" %2\n}\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := Parse(text, nil)
		if err != nil {
			return
		}
		once, pool := Print(m)
		back, err := Parse(once, pool)
		require.NoError(t, err, once)
		twice, again := Print(back)
		require.Equal(t, once, twice)
		require.Len(t, again, len(pool))
		same(t, m, back)
	})
}

// same holds two modules to be equal in everything that they are.
func same(t *testing.T, a, b *Module) {
	require.Equal(t, a.Meta, b.Meta)
	require.Len(t, b.Graphs, len(a.Graphs))
	for k, g := range a.Graphs {
		h := b.Graphs[k]
		require.Equal(t, g.Name, h.Name)
		require.Len(t, h.Values, len(g.Values))
		partner := map[*Value]*Value{}
		for i, v := range g.Values {
			w := h.Values[i]
			partner[v] = w
			require.Same(t, v.Op, w.Op)
			require.Len(t, w.Args, len(v.Args))
			for j, x := range v.Args {
				require.True(t, partner[x] == w.Args[j], "argument %d of %s", j, v)
			}
			require.Equal(t, fmt.Sprintf("%#v", v.Attrs), fmt.Sprintf("%#v", w.Attrs))
			require.Equal(t, [3]any{v.ID, v.Name, v.From}, [3]any{w.ID, w.Name, w.From})
			require.True(t, v.Type.Equal(w.Type), v)
			require.True(t, v.Const == nil && w.Const == nil || tensor.Equal(v.Const, w.Const), "constant %s", v)
		}
		require.Len(t, h.Outputs, len(g.Outputs))
		for i, o := range g.Outputs {
			require.Equal(t, o.Name, h.Outputs[i].Name)
			require.True(t, partner[o.Value] == h.Outputs[i].Value)
		}
	}
}

const metaExample = `module {"family":"f","config":{"n":9007199254740993,"on":true,"size":"b","windows":[14,16],"none":[]},"preprocess":{"size":256},"branch":["a.b"],"linears":["c"],"both":true}`

// What surrounds the graphs comes back as it was, with the types that it had; other types are refused.
func TestParseMeta(t *testing.T) {
	m := &Module{Meta: Meta{Family: "f", Config: map[string]any{"n": int64(1<<53 + 1), "on": true, "size": "b", "windows": []int64{14, 16}, "none": []int64{}},
		Preprocess: Preprocess{Size: 256}, Branch: []string{"a.b"}, Linears: []string{"c"}, Both: true}}
	text, pool := Print(m)
	back, err := Parse(text, pool)
	require.NoError(t, err)
	same(t, m, back)
	example, err := Parse(metaExample+"\n", nil)
	require.NoError(t, err)
	same(t, m, example)
	for config, want := range map[string]string{
		`{"x":1.5}`: "config: x: have 1.5, want an integer", `{"x":null}`: "config: x: have <nil>", `{"x":[1,"2"]}`: "config: x: have [1 2]",
		`{"x":{}}`: "config: x: have map[]", `{"x":1}} {`: "more than one value", `{"x":`: "",
	} {
		_, err := Parse(`module {"config":`+config+"}\n", nil)
		require.ErrorContains(t, err, "line 1: module: "+want)
	}
}

func TestBind(t *testing.T) {
	g, err := ParseGraph("graph g {\n  %0 = Input : float32[N,2*P+1] \"x\"\n  %1 = Input : int64[P] \"i\"\n  %2 = Relu(%0) : float32[N,2*P+1]\n  return \"y\" %2\n}\n")
	require.NoError(t, err)
	x := func(dims ...int64) *tensor.Tensor {
		n, _ := tensor.Elements(dims)
		return tensor.FromFloat32(dims, make([]float32, n))
	}
	i := func(n int64) *tensor.Tensor { return tensor.FromInt64([]int64{n}, make([]int64, n)) }
	syms, err := Bind(g, map[string]*tensor.Tensor{"x": x(3, 7), "i": i(3)})
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"N": 3, "P": 3}, syms)
	for want, in := range map[string]map[string]*tensor.Tensor{
		`input "i" is missing`:       {"x": x(3, 7)},
		`there is no input "z"`:      {"x": x(3, 7), "i": i(3), "z": i(1)},
		`P is 3 in another input`:    {"x": x(3, 7), "i": i(4)},
		`have float32[3,6]`:          {"x": x(3, 6), "i": i(3)},
		`have float32[7], want`:      {"x": x(7), "i": i(3)},
		`input "i": have float32[3]`: {"x": x(3, 7), "i": x(3)},
	} {
		_, err := Bind(g, in)
		require.ErrorContains(t, err, want)
	}
}

// Observe sees every computed value in order; a cancelled context stops a run.
func TestRun(t *testing.T) {
	g, err := ParseGraph("graph g {\n  %0 = Input : float32[N] \"x\"\n  %1 = Neg(%0) : float32[N]\n  %2 = Relu(%1) : float32[N]\n  return \"y\" %2\n}\n")
	require.NoError(t, err)
	p, err := Compile(g)
	require.NoError(t, err)
	var seen []string
	p.Observe = func(v *Value, x *tensor.Tensor) { seen = append(seen, v.Op.Name+x.Type().String()) }
	out, err := p.Run(context.Background(), map[string]*tensor.Tensor{"x": tensor.FromFloat32([]int64{2}, []float32{-1, 2})})
	require.NoError(t, err)
	require.Equal(t, []float32{1, 0}, out["y"].Float32s())
	require.Equal(t, []string{"Negfloat32[2]", "Relufloat32[2]"}, seen)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = p.Run(ctx, map[string]*tensor.Tensor{"x": tensor.FromFloat32([]int64{1}, []float32{1})})
	require.ErrorIs(t, err, context.Canceled)
}

func TestBuilderKeepsItsFirstError(t *testing.T) {
	b := NewBuilder("g")
	x := b.Input("x", tensor.Float32, tensor.Static(3))
	bad := b.In("layer").Op(Transpose.With(TransposeAttrs{Perm: []int64{0, 1}}), x)
	b.In("later").Op(Relu, bad)
	_, err := b.Graph()
	require.ErrorContains(t, err, "graph g: layer: Transpose: ")
}

// The graph keeps uses as it changes; whoever changes an edge behind its back is told by Check.
func TestUsesAreKept(t *testing.T) {
	g, err := ParseGraph(stepsGraph)
	require.NoError(t, err)
	conv, relu, sum := g.Values[4], g.Values[5], g.Values[6]
	require.Equal(t, []*Value{relu}, g.UsesOf(conv))
	b := g.After(conv, "r")
	y := b.Mul(conv, conv)
	require.Equal(t, []*Value{relu, y}, g.UsesOf(conv))
	require.NoError(t, g.ReplaceIn("r", conv, y, func(u *Value) bool { return u != y }))
	require.Equal(t, []*Value{y}, g.UsesOf(conv))
	require.Equal(t, []*Value{relu}, g.UsesOf(y))
	require.NoError(t, g.Replace("r", relu, g.After(relu, "r").Relu(y)))
	require.NoError(t, Check(g))
	require.Empty(t, g.UsesOf(relu))
	require.False(t, g.IsOutput(relu))
	require.True(t, g.IsOutput(sum))
	require.Equal(t, 1, g.Sweep())
	require.NoError(t, Check(g))
	require.Equal(t, []*Value{y}, g.UsesOf(conv))
	c := g.Clone()
	sum.Args[0] = conv
	require.ErrorContains(t, Check(g), "uses, want")

	g.Become(c)
	require.NoError(t, Check(g))
	require.Equal(t, "g", g.Name)
	require.Empty(t, c.Values)
	require.Error(t, g.Values[0].SetConst(g.Values[1].Const))
	require.Error(t, g.Values[1].SetConst(g.Values[2].Const))
	require.NoError(t, g.Values[1].SetConst(g.Values[1].Const))
}

// A program keeps what it makes of lazy constants: the graph's stay lazy, and those that only folded values need are given up.
func TestCompileLeavesConstantsLazy(t *testing.T) {
	computed := 0
	lazy := func(x float32) *tensor.Tensor {
		l, err := tensor.MapFloat32([]int64{2}, func() []float32 { computed++; return []float32{x, -x} })
		require.NoError(t, err)
		return l
	}
	b := NewBuilder("g")
	sum := b.Add(b.Const(lazy(1)), b.Const(lazy(2)))
	b.Output("y", b.Add(b.Mul(b.Input("x", tensor.Float32, tensor.Static(2)), b.Const(lazy(3))), sum))
	g, err := b.Graph()
	require.NoError(t, err)
	p, err := Compile(g)
	require.NoError(t, err)
	require.Equal(t, 3, computed)
	for range 2 {
		out, err := p.Run(context.Background(), map[string]*tensor.Tensor{"x": tensor.FromFloat32([]int64{2}, []float32{1, 10})})
		require.NoError(t, err)
		require.Equal(t, []float32{6, -33}, out["y"].Float32s())
	}
	require.Equal(t, 3, computed)
	for _, v := range g.Values {
		require.Equal(t, v.IsConst(), v.Const != nil && v.Const.IsLazy())
	}
	require.Len(t, p.done, 2, "the constant factor and the sum")
}

// A shuffled graph has the same values, edges and inputs in order, in another order that Check takes.
func TestShuffle(t *testing.T) {
	orders := map[string]bool{}
	for seed := range uint64(8) {
		g, err := ParseGraph(stepsGraph)
		require.NoError(t, err)
		before, uses := slices.Clone(g.Values), g.UsesOf(g.Values[2])
		Shuffle(g, seed)
		require.NoError(t, Check(g))
		require.ElementsMatch(t, before, g.Values)
		require.Equal(t, uses, g.UsesOf(before[2]))
		orders[PrintGraph(g)] = true
	}
	require.Greater(t, len(orders), 3)
}

// Windows that leave nothing are refused where they are inferred, as ONNX Runtime refuses them when it runs.
func TestWindowsOfNothing(t *testing.T) {
	for want, op := range map[string]func(b *Builder, x *Value) *Value{
		"which leave 0 elements of axis 3": func(b *Builder, x *Value) *Value {
			return b.Op(ConvTranspose.With(ConvTransposeAttrs{Pads: []int64{0, 2, 0, 2}}), x, b.Const(tensor.FromFloat32([]int64{1, 1, 1, 1}, []float32{1})))
		},
		"pads: have [2 0 0 0], want less than the kernel": func(b *Builder, x *Value) *Value {
			return b.Op(MaxPool.With(MaxPoolAttrs{Kernel: []int64{2, 2}, Pads: []int64{2, 0, 0, 0}}), x)
		},
		"want less than the kernel": func(b *Builder, x *Value) *Value {
			return b.Op(AveragePool.With(AveragePoolAttrs{Kernel: []int64{2, 2}, Pads: []int64{0, 0, 0, 2}}), x)
		},
	} {
		b := NewBuilder("g")
		op(b, b.Input("x", tensor.Float32, tensor.Dims(1, 1, 4, 4)...))
		require.ErrorContains(t, b.Err(), want)
	}
}
