package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"syncsam-convert/engine"
	"syncsam-convert/internal/plain"
)

func execCommand() *cobra.Command {
	var in, out string
	var name string
	var o engine.Options
	var unverified bool
	c := &cobra.Command{
		Use:   "exec MODEL.onnx --inputs IN.safetensors --outputs OUT.safetensors",
		Short: "Run one ONNX file on tensors from a file",
		Long:  "Reads the graph's inputs by name from a safetensors file and writes its outputs by name to another.",
		Args:  exactly(1, "one MODEL.onnx"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if in == "" || out == "" {
				return fmt.Errorf("--inputs and --outputs: both are needed")
			}
			if !unverified {
				if err := engine.Trusted(args[0]); err != nil {
					return err
				}
			}
			named, err := engine.RunFile(cmd.Context(), name, args[0], in, out, o)
			if err != nil {
				return err
			}
			for _, n := range named {
				plain.Fprintf(cmd.OutOrStdout(), "%s %s\n", n.Name, n.Tensor.Type())
			}
			return nil
		},
	}
	c.Flags().StringVar(&in, "inputs", "", "safetensors file with the graph's inputs")
	c.Flags().StringVar(&out, "outputs", "", "safetensors file to write")
	writes(c, "outputs")
	addUnverified(c, &unverified)
	addEngine(c, &name, &o)
	return c
}
