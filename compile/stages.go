package compile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"syncsam-convert/artifact"
	"syncsam-convert/calib"
	"syncsam-convert/calib/reconstruct"
	"syncsam-convert/clients"
	"syncsam-convert/engine"
	"syncsam-convert/frontends"
	"syncsam-convert/frontends/checkpoint"
	"syncsam-convert/internal/guard"
	"syncsam-convert/internal/mapfile"
	"syncsam-convert/internal/memory"
	"syncsam-convert/internal/output"
	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/passes"
	"syncsam-convert/quantizer"
)

// A Source is an open checkpoint: its tensors, and the hash of its bytes, which is taken while others work.
type Source struct {
	Checkpoint *checkpoint.Checkpoint
	o          Options
	Adapter    *checkpoint.Checkpoint // what is merged into it, nil for nothing
	hash       chan struct{}          // closed when those below are known
	sum        string                 // of everything that the weights are of
	base       string                 // of the checkpoint alone
	merged     []artifact.File        // the adapter's files
	err        error
}

// Open validates the options and opens the checkpoint. Close it when no stage that follows from it is needed any more: tensors are
// mapped from the file.
func Open(o Options) (*Source, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.filled()
	o.Progress(Event{Stage: "read"})
	ck, err := checkpoint.Open(o.Checkpoint)
	if err != nil {
		return nil, err
	}
	s := &Source{Checkpoint: ck, o: o, hash: make(chan struct{})}
	if o.Model.Merge != "" {
		if s.Adapter, err = checkpoint.Open(o.Model.Merge); err != nil {
			return nil, errors.Join(fmt.Errorf("--merge: %w", err), ck.Close())
		}
		s.o.Model.Adapter = s.Adapter
	}
	go func() {
		defer close(s.hash)
		s.err = guard.Do(s.identify)
	}()
	return s, nil
}

// adapterConfig stands beside PEFT's weights.
const adapterConfig = "adapter_config.json"

// identify takes the hashes: of the checkpoint, and of all files where an adapter is merged into it.
func (s *Source) identify() (err error) {
	if s.base, err = s.Checkpoint.SHA256(); err != nil {
		return err
	}
	s.sum = s.base
	if s.Adapter == nil {
		return nil
	}
	all := sha256.New()
	fmt.Fprintf(all, "%s  base\n", s.base)
	paths := s.Adapter.Files()
	config, err := s.Adapter.Beside(adapterConfig)
	if err != nil {
		return err
	}
	if config != nil {
		paths = append(paths, filepath.Join(filepath.Dir(s.Adapter.Path()), adapterConfig))
	}
	for _, path := range paths {
		sum, size, err := artifact.Hash(path)
		if err != nil {
			return err
		}
		s.merged = append(s.merged, artifact.File{Name: filepath.Base(path), SHA256: sum, Bytes: size})
		fmt.Fprintf(all, "%s  %s\n", sum, filepath.Base(path))
	}
	s.sum = hex.EncodeToString(all.Sum(nil))
	return nil
}

// checkpoints are the files of weights.
func (s *Source) checkpoints() []*checkpoint.Checkpoint {
	if s.Adapter == nil {
		return []*checkpoint.Checkpoint{s.Checkpoint}
	}
	return []*checkpoint.Checkpoint{s.Checkpoint, s.Adapter}
}

// settle is how work on the source ended: with its error, or with that the checkpoint changed meanwhile, whatever that did.
func (s *Source) settle(ctx context.Context, err error) error {
	for _, ck := range s.checkpoints() {
		if changed := ck.Unchanged(); changed != nil && ctx.Err() == nil {
			return changed
		}
	}
	return err
}

// Close ends the source.
func (s *Source) Close() error {
	<-s.hash
	var err error
	for _, ck := range s.checkpoints() {
		err = errors.Join(err, ck.Close())
	}
	return err
}

// SHA256 is the hash of the checkpoint's bytes; where an adapter is merged into it, that of the hashes of both.
func (s *Source) SHA256() (string, error) {
	<-s.hash
	return s.sum, s.err
}

// A Lowered is the model as a module, simplified as far as every precision and target shares it.
type Lowered struct {
	*Source
	run *passes.Run // of the model for ONNX
	trt *passes.Run // of the one for TensorRT; nil where none is asked for
	f32 *passes.Run // of the float one, that INT8 is held against when it may fall back; nil where it may not
	f16 *passes.Run // of the one in float16, where a search may take it

	client   *clients.Plan // nil: graphs have their own inputs and outputs
	replayed string        // the scope of a plan that was read
	seen     *album        // what calibration saw that rounding needs; nil for nothing
}

// load recognises the model family and builds its graphs; the notes say what was chosen, assumed and dropped.
func (s *Source) load() (*ir.Module, []string, error) {
	m, notes, err := frontends.Load(s.Checkpoint, s.o.Model)
	if err != nil {
		err = fmt.Errorf("%s: %w", s.o.Checkpoint, err)
	}
	return m, notes, err
}

func hasLowResMasks(g *ir.Graph) bool {
	return slices.ContainsFunc(g.Outputs, func(o ir.Output) bool { return o.Name == "low_res_masks" })
}

// Lower recognises the model family and builds and simplifies its graphs.
func (s *Source) Lower(ctx context.Context) (*Lowered, error) {
	m, notes, err := s.load()
	if err != nil {
		return nil, err
	}
	if s.o.Postprocess && !slices.ContainsFunc(m.Graphs, hasLowResMasks) {
		return nil, fmt.Errorf("--decoder-postprocess: a %s has no decoder with low_res_masks, which it resizes", m.Meta.Family)
	}
	for _, note := range notes {
		s.o.Note("note: " + note)
	}
	for _, ck := range s.checkpoints() {
		if err := ck.CheckSums(ctx); err != nil {
			return nil, err
		}
		if s.o.AllowNonFinite {
			continue
		}
		if err := ck.CheckFinite(ctx); err != nil {
			return nil, fmt.Errorf("%w; --allow-nonfinite accepts them", err)
		}
	}
	s.o.Progress(Event{Stage: "compile"})
	debug, err := s.o.debug("")
	if err != nil {
		return nil, err
	}
	l := &Lowered{Source: s}
	if s.o.edges().Any() {
		if l.client, err = clients.Make(s.o.edges(), m); err != nil {
			return nil, fmt.Errorf("%s: %w", s.o.Checkpoint, err)
		}
		for _, note := range l.client.Notes {
			s.o.Note("note: " + note)
		}
	}
	if l.run, err = passes.Start(m, s.o.pipeline(ONNX, s.o.Precision), debug); err != nil {
		return nil, err
	}
	if s.o.Target == TensorRT {
		if debug, err = s.o.debug("plan"); err != nil {
			return nil, err
		}
		if l.trt, err = l.run.Fork(ctx, s.o.pipeline(TensorRT, s.o.Precision), debug); err != nil {
			return nil, err
		}
	}
	if s.o.Precision == INT8 && s.o.MaxDrop != nil {
		if l.f32, err = l.run.Fork(ctx, s.o.pipeline(ONNX, FP32), passes.Options{}); err != nil {
			return nil, err
		}
	}
	if s.o.search {
		if l.f16, err = l.run.Fork(ctx, passes.Pipeline(passes.Goal{Half: true}), passes.Options{}); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Scope is what the options choose of the model to become INT8; by default its CNN branch, or the linear layers where it has none.
func (l *Lowered) Scope() quant.Scope {
	all := quant.Scope{Convolutions: l.run.Module.Meta.Branch, Linears: l.run.Module.Meta.Linears}
	switch q := or(l.o.Quantize, l.replayed); {
	case q == QuantizeCNN, q == QuantizeDefault && len(all.Convolutions) > 0 && !l.run.Module.Meta.Both:
		all.Linears = nil
	case q == QuantizeLinear:
		all.Convolutions = nil
	}
	return all
}

// A Calibrated is a model whose quantization plan is known; the model itself is still float.
type Calibrated struct {
	*Lowered
	Plan *quant.Plan // nil where nothing is calibrated

	rounding *reconstruct.Reference // what layers read on calibration pictures; kept when many models are finished
	rounds   string                 // how weights are rounded, where that is not as the options say
}

// fewImages is the number below which calibration warns.
const fewImages = 8

// Calibrate gives the plan: read from a file, or made from pictures or statistics. Without any of them it has none.
func (l *Lowered) Calibrate(ctx context.Context) (*Calibrated, error) {
	if err := l.run.Before(ctx, passes.Calibrate); err != nil {
		return nil, err
	}
	c := &Calibrated{Lowered: l}
	if !l.run.Reached(passes.Calibrate) {
		return c, nil
	}
	sum, err := l.SHA256()
	if err != nil {
		return nil, err
	}
	if l.o.Plan != "" {
		c.Plan, err = l.readPlan(l.o.Plan, sum)
	} else {
		c.Plan, err = l.plan(ctx, sum)
	}
	if err == nil {
		if err = quantizer.KeepFloat(c.Plan, l.o.KeepFloat...); err != nil {
			err = fmt.Errorf("--keep-float: %w", err)
		}
	}
	return c, err
}

// plan makes a plan from pictures or statistics.
func (l *Lowered) plan(ctx context.Context, source string) (*quant.Plan, error) {
	s, err := l.stats(ctx, source)
	if err != nil {
		return nil, err
	}
	if s.Images < fewImages {
		l.o.Note(fmt.Sprintf("warning: %d calibration images are few; use %d or more", s.Images, fewImages))
	}
	ranges, err := s.Plan(l.o.Method)
	if err != nil {
		return nil, err
	}
	return quantizer.Make(l.run.Module, ranges, source, l.scope8(), spellings[ONNX])
}

func (l *Lowered) stats(ctx context.Context, source string) (*calib.Stats, error) {
	if !l.o.statistics() {
		images, err := calib.Images(l.o.Calibration)
		if err != nil {
			return nil, err
		}
		return l.observe(ctx, source, images, l.scope8(), l.o.Target == TensorRT || l.o.Precision == FP16)
	}
	s, missing, err := calib.Union(strings.Split(l.o.Calibration, ","), source)
	for _, line := range missing {
		l.o.Note("warning: " + line)
	}
	return s, err
}

// scope8 is the scope of a build to INT8, and none of others.
func (l *Lowered) scope8() (none quant.Scope) {
	if l.o.Precision == INT8 {
		return l.Scope()
	}
	return none
}

// observe runs the float model over images.
func (l *Lowered) observe(ctx context.Context, source string, images []string, scope quant.Scope, peaks bool) (*calib.Stats, error) {
	done := 0
	o, remove, err := l.observer(func() {
		done++
		l.o.Progress(Event{"calibrate", done, len(images)})
	})
	if err != nil {
		return nil, err
	}
	defer remove()
	if l.o.Precision == INT8 && l.o.Rounding == RoundAdaptive && l.o.Engine == engine.Embedded { // rounding computes with the same bits
		l.seen = newAlbum(spread(images, roundingImages))
		o.Keep = l.seen.keep
	}
	defer memory.Tight()() // the model's packed weights beside what is observed
	s := calib.NewStats(source)
	return s, o.Collect(ctx, s, scope, peaks, images)
}

func (l *Lowered) observer(seen func()) (o *calib.Observer, remove func(), err error) {
	tmp, remove, err := output.Scratch()
	return &calib.Observer{Module: l.run.Module, Engine: l.o.Engine, Options: l.o.Runtime, Dir: tmp, Seen: seen}, remove, err
}

// readPlan reads a plan and holds it to the model.
func (l *Lowered) readPlan(path, source string) (*quant.Plan, error) {
	file, err := mapfile.Reader(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	p, err := quant.Read(file)
	if err == nil {
		if l.o.Precision == INT8 { // --quantize may say the same, or nothing
			l.replayed = p.Scope
		}
		err = quantizer.Resolve(l.run.Module, p, source, l.scope8(), spellings[ONNX])
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// A Compiled is a finished model in memory: it can be written. The Calibrated that it came from is as it was.
type Compiled struct {
	*Calibrated
	Plan *quant.Plan // that it was quantized with
	run  *passes.Run

	Target, Precision string
	rounding          string // of convolutions' weights
	audited           int    // calibration pictures that it was run on, without a NaN or an infinity
}

// Finish compiles the model for a target of the options with a plan: the Calibrated's own, or another one.
func (c *Calibrated) Finish(ctx context.Context, target string, plan *quant.Plan) (*Compiled, error) {
	from := c.run
	if target == TensorRT {
		if from = c.trt; from == nil {
			return nil, fmt.Errorf("internal error: the options ask for target %s", c.o.Target)
		}
	}
	return c.finish(ctx, from.Clone(), plan, target, c.o.Precision)
}

// auditImages is on how many calibration pictures a model in float16 is run while it is written.
const auditImages = 3

// errFloat16 says that a model in float16 gives no numbers.
var errFloat16 = errors.New("float16")

// audit runs the model in float16 on a few calibration pictures by the embedded engine, which rounds as float16 does: recorded amplitudes
// are the float model's, and what is seen is what is known. A value that is NaN or infinite is an error.
func (c *Compiled) audit(ctx context.Context) error {
	if !half(c.Target, c.Precision) || !c.o.pictures() {
		return nil
	}
	images, err := calib.Images(c.o.Calibration)
	if err != nil {
		return err
	}
	images = spread(images, auditImages)
	seen := func() {
		c.audited++
		c.o.Progress(Event{"audit", c.audited, len(images)})
	}
	o := &calib.Observer{Module: c.run.Module, Engine: engine.Embedded, Options: c.o.Runtime, Seen: seen}
	if err := o.Finite(ctx, images); err != nil {
		return fmt.Errorf("%w: the model for %s, run on a calibration picture: %w", errFloat16, c.Target, err)
	}
	return nil
}

func (c *Calibrated) finish(ctx context.Context, run *passes.Run, plan *quant.Plan, target, precision string) (*Compiled, error) {
	out, err := c.round(ctx, run, plan, target, precision)
	if err != nil {
		return nil, err
	}
	return out, run.Rest(ctx)
}

// round takes a model through the pipeline as far as its integers are chosen.
func (c *Calibrated) round(ctx context.Context, run *passes.Run, plan *quant.Plan, target, precision string) (*Compiled, error) {
	out := &Compiled{Calibrated: c, Plan: plan, run: run, Target: target, Precision: precision, rounding: RoundNearest}
	if err := run.Before(ctx, passes.Calibrate); err != nil {
		return nil, err
	}
	if target == TensorRT && plan != nil {
		var err error
		if plan, err = quantizer.PlanFor(run.Module, plan, c.scope8(), spellings[target]); err != nil {
			return nil, err
		}
	}
	run.Input = passes.Input{Plan: plan, Scope: c.scope8(), Spelling: spellings[target]}
	if run.Reached(passes.Calibrate) {
		if err := run.Step(ctx, func() (int, error) { return 0, nil }); err != nil {
			return nil, err
		}
	}
	var float *ir.Graph
	if precision == INT8 {
		float = run.Module.Encoder().Clone()
	}
	if err := run.Before(ctx, passes.AdaptiveRounding); err != nil {
		return nil, err
	}
	if q := out.quantized(); run.Reached(passes.AdaptiveRounding) && len(q.Layers) > 0 && c.adaptive(q.All) {
		out.rounding = RoundAdaptive
		if err := run.Step(ctx, func() (int, error) { return len(q.Layers), c.reconstruct(ctx, float, run.Module.Encoder(), q.Layers) }); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// spellings say how a target wants integers.
var spellings = map[string]quantizer.Spelling{ONNX: quantizer.ONNXRuntime, TensorRT: quantizer.TensorRT}

// quantized is what all quantizing passes did together.
func (c *Compiled) quantized() *passes.Quantized {
	all := &passes.Quantized{Nodes: []string{}, Float: map[string]string{}}
	for _, r := range c.run.Results {
		for _, report := range r.Reports {
			if q, ok := report.(*passes.Quantized); ok {
				all.Add(q)
			}
		}
	}
	return all
}

// roundingWork is the number of multiply-adds per image up to which rounding is adaptive by itself: some seconds' work.
const roundingWork = 1 << 30

// adaptive decides how weights are rounded, for convolutions of so many multiply-adds.
func (c *Calibrated) adaptive(work int64) bool {
	how := or(c.rounds, c.o.Rounding)
	return how == RoundAdaptive || how == RoundAuto && c.o.pictures() && work <= roundingWork
}

// writePlan puts a plan where the options want it.
func (o Options) writePlan(p *quant.Plan) error {
	if o.PlanOut == "" || p == nil {
		return nil
	}
	return output.File(o.PlanOut, p.Write)
}

// Float compiles a checkpoint in float32, in memory. The module's tensors need the checkpoint until close is called.
func Float(ctx context.Context, o Options) (m *ir.Module, close func(), err error) {
	source, err := Open(o)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			source.Close()
		}
	}()
	l, err := source.Lower(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := l.run.Rest(ctx); err != nil {
		return nil, nil, err
	}
	return l.run.Module, func() { source.Close() }, nil
}
