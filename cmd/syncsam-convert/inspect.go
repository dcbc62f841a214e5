package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"syncsam-convert/compile"
)

func inspectCommand() *cobra.Command {
	var asJSON bool
	var o compile.Options
	c := &cobra.Command{
		Use:   "inspect CHECKPOINT",
		Short: "Show a checkpoint's family, configuration and parameters",
		Args:  exactly(1, "one CHECKPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			x, err := compile.Inspect(args[0], o.Model)
			if problems := compile.Problems(err); asJSON && len(problems) > 0 {
				return errors.Join(writeJSON(cmd.OutOrStdout(), map[string][]string{"problems": problems}), err)
			}
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), x)
			}
			for _, note := range x.Notes {
				fmt.Fprintln(cmd.ErrOrStderr(), "syncsam-convert: note: "+note)
			}
			printInspection(cmd.OutOrStdout(), x)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	addModel(c, &o)
	return c
}

func printInspection(w io.Writer, x *compile.Inspection) {
	fmt.Fprintf(w, "family      %s\nformat      %s\n", x.Family, x.Format)
	if x.Layout != "" {
		fmt.Fprintf(w, "layout      %s\n", x.Layout)
	}
	if x.Files > 1 {
		fmt.Fprintf(w, "files       %d\n", x.Files)
	}
	if x.Wrapper != "" {
		fmt.Fprintf(w, "wrapper     %s\n", x.Wrapper)
	}
	fmt.Fprintf(w, "parameters  %d\ntensors     %d\n", x.Parameters, x.Tensors)
	for _, k := range slices.Sorted(maps.Keys(x.Config)) {
		fmt.Fprintf(w, "  %-20s %v\n", k, x.Config[k])
	}
	fmt.Fprintln(w, "modules")
	for _, m := range x.Modules {
		fmt.Fprintf(w, "  %-44s %12d parameters %5d tensors  %s\n", m.Name, m.Parameters, m.Tensors, m.DType)
	}
	for _, s := range x.Shared {
		fmt.Fprintf(w, "shared      %s\n", s)
	}
	for _, d := range x.Dropped {
		fmt.Fprintf(w, "dropped     %s\n", d)
	}
	for _, g := range x.Globals {
		fmt.Fprintf(w, "not executed %s\n", g)
	}
}
