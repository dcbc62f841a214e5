package passes

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/safetensors"
)

var update = flag.Bool("update", false, "write what the passes give today into their cases")

// readCase reads a pass's graphs; constants past the text form's limit lie beside it.
func readCase(t *testing.T, path string) *ir.Module {
	text, err := os.ReadFile(path + ".ir")
	require.NoError(t, err, "every pass has a case")
	var pool []*tensor.Tensor
	if f, err := safetensors.Open(path + ".safetensors"); err == nil {
		t.Cleanup(func() { f.Close() })
		for i := 0; f.Get(strconv.Itoa(i)) != nil; i++ {
			pool = append(pool, f.Get(strconv.Itoa(i)))
		}
	}
	m, err := ir.Parse(string(text), pool)
	require.NoError(t, err)
	return m
}

func writeCase(t *testing.T, path string, m *ir.Module) {
	text, pool := ir.Print(m)
	_, text, _ = strings.Cut(text, "\n\n") // without the module's line
	require.NoError(t, os.WriteFile(path+".ir", []byte(text), 0o644))
	var tensors []safetensors.Named
	for i, c := range pool {
		tensors = append(tensors, safetensors.Named{Name: strconv.Itoa(i), Tensor: c})
	}
	if len(pool) > 0 {
		require.NoError(t, safetensors.WriteFile(path+".safetensors", tensors, nil))
	}
}

// Each pass turns the graphs "before" and "before2" of its file into "after" and "after2", and both give the same on a probe.
func TestBeforeAfter(t *testing.T) {
	for _, p := range cases(t) {
		t.Run(p.Name, func(t *testing.T) {
			path := filepath.Join("testdata", p.Name)
			m := readCase(t, path)
			require.NotNil(t, m.Graph("before"))
			stale := false
			for _, suffix := range []string{"", "2"} {
				before, after := m.Graph("before"+suffix), m.Graph("after"+suffix)
				if before == nil {
					continue
				}
				results, err := All(context.Background(), &ir.Module{Graphs: []*ir.Graph{before}}, []Pass{p}, caseInput(p.Name), Options{Probe: true})
				require.NoError(t, err)
				require.Positive(t, results[0].Changed)
				if *update {
					stale = stale || after == nil || strings.Replace(ir.PrintGraph(before), "before", "after", 1) != ir.PrintGraph(after)
					continue
				}
				before.Name = after.Name
				require.Equal(t, ir.PrintGraph(after), ir.PrintGraph(before))
				w := &Work{Graph: before, Input: caseInput(p.Name)}
				require.NoError(t, p.Run(w))
				require.Equal(t, ir.PrintGraph(after), ir.PrintGraph(before), "a second run changes nothing")
			}
			if stale {
				old := readCase(t, path)
				var graphs []*ir.Graph
				for _, suffix := range []string{"", "2"} {
					if before, after := old.Graph("before"+suffix), m.Graph("before"+suffix); before != nil {
						after.Name = "after" + suffix
						graphs = append(graphs, before, after)
					}
				}
				writeCase(t, path, &ir.Module{Graphs: graphs})
			}
		})
	}
}

// cases are the passes that have a text before and after: all.
func cases(t *testing.T) (out []Pass) {
	seen := map[string]bool{}
	for _, pipeline := range append([][]Pass{Execute()}, pipelines()...) {
		for _, p := range pipeline {
			if !seen[p.Name] && p.Run != nil {
				seen[p.Name] = true
				out = append(out, row(t, p.Name))
			}
		}
	}
	return out
}

// caseInput is what the passes behind calibration read in their cases: the plan beside the case's graphs.
func caseInput(name string) Input {
	in := Input{Scope: quant.Scope{Convolutions: []string{"cnn"}, Linears: []string{"vit"}}, Spelling: ONNXRuntime}
	if f, err := os.Open(filepath.Join("testdata", name+".plan")); err == nil {
		defer f.Close()
		if in.Plan, err = quant.Read(f); err != nil {
			panic(err)
		}
	}
	return in
}
