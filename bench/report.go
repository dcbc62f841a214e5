package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"syncsam-convert/internal/plain"
	"syncsam-convert/ir/kernel"
)

// A Report is a measurement of graphs, each alone or beside another file or in another engine.
type Report struct {
	Engine  string      `json:"engine"`
	Threads int         `json:"threads"`
	Peak    kernel.Peak `json:"peak"`
	Graphs  []Graph     `json:"graphs"`
}

// A Graph is one file's measurement.
type Graph struct {
	Graph string  `json:"graph"`
	Ours  Timing  `json:"timing"`
	VS    *Timing `json:"vs,omitempty"`
	Ratio *Ratio  `json:"ratio,omitempty"` // of the first to the second
}

// Compare times files by graph name, beside others of the same name where there are any, in one engine; or alone in two.
func Compare(ctx context.Context, files, others map[string]string, engines []string, s Settings) (*Report, error) {
	if len(engines) > 2 || len(engines) == 2 && len(others) > 0 {
		return nil, fmt.Errorf("--engine: have %s, want one, or two and no --vs", strings.Join(engines, ","))
	}
	report := &Report{Engine: strings.Join(engines, ","), Threads: s.Options.Threads, Peak: kernel.MeasurePeak(s.Options.Threads)}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		var subjects []Subject
		for _, e := range engines {
			subjects = append(subjects, Subject{files[name], e})
		}
		if len(others) > 0 {
			other := others[name]
			if len(files) == 1 && len(others) == 1 {
				for _, o := range others {
					other = o
				}
			}
			if other == "" {
				continue
			}
			subjects = append(subjects, Subject{other, engines[0]})
		}
		timings, err := Run(ctx, subjects, s, report.Peak)
		if err != nil {
			return nil, err
		}
		g := Graph{Graph: name, Ours: timings[0]}
		if len(timings) > 1 {
			ratio := timings[0].Against(timings[1])
			g.VS, g.Ratio = &timings[1], &ratio
		}
		report.Graphs = append(report.Graphs, g)
	}
	if len(report.Graphs) == 0 {
		return nil, fmt.Errorf("--vs: it has no graph of the same name: have %s, want one of %s", strings.Join(slices.Sorted(maps.Keys(others)), ", "), strings.Join(slices.Sorted(maps.Keys(files)), ", "))
	}
	return report, nil
}

// Print writes a report for a person.
func (r *Report) Print(to io.Writer) error {
	w := bufio.NewWriter(to)
	plain.Fprintf(w, "engine %s, threads %d (0: all); at most %.0f GFLOP/s of float32 and %.0f GOP/s of int8 with %s on %d\n", r.Engine, r.Threads, r.Peak.Float32, r.Peak.Int8, r.Peak.Instructions, r.Peak.Threads)
	for _, g := range r.Graphs {
		g.Ours.print(w)
		if g.VS != nil {
			g.VS.print(w)
			plain.Fprintf(w, "\nratio %s / %s: %.3f (quartiles %.3f to %.3f)\n", g.Ours.beside(g.VS), g.VS.beside(&g.Ours), g.Ratio.Median, g.Ratio.Lower, g.Ratio.Upper)
		}
	}
	return w.Flush()
}

// beside is what tells a timing from another.
func (t *Timing) beside(other *Timing) string {
	if t.File == other.File {
		return t.Engine
	}
	return t.File
}

func (t *Timing) print(w io.Writer) {
	plain.Fprintf(w, "\n%s, %s: %.2f ms (quartiles %.2f to %.2f)\n", t.File, t.Engine, t.Median, t.Lower, t.Upper)
	if t.MultiplyAdds > 0 {
		plain.Fprintf(w, "  %d nodes, %.3f G multiply-adds, %.1f MB touched: %.1f GFLOP/s, %.0f %% of the peak\n", t.Nodes, float64(t.MultiplyAdds)/1e9, float64(t.Bytes)/1e6, t.GFLOPS, 100*t.Share)
	}
	all := 0.0
	for _, o := range t.Ops {
		all += o.MS
	}
	for _, o := range t.Ops[:min(len(t.Ops), 12)] {
		plain.Fprintf(w, "  %9.3f ms %5.1f %%  %4d x %s\n", o.MS, 100*o.MS/all, o.Count, o.Name)
	}
	if m := t.Memory; m != nil {
		plain.Fprintf(w, "  memory in the embedded engine: weights %.1f MB; other values at most %.1f MB, at %s, where these live:\n", float64(m.Weights)/1e6, float64(m.Peak)/1e6, m.At)
		for _, v := range m.Living[:min(len(m.Living), 12)] {
			plain.Fprintf(w, "  %9.1f MB  %s %s\n", float64(v.Bytes)/1e6, v.Type, v.Value)
		}
	}
}
