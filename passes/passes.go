// Package passes rewrites modules. Pipeline gives, for what a build wants, every stage in order as data; a Run takes a module through
// them and holds each to the same promises: checked, probed, dumped, timed, explained, switched off, stopped after.
package passes

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/quantizer"
)

// Numerics says what a pass may do to results.
type Numerics int

// Exact keeps every bit; Rounding reorders float32 arithmetic; Lossy changes precision on purpose.
const (
	Exact Numerics = iota
	Rounding
	Lossy
)

// A Pass is one row of a pipeline.
type Pass struct {
	Name     string
	Doc      string            // one line: what it does
	Run      func(*Work) error // rewrites one graph; nil: who runs the pipeline does it, by Run.Step
	Numerics Numerics
	Encoder  bool // looks at the graph alone that reads the image
}

// Work is one pass on one graph: what it reads, and what it reports.
type Work struct {
	Graph *ir.Graph
	Input
	Changed int // places
	Report  any // what else the pass has to say, nil for nothing
	missed  func(v *ir.Value, reason string)
	peaks   map[*ir.Value]float32 // recorded amplitudes, those of new values included; nil where none were recorded
}

// Input is what the passes behind calibration read beside the graph.
type Input struct {
	Plan     *quant.Plan // nil: nothing was calibrated
	Scope    quant.Scope // what of the model becomes INT8
	Spelling quantizer.Spelling
}

// Miss says why a pass leaves a value that it would have changed but for that.
func (w *Work) Miss(v *ir.Value, format string, args ...any) {
	if w.missed != nil {
		w.missed(v, fmt.Sprintf(format, args...))
	}
}

// Carry says that a new value reaches at most so much more than one that calibration has seen, for the passes behind that ask what float16
// must hold: a value of unknown amplitude stays in float32.
func (w *Work) Carry(made, seen *ir.Value, more float32) {
	if p, ok := w.peaks[seen]; ok {
		w.peaks[made] = p + more
	}
}

// Reaches gives the amplitude of a new value where a pass knows it.
func (w *Work) Reaches(made *ir.Value, peak float32) {
	if w.peaks != nil {
		w.peaks[made] = peak
	}
}

// The rows of every pipeline.
var (
	simplify = []Pass{
		{"window-pad", "attends over real tokens only where windows are padded", windowPad, Rounding, false},
		{"fuse-attention", "folds scale, biases and relative positions into the products of attention", fuseAttention, Rounding, false},
		{"absorb-projections", "attends between a few tokens and an image without projecting the image", absorbProjections, Rounding, false},
		{"expand-attention", "spells the attention that is left in primitives", expandAttention, Exact, false},
		{"fold-constants", "computes what depends on constants alone, up to 4 MiB each", foldConstants, Exact, false},
		{"fold-addends", "adds constants behind a product, once, instead of before it", foldAddends, Rounding, false},
		{"fold-hypernetwork", "multiplies a mask's vector into the convolution before it", foldHypernetwork, Rounding, false},
		{"fold-batchnorm", "multiplies batch normalization into the convolution before it", foldBatchNorm, Rounding, false},
		{"cse", "keeps one of equal values and of equal small constants", cse, Exact, false},
		{"dead-code", "drops what no output needs", deadCode, Exact, false},
	}
	halvable = Pass{"soften-masks", "writes what keeps a key from a query as a number that float16 holds", softenMasks, Rounding, false}
	prepare  = Pass{"upscale-to-conv", "writes 2x2 transposed convolutions as 1x1 convolutions and a rearrangement", upscaleToConv, Rounding, true}
	observe  = Pass{Calibrate, "runs calibration images, or reads a plan, and chooses ranges", nil, Exact, false}
	quantize = []Pass{
		{"insert-qdq", "writes the quantization plan into the convolutions", insertQDQ, Lossy, true},
		{"quantize-linear", "writes the quantization plan into the linear layers", quantizeLinear, Lossy, true},
		{AdaptiveRounding, "chooses integers so that each convolution gives what the float one gives on calibration images", nil, Lossy, true},
	}
	fuse   = Pass{"project-add", "joins the CNN's projections with their additions to the tokens", projectAdd, Rounding, false}
	halve  = Pass{"cast-half", "computes in float16 where ranges and precision allow it", castHalf, Lossy, false}
	engine = []Pass{
		{"fuse-gelu", "joins x * (erf(x / sqrt 2) + 1) / 2 into Gelu", fuseGelu, Rounding, false},
		{"fuse-norm", "normalises pixels over channels where they are", fuseNorm, Rounding, false},
		{"sink-transpose", "moves transpositions to where they meet their inverse", sinkTranspose, Rounding, false},
		{"block-attention", "attends by blocks of queries, without memory for all logits", blockAttention, Exact, false},
		{"fuse-qlinear", "makes integer products of products of dequantized integers", fuseQLinear, Rounding, false},
	}
)

// The rows that need data or an engine; they are run through Run.Step.
const (
	Calibrate        = "calibrate"
	AdaptiveRounding = "adaptive-rounding"
)

// A Goal is what a pipeline is for.
type Goal struct {
	Int8       bool // weights and activations become integers where the plan says so
	Half       bool // float16 where ranges and precision allow it
	Calibrated bool // there is a plan
	Narrow     bool // this model, or another one that its plan is for, will be float16
	Convs      bool // transposed convolutions become convolutions: the target has integer kernels for those alone
}

// Pipeline is the whole list of stages for a goal, in order.
func Pipeline(goal Goal) []Pass {
	list := slices.Clone(simplify)
	if goal.Half || goal.Narrow {
		list = append(list, halvable)
	}
	if goal.Calibrated {
		if goal.Int8 && goal.Convs {
			list = append(list, prepare)
		}
		list = append(list, observe)
		if goal.Int8 {
			list = append(list, quantize...)
		}
	}
	list = append(list, fuse)
	if goal.Half {
		list = append(list, halve)
	}
	return list
}

// Execute is the pipeline that the embedded engine runs on a file it has read: emitted primitives become fused operators again.
func Execute() []Pass { return slices.Clone(engine) }

// Unspell joins again what files spell in primitives, and leaves integers as they are quantized and dequantized.
func Unspell(ctx context.Context, g *ir.Graph) error {
	_, err := All(ctx, &ir.Module{Graphs: []*ir.Graph{g}}, Execute()[:1], Input{}, Options{})
	return err
}

// Order says which passes must stand before which, and why. A test holds every pipeline to it.
var Order = []struct{ Before, After, Why string }{
	{"window-pad", "expand-attention", "attention is rewritten while it is one operator"},
	{"fuse-attention", "expand-attention", "attention is rewritten while it is one operator"},
	{"absorb-projections", "expand-attention", "attention is rewritten while it is one operator"},
	{"expand-attention", "fold-constants", "what is constant inside attention is folded, too"},
	{"fold-constants", "fold-addends", "the positional encoding must be a constant"},
	{"fold-addends", "dead-code", "what was added before stays behind"},
	{"fold-hypernetwork", "dead-code", "the wide convolution stays behind"},
	{"fold-constants", "cse", "folding makes equal constants"},
	{"fold-batchnorm", "dead-code", "folding leaves the old convolution and the statistics behind"},
	{"cse", "dead-code", "merged values leave their duplicates behind"},
	{"window-pad", "soften-masks", "window-pad writes the masks"},
	{"soften-masks", "cast-half", "float16 cannot hold the masks of float32"},
	{"soften-masks", Calibrate, "recorded amplitudes must be those of the masks that stay"},
	{"dead-code", Calibrate, "nobody observes what no output needs"},
	{"upscale-to-conv", Calibrate, "the plan names the convolutions that are quantized"},
	{"fold-batchnorm", "insert-qdq", "scales must see folded weights"},
	{Calibrate, "insert-qdq", "the plan is what insert-qdq writes"},
	{Calibrate, "cast-half", "amplitudes decide what stays in float32"},
	{"insert-qdq", AdaptiveRounding, "there must be integers to choose"},
	{"insert-qdq", "project-add", "the quantizer reads convolutions; float projections alone are fused"},
	{"quantize-linear", "project-add", "the quantizer reads products"},
	{AdaptiveRounding, "project-add", "layers are paired with the float model's"},
	{"fuse-norm", "sink-transpose", "fuse-norm leaves transpositions to undo"},
	{"fuse-gelu", "sink-transpose", "Gelu is one function of an element then"},
	{"project-add", "cast-half", "casts would hide the projections"},
}

func names(pipeline []Pass) (out []string) {
	for _, p := range pipeline {
		out = append(out, p.Name)
	}
	return out
}

// Options steer a run for debugging.
type Options struct {
	Off       map[string]bool // passes to leave out
	StopAfter int             // run only so many stages; 0: all
	Dump      string          // folder for the text after each stage, "03_cse.ir"; "" for none
	Probe     bool            // evaluate a seeded probe before and after each stage
	Log       func(string)    // is told times and probe results; nil for nobody
	Why       string          // the pass that Explain is told of: what it nearly changed, with the reason it did not
	Explain   func(string)
}

// ParseDebug reads one debug setting: PASS/off, all/time (log), or check.
func (o *Options) ParseDebug(pipeline []Pass, setting string, log func(string)) error {
	switch setting {
	case "check":
		o.Probe, o.Log = true, log
		return nil
	case "all/time":
		o.Log = log
		return nil
	}
	if name, ok := strings.CutSuffix(setting, "/off"); ok && slices.Contains(names(pipeline), name) {
		if o.Off == nil {
			o.Off = map[string]bool{}
		}
		o.Off[name] = true
		return nil
	}
	return fmt.Errorf("have %q, want check, all/time, or PASS/off with PASS one of %s", setting, strings.Join(names(pipeline), ", "))
}

// ParseWhy chooses the pass that is explained.
func (o *Options) ParseWhy(pipeline []Pass, pass string, explain func(string)) error {
	if !slices.Contains(names(pipeline), pass) {
		return fmt.Errorf("have %q, want one of %s", pass, strings.Join(names(pipeline), ", "))
	}
	o.Why, o.Explain = pass, explain
	return nil
}
