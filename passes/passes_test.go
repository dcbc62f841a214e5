package passes

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// Every pipeline keeps the order that the passes need.
func TestOrder(t *testing.T) {
	held := map[int]bool{}
	for _, pipeline := range append(pipelines(), Execute()) {
		list, seen := names(pipeline), map[string]bool{}
		for k, o := range Order {
			before, after := slices.Index(list, o.Before), slices.Index(list, o.After)
			if before >= 0 && after >= 0 {
				held[k] = true
				require.Less(t, before, after, "%s before %s: %s", o.Before, o.After, o.Why)
			}
		}
		for _, p := range pipeline {
			require.False(t, seen[p.Name], p.Name)
			require.NotEmpty(t, p.Doc)
			seen[p.Name] = true
		}
	}
	require.Len(t, held, len(Order), "a line of Order is about passes that never meet")
}

func module(t *testing.T) *ir.Module {
	g, err := ir.ParseGraph("graph g {\n  %0 = Input : float32[N,4] \"x\"\n  %1 = Relu(%0) : float32[N,4]\n  %2 = Relu(%0) : float32[N,4]\n  %3 = Add(%1, %2) : float32[N,4]\n  return \"y\" %3\n}\n")
	require.NoError(t, err)
	return &ir.Module{Graphs: []*ir.Graph{g}}
}

// The probe catches a pass that does what its numerics do not allow, and Check one that breaks the graph.
func TestAWrongPassIsCaught(t *testing.T) {
	double := func(w *Work) error {
		g := w.Graph
		v := g.Outputs[0].Value
		b := g.Before(v, "wrong")
		sum := b.Add(v.Args[0], v.Args[0])
		return g.Replace("wrong", v, b.Mul(sum, b.Scalar(1.0001)))
	}
	for _, n := range []Numerics{Exact, Rounding} {
		_, err := All(context.Background(), module(t), []Pass{{"wrong", "", double, n, false}}, Input{}, Options{Probe: true})
		require.ErrorContains(t, err, "pass wrong: graph g: output y changes by")
	}
	_, err := All(context.Background(), module(t), []Pass{{"wrong", "", double, Lossy, false}}, Input{}, Options{Probe: true})
	require.NoError(t, err)
	breaks := func(w *Work) error { w.Graph.Values[1].Type = tensor.Of(tensor.Float32, 3); return nil }
	_, err = All(context.Background(), module(t), []Pass{{"breaks", "", breaks, Exact, false}}, Input{}, Options{})
	require.ErrorContains(t, err, "pass breaks: graph g: ")
}

// Every stage of the longest pipeline can be switched off, stopped after, timed, dumped and asked why.
func TestOptions(t *testing.T) {
	pipeline := Pipeline(Goal{Int8: true, Half: true, Calibrated: true, Convs: true})
	for i, p := range pipeline {
		var o Options
		var lines, why []string
		require.NoError(t, o.ParseDebug(pipeline, p.Name+"/off", nil))
		require.NoError(t, o.ParseDebug(pipeline, "all/time", func(s string) { lines = append(lines, s) }))
		require.NoError(t, o.ParseWhy(pipeline, p.Name, func(s string) { why = append(why, s) }))
		o.Dump = t.TempDir()
		results := stepped(t, pipeline, o)
		require.Len(t, results, len(pipeline)-1)
		require.NotContains(t, results, p.Name)
		require.NotEmpty(t, lines)
		require.Empty(t, why, "it did not run")
		files, err := filepath.Glob(filepath.Join(o.Dump, "*.ir"))
		require.NoError(t, err)
		require.Len(t, files, len(pipeline), "the input, and all stages but one")
		o = Options{StopAfter: i + 1, Dump: t.TempDir()}
		require.Equal(t, names(pipeline[:i+1]), stepped(t, pipeline, o))
		text, err := os.ReadFile(filepath.Join(o.Dump, fmt.Sprintf("%02d_%s.ir", i+1, p.Name)))
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(text), "module {"))
	}
	var o Options
	require.ErrorContains(t, o.ParseDebug(pipeline, "csx/off", nil), "PASS one of window-pad")
	require.ErrorContains(t, o.ParseWhy(pipeline, "csx", nil), "want one of window-pad")
}

// stepped goes through a pipeline as the compiler does, and names the stages that ran.
func stepped(t *testing.T, pipeline []Pass, o Options) (ran []string) {
	ctx := context.Background()
	m := module(t)
	m.Graphs[0].Name = "encoder"
	r, err := Start(m, pipeline, o)
	require.NoError(t, err)
	for _, name := range []string{Calibrate, AdaptiveRounding} {
		require.NoError(t, r.Before(ctx, name))
		if r.Reached(name) {
			require.NoError(t, r.Step(ctx, func() (int, error) { return 1, nil }))
		}
	}
	require.NoError(t, r.Rest(ctx))
	for _, result := range r.Results {
		ran = append(ran, result.Name)
	}
	return ran
}

// A fork shares what both pipelines begin with, and changes nothing of the run that it leaves.
func TestFork(t *testing.T) {
	ctx := context.Background()
	m := module(t)
	r, err := Start(m, Pipeline(Goal{Int8: true, Calibrated: true, Convs: true}), Options{})
	require.NoError(t, err)
	f, err := r.Fork(ctx, Pipeline(Goal{Int8: true, Calibrated: true}), Options{})
	require.NoError(t, err)
	require.Len(t, f.Results, len(simplify))
	before := ir.PrintGraph(m.Graphs[0])
	v := f.Module.Graphs[0].Outputs[0].Value
	require.NoError(t, f.Module.Graphs[0].Replace("test", v, f.Module.Graphs[0].After(v, "test").Relu(v)))
	require.Equal(t, before, ir.PrintGraph(m.Graphs[0]))
}

// The only mutation refuses what would break the graph.
func TestReplaceRefuses(t *testing.T) {
	g := module(t).Graphs[0]
	x, first, second, sum := g.Values[0], g.Values[1], g.Values[2], g.Values[3]
	require.ErrorContains(t, g.Replace("r", x, sum), "stands before")
	b := g.Before(first, "r")
	other := b.Unsqueeze(x, 0)
	require.NoError(t, b.Err())
	require.ErrorContains(t, g.Replace("r", second, other), "have type")
	require.ErrorContains(t, g.Replace("r", second, module(t).Graphs[0].Values[1]), "is not in graph g")
}
