package passes

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"syncsam-convert/internal/output"
	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/ir/tensor"
)

// RoundingTolerance bounds a Rounding pass on a probe, as max abs difference / standard deviation. Reordered float32 sums in
// networks of this depth measure 3e-6 to 8e-6; a wrong epsilon starts at 4e-5.
const RoundingTolerance = 2e-5

// A Result is what one stage did.
type Result struct {
	Name    string `json:"name"`
	Changed int    `json:"changed"` // places over all graphs
	Reports []any  `json:"-"`       // of the graphs, in order, where the pass reports more
}

// A Run is a module on its way through a pipeline. Clone one to go on in two ways.
type Run struct {
	Module  *ir.Module
	Input   Input
	Results []Result // of the stages so far; those that are switched off have none

	pipeline []Pass
	next     int
	opts     Options
}

// Start puts a module, which the run changes, at the beginning of a pipeline.
func Start(m *ir.Module, pipeline []Pass, o Options) (*Run, error) {
	return &Run{Module: m, pipeline: pipeline, opts: o, Results: []Result{}}, dump(o.Dump, 0, "input", m)
}

// All takes a module through a whole pipeline of passes.
func All(ctx context.Context, m *ir.Module, pipeline []Pass, in Input, o Options) ([]Result, error) {
	r, err := Start(m, pipeline, o)
	if err != nil {
		return nil, err
	}
	r.Input = in
	err = r.Rest(ctx)
	return r.Results, err
}

// Clone is a run of its own at the same place, on its own graphs; tensors and what the stages so far have reported are shared.
func (r *Run) Clone() *Run {
	c := *r
	c.Results = slices.Clone(r.Results)
	c.Module = &ir.Module{Meta: r.Module.Meta}
	for _, g := range r.Module.Graphs {
		c.Module.Graphs = append(c.Module.Graphs, g.Clone())
	}
	return &c
}

// Fork runs the stages that both pipelines begin with, and gives a run of its own that goes on with the other one.
func (r *Run) Fork(ctx context.Context, other []Pass, o Options) (*Run, error) {
	common := 0
	for common < min(len(r.pipeline), len(other)) && r.pipeline[common].Name == other[common].Name && other[common].Run != nil {
		common++
	}
	if r.next > common {
		return nil, fmt.Errorf("internal error: the run is past what the pipelines share")
	}
	own := r.pipeline
	r.pipeline = own[:common]
	err := r.Rest(ctx)
	r.pipeline = own
	if err != nil {
		return nil, err
	}
	c := r.Clone()
	c.pipeline, c.opts = other, o
	return c, nil
}

// Before runs the stages up to a named one, to the end where there is none of that name.
func (r *Run) Before(ctx context.Context, name string) error {
	for r.next < len(r.pipeline) && r.pipeline[r.next].Name != name {
		p := r.pipeline[r.next]
		if p.Run == nil { // nobody came to do it
			r.next++
			continue
		}
		if err := r.stage(ctx, p, func(w *Work) error { return p.Run(w) }); err != nil {
			return err
		}
	}
	return nil
}

// Rest runs the stages that are left.
func (r *Run) Rest(ctx context.Context) error { return r.Before(ctx, "") }

// Reached reports whether a stage is the next one, and is to be done.
func (r *Run) Reached(name string) bool {
	return r.next < len(r.pipeline) && r.pipeline[r.next].Name == name && !r.skips(name)
}

// Step does the next stage, a row without Run, by a function of the caller's.
func (r *Run) Step(ctx context.Context, do func() (changed int, err error)) error {
	first := true
	return r.stage(ctx, r.pipeline[r.next], func(w *Work) (err error) {
		if first {
			w.Changed, err = do()
			first = false
		}
		return err
	})
}

func (r *Run) skips(name string) bool {
	return r.opts.Off[name] || r.opts.StopAfter > 0 && r.next >= r.opts.StopAfter
}

// stage does one row on every graph that it looks at.
func (r *Run) stage(ctx context.Context, p Pass, do func(*Work) error) error {
	i := r.next
	skip := r.skips(p.Name)
	r.next++
	if skip {
		return nil
	}
	graphs := r.Module.Graphs
	if p.Encoder {
		graphs = nil
		if g := r.Module.Encoder(); g != nil {
			graphs = []*ir.Graph{g}
		}
	}
	before, err := r.probes(ctx, graphs)
	if err != nil {
		return fmt.Errorf("pass %s: %w", p.Name, err)
	}
	result := Result{Name: p.Name}
	for k, g := range graphs {
		if err := ctx.Err(); err != nil {
			return err
		}
		w := &Work{Graph: g, Input: r.Input, peaks: recorded(g, r.Input.Plan)}
		if p.Name == r.opts.Why {
			w.missed = func(v *ir.Value, reason string) {
				r.opts.Explain(fmt.Sprintf("why %s: %s: %s left: %s", p.Name, g.Name, v, reason))
			}
		}
		start := time.Now()
		if err := do(w); err != nil {
			return fmt.Errorf("pass %s: graph %s: %w", p.Name, g.Name, err)
		}
		if err := ir.Check(g); err != nil {
			return fmt.Errorf("pass %s: %w", p.Name, err)
		}
		r.Input.Plan = w.rekeyed()
		r.log("pass %-17s %-10s %5d changed %5d values %8.1f ms", p.Name, g.Name, w.Changed, len(g.Values), float64(time.Since(start).Microseconds())/1e3)
		if before != nil {
			if err := r.compare(ctx, p, g, before[k]); err != nil {
				return fmt.Errorf("pass %s: graph %s: %w", p.Name, g.Name, err)
			}
		}
		result.Changed += w.Changed
		if w.Report != nil {
			result.Reports = append(result.Reports, w.Report)
		}
	}
	r.Results = append(r.Results, result)
	return dump(r.opts.Dump, i+1, p.Name, r.Module)
}

func (r *Run) log(format string, args ...any) {
	if r.opts.Log != nil {
		r.opts.Log(fmt.Sprintf(format, args...))
	}
}

// probes evaluates graphs on seeded inputs, where that is asked for.
func (r *Run) probes(ctx context.Context, graphs []*ir.Graph) ([]map[string]*tensor.Tensor, error) {
	if !r.opts.Probe {
		return nil, nil
	}
	var out []map[string]*tensor.Tensor
	for _, g := range graphs {
		y, err := evalProbe(ctx, g)
		if err != nil {
			return nil, err
		}
		out = append(out, y)
	}
	return out, nil
}

// compare holds a graph's results on the probe against those before a pass: the same names, and no more than its numerics allow.
func (r *Run) compare(ctx context.Context, p Pass, g *ir.Graph, before map[string]*tensor.Tensor) error {
	after, err := evalProbe(ctx, g)
	if err != nil {
		return err
	}
	for _, o := range g.Outputs {
		d, err := tensor.Compare(after[o.Name], before[o.Name])
		if err != nil {
			return fmt.Errorf("output %s: %w", o.Name, err)
		}
		r.log("pass %-17s %-10s %s differs by %.2g standard deviations", p.Name, g.Name, o.Name, d.Relative())
		switch rel := d.Relative(); {
		case p.Numerics == Exact && !tensor.Equal(after[o.Name], before[o.Name]), p.Numerics == Rounding && !(rel <= RoundingTolerance), rel-rel != 0:
			return fmt.Errorf("output %s changes by %.2g of a standard deviation on the probe", o.Name, rel)
		}
	}
	return nil
}

// recorded gives the amplitudes that a plan has of a graph's values; nil where it has none.
func recorded(g *ir.Graph, p *quant.Plan) map[*ir.Value]float32 {
	if p == nil || p.Peaks == nil {
		return nil
	}
	peaks := map[*ir.Value]float32{}
	for v, key := range ir.Keys(g) {
		if peak, ok := p.Peaks[key]; ok {
			peaks[v] = peak
		}
	}
	return peaks
}

// rekeyed is the plan with amplitudes under the keys that values have behind the pass: old ones may be numbered anew, new ones came. It
// is a copy where that says more than before.
func (w *Work) rekeyed() *quant.Plan {
	p, own := w.Plan, false
	if w.peaks == nil {
		return p
	}
	for v, key := range ir.Keys(w.Graph) {
		peak, known := w.peaks[v]
		if old, has := p.Peaks[key]; !known || has && old >= peak {
			continue
		}
		if !own {
			c := *p
			c.Peaks = maps.Clone(p.Peaks)
			p, own = &c, true
		}
		p.Peaks[key] = peak
	}
	return p
}

// rewrite replaces, in order, each value for which build makes another; build gets a builder before the value and gives nil to leave it.
func rewrite(w *Work, rule string, build func(b *ir.Builder, v *ir.Value) (*ir.Value, error)) error {
	live := w.Graph.Live() // what an earlier pass left behind is nobody's
	for _, v := range slices.Clone(w.Graph.Values) {
		if !live[v] {
			continue
		}
		b := w.Graph.Before(v, rule)
		y, err := build(b, v)
		if err == nil {
			err = b.Err()
		}
		if err != nil {
			return err
		}
		if y == nil {
			continue
		}
		w.Carry(y, v, 0)
		if err := w.Graph.Replace(rule, v, y); err != nil {
			return err
		}
		w.Changed++
	}
	return nil
}

func evalProbe(ctx context.Context, g *ir.Graph) (map[string]*tensor.Tensor, error) {
	in, err := ir.Probe(g, 1, nil)
	if err != nil {
		return nil, err
	}
	p, err := ir.Compile(g)
	if err != nil {
		return nil, err
	}
	return p.Run(ctx, in)
}

func dump(dir string, i int, name string, m *ir.Module) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	text, _ := ir.Print(m)
	return output.File(filepath.Join(dir, fmt.Sprintf("%02d_%s.ir", i, name)), func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}
