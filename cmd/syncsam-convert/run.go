package main

import (
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"syncsam-convert/engine"
	"syncsam-convert/internal/mapfile"
	"syncsam-convert/pictures"
	"syncsam-convert/prompt"
	"syncsam-convert/segment"
)

func runCommand() *cobra.Command {
	var image, box, out, overlay string
	var points []string
	var name string
	var o engine.Options
	c := &cobra.Command{
		Use:   "run DIR --image FILE --box x0,y0,x1,y1 | --point x,y[,0|1] ... -o MASK.png",
		Short: "Segment one image",
		Long:  "Segments one image by a box, points (1 foreground, 0 background) or both, in original-image pixels. Beside the mask it writes MASK.overlay.png.",
		Args:  exactly(1, "one artifact DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if image == "" || out == "" {
				return fmt.Errorf("--image and -o: both are needed")
			}
			if overlay == "" {
				overlay = strings.TrimSuffix(out, filepath.Ext(out)) + ".overlay.png"
			}
			if err := mapfile.Creatable(out, overlay); err != nil {
				return err
			}
			pr, marks, err := parsePrompt(box, points)
			if err != nil {
				return err
			}
			m, err := pictures.Read(image)
			if err != nil {
				return err
			}
			if err := inside(m, marks); err != nil {
				return fmt.Errorf("%s: %w", image, err)
			}
			p, err := segment.Open(args[0], name, o)
			if err != nil {
				return err
			}
			defer p.Close()
			e, err := p.Embed(cmd.Context(), m)
			if err != nil {
				return err
			}
			result, err := p.Predict(cmd.Context(), e, pr)
			if err != nil {
				return err
			}
			if err := pictures.WriteMask(out, result.Mask); err != nil {
				return err
			}
			if err := pictures.WriteOverlay(overlay, m, result.Mask, nil, marks); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d of %d pixels; overlay %s\n", out, result.Mask.Count(), m.W*m.H, overlay)
			return nil
		},
	}
	c.Flags().StringVar(&image, "image", "", "picture: PNG, JPEG, GIF, BMP, TIFF, WebP, or a slice of a volume: FILE.nii.gz#slice=K, FILE.dcm")
	c.Flags().StringVar(&box, "box", "", "x0,y0,x1,y1 in pixels")
	c.Flags().StringArrayVar(&points, "point", nil, "x,y or x,y,LABEL in pixels; may be given more than once")
	c.Flags().StringVarP(&out, "output", "o", "", "mask to write, PNG of 0 and 255")
	c.Flags().StringVar(&overlay, "overlay", "", "overlay picture to write (default MASK.overlay.png)")
	addEngine(c, &name, &o)
	return c
}

func parsePrompt(box string, points []string) (prompt.Prompt, []pictures.Mark, error) {
	var p prompt.Prompt
	var marks []pictures.Mark
	if box == "" && len(points) == 0 {
		return p, nil, fmt.Errorf("--box or --point: one is needed")
	}
	if box != "" {
		v, err := numbers(box, 4, 4)
		if err != nil {
			return p, nil, fmt.Errorf("--box: %w", err)
		}
		if v[0] >= v[2] || v[1] >= v[3] {
			return p, nil, fmt.Errorf("--box: have %s, want x0 < x1 and y0 < y1", box)
		}
		corners := [4]float64(v)
		p.Box = &corners
		marks = append(marks, pictures.Mark{X0: v[0], Y0: v[1], X1: v[2], Y1: v[3]})
	}
	for _, s := range points {
		v, err := numbers(s, 2, 3)
		if err != nil {
			return p, nil, fmt.Errorf("--point: %w", err)
		}
		label := 1
		if len(v) == 3 {
			if v[2] != 0 && v[2] != 1 {
				return p, nil, fmt.Errorf("--point: have label %g, want 0 or 1", v[2])
			}
			label = int(v[2])
		}
		p.Points, p.Labels = append(p.Points, [2]float64{v[0], v[1]}), append(p.Labels, label)
		marks = append(marks, pictures.Mark{X0: v[0], Y0: v[1], X1: v[0], Y1: v[1], Label: label})
	}
	return p, marks, nil
}

func numbers(s string, least, most int) ([]float64, error) {
	parts := strings.Split(s, ",")
	if len(parts) < least || len(parts) > most {
		return nil, fmt.Errorf("have %q, want %d numbers", s, least)
	}
	var v []float64
	for _, p := range parts {
		x, err := strconv.ParseFloat(strings.TrimSpace(p), 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, fmt.Errorf("have %q, want numbers", s)
		}
		v = append(v, x)
	}
	return v, nil
}

// inside refuses prompts that do not lie on the image.
func inside(m *pictures.Image, marks []pictures.Mark) error {
	for _, k := range marks {
		if k.X0 < 0 || k.Y0 < 0 || k.X1 > float64(m.W) || k.Y1 > float64(m.H) {
			return fmt.Errorf("a prompt at %g,%g,%g,%g is outside its %d x %d pixels", k.X0, k.Y0, k.X1, k.Y1, m.W, m.H)
		}
	}
	return nil
}
