package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"syncsam-convert/engine"
	"syncsam-convert/golden"
	"syncsam-convert/internal/mapfile"
)

// Defaults of a verification. The tolerances are in DSC points: rounding moves single pixels, a wrong epsilon moves tenths;
// published results have one decimal and depend on the test set's composition.
const (
	defaultTolerance = 0.05
	paperTolerance   = 0.5
	defaultPrompts   = "box,point1,points5"
	paperScheme      = "paper:"
	unpublished      = paperScheme + "-" // a data set, with no result to compare with
)

type verifyFlags struct {
	golden, data, prompts string
	table                 string
	engine, library       string
	tensorrt              string
	threeWay              bool
	threads               int
	tolerance             float64
	closed                bool
	maxDrop               float64
	useDrop               bool
	json, junit, html     string
	progress              bool
}

func verifyCommand() *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify DIR... --golden GOLDEN [flags]",
		Short: "Run an artifact over a golden set and compare DSC",
		Long: `Runs the artifact's files over a golden folder with the recorded prompts and compares every item's Dice coefficient.
With --golden paper:TABLE/ROW --data DIR it makes the prompts from DIR's own masks and compares the mean DSC with the
SyncSAM paper's (tables 2 to 5). Several artifacts, or --table N, print one table: systems by prompt mode, the paper's figure
(or the golden set's) beside the measured one. Exit status 1 when the results are not met.`,
		Example: "  syncsam-convert verify artifact --golden golden/data/syncsam-tiny-34 --engine onnxruntime\n" +
			"  syncsam-convert verify artifact --golden paper:2/SyncSAM-SAMed-50 --data SA-Med2D-20M\n" +
			"  syncsam-convert verify syncsam sam medsam --table 2 --data SA-Med2D-20M",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.threeWay {
				return f.runThreeWay(cmd, args)
			}
			if len(args) > 1 || f.table != "" {
				return f.runTable(cmd, args)
			}
			return f.run(cmd, args[0])
		},
	}
	c.Flags().StringVar(&f.golden, "golden", "", "golden folder, or paper:TABLE/ROW")
	c.Flags().StringVar(&f.data, "data", "", "with paper or --table: the data set's folder, in an arrangement that the command dataset knows")
	c.Flags().StringVar(&f.table, "table", "", "print the paper's table N for the artifacts, each in the row of its family")
	c.Flags().StringVar(&f.prompts, "prompts", defaultPrompts, "prompt modes")
	c.Flags().Float64Var(&f.tolerance, "tolerance", defaultTolerance, fmt.Sprintf("DSC points that an item may differ by; for paper: points that a mean may be lower by (default %g there)", paperTolerance))
	c.Flags().BoolVar(&f.closed, "closed-loop", false, "also make the prompts anew from masks and predictions, and compare clicks and summaries")
	c.Flags().BoolVar(&f.threeWay, "three-way", false, "compare the golden results, the artifact and its plan folder, so that a drop has an owner")
	c.Flags().StringVar(&f.json, "json", "", "file for the report as JSON (- for standard output)")
	c.Flags().StringVar(&f.junit, "junit", "", "file for the report as JUnit XML")
	c.Flags().StringVar(&f.html, "html", "", "folder for the report as a page with pictures")
	c.Flags().BoolVar(&f.progress, "progress", false, "show progress even when standard error is not a terminal")
	f.addEngine(c)
	return c
}

func (f *verifyFlags) addEngine(c *cobra.Command) {
	c.Flags().StringVar(&f.engine, "engine", engine.Names()[0], strings.Join(engine.Names(), ", "))
	c.Flags().StringVar(&f.library, "onnxruntime-lib", "", "ONNX Runtime's shared library (default: $"+engine.LibraryVariable+", then "+engine.LibraryFolder+")")
	addLibrary(c, &f.tensorrt)
	c.Flags().IntVar(&f.threads, "threads", 0, "threads of the engine; 0: all")
}

func (f *verifyFlags) options() engine.Options {
	return engine.Options{Threads: f.threads, Library: f.library, TensorRT: f.tensorrt}
}

func (f *verifyFlags) run(cmd *cobra.Command, dir string) error {
	if strings.HasPrefix(f.golden, paperScheme) && !cmd.Flags().Changed("tolerance") {
		f.tolerance = paperTolerance
	}
	r, err := f.verify(cmd, dir)
	if err != nil {
		return err
	}
	if f.json != "-" {
		r.WriteText(cmd.OutOrStdout())
	}
	for _, out := range []struct {
		path  string
		write func(io.Writer) error
	}{{f.json, r.WriteJSON}, {f.junit, r.WriteJUnit}} {
		switch out.path {
		case "":
			continue
		case "-":
			err = out.write(cmd.OutOrStdout())
		default:
			err = mapfile.WriteAtomic(out.path, out.write)
		}
		if err != nil {
			return err
		}
	}
	if f.html != "" {
		if err := r.WriteHTML(f.html); err != nil {
			return err
		}
	}
	return mismatch(r)
}

// mismatch is the error of a report that did not pass; it names the modes.
func mismatch(r *golden.Report) error {
	if r.Pass {
		return nil
	}
	var bad []string
	for _, mode := range golden.Modes {
		if m, ok := r.Modes[mode]; ok && !m.Pass {
			bad = append(bad, fmt.Sprintf("%s: DSC %.4f, want %.4f, %d of %d items off", mode, m.Have, m.Want, m.Failed, m.Items))
		}
	}
	return fmt.Errorf("%w: %s", errMismatch, strings.Join(bad, "; "))
}

// picturesKept is how many items the page shows.
const picturesKept = 24

// verify runs the artifact in dir over what --golden names.
func (f *verifyFlags) verify(cmd *cobra.Command, dir string) (*golden.Report, error) {
	ctx := cmd.Context()
	modes, err := golden.ParseModes(f.prompts)
	if err != nil {
		return nil, fmt.Errorf("--prompts: %w", err)
	}
	if f.tolerance < 0 || f.tolerance != f.tolerance {
		return nil, fmt.Errorf("--tolerance: have %g, want 0 or more DSC points", f.tolerance)
	}
	if f.threads < 0 {
		return nil, fmt.Errorf("--threads: have %d, want 0 or more", f.threads)
	}
	s := golden.Settings{Engine: f.engine, Modes: modes, Tolerance: f.tolerance, Closed: f.closed}
	if f.useDrop {
		s.MaxDrop = &f.maxDrop
	}
	if f.html != "" {
		s.Keep = picturesKept
	}
	key, published := strings.CutPrefix(f.golden, paperScheme)
	switch {
	case f.golden == "":
		return nil, fmt.Errorf("--golden: missing, want a golden folder or %sTABLE/ROW", paperScheme)
	case published && f.data == "":
		return nil, fmt.Errorf("--data: missing: %s%s is compared on your own data set", paperScheme, key)
	case !published && f.data != "":
		return nil, fmt.Errorf("--data: only with --golden %sTABLE/ROW", paperScheme)
	}
	if published {
		var want map[string]float64 // none for a system that the paper does not list
		title := "no published result"
		if f.golden != unpublished {
			if want, title, err = golden.LookupPaper(key); err != nil {
				return nil, err
			}
		}
		p, err := golden.Open(dir, f.engine, f.options())
		if err != nil {
			return nil, err
		}
		defer p.Close()
		bar := newBar(cmd, f.progress, -1, "masks")
		defer bar.Finish()
		s.Seen = func() { _ = bar.Add(1) }
		return golden.VerifyData(ctx, p, f.data, want, title, s)
	}
	if info, err := os.Stat(f.golden); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s: not a golden folder", f.golden)
	}
	g, err := golden.Read(f.golden)
	if err != nil {
		return nil, err
	}
	p, err := golden.Open(dir, f.engine, f.options())
	if err != nil {
		return nil, err
	}
	defer p.Close()
	bar := newBar(cmd, f.progress, len(g.Items), "masks")
	defer bar.Finish()
	s.Seen = func() { _ = bar.Add(1) }
	return golden.Verify(ctx, p, g, s)
}
