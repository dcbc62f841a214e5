package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"syncsam-convert/artifact"
	"syncsam-convert/bench"
	"syncsam-convert/engine"
	"syncsam-convert/internal/plain"
)

type benchFlags struct {
	engine         string
	options        engine.Options
	vs             string
	rounds         int
	batch, prompts int64
	points         int64
	json           bool
	unverified     bool
}

// benchReport is what bench --json prints.
type benchReport struct {
	Engine  string       `json:"engine"`
	Threads int          `json:"threads"`
	Graphs  []benchGraph `json:"graphs"`
}

type benchGraph struct {
	Graph string        `json:"graph"`
	Ours  bench.Timing  `json:"timing"`
	VS    *bench.Timing `json:"vs,omitempty"`
	Ratio *bench.Ratio  `json:"ratio,omitempty"` // of the first to the second
}

func benchCommand() *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use:     "bench DIR|MODEL.onnx [--vs DIR|MODEL.onnx]",
		Short:   "Time an artifact, per graph and per operator",
		Long:    `Times every graph of an artifact, or one ONNX file, on seeded inputs, and prints multiply-adds, bytes, and achieved GFLOP/s. With --vs both run in turns in one process and the ratio's median and quartiles are printed.`,
		Example: "  syncsam-convert bench artifact --engine onnxruntime --threads 1\n  syncsam-convert bench artifact/encoder.onnx --vs exported.onnx --engine onnxruntime",
		Args:    exactly(1, "one DIR or MODEL.onnx"),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	c.Flags().StringVar(&f.vs, "vs", "", "artifact or ONNX file to compare with")
	c.Flags().IntVar(&f.rounds, "rounds", 10, "timed runs of each file")
	c.Flags().Int64Var(&f.batch, "batch", 1, "N: images of an encoder's input")
	c.Flags().Int64Var(&f.prompts, "prompts", 1, "B: prompts of a decoder's input")
	c.Flags().Int64Var(&f.points, "points", 2, "P: points of each prompt")
	c.Flags().BoolVar(&f.json, "json", false, "print the measurement as JSON")
	addUnverified(c, &f.unverified)
	addEngine(c, &f.engine, &f.options)
	return c
}

func (f *benchFlags) run(cmd *cobra.Command, path string) error {
	if f.rounds < 1 || f.batch < 1 || f.prompts < 1 || f.points < 1 {
		return fmt.Errorf("--rounds, --batch, --prompts, --points: want positive numbers")
	}
	files, err := f.graphFiles(path)
	if err != nil {
		return err
	}
	others := map[string]string{}
	if f.vs != "" {
		if others, err = f.graphFiles(f.vs); err != nil {
			return err
		}
	}
	report := benchReport{Engine: f.engine, Threads: f.options.Threads}
	s := bench.Settings{Engine: f.engine, Options: f.options, Rounds: f.rounds, Sizes: map[string]int64{"N": f.batch, "B": f.prompts, "P": f.points, "T": 77}}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		run := []string{files[name]}
		if f.vs != "" {
			other := others[name]
			if len(files) == 1 && len(others) == 1 {
				for _, o := range others {
					other = o
				}
			}
			if other == "" {
				continue
			}
			run = append(run, other)
		}
		timings, err := bench.Run(cmd.Context(), run, s)
		if err != nil {
			return err
		}
		g := benchGraph{Graph: name, Ours: timings[0]}
		if len(timings) > 1 {
			ratio := timings[0].Against(timings[1])
			g.VS, g.Ratio = &timings[1], &ratio
		}
		report.Graphs = append(report.Graphs, g)
	}
	if len(report.Graphs) == 0 {
		return fmt.Errorf("--vs: %s and %s have no graph in common", path, f.vs)
	}
	if f.json {
		return writeJSON(cmd.OutOrStdout(), report)
	}
	report.print(cmd.OutOrStdout())
	return nil
}

// graphFiles lists an artifact's ONNX files by graph name, or a single file under its own.
func (f *benchFlags) graphFiles(path string) (map[string]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	files := map[string]string{filepath.Base(path): path}
	if info.IsDir() {
		man, err := artifact.Read(path)
		if err != nil {
			return nil, err
		}
		files = map[string]string{}
		for _, file := range man.Files {
			if filepath.Ext(file.Name) == ".onnx" {
				files[file.Name] = filepath.Join(path, file.Name)
			}
		}
	}
	for _, file := range files {
		if f.unverified {
			break
		}
		if err := engine.Trusted(file); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func (r *benchReport) print(w io.Writer) {
	plain.Fprintf(w, "engine %s, threads %d (0: all)\n", r.Engine, r.Threads)
	for _, g := range r.Graphs {
		for _, t := range []*bench.Timing{&g.Ours, g.VS} {
			if t == nil {
				continue
			}
			plain.Fprintf(w, "\n%s: %.2f ms (quartiles %.2f to %.2f)\n", t.File, t.Median, t.Lower, t.Upper)
			if t.MultiplyAdds > 0 {
				plain.Fprintf(w, "  %d nodes, %.3f G multiply-adds, %.1f MB touched: %.1f GFLOP/s\n", t.Nodes, float64(t.MultiplyAdds)/1e9, float64(t.Bytes)/1e6, t.GFLOPS)
			}
			all := 0.0
			for _, o := range t.Ops {
				all += o.MS
			}
			for _, o := range t.Ops[:min(len(t.Ops), 12)] {
				plain.Fprintf(w, "  %9.3f ms %5.1f %%  %4d x %s\n", o.MS, 100*o.MS/all, o.Count, o.Name)
			}
		}
		if g.Ratio != nil {
			plain.Fprintf(w, "\nratio %s / %s: %.3f (quartiles %.3f to %.3f)\n", g.Ours.File, g.VS.File, g.Ratio.Median, g.Ratio.Lower, g.Ratio.Upper)
		}
	}
}
