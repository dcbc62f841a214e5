package compile

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"syncsam-convert/artifact"
	"syncsam-convert/backends/onnx"
	"syncsam-convert/backends/tensorrt"
	"syncsam-convert/calib"
	"syncsam-convert/clients"
	"syncsam-convert/engine"
	"syncsam-convert/frontends"
	"syncsam-convert/golden"
	"syncsam-convert/internal/plain"
	"syncsam-convert/passes"
)

// The targets of a build.
const (
	ONNX     = "onnx"
	OpenVINO = "openvino" // the models of ONNX: their spelling is OpenVINO's, too (docs/runtimes.md)
	TensorRT = "tensorrt" // the models of ONNX, and beside them a folder of models and a recipe for plans
)

// Targets, Precisions, Roundings and Quantities are what the options of these names take.
var (
	Targets    = []string{ONNX, OpenVINO, TensorRT}
	Precisions = []string{FP32, FP16, INT8, Auto}
	Roundings  = []string{RoundAuto, RoundNearest, RoundAdaptive}
	Quantities = []string{QuantizeCNN, QuantizeLinear, QuantizeAll}
)

// The precisions.
const (
	FP32 = "fp32"
	FP16 = "fp16"
	INT8 = "int8"
	Auto = "auto" // the fastest of them that meets the golden results, layer by layer
)

// How weights are rounded.
const (
	RoundAuto     = "auto" // adaptive for models that are small, where there are pictures
	RoundNearest  = "nearest"
	RoundAdaptive = "adaptive" // so that each convolution gives what the float model's gives on calibration pictures
)

// What becomes INT8.
const (
	QuantizeDefault = ""       // the CNN branch, or the linear layers where there is none; of some families both
	QuantizeCNN     = "cnn"    // the CNN branch
	QuantizeLinear  = "linear" // the ViT's linear layers
	QuantizeAll     = "all"
)

// Options say what to compile and how. They are plain data: Validate holds them against each other, nothing changes them. The zero value
// of a field is its default, but for Checkpoint.
type Options struct {
	Checkpoint     string            // the file
	Model          frontends.Options // what a checkpoint does not tell
	AllowNonFinite bool              // accept NaN and infinite weights

	Output string // artifact folder that Compile makes; "": Write says where
	Force  bool   // replace an artifact that stands there

	Target       string // ONNX, OpenVINO or TensorRT
	Precision    string // FP32, FP16, INT8 or Auto
	Opset        int64  // ONNX operator set; 0: onnx.DefaultOpset
	ExternalData bool   // large tensors in a file beside the model (by itself past 2 GiB)
	Postprocess  bool   // resize masks inside the decoder, as SAM's official export does
	Client       string // graph interface of a client: one of clients.Names; "": the program's own
	OneMask      string // "": as the client has it; clients.OneModel or clients.OneSAM: the decoder chooses one mask itself
	ImageInput   string // form of the encoder's input: one of clients.ImageInputs; "": as the client has it
	Profile      string // of TensorRT: sizes of dynamic dimensions, "N=1:1:4,B=1:1:32"

	Calibration string   // pictures, a data set, or files of statistics (comma-separated)
	Method      string   // how clipping ranges are chosen; "": calib.DefaultMethod
	Quantize    string   // what becomes INT8
	Rounding    string   // "": RoundAuto
	Plan        string   // a file: the quantization plan to replay
	KeepFloat   []string // layers that stay in float whatever the plan says: keys or module paths
	PlanOut     string   // a file for the plan that was used

	Golden   string        // golden folder to verify against before anything is published
	MaxDrop  *float64      // accept summaries lower by so many DSC points, instead of every item; INT8 gives layers back to float until it holds
	Judge    string        // of MaxDrop: "" by the measured means, golden.JudgeEquivalence by the paired comparison with the golden results
	Budget   time.Duration // of the search for layers to give back to float: then what holds is taken, or it fails; 0: as long as it takes, and AutoBudget of Auto
	Engine   string        // that calibrates and verifies; "": the embedded one
	Runtime  engine.Options
	Debug    Debug
	Progress func(Event)  // is told how far the work is; nil for nobody
	Note     func(string) // is told what was assumed, and warnings; nil for nobody

	narrow bool
	search bool // Auto was asked for
}

// AutoBudget is how long a search for the fastest precision takes at most where nothing else is said.
const AutoBudget = 10 * time.Minute

// Debug steers the passes.
type Debug struct {
	Settings  []string // PASS/off, all/time, check
	Why       string   // a pass: say what it nearly changed
	Dump      string   // folder for the program's text after each stage
	StopAfter int      // run only so many stages; 0: all
	Log       io.Writer
}

// An Event is a step of the work: Done of Total pieces of Stage; Total is 0 where the stage has one piece.
type Event struct {
	Stage       string
	Done, Total int
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// filled gives the options with defaults in place of zero values.
func (o Options) filled() Options {
	o.Target, o.Precision, o.Rounding, o.Method = or(o.Target, ONNX), or(o.Precision, FP32), or(o.Rounding, RoundAuto), or(o.Method, calib.DefaultMethod)
	o.Engine = or(o.Engine, engine.Embedded)
	if o.Precision == Auto { // INT8, of which a search gives back what must be
		o.Precision, o.search, o.Quantize = INT8, true, or(o.Quantize, QuantizeAll)
		if o.Budget == 0 {
			o.Budget = AutoBudget
		}
	}
	if o.Opset == 0 {
		o.Opset = onnx.DefaultOpset
	}
	if o.Golden != "" && o.MaxDrop == nil && o.Precision != FP32 {
		drop := golden.DefaultDrop
		o.MaxDrop = &drop
	}
	o.Progress, o.Note = inTurns(o.Progress), inTurns(o.Note)
	if o.Debug.Log == nil {
		o.Debug.Log = io.Discard
	}
	return o
}

// inTurns is f for several goroutines, one at a time; nil does nothing.
func inTurns[T any](f func(T)) func(T) {
	if f == nil {
		return func(T) {}
	}
	var mutex sync.Mutex
	return func(x T) {
		mutex.Lock()
		defer mutex.Unlock()
		f(x)
	}
}

// statistics reports whether the calibration data are files that were collected before.
func (o Options) statistics() bool {
	first, _, _ := strings.Cut(o.Calibration, ",")
	return strings.HasSuffix(first, ".safetensors") || calib.IsStatistics(first)
}

// pictures reports whether there are calibration pictures.
func (o Options) pictures() bool { return o.Calibration != "" && !o.statistics() }

// Validate refuses what cannot be honoured. Errors name the option as the command line spells it.
func (o Options) Validate() error {
	o = o.filled()
	choice := func(flag, have string, want ...string) error {
		if !slices.Contains(want, have) {
			return fmt.Errorf("--%s: have %q, want one of %s", flag, have, strings.Join(want, ", "))
		}
		return nil
	}
	for _, err := range []error{
		choice("target", o.Target, Targets...),
		choice("precision", o.Precision, Precisions...),
		choice("rounding", o.Rounding, Roundings...),
		choice("calib-method", o.Method, calib.MethodNames()...),
		choice("engine", o.Engine, engine.Names()...),
	} {
		if err != nil {
			return err
		}
	}
	if err := o.validateSearch(); err != nil {
		return err
	}
	switch {
	case o.Model.ImageSize < 0:
		return fmt.Errorf("--image-size: have %d, want a positive number", o.Model.ImageSize)
	case o.Quantize != QuantizeDefault && !slices.Contains(Quantities, o.Quantize):
		return fmt.Errorf("--quantize: have %q, want one of %s", o.Quantize, strings.Join(Quantities, ", "))
	case o.Quantize != QuantizeDefault && o.Precision != INT8:
		return fmt.Errorf("--quantize: only with --precision int8")
	case o.Calibration != "" && o.Plan != "" && o.Rounding != RoundAdaptive:
		return fmt.Errorf("--calib, --plan: have both, want one (only --rounding %s takes ranges from a plan and pictures to round by)", RoundAdaptive)
	case o.Precision == INT8 && o.Calibration == "" && o.Plan == "":
		return fmt.Errorf("--precision int8: needs one of --calib (images, a data set index or collected statistics) and --plan")
	case o.Precision == FP32 && (o.Calibration != "" || o.Plan != "" || o.PlanOut != ""):
		return fmt.Errorf("--calib, --plan, --plan-out: only with --precision int8 or fp16")
	case o.PlanOut != "" && o.Calibration == "" && o.Plan == "":
		return fmt.Errorf("--plan-out: needs --calib")
	case len(o.KeepFloat) > 0 && o.Precision != INT8:
		return fmt.Errorf("--keep-float: only with --precision int8")
	case o.Rounding == RoundAdaptive && (o.Precision != INT8 || !o.pictures()):
		return fmt.Errorf("--rounding %s: needs --precision int8 with pictures at --calib", RoundAdaptive)
	case o.Opset < onnx.MinOpset || o.Opset > onnx.MaxOpset:
		return fmt.Errorf("--opset: have %d, want %d to %d", o.Opset, onnx.MinOpset, onnx.MaxOpset)
	case o.Profile != "" && o.Target != TensorRT:
		return fmt.Errorf("--profile: only with --target %s", TensorRT)
	case o.Debug.StopAfter < 0:
		return fmt.Errorf("--stop-after: have %d, want 0 or more", o.Debug.StopAfter)
	case o.MaxDrop != nil && !(*o.MaxDrop >= 0):
		return fmt.Errorf("--max-dsc-drop: have %g, want 0 or more points", *o.MaxDrop)
	case o.MaxDrop != nil && o.Golden == "":
		return fmt.Errorf("--max-dsc-drop: needs --golden")
	case o.Judge != "" && o.Judge != golden.JudgeEquivalence:
		return fmt.Errorf("--judge: have %q, want %s", o.Judge, golden.JudgeEquivalence)
	case o.Judge != "" && (o.MaxDrop == nil || *o.MaxDrop == 0):
		return fmt.Errorf("--judge: needs --golden and --max-dsc-drop of more than 0, which is its margin")
	case o.Budget < 0:
		return fmt.Errorf("--fallback-budget: have %v, want 0 or more", o.Budget)
	case o.Budget > 0 && (o.Precision != INT8 || o.Golden == ""):
		return fmt.Errorf("--fallback-budget: only with --precision int8 and --golden")
	case o.Runtime.Threads < 0:
		return fmt.Errorf("--threads: have %d, want 0 or more", o.Runtime.Threads)
	}
	if err := o.edges().Validate(); err != nil {
		return err
	}
	if o.Target == TensorRT && o.edges().Any() && o.edges() != (clients.Options{Postprocess: true}) {
		return fmt.Errorf("--client, --one-mask, --image-input: not with --target %s, whose plans have the graphs' own inputs", TensorRT)
	}
	if _, err := o.spans(); err != nil {
		return err
	}
	if o.Golden != "" {
		if _, err := golden.Read(o.Golden); err != nil {
			return err
		}
	}
	_, err := o.debug("")
	return err
}

// validateSearch refuses what a search for the fastest precision cannot honour.
func (o Options) validateSearch() error {
	switch {
	case !o.search:
		return nil
	case o.Golden == "":
		return fmt.Errorf("--precision %s: needs --golden, whose results decide", Auto)
	case o.Plan != "":
		return fmt.Errorf("--plan: not with --precision %s, which makes a plan; --precision %s replays one", Auto, INT8)
	case o.Calibration == "":
		return fmt.Errorf("--precision %s: needs --calib (images, a data set index or collected statistics)", Auto)
	case o.Target == TensorRT:
		return fmt.Errorf("--precision %s: not with --target %s, whose latency nobody can measure here", Auto, TensorRT)
	case o.Engine == engine.TensorRT:
		return fmt.Errorf("--engine %s: not with --precision %s: it does not tell times by operator", engine.TensorRT, Auto)
	case o.Debug.StopAfter > 0:
		return fmt.Errorf("--stop-after: not with --precision %s", Auto)
	}
	return nil
}

// edges are what the options ask of the graphs' inputs and outputs.
func (o Options) edges() clients.Options {
	return clients.Options{Client: o.Client, OneMask: o.OneMask, ImageInput: o.ImageInput, Postprocess: o.Postprocess}
}

// criterion is how the artifact is judged, then and later; nil: item by item, or not at all.
func (o Options) criterion() *artifact.Criterion {
	if o.MaxDrop == nil {
		return nil
	}
	return &artifact.Criterion{MaxDrop: *o.MaxDrop, Judge: o.Judge}
}

// spans are the sizes of dynamic dimensions that plans are made for.
func (o Options) spans() (map[string]tensorrt.Span, error) {
	spans := tensorrt.Spans()
	if o.Profile == "" {
		return spans, nil
	}
	if err := tensorrt.SetSpans(spans, o.Profile); err != nil {
		return nil, fmt.Errorf("--profile: %w", err)
	}
	return spans, nil
}

// half reports whether a model for a target computes in float16.
func half(target, precision string) bool {
	return precision == FP16 || precision == INT8 && target == TensorRT
}

// pipeline lists the stages of one model of the build.
func (o Options) pipeline(target, precision string) []passes.Pass {
	return passes.Pipeline(passes.Goal{
		Int8: precision == INT8, Half: half(target, precision), Narrow: o.narrow || o.Target == TensorRT,
		Calibrated: precision != FP32 && (o.Calibration != "" || o.Plan != ""),
		Convs:      target == ONNX, // TensorRT upsamples in float16
	})
}

// debug turns the settings into the passes' own; a folder of dumps below the one asked for keeps the models of a build apart.
func (o Options) debug(folder string) (passes.Options, error) {
	known := o.pipeline(ONNX, o.Precision)
	if o.Target == TensorRT {
		known = append(known, o.pipeline(TensorRT, o.Precision)...)
	}
	p := passes.Options{StopAfter: o.Debug.StopAfter}
	if o.Debug.Dump != "" {
		p.Dump = filepath.Join(o.Debug.Dump, folder)
	}
	line := func(s string) { plain.Fprintf(o.Debug.Log, "%s\n", s) }
	for _, s := range o.Debug.Settings {
		if err := p.ParseDebug(known, s, line); err != nil {
			return p, fmt.Errorf("--debug: %w", err)
		}
	}
	if o.Debug.Why != "" {
		if err := p.ParseWhy(known, o.Debug.Why, line); err != nil {
			return p, fmt.Errorf("--why: %w", err)
		}
	}
	return p, nil
}
