package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"syncsam-convert/frontends"
	"syncsam-convert/frontends/checkpoint"
	"syncsam-convert/ir"
)

// modelFlags choose what a checkpoint does not tell about its model.
type modelFlags struct{ o frontends.Options }

func (f *modelFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.o.Family, "family", "", "model family, where the keys do not tell: "+strings.Join(frontends.Names(), ", "))
	c.Flags().Int64Var(&f.o.ImageSize, "image-size", 0, "side of the input image in pixels; positions are resampled (default the checkpoint's)")
}

// load lowers a checkpoint; what had to be assumed goes to standard error.
func (f *modelFlags) load(cmd *cobra.Command, ck *checkpoint.Checkpoint, path string) (*ir.Module, error) {
	if f.o.ImageSize < 0 {
		return nil, fmt.Errorf("--image-size: have %d, want a positive number", f.o.ImageSize)
	}
	m, assumed, err := frontends.Load(ck, f.o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if assumed != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "syncsam-convert: note: "+assumed)
	}
	return m, nil
}
