package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"syncsam-convert/backends/onnx"
	"syncsam-convert/ir"
	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
)

// A Watch says what of a graph is seen while it runs.
type Watch struct {
	Values []*ir.Value // in full
	Peaks  []*ir.Value // the largest amplitude alone
}

// Seen is what one run showed.
type Seen struct {
	Outputs map[string]*tensor.Tensor
	Values  map[*ir.Value]*tensor.Tensor
	Peaks   map[*ir.Value]float32
}

// A Watched is a graph that an engine runs under a watch.
type Watched interface {
	Inputs() []string
	Run(ctx context.Context, inputs map[string]*tensor.Tensor) (*Seen, error)
	Close() error
}

// LoadWatched makes a graph of the IR ready to run under a watch. The embedded engine is watched through its program; of others the
// graph is written, with more outputs than it has, to a folder of its own below dir, which Close removes.
func LoadWatched(name string, g *ir.Graph, w Watch, dir string, o Options) (Watched, error) {
	if name == Embedded {
		p, err := ir.Compile(g)
		if err != nil {
			return nil, err
		}
		return &watchedProgram{program: p, watch: w}, nil
	}
	return loadRewritten(name, g, w, dir, o)
}

// watchedProgram is one program; its runs take turns, because they share what observes.
type watchedProgram struct {
	sync.Mutex
	program *ir.Program
	watch   Watch
}

func (p *watchedProgram) Inputs() []string { return inputNames(p.program.Graph()) }
func (p *watchedProgram) Close() error     { return nil }

func (p *watchedProgram) Run(ctx context.Context, inputs map[string]*tensor.Tensor) (*Seen, error) {
	p.Lock()
	defer p.Unlock()
	seen := &Seen{Values: map[*ir.Value]*tensor.Tensor{}, Peaks: map[*ir.Value]float32{}}
	full, peak := map[*ir.Value]bool{}, map[*ir.Value]bool{}
	for _, v := range p.watch.Values {
		if full[v] = true; v.IsInput() {
			seen.Values[v] = inputs[v.Name]
		}
	}
	for _, v := range p.watch.Peaks {
		peak[v] = true
	}
	p.program.Transient = true
	p.program.Observe = func(v *ir.Value, t *tensor.Tensor) {
		if full[v] {
			seen.Values[v] = tensor.Clone(t)
		}
		if peak[v] {
			seen.Peaks[v] = kernel.Amplitude(t.Float32s())
		}
	}
	var err error
	seen.Outputs, err = p.program.Run(ctx, inputs)
	return seen, err
}

// rewritten is a session of a file that shows more than the graph does.
type rewritten struct {
	Session
	watch Watch
	dir   string
}

// The names of the added outputs; no source path begins so.
const valuePrefix, peakPrefix = "value:", "peak:"

func loadRewritten(name string, g *ir.Graph, w Watch, dir string, o Options) (Watched, error) {
	shown := g.Clone()
	same := map[*ir.Value]*ir.Value{}
	for i, v := range g.Values {
		same[v] = shown.Values[i]
	}
	for i, v := range w.Values {
		if !v.IsInput() {
			shown.Outputs = append(shown.Outputs, ir.Output{Name: fmt.Sprint(valuePrefix, i), Value: same[v]})
		}
	}
	for i, v := range w.Peaks {
		b := shown.After(same[v], "")
		peak := b.Op(ir.Abs, same[v])
		for _, axes := range [][]int64{{-1}, nil} { // by rows first: executors share rows among threads
			if v.Type.Rank() > 0 {
				peak = b.Op(ir.ReduceMax.With(ir.ReduceAttrs{Axes: axes, KeepDims: 1}), peak)
			}
		}
		if b.Err() != nil {
			return nil, b.Err()
		}
		shown.Outputs = append(shown.Outputs, ir.Output{Name: fmt.Sprint(peakPrefix, i), Value: peak})
	}
	own, err := os.MkdirTemp(dir, "watched-*")
	if err != nil {
		return nil, err
	}
	r := &rewritten{watch: w, dir: own}
	path := filepath.Join(own, g.Name+".onnx")
	if _, err = onnx.WriteFile(path, shown, onnx.Options{External: true, NonFinite: true}); err == nil { // external data can be mapped
		r.Session, err = Load(name, path, o)
	}
	if err != nil {
		os.RemoveAll(own)
		return nil, err
	}
	return r, nil
}

func (r *rewritten) Run(ctx context.Context, inputs map[string]*tensor.Tensor) (*Seen, error) {
	out, err := r.Session.Run(ctx, inputs)
	if err != nil {
		return nil, err
	}
	seen := &Seen{Outputs: map[string]*tensor.Tensor{}, Values: map[*ir.Value]*tensor.Tensor{}, Peaks: map[*ir.Value]float32{}}
	for _, v := range r.watch.Values {
		if v.IsInput() {
			seen.Values[v] = inputs[v.Name]
		}
	}
	for name, t := range out {
		var i int
		switch {
		case strings.HasPrefix(name, valuePrefix):
			if _, err := fmt.Sscan(name[len(valuePrefix):], &i); err != nil {
				return nil, err
			}
			seen.Values[r.watch.Values[i]] = t
		case strings.HasPrefix(name, peakPrefix):
			if _, err := fmt.Sscan(name[len(peakPrefix):], &i); err != nil {
				return nil, err
			}
			seen.Peaks[r.watch.Peaks[i]] = t.Float32s()[0]
		default:
			seen.Outputs[name] = t
		}
	}
	return seen, nil
}

func (r *rewritten) Close() error {
	err := r.Session.Close()
	os.RemoveAll(r.dir)
	return err
}
