package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"syncsam-convert/backends/lint"
	"syncsam-convert/backends/runtimes"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/internal/plain"
)

// lintCommand lints for a target that --target picks, or, as plan lint, for the one given.
func lintCommand(only string) *cobra.Command {
	var asJSON bool
	var releases []string
	target := only
	c := &cobra.Command{
		Use:   "lint FILE.onnx",
		Short: "Say what a runtime refuses of an ONNX file, anyone's, or reads wrongly",
		Long: `Holds a model against what is known of a target: operators, types, attributes and opsets that it refuses or reads wrongly, by release, and
what is slower or less exact there. Target onnx asks for every runtime. Exit status 1 when something is refused or wrong.`,
		Args: exactly(1, "one FILE.onnx"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := onnxpb.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			report, err := runtimes.Lint(f, target, releases)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if asJSON {
				if err := writeJSON(out, report.Findings); err != nil {
					return err
				}
			} else {
				for _, found := range report.Findings {
					plain.Fprintf(out, "%s\n", lint.Line(found))
				}
				plain.Fprintf(out, "%s: %d findings for %s\n", args[0], len(report.Findings), report.Target)
			}
			if n := report.Refused(); n > 0 {
				return fmt.Errorf("%w: %s: %s refuses or misreads %d places", errRefused, args[0], report.Target, n)
			}
			return nil
		},
	}
	c.Flags().StringSliceVar(&releases, "release", nil, "TensorRT's releases to ask for (default: all that are known)")
	c.Flags().BoolVar(&asJSON, "json", false, "print the findings as JSON")
	if only == "" {
		c.Flags().StringVar(&target, "target", runtimes.Portable, "what the file is for: "+strings.Join(runtimes.Targets(), ", "))
	}
	return c
}
