package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"syncsam-convert/artifact"
	"syncsam-convert/bench"
	"syncsam-convert/engine"
)

type benchFlags struct {
	engine         string
	options        engine.Options
	vs             string
	rounds         int
	batch, prompts int64
	points         int64
	json           string
	unverified     bool
	memory         bool
}

func benchCommand() *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use:     "bench DIR|MODEL.onnx [--vs DIR|MODEL.onnx]",
		Short:   "Time an artifact, per graph and per operator",
		Long:    `Times every graph of an artifact, or one ONNX file, on seeded inputs, and prints multiply-adds, bytes, and achieved GFLOP/s. With --vs, or two engines, both run in turns in one process and the ratio's median and quartiles are printed. Shares are of what the machine's widest instructions can do.`,
		Example: "  syncsam-convert bench artifact --engine onnxruntime --threads 1\n  syncsam-convert bench artifact/encoder.onnx --vs exported.onnx --engine onnxruntime\n  syncsam-convert bench artifact --engine go,onnxruntime",
		Args:    exactly(1, "one DIR or MODEL.onnx"),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	c.Flags().StringVar(&f.vs, "vs", "", "artifact or ONNX file to compare with")
	c.Flags().IntVar(&f.rounds, "rounds", 10, "timed runs of each file")
	c.Flags().Int64Var(&f.batch, "batch", 1, "N: images of an encoder's input")
	c.Flags().Int64Var(&f.prompts, "prompts", 1, "B: prompts of a decoder's input")
	c.Flags().Int64Var(&f.points, "points", 2, "P: points of each prompt")
	addJSON(c, &f.json, "the measurement")
	c.Flags().BoolVar(&f.memory, "memory", false, "plan the embedded engine's memory: what lives at a time, and where that is most")
	addUnverified(c, &f.unverified)
	addEngine(c, &f.engine, &f.options)
	c.Flags().Lookup("engine").Usage += "; two, with a comma between, are compared"
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
	for flag, dimension := range map[string]string{"batch": "N", "prompts": "B", "points": "P"} {
		if !cmd.Flags().Changed(flag) {
			continue
		}
		if takes, err := bench.Takes(files, dimension); err != nil {
			return err
		} else if !takes {
			return fmt.Errorf("--%s: %s has no dimension %s", flag, path, dimension)
		}
	}
	others := map[string]string{}
	if f.vs != "" {
		if others, err = f.graphFiles(f.vs); err != nil {
			return err
		}
	}
	s := bench.Settings{Options: f.options, Rounds: f.rounds, Memory: f.memory, Sizes: map[string]int64{"N": f.batch, "B": f.prompts, "P": f.points, "T": 77}}
	report, err := bench.Compare(cmd.Context(), files, others, strings.Split(f.engine, ","), s)
	if err != nil {
		return err
	}
	if f.json != "" {
		return putJSON(cmd, f.json, report)
	}
	return report.Print(cmd.OutOrStdout())
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
