package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"syncsam-convert/dataset"
	"syncsam-convert/internal/output"
	"syncsam-convert/internal/plain"
)

func datasetCommand() *cobra.Command {
	var o dataset.Options
	var write bool
	volume, ignore := -1, -1
	c := &cobra.Command{
		Use:   "dataset DIR",
		Short: "List the masks of a data set and their images, or write its index",
		Long: `Finds out how a data set arranges its files and prints its index: each mask and the image it belongs to. verify --data and --calib
take the same folders; with --write they read the index instead of looking again.

Known: ` + strings.Join(dataset.Layouts(), ", ") + `.
Of volumes (NIfTI, DICOM) each label of each slice is a mask; a slice is named FILE#slice=K&label=L, and a picture of it can be
given wherever an image is asked for: FILE#slice=K&window=LOW:HIGH.`,
		Example: "  syncsam-convert dataset COSAS24-TrainingSet\n  syncsam-convert dataset HNTSMRG24_train --min-pixels 100 --write",
		Args:    exactly(1, "one DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.MinPixels < 0 {
				return fmt.Errorf("--min-pixels: have %d, want 0 or more", o.MinPixels)
			}
			for flag, to := range map[*int]**int{&volume: &o.Volume, &ignore: &o.Ignore} {
				if *flag >= 0 {
					*to = flag
				}
			}
			name, items, err := dataset.Open(args[0], o)
			if err != nil {
				return err
			}
			var masks, images int
			list := func(w io.Writer) (err error) {
				if masks, images, err = dataset.WriteIndex(w, items); err == nil && masks == 0 {
					err = fmt.Errorf("%s: it has no masks", args[0])
				}
				return err
			}
			if !write {
				if err = list(cmd.OutOrStdout()); err == nil {
					plain.Fprintf(cmd.ErrOrStderr(), "syncsam-convert: %s: layout %s, %d masks of %d images\n", args[0], name, masks, images)
				}
				return err
			}
			index := filepath.Join(args[0], dataset.IndexName)
			if _, err := os.Lstat(index); err == nil {
				return fmt.Errorf("%s: it is there already", index)
			}
			if err := output.File(index, list); err != nil {
				return err
			}
			plain.Fprintf(cmd.OutOrStdout(), "%s: layout %s, %d masks of %d images\n", index, name, masks, images)
			return nil
		},
	}
	c.Flags().StringVar(&o.Layout, "layout", "", "the arrangement (default: found out)")
	c.Flags().StringVar(&o.Split, "split", "", "the list of an index that has several (default test)")
	c.Flags().IntVar(&o.MinPixels, "min-pixels", 1, "leave out labels of volumes that cover fewer pixels of a slice")
	c.Flags().IntVar(&volume, "volume", -1, "which volume of images that have several (4-D NIfTI)")
	c.Flags().IntVar(&ignore, "ignore", -1, "a label that is no foreground; negative ones never are")
	c.Flags().BoolVar(&write, "write", false, "write DIR/"+dataset.IndexName+" instead of printing")
	return c
}
