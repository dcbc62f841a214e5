package calib

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// A Watch says what of a graph calibration looks at. There are two ways to look, which give the same: an Observer runs the graph in the
// embedded engine and sees values as they pass; for an engine that takes a file, Shown makes them outputs, and Split takes its results apart.
type Watch struct {
	Values []*ir.Value // given whole, by key (ir.Keys)
	Peaks  bool        // the largest amplitude of every floating-point value, inputs included: what float16 must hold
}

// peakPrefix starts the names of the outputs that Shown adds for peaks; no source path does.
const peakPrefix = "peak:"

// watched reports whether a value's amplitude counts.
func watched(v *ir.Value) bool { return !v.IsConst() && v.Type.DType == tensor.Float32 }

// Shown is g, which it does not change, with more outputs: each watched value under its key, and one of one element per amplitude.
func Shown(g *ir.Graph, w Watch) (*ir.Graph, error) {
	keys := ir.Keys(g)
	shown := g.Clone()
	at := map[*ir.Value]*ir.Value{}
	for i, v := range g.Values {
		at[v] = shown.Values[i]
	}
	for _, v := range g.Values {
		if !w.Peaks || !watched(v) {
			continue
		}
		b := shown.After(at[v], "")
		peak := b.Op(ir.Abs, at[v])
		axes := [][]int64{{-1}, nil} // by rows first: executors share rows among threads
		if v.Type.Rank() == 0 {
			axes = nil
		}
		for _, a := range axes {
			peak = b.Op(ir.ReduceMax.With(ir.ReduceAttrs{Axes: a, KeepDims: 1}), peak)
		}
		if b.Err() != nil {
			return nil, b.Err()
		}
		shown.Outputs = append(shown.Outputs, ir.Output{Name: peakPrefix + keys[v], Value: peak})
	}
	for i, v := range w.Values {
		if slices.Index(w.Values, v) == i {
			shown.Outputs = append(shown.Outputs, ir.Output{Name: keys[v], Value: at[v]})
		}
	}
	return shown, nil
}

// Split takes apart what a run of Shown(g) gives: g's own results, and the watched values by key. Amplitudes go into peaks, the largest of
// each key; one that is not finite is an error.
func Split(g *ir.Graph, results map[string]*tensor.Tensor, peaks map[string]float32) (own, values map[string]*tensor.Tensor, err error) {
	own, values = map[string]*tensor.Tensor{}, maps.Clone(results)
	for _, o := range g.Outputs {
		own[o.Name] = results[o.Name]
		delete(values, o.Name)
	}
	for name, t := range results {
		if key, ok := strings.CutPrefix(name, peakPrefix); ok {
			delete(values, name)
			if err = note(peaks, key, t.Float32s()[0]); err != nil {
				return nil, nil, err
			}
		}
	}
	return own, values, nil
}

// note adds an amplitude.
func note(peaks map[string]float32, key string, x float32) error {
	if !isAmplitude(x) {
		return fmt.Errorf("value %q: it reaches %v", key, x)
	}
	peaks[key] = max(peaks[key], x)
	return nil
}

// An Observer runs a graph in the embedded engine, one input at a time.
type Observer struct {
	g       *ir.Graph
	watch   Watch
	keys    map[*ir.Value]string
	program *ir.Program
	static  map[string]float32 // amplitudes of what depends on constants alone

	values map[string]*tensor.Tensor // of the run under way
	peaks  map[string]float32
	err    error
}

// NewObserver makes a graph ready; it must not change afterwards.
func NewObserver(g *ir.Graph, w Watch) (*Observer, error) {
	o := &Observer{g: g, watch: w, keys: ir.Keys(g), static: map[string]float32{}}
	if w.Peaks {
		if err := o.constants(); err != nil {
			return nil, err
		}
	}
	var err error
	if o.program, err = ir.Compile(g); err != nil {
		return nil, err
	}
	o.program.Observe, o.program.Transient = o.see, true
	return o, nil
}

// constants runs what depends on constants alone: a program computes it once, unseen.
func (o *Observer) constants() error {
	g := o.g.Clone()
	static := map[*ir.Value]bool{}
	g.Outputs = nil
	for i, v := range g.Values {
		_, sized := v.Type.Static()
		static[v] = v.IsConst() || sized && !v.IsInput() && !slices.ContainsFunc(v.Args, func(a *ir.Value) bool { return a != nil && !static[a] })
		if static[v] && watched(v) {
			g.Outputs = append(g.Outputs, ir.Output{Name: o.keys[o.g.Values[i]], Value: v})
		}
	}
	g.Sweep()
	g.Values = slices.DeleteFunc(g.Values, (*ir.Value).IsInput)
	p, err := ir.Compile(g)
	if err != nil {
		return err
	}
	results, err := p.Run(context.Background(), nil)
	for key, t := range results {
		if err := note(o.static, key, largest(t)); err != nil {
			return err
		}
	}
	return err
}

func largest(t *tensor.Tensor) float32 {
	top := float32(0)
	for _, x := range t.Float32s() {
		top = max(top, x, -x)
	}
	return top
}

// see looks at one value of the run under way; its tensor is gone afterwards.
func (o *Observer) see(v *ir.Value, t *tensor.Tensor) {
	key := o.keys[v]
	if slices.Contains(o.watch.Values, v) {
		o.values[key] = tensor.FromFloat32(t.Dims(), slices.Clone(t.Float32s()))
	}
	if o.watch.Peaks && watched(v) && o.err == nil {
		o.err = note(o.peaks, key, largest(t))
	}
}

// Run gives the graph's own results and the watched values by key, and adds amplitudes to peaks; one that is not finite is an error.
func (o *Observer) Run(ctx context.Context, inputs map[string]*tensor.Tensor, peaks map[string]float32) (own, values map[string]*tensor.Tensor, err error) {
	o.values, o.peaks, o.err = map[string]*tensor.Tensor{}, peaks, nil
	for _, v := range o.g.Inputs() {
		if t := inputs[v.Name]; t != nil {
			o.see(v, t)
		}
	}
	if own, err = o.program.Run(ctx, inputs); err == nil {
		err = o.err
	}
	if err != nil {
		return nil, nil, err
	}
	for key, x := range o.static {
		peaks[key] = x
	}
	return own, o.values, nil
}
