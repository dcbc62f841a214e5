package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"syncsam-convert/backends/tensorrt/plans"
	"syncsam-convert/engine"
	"syncsam-convert/golden"
	"syncsam-convert/internal/output"
	"syncsam-convert/internal/plain"
)

// picturesKept is how many items the page shows.
const picturesKept = 24

type verifyFlags struct {
	golden.Request
	table             string
	threeWay          bool
	tolerance         float64
	json, junit, html string
}

func verifyCommand() *cobra.Command {
	var f verifyFlags
	var progress bool
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
			if cmd.Flags().Changed("tolerance") {
				f.Tolerance = &f.tolerance
			}
			if f.html != "" {
				f.Keep = picturesKept
			}
			b := newBar(cmd, progress)
			defer b.done()
			f.Progress = func(done, total int) { b.at("masks", done, total) }
			switch {
			case f.threeWay:
				return f.runThreeWay(cmd, args)
			case len(args) > 1 || f.table != "":
				return f.runTable(cmd, args)
			}
			r, err := f.Run(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			b.done()
			return f.write(cmd.OutOrStdout(), r)
		},
	}
	c.Flags().StringVar(&f.Golden, "golden", "", "golden folder, or paper:TABLE/ROW")
	c.Flags().StringVar(&f.Data, "data", "", "with paper or --table: the data set's folder, in an arrangement that the command dataset knows")
	c.Flags().StringVar(&f.table, "table", "", "print the paper's table N for the artifacts, each in the row of its family")
	c.Flags().StringVar(&f.Prompts, "prompts", strings.Join(golden.Modes, ","), "prompt modes")
	c.Flags().Float64Var(&f.tolerance, "tolerance", golden.DefaultTolerance, fmt.Sprintf("DSC points that an item may differ by; for paper: points that a mean may be lower by (default %g there)", golden.PaperTolerance))
	c.Flags().BoolVar(&f.Closed, "closed-loop", false, "also make the prompts anew from masks and predictions, and compare clicks and summaries")
	c.Flags().BoolVar(&f.threeWay, "three-way", false, "compare the golden results, the artifact and its plan folder, so that a drop has an owner")
	c.Flags().StringVar(&f.json, "json", "", "file for the report as JSON (- for standard output)")
	c.Flags().StringVar(&f.junit, "junit", "", "file for the report as JUnit XML")
	c.Flags().StringVar(&f.html, "html", "", "folder for the report as a page with pictures")
	writes(c, "json", "junit", "html")
	addProgress(c, &progress)
	addEngine(c, &f.Engine, &f.Options)
	return c
}

// write puts a report where the flags want it, and says whether it passed.
func (f *verifyFlags) write(w io.Writer, r *golden.Report) (err error) {
	if f.json != "-" {
		r.WriteText(w)
	}
	for _, out := range []struct {
		path  string
		write func(io.Writer) error
	}{{f.json, r.WriteJSON}, {f.junit, r.WriteJUnit}} {
		switch out.path {
		case "":
			continue
		case "-":
			err = out.write(w)
		default:
			err = output.File(out.path, out.write)
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
	return r.Err()
}

// columns are the prompt modes under the names of the paper's tables.
var columns = []struct{ mode, title string }{{"box", "Bbox"}, {"point1", "1 pt"}, {"points5", "5 pts"}}

// runTable verifies several artifacts by one protocol and prints a table.
func (f *verifyFlags) runTable(cmd *cobra.Command, dirs []string) error {
	if f.junit != "" || f.html != "" || f.json != "" {
		return fmt.Errorf("--json, --junit, --html: only for one artifact")
	}
	rows, err := golden.Table(cmd.Context(), dirs, f.table, f.Request)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	plain.Fprintf(w, "system")
	for _, c := range columns {
		plain.Fprintf(w, "\t%s", c.title)
	}
	plain.Fprintf(w, "\n")
	failed := 0
	for _, row := range rows {
		plain.Fprintf(w, "%s", row.Name)
		for _, c := range columns {
			m, ok := row.Report.Modes[c.mode]
			switch {
			case !ok:
				plain.Fprintf(w, "\t-")
			case m.Want == 0:
				plain.Fprintf(w, "\t%.1f", 100*m.Have)
			default:
				plain.Fprintf(w, "\t%.1f (%.1f)", 100*m.Have, 100*m.Want)
			}
		}
		plain.Fprintf(w, "\n")
		if !row.Report.Pass {
			failed++
		}
	}
	what := "the golden set's"
	if f.table != "" {
		what = "table " + f.table + " of the paper's"
	}
	if err := w.Flush(); err != nil {
		return err
	}
	plain.Fprintf(cmd.OutOrStdout(), "mean DSC in percent; in brackets %s\n", what)
	if failed > 0 {
		return fmt.Errorf("%w: %d of %d systems are below", golden.ErrMismatch, failed, len(dirs))
	}
	return nil
}

// runThreeWay prints the golden results, the artifact's and its plan folder's side by side: what quantization costs, and what the plan
// costs beyond it. With --engine tensorrt the plans run and the artifact runs on ONNX Runtime; else one engine runs both models.
func (f *verifyFlags) runThreeWay(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("--three-way: have %d artifacts, want one", len(args))
	}
	first := f.Request
	if f.Engine == engine.TensorRT {
		first.Engine = engine.ONNXRuntime
	}
	artifact, err := first.Run(cmd.Context(), args[0])
	if err != nil {
		return err
	}
	plan, err := f.Run(cmd.Context(), filepath.Join(args[0], plans.Name))
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	plain.Fprintf(out, "%-8s %10s  %22s  %22s\n", "DSC", "golden", "artifact on "+first.Engine, "plan on "+f.Engine)
	for _, mode := range golden.Modes {
		a, ok := artifact.Modes[mode]
		if !ok {
			continue
		}
		p := plan.Modes[mode]
		plain.Fprintf(out, "%-8s %10.4f  %12.4f (%+7.3f)  %12.4f (%+7.3f)\n", mode, a.Want, a.Have, 100*(a.Have-a.Want), p.Have, 100*(p.Have-a.Have))
	}
	plain.Fprintf(out, "differences are in DSC points: the artifact's from the golden result, the plan's from the artifact\n")
	if err := artifact.Err(); err != nil {
		return err
	}
	return plan.Err()
}
