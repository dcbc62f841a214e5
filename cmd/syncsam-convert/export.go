package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"syncsam-convert/backends/triton"
	"syncsam-convert/internal/plain"
)

func exportCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "export",
		Short: "Write an artifact as other servers want it",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("export: no command; see syncsam-convert export --help")
		},
	}
	c.AddCommand(exportTritonCommand())
	for _, sub := range c.Commands() {
		sub.DisableFlagsInUseLine = true
	}
	return c
}

func exportTritonCommand() *cobra.Command {
	var o triton.Options
	var out string
	c := &cobra.Command{
		Use:   "triton DIR -o REPOSITORY",
		Short: "Write a model repository for NVIDIA Triton",
		Long: `Writes a model for each graph of an artifact: config.pbtxt and 1/model.onnx, or 1/model.plan where plan build has built the plans. Triton gathers
images of several requests into a batch for the encoder; the decoder takes prompts as they are. The names and tensors are those of serve.`,
		Example: "  syncsam-convert export triton model50 -o repository\n  syncsam-convert export triton small -o repository --prefix int8_ --force",
		Args:    exactly(1, "one artifact DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return fmt.Errorf("-o: it is needed")
			}
			models, err := triton.Export(args[0], out, o)
			if err != nil {
				return err
			}
			for _, m := range models {
				plain.Fprintf(cmd.OutOrStdout(), "%s: %s, %d bytes\n", m.Name, m.File, m.Size)
			}
			return nil
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "model repository to write")
	writes(c, "output")
	c.Flags().StringVar(&o.Format, "format", "", "onnx or plan (default plan where the plans are built)")
	c.Flags().StringVar(&o.Device, "device", "gpu", "what the instances run on: gpu or cpu")
	c.Flags().Int64Var(&o.MaxBatch, "max-batch", triton.DefaultMaxBatch, "images that run at a time; a plan's is that of its profile")
	c.Flags().StringVar(&o.Prefix, "prefix", "", "before the models' names, where a repository holds several artifacts")
	c.Flags().BoolVar(&o.Force, "force", false, "write into an existing repository, and replace models of these names that were exported before")
	addLibrary(c, &o.TensorRT)
	return c
}
