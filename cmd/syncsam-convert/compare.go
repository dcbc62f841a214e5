package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"syncsam-convert/artifact"
	backend "syncsam-convert/backends/onnx"
	"syncsam-convert/compare"
	"syncsam-convert/frontends"
	"syncsam-convert/frontends/checkpoint"
	frontend "syncsam-convert/frontends/onnx"
	"syncsam-convert/golden"
	"syncsam-convert/internal/mapfile"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/passes"
	"syncsam-convert/pictures"
)

func compareCommand() *cobra.Command {
	var asJSON bool
	var image, svg string
	var rows int
	c := &cobra.Command{
		Use:   "compare A B",
		Short: "Compare two artifacts, or an artifact and a checkpoint, layer by layer",
		Long: `Runs both encoders on the same image and lists, worst first, how far every value of B is from A (cumulative) and what
quantizing it alone costs (local), as signal-to-noise in dB. Exit status 1 when an output differs by more than rounding.`,
		Args: exactly(2, "A and B: artifacts or checkpoints"),
		RunE: func(cmd *cobra.Command, args []string) error {
			tmp, err := os.MkdirTemp("", "syncsam-convert-*")
			if err != nil {
				return err
			}
			defer os.RemoveAll(tmp)
			var graphs [2]*ir.Graph
			for i, path := range args {
				m, err := encoderModel(cmd, path, filepath.Join(tmp, fmt.Sprint(i)))
				if err != nil {
					return err
				}
				defer m.Close()
				graphs[i] = m.Graph
			}
			inputs, err := compareInputs(args, image, graphs[0])
			if err != nil {
				return err
			}
			layers, err := compare.Graphs(cmd.Context(), graphs[0], graphs[1], inputs)
			if err != nil {
				return err
			}
			if svg != "" {
				title := fmt.Sprintf("%s against %s", filepath.Base(args[1]), filepath.Base(args[0]))
				if err := mapfile.WriteAtomic(svg, func(w io.Writer) error { return compare.WriteSVG(w, title, layers) }); err != nil {
					return err
				}
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", " ")
				if err := e.Encode(layers); err != nil {
					return err
				}
			} else {
				compare.WriteText(cmd.OutOrStdout(), layers, rows)
			}
			if d := compare.Differ(layers); len(d) > 0 {
				return fmt.Errorf("%w: %s", errDiffer, strings.Join(d, ", "))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	c.Flags().StringVar(&image, "image", "", "picture to run on (default: seeded noise)")
	c.Flags().StringVar(&svg, "svg", "", "chart to write")
	c.Flags().IntVar(&rows, "rows", 30, "lines to print")
	return c
}

// encoderModel opens an artifact's encoder, or compiles a checkpoint's in float into dir.
func encoderModel(cmd *cobra.Command, path, dir string) (*frontend.Model, error) {
	if _, err := os.Stat(filepath.Join(path, artifact.ManifestName)); err == nil {
		man, err := artifact.Read(path)
		if err != nil {
			return nil, err
		}
		if err := man.Verify(path); err != nil {
			return nil, err
		}
		return frontend.Open(filepath.Join(path, man.Encoder()))
	}
	ck, err := checkpoint.Open(path)
	if err != nil {
		if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
			_, notArtifact := artifact.Read(path)
			err = cmp.Or(notArtifact, err)
		}
		return nil, err
	}
	defer ck.Close()
	m, _, err := frontends.Load(ck, frontends.Options{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if _, err := passes.Run(cmd.Context(), m, slices.Concat(passes.Simplify, passes.Fuse), passes.Options{}); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "encoder.onnx")
	if _, err := backend.WriteFile(file, m.Encoder(), backend.Options{}); err != nil {
		return nil, err
	}
	return frontend.Open(file)
}

// compareInputs prepares a picture as the first artifact among the arguments says, or makes seeded noise.
func compareInputs(args []string, image string, g *ir.Graph) (map[string]*tensor.Tensor, error) {
	if image == "" {
		return ir.Probe(g, 1, map[string]int64{"N": 1})
	}
	for _, path := range args {
		man, err := artifact.Read(path)
		if err != nil {
			continue // a checkpoint
		}
		m, err := pictures.Read(image)
		if err != nil {
			return nil, err
		}
		return golden.EncoderInputs(m, man)
	}
	return nil, fmt.Errorf("--image: needs an artifact among A and B, whose manifest says how to prepare it")
}
