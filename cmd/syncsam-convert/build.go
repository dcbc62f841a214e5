package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	"syncsam-convert/artifact"
	"syncsam-convert/backends/onnx"
	"syncsam-convert/backends/tensorrt"
	"syncsam-convert/frontends/checkpoint"
	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/passes"
)

type buildFlags struct {
	out, target, precision     string
	model                      modelFlags
	opset                      int64
	external, force, nonFinite bool
	golden                     string
	maxDrop                    float64
	debug                      []string
	dump, why                  string
	stopAfter                  int
	json                       bool
	calib                      calibFlags
	plan, planOut, rounding    string
	given, made                *quant.Plan // a plan to use instead of plan or calib; the one that was used
	spans                      string
	peaks                      bool // calibration watches every value's amplitude
	verify                     verifyFlags
	progress, postprocess      bool
}

func buildCommand() *cobra.Command {
	var f buildFlags
	c := &cobra.Command{
		Use:   "build CHECKPOINT -o DIR [flags]",
		Short: "Compile a checkpoint into an artifact",
		Long: `Reads a PyTorch (zip or legacy) or safetensors checkpoint without executing any of it, recognises the model family,
and writes encoder.onnx, decoder.onnx and manifest.json. With --golden the artifact is verified before it is published:
when its Dice results do not hold, nothing is left at -o and the exit status is 1.`,
		Example: "  syncsam-convert build syncsam-50.pth -o artifact\n  syncsam-convert build tiny.pth -o artifact --golden golden/data/syncsam-tiny-34",
		Args:    exactly(1, "one CHECKPOINT"),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	c.Flags().StringVarP(&f.out, "output", "o", "", "artifact folder to write")
	c.Flags().StringVar(&f.target, "target", "onnx", "onnx, or tensorrt for a folder plan/ beside it")
	c.Flags().StringVar(&f.precision, "precision", "fp32", "fp32, fp16, or int8 for what --quantize says")
	f.model.register(c)
	c.Flags().BoolVar(&f.postprocess, "decoder-postprocess", false, "resize masks inside the decoder, as SAM's official export does: input orig_im_size, output masks")
	c.Flags().Int64Var(&f.opset, "opset", onnx.DefaultOpset, fmt.Sprintf("ONNX operator set, %d to %d", onnx.MinOpset, onnx.MaxOpset))
	c.Flags().StringVar(&f.spans, "profile", "", "with tensorrt: sizes of dynamic dimensions, as in N=1:1:4,B=1:1:32,P=2:2:16 (least:tuned for:most)")
	c.Flags().BoolVar(&f.external, "external-data", false, "large tensors in a file beside the model (by itself past 2 GiB)")
	c.Flags().BoolVar(&f.force, "force", false, "replace an artifact that stands at -o")
	c.Flags().BoolVar(&f.nonFinite, "allow-nonfinite", false, "accept NaN and infinite weights")
	c.Flags().StringVar(&f.golden, "golden", "", "golden folder to verify against before publishing")
	c.Flags().Float64Var(&f.maxDrop, "max-dsc-drop", 0, "with --golden: accept a summary DSC up to so many points lower, instead of the per-item tolerance; int8 puts convolutions back to float until it holds")
	f.calib.add(c)
	c.Flags().StringVar(&f.plan, "plan", "", "with int8 and fp16: a quantization plan to replay, instead of --calib (beside its pictures with --rounding adaptive)")
	c.Flags().StringVar(&f.planOut, "plan-out", "", "with int8 and fp16: file for the quantization plan")
	c.Flags().StringVar(&f.rounding, "rounding", roundAuto, "with int8: how convolutions' weights are rounded: nearest; adaptive, so that each gives what the float model's gives on the pictures at --calib; or auto, adaptive for small models")
	f.verify.addEngine(c)
	c.Flags().StringArrayVarP(&f.debug, "debug", "d", nil, "PASS/off, all/time or check (evaluate a probe around every pass)")
	c.Flags().StringVar(&f.why, "why", "", "a pass: print what it nearly changed, and the reason it did not")
	c.Flags().StringVar(&f.dump, "dump", "", "folder for the program's text after each pass")
	c.Flags().IntVar(&f.stopAfter, "stop-after", 0, "run only the first passes")
	c.Flags().BoolVar(&f.json, "json", false, "print the manifest as JSON")
	c.Flags().BoolVar(&f.progress, "progress", false, "show progress even when standard error is not a terminal")
	return c
}

func (f *buildFlags) run(cmd *cobra.Command, path string) error {
	ctx := cmd.Context()
	if err := f.check(cmd); err != nil {
		return err
	}
	opts := passes.Options{Dump: f.dump, StopAfter: f.stopAfter}
	pipeline := slices.Concat(passes.Simplify, passes.Prepare, passes.Fuse)
	log := func(format string, args ...any) { fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...) }
	for _, d := range f.debug {
		if err := opts.ParseDebug(pipeline, d, log); err != nil {
			return fmt.Errorf("--debug: %w", err)
		}
	}
	if f.why != "" {
		if err := opts.Explain(pipeline, f.why, log); err != nil {
			return fmt.Errorf("--why: %w", err)
		}
	}
	plan := f.target == targetTensorRT
	if plan { // the same model for ONNX Runtime is the artifact; the plan stands beside it
		f.target, f.peaks = targetONNX, true
	}
	stage, err := artifact.Stage(f.out, f.force)
	if err != nil {
		return err
	}
	defer stage.Discard()
	bar := newSteps(cmd, f.progress, "read", "compile", "write", "publish")
	defer bar.done()
	man, err := f.compile(cmd, path, stage.Dir, opts, bar)
	if err != nil {
		return err
	}
	if err := man.Write(stage.Dir); err != nil {
		return err
	}
	if f.golden != "" {
		err := f.prove(cmd, stage.Dir, man)
		if errors.Is(err, errMismatch) && man.Quantization != nil && cmd.Flags().Changed("max-dsc-drop") {
			man, err = f.fallBack(cmd, path, stage.Dir, man)
		}
		if err != nil {
			return err
		}
	}
	if plan {
		if err := f.addPlan(cmd, path, stage.Dir, man, opts, bar); err != nil {
			return err
		}
	}
	bar.step("publish")
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := stage.Publish(); err != nil {
		return err
	}
	bar.done()
	return f.report(cmd.OutOrStdout(), man)
}

// check refuses flags that this program cannot honour.
func (f *buildFlags) check(cmd *cobra.Command) error {
	switch {
	case f.out == "":
		return fmt.Errorf("-o: missing, want the artifact folder")
	case f.target != targetONNX && f.target != targetTensorRT:
		return fmt.Errorf("--target: have %q, want %s or %s", f.target, targetONNX, targetTensorRT)
	case f.precision != "fp32" && f.precision != "fp16" && f.precision != "int8":
		return fmt.Errorf("--precision: have %q, want fp32, fp16 or int8", f.precision)
	case f.calib.path != "" && f.plan != "" && f.rounding != roundAdaptive:
		return fmt.Errorf("--calib, --plan: have both, want one (only --rounding %s takes ranges from a plan and pictures to round by)", roundAdaptive)
	case f.precision == "int8" && f.calib.path == "" && f.plan == "":
		return fmt.Errorf("--precision int8: needs one of --calib (images, a data set index or collected statistics) and --plan")
	case f.precision == "fp32" && (f.calib.path != "" || f.plan != "" || f.planOut != ""):
		return fmt.Errorf("--calib, --plan, --plan-out: only with --precision int8 or fp16")
	case f.planOut != "" && f.calib.path == "" && f.plan == "":
		return fmt.Errorf("--plan-out: needs --calib")
	case f.rounding != roundNearest && f.rounding != roundAdaptive && f.rounding != roundAuto:
		return fmt.Errorf("--rounding: have %q, want %s, %s or %s", f.rounding, roundAuto, roundNearest, roundAdaptive)
	case f.rounding == roundAdaptive && (f.precision != "int8" || f.calib.path == "" || f.calib.collected()):
		return fmt.Errorf("--rounding %s: needs --precision int8 with pictures at --calib", roundAdaptive)
	case f.opset < onnx.MinOpset || f.opset > onnx.MaxOpset:
		return fmt.Errorf("--opset: have %d, want %d to %d", f.opset, onnx.MinOpset, onnx.MaxOpset)
	case f.spans != "" && f.target != targetTensorRT:
		return fmt.Errorf("--profile: only with --target %s", targetTensorRT)
	case f.stopAfter < 0:
		return fmt.Errorf("--stop-after: have %d, want 0 or more", f.stopAfter)
	case f.maxDrop < 0:
		return fmt.Errorf("--max-dsc-drop: have %g, want 0 or more points", f.maxDrop)
	case cmd.Flags().Changed("max-dsc-drop") && f.golden == "":
		return fmt.Errorf("--max-dsc-drop: needs --golden")
	}
	if f.spans != "" {
		if err := tensorrt.SetSpans(tensorrt.Spans(), f.spans); err != nil {
			return fmt.Errorf("--profile: %w", err)
		}
	}
	return nil
}

// compile reads, lowers, simplifies and writes a checkpoint into dir. The source is hashed meanwhile.
func (f *buildFlags) compile(cmd *cobra.Command, path, dir string, opts passes.Options, bar *steps) (*artifact.Manifest, error) {
	ctx := cmd.Context()
	ck, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	defer ck.Close()
	type hashed struct {
		sum string
		err error
	}
	source := make(chan hashed, 1)
	go func() {
		sum, err := sourceHash(ck)
		source <- hashed{sum, err}
	}()
	m, err := f.model.load(cmd, ck, path)
	if err != nil {
		return nil, err
	}
	if !f.nonFinite {
		if err := ck.CheckFinite(ctx); err != nil {
			return nil, fmt.Errorf("%w; --allow-nonfinite accepts them", err)
		}
	}
	bar.step("compile")
	man := &artifact.Manifest{Tool: "syncsam-convert " + version(), Meta: m.Meta, Target: f.target, Precision: f.precision, Opset: f.opset, Passes: []artifact.Pass{}}
	src := sync.OnceValue(func() hashed { return <-source })
	results, err := f.lower(cmd, m, man, opts, dir, func() (string, error) { return src().sum, src().err })
	if err != nil {
		return nil, err
	}
	for _, r := range results {
		man.Passes = append(man.Passes, artifact.Pass(r))
	}
	bar.step("write")
	if man.Files, err = f.write(ctx, dir, m, man); err != nil {
		return nil, err
	}
	if f.target == targetTensorRT {
		if err := f.describePlan(dir, m, man); err != nil {
			return nil, err
		}
	}
	if err := src().err; err != nil {
		return nil, err
	}
	man.Source = artifact.Source{SHA256: src().sum, Format: ck.Format(), Weights: ck.Wrapper(), Tensors: len(ck.Names()), Parameters: parameters(ck)}
	return man, nil
}

// lower runs the pipelines of the target and the precision: Simplify, the quantizer, Fuse, and float16 last. source is asked only for
// calibration.
func (f *buildFlags) lower(cmd *cobra.Command, m *ir.Module, man *artifact.Manifest, opts passes.Options, dir string, source func() (string, error)) ([]passes.Result, error) {
	ctx := cmd.Context()
	calibrated := f.precision != "fp32" && (f.calib.path != "" || f.plan != "")
	half := f.precision == "fp16" || f.precision == "int8" && f.target == targetTensorRT
	pipeline := passes.Simplify
	if half || f.peaks {
		pipeline = slices.Concat(pipeline, passes.Narrow)
	}
	if !calibrated {
		pipeline = slices.Concat(pipeline, passes.Fuse)
	}
	results, err := passes.Run(ctx, m, pipeline, opts)
	if err != nil {
		return nil, err
	}
	var peaks map[string]float32
	if calibrated {
		sum, err := source()
		if err != nil {
			return nil, err
		}
		var scope quant.Scope
		if f.precision == "int8" {
			if scope, err = f.calib.scope(m); err != nil {
				return nil, err
			}
			prepared, err := passes.Run(ctx, encoderOf(m), targets[f.target].prepare, opts.Later())
			if err != nil {
				return nil, err
			}
			results = append(results, prepared...)
		}
		plan, err := f.makePlan(cmd, m, scope, sum, dir)
		if err != nil {
			return nil, err
		}
		if f.precision == "int8" {
			more, err := f.quantize(cmd, m, man, plan, scope, dir)
			if err != nil {
				return nil, err
			}
			results = append(results, more...)
		}
		fused, err := passes.Run(ctx, m, passes.Fuse, opts.Later())
		if err != nil {
			return nil, err
		}
		results, peaks = append(results, fused...), plan.Peaks
	}
	if half {
		pipeline, done := passes.Half(peaks)
		halved, err := passes.Run(ctx, m, pipeline, opts.Later())
		if err != nil {
			return nil, err
		}
		results = append(results, halved...)
		man.Float16 = &artifact.Float16{Values: done.Values, Audited: peaks != nil, Float32: []artifact.Float32{}}
		for _, v := range done.Float32 {
			man.Float16.Float32 = append(man.Float16.Float32, artifact.Float32(v))
		}
	}
	return results, nil
}

// write emits every graph, and hashes each file while the next is written.
func (f *buildFlags) write(ctx context.Context, dir string, m *ir.Module, man *artifact.Manifest) ([]artifact.File, error) {
	type result struct {
		file artifact.File
		err  error
	}
	var pending []chan result
	for _, g := range m.Graphs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		o := onnx.Options{Opset: f.opset, External: f.external, Metadata: map[string]string{"family": man.Family, "precision": man.Precision}}
		if f.postprocess && slices.ContainsFunc(g.Outputs, func(o ir.Output) bool { return o.Name == "low_res_masks" }) {
			o.Postprocess = &onnx.Postprocess{Size: man.Preprocess.Size, Crop: man.Preprocess.Resize == "longest_side"}
		}
		files, err := onnx.WriteFile(filepath.Join(dir, g.Name+".onnx"), g, o)
		if err != nil {
			return nil, err
		}
		for _, p := range files {
			done := make(chan result, 1)
			pending = append(pending, done)
			go func() {
				file, err := artifact.Describe(dir, filepath.Base(p))
				done <- result{file, err}
			}()
		}
	}
	var out []artifact.File
	var failed error
	for _, p := range pending {
		r := <-p
		if r.err != nil {
			failed = r.err
		}
		out = append(out, r.file)
	}
	return out, failed
}

// parameters counts floating-point elements; tied tensors once.
func parameters(ck *checkpoint.Checkpoint) int64 {
	n := int64(0)
	for _, name := range ck.Names() {
		if t := ck.Get(name); t.DType().IsFloat() && ck.SharedWith(name) == "" {
			n += t.Len()
		}
	}
	return n
}

// prove verifies the staged artifact and adds the result to its manifest.
func (f *buildFlags) prove(cmd *cobra.Command, dir string, man *artifact.Manifest) error {
	v := f.verify
	v.golden, v.progress, v.maxDrop, v.useDrop = f.golden, f.progress, f.maxDrop, cmd.Flags().Changed("max-dsc-drop")
	v.tolerance, v.prompts = defaultTolerance, defaultPrompts
	rep, err := v.verify(cmd, dir)
	if err != nil {
		return err
	}
	if man.Verification, err = json.Marshal(rep.Brief()); err != nil {
		return err
	}
	if err := man.Write(dir); err != nil {
		return err
	}
	return mismatch(rep)
}

func (f *buildFlags) report(w io.Writer, man *artifact.Manifest) error {
	if f.json {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(man)
	}
	fmt.Fprintf(w, "%s: %s, %s, %d parameters\n", f.out, man.Family, man.Precision, man.Source.Parameters)
	for _, file := range man.Files {
		fmt.Fprintf(w, "  %-16s %11d bytes  sha256 %s\n", file.Name, file.Bytes, file.SHA256[:16])
	}
	return nil
}
