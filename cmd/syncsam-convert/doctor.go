package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"syncsam-convert/doctor"
	"syncsam-convert/engine"
)

func doctorCommand() *cobra.Command {
	var asJSON, needed string
	var o engine.Options
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Show what this machine has for the program, and what stands in the way",
		Long: `Shows the processor's kernels, the engines and where their libraries are, memory, folders and versions. What cannot be used is said with the way out.
Exit status 2 when an engine of --engine does not work.`,
		Example: "  syncsam-convert doctor\n  syncsam-convert doctor --engine go,onnxruntime --json",
		Args:    exactly(0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := doctor.Look(strings.Split(needed, ","), o)
			if err != nil {
				return err
			}
			if asJSON != "" {
				return errors.Join(putJSON(cmd, asJSON, r), r.Err())
			}
			r.Print(cmd.OutOrStdout())
			return r.Err()
		},
	}
	c.Flags().StringVar(&needed, "engine", engine.Embedded, "engines that must work: "+strings.Join(engine.Names(), ", "))
	addRuntimeLibrary(c, &o.Library)
	addLibrary(c, &o.TensorRT)
	addJSON(c, &asJSON, "what was found")
	return c
}
