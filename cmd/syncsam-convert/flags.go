package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"syncsam-convert/calib"
	"syncsam-convert/compile"
	"syncsam-convert/engine"
	"syncsam-convert/frontends"
	"syncsam-convert/internal/inputs"
	"syncsam-convert/internal/output"
	"syncsam-convert/internal/plain"
)

// addModel adds what a checkpoint does not tell about its model.
func addModel(c *cobra.Command, o *compile.Options) {
	c.Flags().StringVar(&o.Model.Family, "family", "", "model family, where the keys do not tell: "+strings.Join(frontends.Names(), ", "))
	c.Flags().StringVar(&o.Model.Weights, "weights", "", "key or prefix of the state dict in the file, where several fit, such as model or ema (default the trained weights)")
	c.Flags().StringVar(&o.Model.Merge, "merge", "", "LoRA file that is merged into the weights first: SAMed's .pth, or PEFT's adapter_model.safetensors with adapter_config.json beside it")
	c.Flags().Int64Var(&o.Model.ImageSize, "image-size", 0, "side of the input image in pixels; positions are resampled (default the checkpoint's)")
}

func addCalibration(c *cobra.Command, o *compile.Options) {
	c.Flags().StringVar(&o.Calibration, "calib", "", "calibration data: a folder of pictures or volumes, a data set (its folder or its index), or files that calibrate wrote (comma-separated)")
	c.Flags().StringVar(&o.Quantize, "quantize", "", "what becomes int8: cnn (the CNN branch), linear (the ViT's linear layers) or all (default cnn where there is a branch, else linear; of MobileSAM and LiteMedSAM all)")
	c.Flags().StringVar(&o.Method, "calib-method", calib.DefaultMethod, "how clipping ranges are chosen: "+strings.Join(calib.MethodNames(), ", "))
}

func addEngine(c *cobra.Command, name *string, o *engine.Options) {
	c.Flags().StringVar(name, "engine", engine.Names()[0], strings.Join(engine.Names(), ", "))
	addRuntimeLibrary(c, &o.Library)
	addLibrary(c, &o.TensorRT)
	c.Flags().IntVar(&o.Threads, "threads", 0, "threads of the engine; 0: all")
}

func addRuntimeLibrary(c *cobra.Command, library *string) {
	c.Flags().StringVar(library, "onnxruntime-lib", "", "ONNX Runtime's shared library (default: $"+engine.LibraryVariable+", then "+engine.LibraryFolder+")")
}

func addUnverified(c *cobra.Command, unverified *bool) {
	c.Flags().BoolVar(unverified, "unverified", false, "run a model in an artifact's folder that its manifest does not list, or whose hash differs")
}

func addProgress(c *cobra.Command, progress *bool) {
	c.Flags().BoolVar(progress, "progress", false, "show progress even when standard error is not a terminal")
}

// writes says which flags of a command name what it writes.
func writes(c *cobra.Command, flags ...string) {
	for _, name := range flags {
		c.Flags().Lookup(name).Annotations = map[string][]string{"writes": nil}
	}
}

// folders are the flags, behind a command or of any, whose output is a folder.
var folders = []string{"html", "dump", "build output", "make output", "triton output", "pull output"}

// endings are how the names of pictures and charts end, by flag or by command and flag: other programs go by it.
var endings = map[string][]string{"svg": {".svg"}, "overlay": {".png"}, "picture output": {".png"}, "run output": {".png", ".nii", ".nii.gz", ".dcm"}}

// creatable refuses an output that could not be written, or whose name says that it is another kind of file.
func creatable(f *pflag.Flag, cmd *cobra.Command, path string) error {
	if slices.Contains(folders, f.Name) || slices.Contains(folders, cmd.Name()+" "+f.Name) {
		return output.CreatableFolder(path)
	}
	if want := append(endings[f.Name], endings[cmd.Name()+" "+f.Name]...); len(want) > 0 {
		return cmp.Or(output.Creatable(path), output.EndsAs(path, want...))
	}
	return output.Creatable(path)
}

// apart refuses, before any work, an output that cannot be written or is an input: an argument, or what any other flag names.
func apart(cmd *cobra.Command, args []string) error {
	out, in, err := []string{}, slices.Clone(args), error(nil)
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if _, writes := f.Annotations["writes"]; !writes {
			in = append(in, f.Value.String())
		} else if to := f.Value.String(); to != "" && to != "-" {
			if err == nil {
				err = creatable(f, cmd, to)
			}
			out = append(out, to)
		}
	})
	return cmp.Or(inputs.Apart(out, in), err)
}

// exactly wants n arguments of the given kind.
func exactly(n int, kind string) cobra.PositionalArgs {
	return counted(func(have int) bool { return have == n }, kind)
}

// atLeast wants n arguments of the given kind or more.
func atLeast(n int, kind string) cobra.PositionalArgs {
	return counted(func(have int) bool { return have >= n }, kind)
}

func counted(fits func(have int) bool, kind string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if !fits(len(args)) {
			return fmt.Errorf("have %d arguments, want %s", len(args), kind)
		}
		return nil
	}
}

// addJSON adds --json: alone it prints to standard output, --json=FILE writes a file.
func addJSON(c *cobra.Command, to *string, what string) {
	c.Flags().StringVar(to, "json", "", "print "+what+" as JSON; --json=FILE names a file to write")
	c.Flags().Lookup("json").NoOptDefVal = "-"
	writes(c, "json")
}

// putJSON writes a value where --json says.
func putJSON(cmd *cobra.Command, to string, v any) error {
	if to == "-" {
		return writeJSON(cmd.OutOrStdout(), v)
	}
	return output.File(to, func(w io.Writer) error { return plain.Filter(w, func(w io.Writer) error { return writeJSON(w, v) }) })
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(v)
}

// A bar shows how far one job is, on standard error when that is a terminal or it is asked for.
type bar struct {
	w     io.Writer
	stage string
	bar   *progressbar.ProgressBar
}

func newBar(cmd *cobra.Command, force bool) *bar {
	f := plain.Terminal(cmd.ErrOrStderr())
	switch {
	case f != nil && (force || term.IsTerminal(int(f.Fd()))):
		return &bar{w: f} // a bar draws with control characters
	case force:
		return &bar{w: cmd.ErrOrStderr()}
	}
	return &bar{w: io.Discard}
}

// at shows a stage with so many of its pieces done; total is -1 where nobody knows.
func (b *bar) at(stage string, done, total int) {
	if b.stage != stage {
		b.done()
		b.stage, b.bar = stage, progressbar.NewOptions(total, progressbar.OptionSetWriter(b.w), progressbar.OptionSetDescription(stage), progressbar.OptionShowCount(),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30), progressbar.OptionSetRenderBlankState(true))
	}
	_ = b.bar.Set(done) // a bar that cannot be drawn stops nothing
}

func (b *bar) done() {
	if b.bar != nil {
		_ = b.bar.Finish()
	}
	b.stage, b.bar = "", nil
}

// watch connects a compilation to standard error.
func watch(cmd *cobra.Command, force bool, o *compile.Options) *bar {
	b := newBar(cmd, force)
	o.Progress = func(e compile.Event) { b.at(e.Stage, e.Done, max(e.Total, 1)) }
	o.Note = func(line string) {
		b.done()
		plain.Fprintf(cmd.ErrOrStderr(), "syncsam-convert: %s\n", line)
	}
	o.Debug.Log = cmd.ErrOrStderr()
	return b
}
