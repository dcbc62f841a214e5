package passes

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
)

// everyGoal lists all combinations of what a pipeline can be for.
func everyGoal() (all []Goal) {
	for i := range 32 {
		all = append(all, Goal{i&1 != 0, i&2 != 0, i&4 != 0, i&8 != 0, i&16 != 0})
	}
	return all
}

// row finds a pass of any pipeline; in tests it looks at every graph, whatever its name.
func row(t *testing.T, name string) Pass {
	for _, pipeline := range append([][]Pass{Execute()}, pipelines()...) {
		if i := slices.Index(names(pipeline), name); i >= 0 {
			p := pipeline[i]
			p.Encoder = false
			return p
		}
	}
	require.FailNow(t, "no pipeline has it", name)
	return Pass{}
}

func pipelines() (all [][]Pass) {
	for _, goal := range everyGoal() {
		all = append(all, Pipeline(goal))
	}
	return all
}

// through runs rows on one graph and gives their reports.
func through(t *testing.T, g *ir.Graph, in Input, o Options, rows ...string) []any {
	var pipeline []Pass
	for _, name := range rows {
		pipeline = append(pipeline, row(t, name))
	}
	results, err := All(context.Background(), &ir.Module{Graphs: []*ir.Graph{g}}, pipeline, in, o)
	require.NoError(t, err)
	var reports []any
	for _, r := range results {
		reports = append(reports, r.Reports...)
	}
	return reports
}

// toInt8 writes a plan into the convolutions of "cnn".
func toInt8(t *testing.T, g *ir.Graph, plan *quant.Plan, spell Spelling, o Options) *Quantized {
	return through(t, g, Input{plan, quant.Scope{Convolutions: []string{"cnn"}}, spell}, o, "insert-qdq")[0].(*Quantized)
}
