package ir

import (
	"context"
	"os"
	"path/filepath"
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
	})
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
