package onnx_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	backend "syncsam-convert/backends/onnx"
	"syncsam-convert/engine"
	frontend "syncsam-convert/frontends/onnx"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/passes"
	"syncsam-convert/safetensors"
)

// The op suite: graphs in ir/testdata/ops, evaluated on probe inputs by every executor. What they must give was computed by
// ONNX Runtime and lies in expected.safetensors; -update computes it anew.
const opsDir = "../../ir/testdata/ops"

var update = flag.Bool("update", false, "let ONNX Runtime compute the expected results of the op suite anew")

// opTolerance bounds an op against ONNX Runtime, relative to the larger of 1 and the result: float32 sums in another order
// and approximations of exp and erf within some units in the last place.
const opTolerance = 4e-6

type opCase struct {
	file  string
	graph *ir.Graph
}

func (c opCase) key(output string) string { return c.graph.Name + "/" + output }

// opCases parses the suite anew: passes change graphs.
func opCases(t *testing.T) []opCase {
	files, err := filepath.Glob(filepath.Join(opsDir, "*.ir"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var cases []opCase
	for _, path := range files {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		m, err := ir.Parse(string(text), nil)
		require.NoError(t, err, path)
		for _, g := range m.Graphs {
			cases = append(cases, opCase{filepath.Base(path), g})
		}
	}
	return cases
}

func evaluate(t *testing.T, g *ir.Graph, in map[string]*tensor.Tensor) map[string]*tensor.Tensor {
	p, err := ir.Compile(g)
	require.NoError(t, err)
	out, err := p.Run(context.Background(), in)
	require.NoError(t, err)
	return out
}

func near(t *testing.T, want, have *tensor.Tensor, what string) {
	require.Equal(t, want.Type(), have.Type(), what)
	if !want.DType().IsFloat() {
		require.True(t, tensor.Equal(want, have), what)
		return
	}
	w, h := want.Float32s(), have.Float32s()
	for i := range w {
		if w[i] != h[i] && !(w[i] != w[i] && h[i] != h[i]) {
			require.InDelta(t, w[i], h[i], opTolerance*max(1, float64(abs(w[i]))), "%s: element %d", what, i)
		}
	}
}

func abs(x float32) float32 { return max(x, -x) }

func writeModel(t *testing.T, g *ir.Graph, opts backend.Options) string {
	path := filepath.Join(t.TempDir(), g.Name+".onnx")
	_, err := backend.WriteFile(path, g, opts)
	require.NoError(t, err)
	return path
}

// Every op agrees with ONNX Runtime in every executor: evaluated, after its text and back, after the pipeline, after ONNX and
// back at the oldest and newest opset, with and without external data, and in ONNX Runtime itself where it is there.
func TestOps(t *testing.T) {
	expectedPath := filepath.Join(opsDir, "expected.safetensors")
	_, err := engine.FindLibrary("")
	haveORT := err == nil
	if *update {
		require.NoError(t, err)
		updateExpected(t, expectedPath)
	}
	expected, err := safetensors.Open(expectedPath)
	require.NoError(t, err)
	defer expected.Close()
	seen := map[string]bool{}
	for _, c := range opCases(t) {
		require.False(t, seen[c.graph.Name], "two cases are named %s", c.graph.Name)
		seen[c.graph.Name] = true
		t.Run(c.graph.Name, func(t *testing.T) {
			in, err := ir.Probe(c.graph, 1, nil)
			require.NoError(t, err)
			check := func(out map[string]*tensor.Tensor, how string) {
				for _, o := range c.graph.Outputs {
					want := expected.Get(c.key(o.Name))
					require.NotNil(t, want, "run go test ./backends/onnx -run TestOps -update with ONNX Runtime there")
					near(t, want, out[o.Name], how)
				}
			}
			check(evaluate(t, c.graph, in), "evaluated")

			module := &ir.Module{Graphs: []*ir.Graph{c.graph}}
			text, pool := ir.Print(module)
			back, err := ir.Parse(text, pool)
			require.NoError(t, err)
			again, _ := ir.Print(back)
			require.Equal(t, text, again)
			check(evaluate(t, back.Graphs[0], in), "after text")

			_, err = passes.All(context.Background(), back, passes.Pipeline(passes.Goal{}), passes.Input{}, passes.Options{Probe: true})
			require.NoError(t, err)
			check(evaluate(t, back.Graphs[0], in), "after the pipeline")

			for _, opts := range []backend.Options{{}, {External: true}, {Opset: backend.MaxOpset}} {
				path := writeModel(t, c.graph, opts)
				m, err := frontend.Open(path)
				require.NoError(t, err)
				require.Equal(t, max(opts.Opset, backend.DefaultOpset), m.Opset)
				check(evaluate(t, m.Graph, in), fmt.Sprintf("after ONNX %+v", opts))
				require.NoError(t, m.Close())
				if haveORT {
					check(runtime(t, path, in), fmt.Sprintf("ONNX Runtime %+v", opts))
				}
			}
		})
	}
}

func runtime(t *testing.T, path string, in map[string]*tensor.Tensor) map[string]*tensor.Tensor {
	s, err := engine.Load("onnxruntime", path, engine.Options{})
	require.NoError(t, err)
	defer s.Close()
	out, err := s.Run(context.Background(), in)
	require.NoError(t, err)
	return out
}

func updateExpected(t *testing.T, path string) {
	var all []safetensors.Named
	for _, c := range opCases(t) {
		in, err := ir.Probe(c.graph, 1, nil)
		require.NoError(t, err)
		out := runtime(t, writeModel(t, c.graph, backend.Options{}), in)
		for _, o := range c.graph.Outputs {
			all = append(all, safetensors.Named{Name: c.key(o.Name), Tensor: out[o.Name]})
		}
	}
	require.NoError(t, safetensors.WriteFile(path, all, nil))
}

// Every op of the table has a case, says what it costs and what half precision needs, is lowered, and is read back where ONNX has it.
func TestOpsAreComplete(t *testing.T) {
	used, readBack := map[string]bool{}, map[string]bool{}
	for _, c := range opCases(t) {
		for _, v := range c.graph.Values {
			used[v.Op.Name] = true
			cost, err := ir.CostOf(v, map[string]int64{"N": 2, "P": 3, "B": 2})
			require.NoError(t, err)
			require.Equal(t, v.Op.Class == ir.Product, cost.MultiplyAdds > 0, "%s: a product, and nothing else, has multiply-adds", v)
		}
		m, err := frontend.Open(writeModel(t, c.graph, backend.Options{Opset: backend.MaxOpset}))
		require.NoError(t, err)
		for _, v := range m.Graph.Values {
			readBack[v.Op.Name] = true
		}
		require.NoError(t, m.Close())
	}
	for _, name := range ir.OpNames() {
		op, _ := ir.LookupOp(name)
		lowered, native := backend.Lowers(name)
		require.True(t, used[name], "ir/testdata/ops has no case of %s", name)
		require.True(t, lowered, "backends/onnx/emit.go has no row for %s", name)
		require.Equal(t, native, readBack[name], "frontends/onnx reads files with %s", name)
		require.NotZero(t, op.Class, "the row of %s does not say what it costs", name)
		require.NotZero(t, op.Half, "the row of %s does not say what half precision needs", name)
		require.True(t, op.Eval != nil || op.Expand != nil, "%s has no meaning", name)
	}
	require.Equal(t, len(ir.OpNames()), len(used))
}

// A fused op and its expansion into primitives give the same.
func TestExpansions(t *testing.T) {
	n := 0
	for _, c := range opCases(t) {
		for _, v := range slices.Clone(c.graph.Values) {
			if v.Op.Expand == nil {
				continue
			}
			n++
			in, err := ir.Probe(c.graph, 2, nil)
			require.NoError(t, err)
			want := evaluate(t, c.graph, in)
			b := c.graph.Before(v, "expand")
			primitive := v.Op.Expand(b, v)
			require.NoError(t, b.Err())
			require.NoError(t, c.graph.Replace("expand", v, primitive))
			c.graph.Sweep()
			for _, v := range c.graph.Values {
				require.False(t, v.From == "expand" && v.Op.Expand != nil, "%s is not a primitive", v.Op.Name)
			}
			have := evaluate(t, c.graph, in)
			for name := range want {
				near(t, want[name], have[name], c.graph.Name)
			}
		}
	}
	require.Positive(t, n)
}

// The same graph gives the same bytes, and every graph's symbols reach the file.
func TestDeterminism(t *testing.T) {
	for _, c := range opCases(t) {
		a, err := os.ReadFile(writeModel(t, c.graph, backend.Options{Metadata: map[string]string{"b": "1", "a": "2"}}))
		require.NoError(t, err)
		b, err := os.ReadFile(writeModel(t, c.graph, backend.Options{Metadata: map[string]string{"a": "2", "b": "1"}}))
		require.NoError(t, err)
		require.True(t, bytes.Equal(a, b), c.graph.Name)
	}
}

func TestOpsetRange(t *testing.T) {
	c := opCases(t)[0]
	for _, opset := range []int64{1, backend.MinOpset - 1, backend.MaxOpset + 1} {
		_, err := backend.WriteFile(filepath.Join(t.TempDir(), "x.onnx"), c.graph, backend.Options{Opset: opset})
		require.ErrorContains(t, err, fmt.Sprintf("opset: have %d, want %d to %d", opset, backend.MinOpset, backend.MaxOpset))
		require.False(t, strings.Contains(err.Error(), "\n"))
	}
}

// The data file is there before the model that names it; where either cannot be written, neither is.
func TestWriteFileLeavesNothing(t *testing.T) {
	b := ir.NewBuilder("g")
	x := b.Input("x", tensor.Float32, tensor.Symbol("N"), tensor.Static(32))
	b.Output("y", b.MatMul(x, b.As("w").Const(tensor.FromFloat32([]int64{32, 32}, make([]float32, 1024)))))
	g, err := b.Graph()
	require.NoError(t, err)
	for _, blocked := range []string{"m.onnx", "m.onnx.data"} {
		dir := t.TempDir()
		require.NoError(t, os.MkdirAll(filepath.Join(dir, blocked, "in the way"), 0o755))
		_, err := backend.WriteFile(filepath.Join(dir, "m.onnx"), g, backend.Options{External: true})
		require.Error(t, err)
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, left, 1, blocked)
	}
}
