package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"syncsam-convert/artifact"
	"syncsam-convert/frontends"
	"syncsam-convert/frontends/checkpoint"
	"syncsam-convert/ir"
)

// modelFlags choose what a checkpoint does not tell about its model.
type modelFlags struct{ o frontends.Options }

func (f *modelFlags) register(c *cobra.Command) {
	c.Flags().StringVar(&f.o.Family, "family", "", "model family, where the keys do not tell: "+strings.Join(frontends.Names(), ", "))
	c.Flags().StringVar(&f.o.Weights, "weights", "", "key or prefix of the state dict in the file, where several fit, such as model or ema (default the trained weights)")
	c.Flags().Int64Var(&f.o.ImageSize, "image-size", 0, "side of the input image in pixels; positions are resampled (default the checkpoint's)")
}

// load lowers a checkpoint; what was chosen, assumed or dropped goes to standard error.
func (f *modelFlags) load(cmd *cobra.Command, ck *checkpoint.Checkpoint, path string) (*ir.Module, error) {
	if f.o.ImageSize < 0 {
		return nil, fmt.Errorf("--image-size: have %d, want a positive number", f.o.ImageSize)
	}
	m, notes, err := frontends.Load(ck, f.o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, note := range notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "syncsam-convert: note: "+note)
	}
	return m, nil
}

// sourceHash identifies the weights: a file's SHA-256; of several files that of the lines "HASH  NAME" that sha256sum prints for them.
func sourceHash(ck *checkpoint.Checkpoint) (string, error) {
	files := ck.Files()
	if len(files) == 1 {
		sum, _, err := artifact.Hash(files[0])
		return sum, err
	}
	all := sha256.New()
	for _, path := range files {
		sum, _, err := artifact.Hash(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(all, "%s  %s\n", sum, filepath.Base(path))
	}
	return hex.EncodeToString(all.Sum(nil)), nil
}
