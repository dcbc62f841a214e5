package main

import (
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"syncsam-convert/engine"
	"syncsam-convert/internal/inputs"
	"syncsam-convert/internal/output"
	"syncsam-convert/internal/plain"
	"syncsam-convert/pictures"
	"syncsam-convert/prompt"
	"syncsam-convert/segment"
)

type runFlags struct {
	image, box, out, overlay string
	points                   []string
	engine                   string
	options                  engine.Options
}

func runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run DIR --image FILE --box x0,y0,x1,y1 | --point x,y[,0|1] ... -o MASK.png",
		Short: "Segment one image",
		Long:  "Segments one image by a box, points (1 foreground, 0 background) or both, in original-image pixels. Beside the mask it writes MASK.overlay.png.",
		Args:  exactly(1, "one artifact DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.image == "" || f.out == "" {
				return fmt.Errorf("--image and -o: both are needed")
			}
			if f.overlay == "" && !output.Special(f.out) { // nothing can lie beside a device
				f.overlay = strings.TrimSuffix(f.out, filepath.Ext(f.out)) + ".overlay.png"
			}
			if f.overlay != "" {
				if err := inputs.Apart([]string{f.out, f.overlay}, append(args, f.image)); err != nil {
					return err
				}
			}
			return f.run(cmd, args[0])
		},
	}
	c.Flags().StringVar(&f.image, "image", "", "picture: PNG, JPEG, GIF, BMP, TIFF, WebP, or a slice of a volume: FILE.nii.gz#slice=K, FILE.dcm")
	c.Flags().StringVar(&f.box, "box", "", "x0,y0,x1,y1 in pixels")
	c.Flags().StringArrayVar(&f.points, "point", nil, "x,y or x,y,LABEL in pixels; may be given more than once")
	c.Flags().StringVarP(&f.out, "output", "o", "", "mask to write, PNG of 0 and 255")
	c.Flags().StringVar(&f.overlay, "overlay", "", "overlay picture to write (default MASK.overlay.png)")
	writes(c, "output", "overlay")
	addEngine(c, &f.engine, &f.options)
	return c
}

func (f *runFlags) run(cmd *cobra.Command, dir string) error {
	pr, marks, err := parsePrompt(f.box, f.points)
	if err != nil {
		return err
	}
	m, err := pictures.Read(f.image)
	if err != nil {
		return err
	}
	if err := pr.Within(m.W, m.H); err != nil {
		return fmt.Errorf("%s: %w", f.image, err)
	}
	p, err := segment.Open(dir, f.engine, f.options)
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
	if err := pictures.WriteMask(f.out, result.Mask); err != nil {
		return err
	}
	beside := ""
	if f.overlay != "" {
		if err := pictures.WriteOverlay(f.overlay, m, result.Mask, nil, marks); err != nil {
			return err
		}
		beside = "; overlay " + f.overlay
	}
	plain.Fprintf(cmd.OutOrStdout(), "%s: %d of %d pixels%s\n", f.out, result.Mask.Count(), m.W*m.H, beside)
	return nil
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
