package main

import (
	"errors"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"syncsam-convert/compile"
	"syncsam-convert/internal/plain"
)

func inspectCommand() *cobra.Command {
	var asJSON string
	var o compile.Options
	c := &cobra.Command{
		Use:   "inspect CHECKPOINT",
		Short: "Show a checkpoint's family, configuration and parameters",
		Args:  exactly(1, "one CHECKPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Checkpoint = args[0]
			x, err := compile.Inspect(o)
			if problems := compile.Problems(err); asJSON != "" && len(problems) > 0 {
				return errors.Join(putJSON(cmd, asJSON, map[string][]string{"problems": problems}), err)
			}
			if err != nil {
				return err
			}
			if asJSON != "" {
				return putJSON(cmd, asJSON, x)
			}
			for _, note := range x.Notes {
				plain.Fprintf(cmd.ErrOrStderr(), "syncsam-convert: note: %s\n", note)
			}
			printInspection(cmd.OutOrStdout(), x)
			return nil
		},
	}
	addJSON(c, &asJSON, "it")
	c.Flags().StringVar(&o.Calibration, "calib", "", "calibration data whose hash is shown, too: with the checkpoint's a key for a cache of what calibrate writes")
	addModel(c, &o)
	return c
}

func printInspection(w io.Writer, x *compile.Inspection) {
	plain.Fprintf(w, "family      %s\nformat      %s\n", x.Family, x.Format)
	if x.Layout != "" {
		plain.Fprintf(w, "layout      %s\n", x.Layout)
	}
	if x.Files > 1 {
		plain.Fprintf(w, "files       %d\n", x.Files)
	}
	if x.Wrapper != "" {
		plain.Fprintf(w, "wrapper     %s\n", x.Wrapper)
	}
	plain.Fprintf(w, "parameters  %d\ntensors     %d\nsha256      %s\n", x.Parameters, x.Tensors, x.SHA256)
	if x.Calibrated != "" {
		plain.Fprintf(w, "calibration %s\n", x.Calibrated)
	}
	for _, k := range slices.Sorted(maps.Keys(x.Config)) {
		plain.Fprintf(w, "  %-20s %v\n", k, x.Config[k])
	}
	plain.Fprintf(w, "modules\n")
	for _, m := range x.Modules {
		plain.Fprintf(w, "  %-44s %12d parameters %5d tensors  %s\n", m.Name, m.Parameters, m.Tensors, m.DType)
	}
	for _, s := range x.Shared {
		plain.Fprintf(w, "shared      %s\n", s)
	}
	for _, d := range x.Dropped {
		plain.Fprintf(w, "dropped     %s\n", d)
	}
	for _, g := range x.Globals {
		plain.Fprintf(w, "not executed %s\n", g)
	}
}
