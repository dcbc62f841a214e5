package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"syncsam-convert/compare"
	"syncsam-convert/internal/output"
)

func compareCommand() *cobra.Command {
	var asJSON string
	var image, svg string
	var rows int
	c := &cobra.Command{
		Use:   "compare A B",
		Short: "Compare two artifacts, or an artifact and a checkpoint, layer by layer",
		Long: `Runs both encoders on the same image and lists, worst first, how far every value of B is from A (cumulative) and what
quantizing it alone costs (local), as signal-to-noise in dB. Exit status 1 when an output differs by more than rounding. A MODEL.onnx is compared by its results.`,
		Args: exactly(2, "A and B: artifacts, checkpoints or ONNX files"),
		RunE: func(cmd *cobra.Command, args []string) error {
			layers, err := compare.Encoders(cmd.Context(), args[0], args[1], image)
			if err != nil {
				return err
			}
			if svg != "" {
				title := fmt.Sprintf("%s against %s", filepath.Base(args[1]), filepath.Base(args[0]))
				if err := output.File(svg, func(w io.Writer) error { return compare.WriteSVG(w, title, layers) }); err != nil {
					return err
				}
			}
			if asJSON != "" {
				if err := putJSON(cmd, asJSON, layers); err != nil {
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
	addJSON(c, &asJSON, "the layers")
	c.Flags().StringVar(&image, "image", "", "picture to run on (default: seeded noise)")
	c.Flags().StringVar(&svg, "svg", "", "chart to write")
	writes(c, "svg")
	c.Flags().IntVar(&rows, "rows", 30, "lines to print")
	return c
}
