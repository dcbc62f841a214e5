package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"syncsam-convert/engine"
	"syncsam-convert/internal/inputs"
	"syncsam-convert/internal/output"
	"syncsam-convert/internal/plain"
	"syncsam-convert/pictures"
	"syncsam-convert/segment"
	"syncsam-convert/volumes"
)

type runFlags struct {
	image, out, overlay, slices, json string
	words                             volumes.Words
	propagate, progress               bool
	grow                              int
	kind                              volumes.Kind
	engine                            string
	options                           engine.Options
}

func runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run DIR --image FILE --box x0,y0,x1,y1 | --point x,y[,0|1] ... -o MASK.png|.nii.gz|.dcm",
		Short: "Segment an image, or slices of a volume",
		Long: `Segments one image by a box, points (1 foreground, 0 background) or both, in original-image pixels. Beside a PNG it writes MASK.overlay.png.

Of a volume, FILE#slice=K is one slice; --slices a:b takes slices a to b-1 (from 0), all takes all, each by the same prompts. With --propagate
the prompts are of slice K of FILE#slice=K, else of the first of the range; from there the box of each mask carries to the next slice, both
ways, until a mask is empty. The end of -o says what is written: .png of one slice, .nii and .nii.gz in the volume's own voxels, .dcm a DICOM
segmentation of DICOM images.

Several boxes, or several --prompt, are an object each: labels 1, 2, ... Where two lie over each other, the later one's label stands.`,
		Example: "  syncsam-convert run model50 --image ct.nii.gz#slice=40\\&window=-160:240 --box 200,180,260,240 --slices all --propagate -o mask.nii.gz\n" +
			"  syncsam-convert run model50 --image series/ --slices 20:40 --prompt 'box=9,9,50,60&name=liver' --prompt 'box=70,9,90,30&point=80,15,0&name=spleen' -o seg.dcm",
		Args: exactly(1, "one artifact DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	c.Flags().StringVar(&f.image, "image", "", "picture: PNG, JPEG, GIF, BMP, TIFF, WebP; or a volume: FILE.nii.gz, FILE.dcm, a folder of a DICOM series, #slice=K of any")
	c.Flags().StringArrayVar(&f.words.Boxes, "box", nil, "x0,y0,x1,y1 in pixels; several are an object each")
	c.Flags().StringArrayVar(&f.words.Points, "point", nil, "x,y or x,y,LABEL in pixels; may be given more than once")
	c.Flags().StringArrayVar(&f.words.Groups, "prompt", nil, "an object: box=x0,y0,x1,y1&point=x,y,LABEL&text=WORDS&name=NAME&label=K, each optional; may be given more than once")
	c.Flags().StringArrayVar(&f.words.Texts, "text", nil, "what to segment in words, such as liver (IMIS-Net); several are an object each")
	c.Flags().StringArrayVar(&f.words.IDs, "text-ids", nil, "token numbers of a text, 49406,...,49407, as CLIP's tokenizer gives them")
	c.Flags().StringVar(&f.slices, "slices", "", "slices of a volume: a:b for a to b-1, or all")
	c.Flags().BoolVar(&f.propagate, "propagate", false, "prompt one slice, and carry each mask's box to the next")
	c.Flags().IntVar(&f.grow, "grow", 0, "pixels by which --propagate widens a box on each side, for objects that grow or move from slice to slice")
	c.Flags().StringVarP(&f.out, "output", "o", "", "mask to write: .png of 0 and 255 (of several objects their labels), .nii, .nii.gz, .dcm")
	c.Flags().StringVar(&f.overlay, "overlay", "", "overlay picture to write (default MASK.overlay.png beside a PNG)")
	addJSON(c, &f.json, "pixels, boxes, estimated IoU and times")
	writes(c, "output", "overlay")
	addProgress(c, &f.progress)
	addEngine(c, &f.engine, &f.options)
	return c
}

func (f *runFlags) run(cmd *cobra.Command, dir string) error {
	if err := f.outputs(dir); err != nil {
		return err
	}
	r, err := f.request()
	if err != nil {
		return err
	}
	started := time.Now()
	p, err := segment.Open(dir, f.engine, f.options)
	if err != nil {
		return err
	}
	defer p.Close()
	loaded := time.Since(started).Seconds()
	b := newBar(cmd, f.progress)
	r.Progress = func(done, total int) { b.at("slices", done, total) }
	found, err := r.Run(cmd.Context(), p)
	b.done()
	if err != nil {
		return fmt.Errorf("%s: %w", f.image, err)
	}
	if err := r.Write(f.out, f.kind, found, p); err != nil {
		return err
	}
	if f.overlay != "" {
		if err := r.Overlay(f.overlay, found); err != nil {
			return err
		}
	}
	if f.json != "" {
		report := r.Report(found)
		report.Image, report.Output, report.Overlay, report.Engine, report.Load = f.image, f.out, f.overlay, p.Engine(), loaded
		return putJSON(cmd, f.json, report)
	}
	plain.Fprintf(cmd.OutOrStdout(), "%s: %s", f.out, r.Summary(found))
	if f.overlay != "" {
		plain.Fprintf(cmd.OutOrStdout(), "; overlay %s", f.overlay)
	}
	plain.Fprintf(cmd.OutOrStdout(), "\n")
	return nil
}

// outputs says what is written where.
func (f *runFlags) outputs(dir string) error {
	if f.image == "" || f.out == "" {
		return fmt.Errorf("--image and -o: both are needed")
	}
	f.kind = volumes.KindOf(f.out)
	if f.overlay == "" && f.kind == volumes.PNG && !output.Special(f.out) { // nothing can lie beside a device
		f.overlay = strings.TrimSuffix(f.out, filepath.Ext(f.out)) + ".overlay.png"
	}
	if f.overlay == "" {
		return nil
	}
	return inputs.Apart([]string{f.out, f.overlay}, []string{dir, f.image})
}

// request says what is to be segmented.
func (f *runFlags) request() (r volumes.Request, err error) {
	if r.Objects, err = f.words.Objects(); err != nil {
		return r, err
	}
	if r.Scan, err = pictures.OpenScan(f.image); err != nil {
		return r, err
	}
	r.Propagate, r.Grow = f.propagate, f.grow
	if err = r.Choose(f.slices); err == nil {
		err = r.Check()
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w", f.image, err)
	}
	if err = r.Writable(f.out, f.kind); err == nil && f.overlay != "" && r.To-r.From > 1 {
		err = fmt.Errorf("--overlay: it shows one slice, have %d", r.To-r.From)
	}
	return r, err
}
