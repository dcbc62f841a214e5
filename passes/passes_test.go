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

// The pipeline keeps the order that the passes need.
func TestOrder(t *testing.T) {
	at := func(name string) int {
		i := slices.IndexFunc(Simplify, func(p Pass) bool { return p.Name == name })
		require.GreaterOrEqual(t, i, 0, name)
		return i
	}
	for _, o := range Order {
		require.Less(t, at(o.Before), at(o.After), "%s before %s: %s", o.Before, o.After, o.Why)
	}
	seen := map[string]bool{}
	for _, p := range Simplify {
		require.False(t, seen[p.Name])
		require.NotEmpty(t, p.Doc)
		seen[p.Name] = true
	}
}

func module(t *testing.T) *ir.Module {
	g, err := ir.ParseGraph("graph g {\n  %0 = Input : float32[N,4] \"x\"\n  %1 = Relu(%0) : float32[N,4]\n  %2 = Relu(%0) : float32[N,4]\n  %3 = Add(%1, %2) : float32[N,4]\n  return \"y\" %3\n}\n")
	require.NoError(t, err)
	return &ir.Module{Graphs: []*ir.Graph{g}}
}

// The probe catches a pass that does what its numerics do not allow, and Check one that breaks the graph.
func TestAWrongPassIsCaught(t *testing.T) {
	double := func(g *ir.Graph) (int, error) {
		v := g.Outputs[0].Value
		b := g.Before(v, "wrong")
		sum := b.Add(v.Args[0], v.Args[0])
		return 1, g.Replace("wrong", v, b.Mul(sum, b.Scalar(1.0001)))
	}
	for _, n := range []Numerics{Exact, Rounding} {
		_, err := Run(context.Background(), module(t), []Pass{{"wrong", "", double, n}}, Options{Probe: true})
		require.ErrorContains(t, err, "pass wrong: graph g: output y changes by")
	}
	_, err := Run(context.Background(), module(t), []Pass{{"wrong", "", double, Lossy}}, Options{Probe: true})
	require.NoError(t, err)
	breaks := func(g *ir.Graph) (int, error) { g.Values[1].Type = tensor.Of(tensor.Float32, 3); return 1, nil }
	_, err = Run(context.Background(), module(t), []Pass{{"breaks", "", breaks, Exact}}, Options{})
	require.ErrorContains(t, err, "pass breaks: graph g: ")
}

func TestOptions(t *testing.T) {
	var o Options
	var lines []string
	log := func(f string, _ ...any) { lines = append(lines, f) }
	require.NoError(t, o.ParseDebug(Simplify, "cse/off", log))
	require.NoError(t, o.ParseDebug(Simplify, "all/time", log))
	require.ErrorContains(t, o.ParseDebug(Simplify, "csx/off", log), "PASS one of window-pad")
	o.Dump = t.TempDir()
	r, err := Run(context.Background(), module(t), Simplify, o)
	require.NoError(t, err)
	require.Len(t, r, len(Simplify)-1)
	require.NotEmpty(t, lines)
	files, err := filepath.Glob(filepath.Join(o.Dump, "*.ir"))
	require.NoError(t, err)
	require.Len(t, files, len(Simplify))
	text, err := os.ReadFile(filepath.Join(o.Dump, fmt.Sprintf("%02d_dead-code.ir", len(Simplify))))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(text), "module {"))
	r, err = Run(context.Background(), module(t), Simplify, Options{StopAfter: 2})
	require.NoError(t, err)
	require.Len(t, r, 2)
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
