package passes

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/frontends"
	"syncsam-convert/frontends/checkpoint"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// shuffled runs the stages one by one, on values in an order of their own each.
func shuffled(t *testing.T, m *ir.Module, pipeline []Pass, seed uint64, o Options) (results []Result) {
	for i, p := range pipeline {
		for k, g := range m.Graphs {
			ir.Shuffle(g, seed<<16+uint64(i)<<8+uint64(k))
			require.NoError(t, ir.Check(g))
		}
		r, err := All(context.Background(), m, []Pass{p}, Input{}, o)
		require.NoError(t, err)
		results = append(results, r...)
	}
	return results
}

// No pass depends on the order in which independent values stand: on whole models each changes as many places as in the order of
// the frontends, and the results are the same.
func TestOrderOfValuesDoesNotMatter(t *testing.T) {
	for _, size := range []string{"34", "50"} {
		ck, err := checkpoint.Open("../golden/data/syncsam-tiny-" + size + "/syncsam-tiny-" + size + ".pth")
		require.NoError(t, err)
		defer ck.Close()
		for _, goal := range everyGoal() {
			if goal.Calibrated || goal.Int8 || goal.Convs { // those need a plan, or change nothing without one
				continue
			}
			t.Run(fmt.Sprintf("%s %+v", size, goal), func(t *testing.T) {
				pipeline := Pipeline(goal)
				lower := func() *ir.Module {
					m, _, err := frontends.Load(ck, frontends.Options{})
					require.NoError(t, err)
					return m
				}
				straight, other := lower(), lower()
				want, err := All(context.Background(), straight, pipeline, Input{}, Options{})
				require.NoError(t, err)
				have := shuffled(t, other, pipeline, 1, Options{})
				for i := range want {
					require.Equal(t, want[i].Name, have[i].Name)
					require.Equal(t, want[i].Changed, have[i].Changed, want[i].Name)
				}
				for k, g := range straight.Graphs {
					a, err := evalProbe(context.Background(), g)
					require.NoError(t, err)
					b, err := evalProbe(context.Background(), other.Graphs[k])
					require.NoError(t, err)
					for name := range a {
						d, err := tensor.Compare(b[name], a[name])
						require.NoError(t, err)
						require.LessOrEqual(t, d.Relative(), RoundingTolerance, name)
					}
				}
			})
		}
	}
}

// The same for each pass on its own cases, in several orders, those of the embedded engine included.
func TestCasesShuffled(t *testing.T) {
	for _, p := range cases(t) {
		if m, _ := filepath.Glob(filepath.Join("testdata", p.Name+".ir")); len(m) == 0 {
			continue // TestBeforeAfter says so
		}
		for seed := range uint64(5) {
			for _, graph := range []string{"before", "before2"} {
				g := readCase(t, filepath.Join("testdata", p.Name)).Graph(graph)
				if g == nil {
					continue
				}
				plain := &Work{Graph: g.Clone(), Input: caseInput(p.Name)}
				require.NoError(t, p.Run(plain))
				ir.Shuffle(g, seed)
				results, err := All(context.Background(), &ir.Module{Graphs: []*ir.Graph{g}}, []Pass{p}, caseInput(p.Name), Options{Probe: true})
				require.NoError(t, err)
				require.Equal(t, plain.Changed, results[0].Changed, p.Name)
			}
		}
	}
}
