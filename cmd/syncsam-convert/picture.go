package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"syncsam-convert/internal/plain"
	"syncsam-convert/pictures"
)

func pictureCommand() *cobra.Command {
	var out, asJSON string
	var mask, force bool
	c := &cobra.Command{
		Use:   "picture NAME -o OUT.png [--mask]",
		Short: "Show what was understood of a picture or a mask",
		Long: `Writes the 8-bit RGB picture that preprocessing gets of a name, or with --mask the mask, as 0 and 255; prints size, depth, codec,
the rule by which values became grey (or foreground), window and orientation.

A name is FILE, or FILE#slice=K&volume=K&window=LOW:HIGH of a picture, FILE#slice=K&volume=K&label=L&ignore=L of a mask; each field
is optional. Read are PNG, JPEG, BMP, TIFF, GIF, WebP, NIfTI, DICOM, and sparse label files; the content says which.`,
		Example: "  syncsam-convert picture scan.nii.gz#slice=40 -o slice.png\n  syncsam-convert picture xray.png#window=0:4095 -o shown.png\n  syncsam-convert picture labels.nii.gz#slice=40&label=3 --mask -o mask.png",
		Args:    exactly(1, "one NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return fmt.Errorf("-o: it is needed")
			}
			if err := writable(out, force); err != nil {
				return err
			}
			var facts pictures.Facts
			var err error
			summary := "picture"
			if mask {
				var m *pictures.Mask
				if m, facts, err = pictures.LookMask(args[0]); err == nil {
					summary = fmt.Sprintf("mask of %d pixels", m.Count())
					err = pictures.WriteMask(out, m)
				}
			} else {
				var m *pictures.Image
				if m, facts, err = pictures.Look(args[0]); err == nil {
					err = pictures.WriteImage(out, m)
				}
			}
			if err != nil {
				return err
			}
			if asJSON != "" {
				return putJSON(cmd, asJSON, facts)
			}
			window := ""
			if facts.Window != nil {
				window = fmt.Sprintf(" (%g to %g)", facts.Window[0], facts.Window[1])
			}
			plain.Fprintf(cmd.OutOrStdout(), "%s: %s, %d x %d pixels\n  read as: %s, %d channels of %d bits, %d slices\n  values: %s%s\n  orientation: %s\n",
				out, summary, facts.Width, facts.Height, facts.Codec, facts.Channels, facts.Bits, facts.Slices, facts.Rule, window, facts.Orientation)
			return nil
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "PNG to write")
	writes(c, "output")
	c.Flags().BoolVar(&mask, "mask", false, "read the name as a mask, and write 0 and 255")
	c.Flags().BoolVar(&force, "force", false, "replace an existing OUT.png")
	addJSON(c, &asJSON, "what was understood")
	return c
}

// writable refuses a file that is there already, unless forced.
func writable(out string, force bool) error {
	info, err := os.Stat(out)
	switch {
	case err != nil:
		return nil // whoever writes it will say
	case info.IsDir():
		return fmt.Errorf("%s: it is a folder", out)
	case info.Mode().IsRegular() && !force:
		return fmt.Errorf("%s: it is there already; --force replaces it", out)
	}
	return nil
}
