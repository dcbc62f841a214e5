package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"syncsam-convert/artifact"
	"syncsam-convert/clients"
	"syncsam-convert/compile"
	"syncsam-convert/golden"
	"syncsam-convert/internal/plain"
)

// buildHelp says what build does, and for whom.
var buildHelp = `Reads a PyTorch (zip or legacy) or safetensors checkpoint without executing any of it, recognises the model family,
and writes encoder.onnx, decoder.onnx and manifest.json. With --golden the artifact is verified before it is published:
when its Dice results do not hold, nothing is left at -o and the exit status is 1.

With --client the graphs have the inputs and outputs of a program that runs models as graphs of their own (docs/clients.md); --golden then proves the
same model with its own inputs. The clients:
` + clients.Help()

func buildCommand() *cobra.Command {
	var o compile.Options
	var asJSON string
	var progress bool
	var criterion criterion
	c := &cobra.Command{
		Use:     "build CHECKPOINT -o DIR [flags]",
		Short:   "Compile a checkpoint into an artifact",
		Long:    buildHelp,
		Example: "  syncsam-convert build syncsam-50.pth -o artifact\n  syncsam-convert build golden/data/syncsam-tiny-34/syncsam-tiny-34.pth -o artifact --golden golden/data/syncsam-tiny-34",
		Args:    exactly(1, "one CHECKPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Checkpoint = args[0]
			if err := criterion.into(cmd, &o); err != nil {
				return err
			}
			bar := watch(cmd, progress, &o)
			defer bar.done()
			man, err := compile.Compile(cmd.Context(), o)
			if err != nil {
				return err
			}
			bar.done()
			if asJSON != "" {
				return putJSON(cmd, asJSON, man)
			}
			printBuilt(cmd.OutOrStdout(), o.Output, man)
			return nil
		},
	}
	f := c.Flags()
	f.StringVarP(&o.Output, "output", "o", "", "artifact folder to write")
	f.StringVar(&o.Target, "target", compile.ONNX, "onnx; openvino, which takes the same models; or tensorrt for a folder plan/ beside them")
	f.StringVar(&o.Precision, "precision", compile.FP32, "fp32, fp16, int8 for what --quantize says, or auto: the fastest of them, group of layers by group, that meets the golden results")
	addModel(c, &o)
	addClient(c, &o)
	f.Int64Var(&o.Opset, "opset", 0, "ONNX operator set, 17 to 26 (default 17)")
	f.StringVar(&o.Profile, "profile", "", "with tensorrt: sizes of dynamic dimensions, as in N=1:1:4,B=1:1:32,P=2:2:16 (least:tuned for:most)")
	f.BoolVar(&o.ExternalData, "external-data", false, "large tensors in a file beside the model (by itself past 2 GiB)")
	f.BoolVar(&o.Force, "force", false, "replace an artifact that stands at -o")
	f.BoolVar(&o.AllowNonFinite, "allow-nonfinite", false, "accept NaN and infinite weights")
	criterion.add(c, &o)
	addCalibration(c, &o)
	f.StringVar(&o.Plan, "plan", "", "with int8 and fp16: a quantization plan to replay, instead of --calib (beside its pictures with --rounding adaptive)")
	f.StringVar(&o.PlanOut, "plan-out", "", "with int8 and fp16: file for the quantization plan")
	f.StringArrayVar(&o.KeepFloat, "keep-float", nil, "with int8: a layer, as the plan names it, or a module that stays in float; may be given more than once")
	f.StringVar(&o.Rounding, "rounding", compile.RoundAuto, "with int8: how convolutions' weights are rounded: nearest; adaptive, so that each gives what the float model's gives on the pictures at --calib; or auto, adaptive for small models")
	addEngine(c, &o.Engine, &o.Runtime)
	addDebug(c, &o)
	writes(c, "output", "plan-out", "dump")
	addJSON(c, &asJSON, "the manifest")
	addProgress(c, &progress)
	return c
}

func addClient(c *cobra.Command, o *compile.Options) {
	f := c.Flags()
	f.BoolVar(&o.Postprocess, "decoder-postprocess", false, "resize masks inside the decoder, as SAM's official export does: input orig_im_size, output masks")
	f.StringVar(&o.Client, "client", "", "graph interface of a client: "+strings.Join(clients.Names(), ", "))
	f.StringVar(&o.OneMask, "one-mask", "", "the decoder chooses one mask itself: as run does (model, the default of the bare flag), or as SAM's export does (sam)")
	f.Lookup("one-mask").NoOptDefVal = clients.OneModel
	f.StringVar(&o.ImageInput, "image-input", "", "what the encoder takes: normalized [N,3,S,S] (default), or a picture of any size as it is, resized and normalised inside: "+strings.Join(clients.ImageInputs()[1:], ", "))
}

// A criterion is by what golden results decide.
type criterion struct{ maxDrop, margin float64 }

func (k *criterion) add(c *cobra.Command, o *compile.Options) {
	f := c.Flags()
	f.StringVar(&o.Golden, "golden", "", "golden folder to verify against before publishing")
	f.Float64Var(&k.maxDrop, "max-dsc-drop", 0, "with --golden: accept mean DSC up to so many points lower, instead of the per-item tolerance; int8 puts layers back to float until it holds (default "+fmt.Sprint(golden.DefaultDrop)+" for int8 and fp16)")
	addJudge(c, &o.Judge)
	f.Float64Var(&k.margin, "margin", 0, "with --golden: equivalence to the golden results within so many points must be shown: --max-dsc-drop with --judge equivalence")
	c.MarkFlagsMutuallyExclusive("margin", "max-dsc-drop")
	c.MarkFlagsMutuallyExclusive("margin", "judge")
	f.DurationVar(&o.Budget, "fallback-budget", 0, "with int8, auto and --golden: how long to look for layers to put back to float, as in 10m; then what holds is taken, or the build fails (default no limit; auto 10m)")
}

// into takes the criterion that a command line gives into the options.
func (k *criterion) into(cmd *cobra.Command, o *compile.Options) error {
	if cmd.Flags().Changed("max-dsc-drop") {
		o.MaxDrop = &k.maxDrop
	}
	if !cmd.Flags().Changed("margin") {
		return nil
	}
	if !(k.margin > 0) {
		return fmt.Errorf("--margin: have %g, want more than 0 points", k.margin)
	}
	o.MaxDrop, o.Judge = &k.margin, golden.JudgeEquivalence
	return nil
}

func addDebug(c *cobra.Command, o *compile.Options) {
	f := c.Flags()
	f.StringArrayVarP(&o.Debug.Settings, "debug", "d", nil, "PASS/off, all/time or check (evaluate a probe around every stage)")
	f.StringVar(&o.Debug.Why, "why", "", "a pass: print what it nearly changed, and the reason it did not")
	f.StringVar(&o.Debug.Dump, "dump", "", "folder for the program's text after each stage")
	f.IntVar(&o.Debug.StopAfter, "stop-after", 0, "run only the first stages")
}

func printBuilt(w io.Writer, dir string, man *artifact.Manifest) {
	plain.Fprintf(w, "%s: %s, %s, %d parameters\n", dir, man.Family, man.Precision, man.Source.Parameters)
	for _, file := range man.Files {
		plain.Fprintf(w, "  %-16s %11d bytes  sha256 %s\n", file.Name, file.Bytes, file.SHA256[:16])
	}
}

func calibrateCommand() *cobra.Command {
	var o compile.Options
	var out, shard string
	var progress bool
	c := &cobra.Command{
		Use:   "calibrate CHECKPOINT --calib PATH -o FILE",
		Short: "Collect activation statistics for int8 and fp16",
		Long:  "Runs the float model over calibration images and writes the statistics that build --calib takes: ranges for int8, and the largest amplitude of every value for fp16. With --shard i/n only each n-th image is run; build --calib a,b,c merges the files.",
		Args:  exactly(1, "one CHECKPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.Calibration == "" || out == "" {
				return fmt.Errorf("--calib and -o: both are needed")
			}
			o.Checkpoint = args[0]
			bar := watch(cmd, progress, &o)
			defer bar.done()
			s, err := compile.Statistics(cmd.Context(), o, shard)
			if err != nil {
				return err
			}
			if err := s.WriteFile(out); err != nil {
				return err
			}
			plain.Fprintf(cmd.OutOrStdout(), "%s: %d values over %d images\n", out, len(s.Values), s.Images)
			return nil
		},
	}
	addCalibration(c, &o)
	addModel(c, &o)
	addEngine(c, &o.Engine, &o.Runtime)
	c.Flags().StringVarP(&out, "output", "o", "", "statistics file to write")
	writes(c, "output")
	c.Flags().StringVar(&shard, "shard", "", "i/n: run only images i, i+n, i+2n, ... (i from 1)")
	addProgress(c, &progress)
	return c
}
