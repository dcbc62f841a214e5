package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"syncsam-convert/backends/tensorrt/plans"
	"syncsam-convert/compare"
	"syncsam-convert/compile"
	"syncsam-convert/dataset"
	"syncsam-convert/engine"
	"syncsam-convert/golden"
	"syncsam-convert/golden/page"
	"syncsam-convert/internal/output"
	"syncsam-convert/internal/plain"
	"syncsam-convert/signature"
)

// formats are what verify prints in.
var formats = []string{"text", "github"}

type verifyFlags struct {
	golden.Request
	table                              string
	threeWay                           bool
	tolerance, maxDrop, minDSC, margin float64
	json, junit, html, format, key     string
	layers                             bool
}

func verifyCommand() *cobra.Command {
	var f verifyFlags
	var progress bool
	c := &cobra.Command{
		Use:   "verify DIR... [--golden GOLDEN] [--data DATA] [flags]",
		Short: "Measure an artifact's DSC, hold it against golden results, or compare two artifacts",
		Long: `Runs the artifact's files over a golden folder with the recorded prompts and compares Dice coefficients: item by item in float32, the means
in INT8 and float16, or as the artifact was accepted when it was built. With --data DATA alone the prompts are made from DATA's own masks and
the results are measured; --min-dsc judges them. With two artifacts, A and B, and --margin B is compared with A item by item: intervals and
tests that know which items belong to one image or patient (docs/statistics.md), and a decision. With --golden paper:TABLE/ROW --data DATA the
means are compared with the SyncSAM paper's (tables 2 to 5). Several artifacts, or --table N, print one table: systems by prompt mode, the
paper's figure (or the golden set's) beside the measured one. Exit status 1 when what is asked for is not met.`,
		Example: "  syncsam-convert verify artifact --golden golden/data/syncsam-tiny-34 --engine onnxruntime\n" +
			"  syncsam-convert verify artifact --data my-data --items items.csv --html report\n" +
			"  syncsam-convert verify float int8 --data my-data --margin 0.25\n" +
			"  syncsam-convert verify artifact --golden paper:2/SyncSAM-SAMed-50 --data SA-Med2D-20M\n" +
			"  syncsam-convert verify syncsam sam medsam --table 2 --data SA-Med2D-20M",
		Args: atLeast(1, "one artifact DIR or more"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args, progress) },
	}
	c.Flags().StringVar(&f.Golden, "golden", "", "golden folder, or paper:TABLE/ROW")
	c.Flags().StringVar(&f.Data, "data", "", "your own data set's folder, in an arrangement that the command dataset knows")
	c.Flags().StringVar(&f.table, "table", "", "print the paper's table N for the artifacts, each in the row of its family")
	c.Flags().StringVar(&f.Prompts, "prompts", strings.Join(golden.Modes, ","), "prompt modes")
	c.Flags().Float64Var(&f.tolerance, "tolerance", golden.DefaultTolerance, fmt.Sprintf("DSC points that an item may differ by; for paper: points that a mean may be lower by (default %g there)", golden.PaperTolerance))
	c.Flags().Float64Var(&f.maxDrop, "max-dsc-drop", golden.DefaultDrop, "DSC points that each mean may be lower by, instead of the per-item tolerance (default what the artifact was accepted by; without that in INT8 and float16 this)")
	addJudge(c, &f.Judge)
	c.Flags().Float64Var(&f.minDSC, "min-dsc", 0, "with --data alone: mean DSC that every prompt mode must reach; up to 1 a fraction, above points")
	c.Flags().Float64Var(&f.margin, "margin", 0, "compare artifact B with A: DSC points that B's mean may lie from A's")
	c.Flags().Float64Var(&f.MovedBy, "moved-by", 0, fmt.Sprintf("with --margin: list items that differ by more than so many DSC points (default %g)", golden.DefaultMovedBy))
	c.Flags().StringVar(&f.Groups, "groups", "", "table (CSV) of what items belong to: first column mask or image, others organ, modality, patient, ...")
	c.Flags().StringVar(&f.Items, "items", "", "file (.csv, .jsonl) to write: a row per item and prompt mode, as they come")
	c.Flags().BoolVar(&f.Resume, "resume", false, "go on with the --items file of a run that broke, or report one that has ended without running the model")
	c.Flags().StringVar(&f.Shard, "shard", "", "i/n: measure only part i of n, each image whole, into --items; merge puts the parts together")
	c.Flags().BoolVar(&f.Closed, "closed-loop", false, "also make the prompts anew from masks and predictions, and compare clicks and summaries")
	c.Flags().BoolVar(&f.threeWay, "three-way", false, "compare the golden results, the artifact and its plan folder, so that a drop has an owner")
	c.Flags().StringVar(&f.Baseline, "baseline", "", "an earlier report (--json FILE): exit status 1 when results dropped since by more than --max-dsc-drop (means) or --tolerance (items) says")
	c.Flags().StringVar(&f.format, "format", "text", "what is printed: text, or github for annotations in its workflows")
	addJSON(c, &f.json, "the report, of several artifacts a list of them, with --three-way both")
	c.Flags().StringVar(&f.junit, "junit", "", "file for the report as JUnit XML")
	c.Flags().StringVar(&f.html, "html", "", "folder for the report as a page that needs nothing else")
	c.Flags().BoolVar(&f.layers, "layers", false, "compare the encoder with the float one layer by layer, on the first image, for the report (by itself with --html)")
	c.Flags().StringVar(&f.key, "key", "", "public key (PEM) that must have signed the artifact; without that nothing is run")
	writes(c, "junit", "html", "items")
	addProgress(c, &progress)
	addEngine(c, &f.Engine, &f.Options)
	return c
}

func addJudge(c *cobra.Command, judge *string) {
	c.Flags().StringVar(judge, "judge", "", "with --max-dsc-drop: equivalence, so that the drop must be shown by the paired comparison with the golden results")
}

func (f *verifyFlags) run(cmd *cobra.Command, args []string, progress bool) error {
	for flag, to := range map[string]struct {
		from *float64
		to   **float64
	}{"tolerance": {&f.tolerance, &f.Tolerance}, "max-dsc-drop": {&f.maxDrop, &f.MaxDrop}, "min-dsc": {&f.minDSC, &f.MinDSC}, "margin": {&f.margin, &f.Margin}} {
		if cmd.Flags().Changed(flag) {
			*to.to = to.from
		}
	}
	if !slices.Contains(formats, f.format) {
		return fmt.Errorf("--format: have %q, want %s", f.format, strings.Join(formats, " or "))
	}
	for _, dir := range args {
		if f.key == "" {
			break
		}
		if _, _, err := signature.Check(dir, f.key, true); err != nil {
			return err
		}
	}
	if f.html != "" {
		f.Draw = page.Room
	}
	b := newBar(cmd, progress)
	defer b.done()
	f.Progress = func(done, total int) { b.at("masks", done, total) }
	f.Note = func(line string) { plain.Fprintf(cmd.ErrOrStderr(), "syncsam-convert: %s\n", line) }
	table := f.table != "" || len(args) > 1 && f.Margin == nil
	if several := f.threeWay || table; several && (f.junit != "" || f.html != "" || f.Items != "" || f.Baseline != "" || f.layers || f.format != "text") {
		return fmt.Errorf("--junit, --html, --items, --baseline, --layers, --format: only for one artifact, or two with --margin")
	}
	var r *golden.Report
	var err error
	switch {
	case f.threeWay:
		return f.runThreeWay(cmd, args)
	case table:
		return f.runTable(cmd, args)
	case len(args) == 2:
		r, err = f.Compare(cmd.Context(), args[0], args[1])
	case len(args) > 2:
		err = fmt.Errorf("--margin: have %d artifacts, want two, A and B", len(args))
	default:
		r, err = f.Run(cmd.Context(), args[0])
	}
	if err != nil {
		return err
	}
	b.done()
	if f.layers || f.html != "" && !cmd.Flags().Changed("layers") {
		if err := f.compare(cmd.Context(), args, r); err != nil && f.layers {
			return fmt.Errorf("--layers: %w", err)
		} else if err != nil {
			r.Notes = append(r.Notes, fmt.Sprintf("layers were not compared: %v", err))
		}
	}
	return f.write(cmd.OutOrStdout(), r)
}

// compare adds the error of each layer to a report: against artifact A, or the checkpoint of the golden results, where that is the same model in float.
// A page has none where there is nothing to compare.
func (f *verifyFlags) compare(ctx context.Context, args []string, r *golden.Report) error {
	float := args[0]
	if len(args) == 1 {
		float = golden.CheckpointOf(f.Golden, r.Source)
	}
	switch {
	case float != "" && r.Precision != compile.FP32 && len(r.Items) > 0:
	case f.layers:
		return fmt.Errorf("have an artifact in %s, want one that is not in fp32, and the float model: a first artifact, or the checkpoint beside the golden results", r.Precision)
	default:
		return nil
	}
	image, err := dataset.Path(r.Data.Path, r.Items[0].Image)
	if err != nil {
		return err
	}
	layers, err := compare.Encoders(ctx, float, args[len(args)-1], image)
	if err != nil {
		return err
	}
	r.Layers = &golden.Layers{A: float, Image: r.Items[0].Image}
	for _, l := range layers {
		r.Layers.List = append(r.Layers.List, golden.Layer(l))
	}
	return nil
}

// write puts a report where the flags want it, and says whether it passed.
func (f *verifyFlags) write(w io.Writer, r *golden.Report) (err error) {
	switch {
	case f.json == "-":
	case f.format == "github":
		err = r.WriteGitHub(w)
	default:
		r.WriteText(w)
	}
	if err != nil {
		return err
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
		if err := page.Write(f.html, r); err != nil {
			return err
		}
	}
	return r.Err()
}

// runTable verifies several artifacts by one protocol and prints a table.
func (f *verifyFlags) runTable(cmd *cobra.Command, dirs []string) error {
	rows, err := golden.Table(cmd.Context(), dirs, f.table, f.Request)
	if err != nil {
		return err
	}
	what := "the golden set's"
	if f.table != "" {
		what = "table " + f.table + " of the paper's"
	}
	if f.json != "-" {
		if err := golden.WriteTable(cmd.OutOrStdout(), rows, what); err != nil {
			return err
		}
	}
	if f.json != "" {
		if err := putJSON(cmd, f.json, rows); err != nil {
			return err
		}
	}
	return golden.TableErr(rows)
}

// runThreeWay prints the golden results, the artifact's and its plan folder's side by side: what quantization costs, and what the plan
// costs beyond it. With --engine tensorrt the plans run and the artifact runs on ONNX Runtime; else one engine runs both models.
func (f *verifyFlags) runThreeWay(cmd *cobra.Command, args []string) error {
	folder := filepath.Join(args[0], plans.Name)
	switch {
	case len(args) != 1:
		return fmt.Errorf("--three-way: have %d artifacts, want one", len(args))
	case f.Golden == "" || f.Data != "" || f.Margin != nil || f.table != "":
		return fmt.Errorf("--three-way: needs --golden with a folder, and no --data, --margin, --table")
	}
	if _, err := plans.Open(folder); err != nil {
		return fmt.Errorf("--three-way: %w", err)
	}
	first := f.Request
	if f.Engine == engine.TensorRT {
		first.Engine = engine.ONNXRuntime
	}
	artifact, err := first.Run(cmd.Context(), args[0])
	if err != nil {
		return err
	}
	plan, err := f.Run(cmd.Context(), folder)
	if err != nil {
		return err
	}
	if f.json != "-" {
		golden.WriteThreeWay(cmd.OutOrStdout(), artifact, plan)
	}
	if f.json != "" {
		if err := putJSON(cmd, f.json, golden.ThreeWay{Artifact: artifact, Plan: plan}); err != nil {
			return err
		}
	}
	return cmp.Or(artifact.Err(), plan.Err())
}
