// Package passes rewrites modules: a pipeline table, one file per pass, and the driver that checks after each.
package passes

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// Numerics says what a pass may do to results.
type Numerics int

// Exact keeps every bit; Rounding reorders float32 arithmetic; Lossy changes precision on purpose.
const (
	Exact Numerics = iota
	Rounding
	Lossy
)

// RoundingTolerance bounds a Rounding pass on a probe, as max abs difference / standard deviation. Reordered float32 sums in
// networks of this depth measure 3e-6 to 8e-6; a wrong epsilon starts at 4e-5.
const RoundingTolerance = 2e-5

// A Pass is one row of a pipeline.
type Pass struct {
	Name     string
	Doc      string                         // one line: what it does
	Run      func(g *ir.Graph) (int, error) // how many places it changed
	Numerics Numerics
}

// Simplify is the pipeline that every build runs.
var Simplify = []Pass{
	{"window-pad", "attends over real tokens only where windows are padded", windowPad, Rounding},
	{"fuse-attention", "folds scale, biases and relative positions into the products of attention", fuseAttention, Rounding},
	{"fold-constants", "computes what depends on constants alone, up to 4 MiB each", foldConstants, Exact},
	{"fold-addends", "adds constants behind a product, once, instead of before it", foldAddends, Rounding},
	{"fold-hypernetwork", "multiplies a mask's vector into the convolution before it", foldHypernetwork, Rounding},
	{"fold-batchnorm", "multiplies batch normalization into the convolution before it", foldBatchNorm, Rounding},
	{"cse", "keeps one of equal values and of equal small constants", cse, Exact},
	{"dead-code", "drops what no output needs", deadCode, Exact},
}

// Fuse is the pipeline that ends every build, after the quantizer, which reads convolutions.
var Fuse = []Pass{
	{"project-add", "joins the CNN's projections with their additions to the tokens", projectAdd, Rounding},
}

// Order says which passes must stand before which, and why. A test holds the pipelines to it.
var Order = []struct{ Before, After, Why string }{
	{"window-pad", "fold-constants", "attention is found as the frontends spell it"},
	{"fuse-attention", "fold-constants", "attention is found as the frontends spell it"},
	{"fold-constants", "fold-addends", "the positional encoding must be a constant"},
	{"fold-addends", "dead-code", "what was added before stays behind"},
	{"fold-hypernetwork", "dead-code", "the wide convolution stays behind"},
	{"fold-constants", "cse", "folding makes equal constants"},
	{"fold-batchnorm", "dead-code", "folding leaves the old convolution and the statistics behind"},
	{"cse", "dead-code", "merged values leave their duplicates behind"},
}

// Result is one line of a manifest's pass list.
type Result struct {
	Name    string `json:"name"`
	Changed int    `json:"changed"` // places over all graphs
}

// Options steer a pipeline for debugging.
type Options struct {
	Off       map[string]bool                  // passes to leave out
	StopAfter int                              // run only so many passes; 0: all
	Dump      string                           // folder for the text after each pass, "03_cse.ir"; "" for none
	Why       string                           // log what this pass nearly changed, with the reason it did not
	Probe     bool                             // evaluate a seeded probe before and after each pass
	Log       func(format string, args ...any) // timings and probe results; nil for none
}

// ParseDebug reads one debug setting: PASS/off, all/time (log), or check.
func (o *Options) ParseDebug(pipeline []Pass, setting string, log func(string, ...any)) error {
	switch setting {
	case "check":
		o.Probe, o.Log = true, log
		return nil
	case "all/time":
		o.Log = log
		return nil
	}
	if name, ok := strings.CutSuffix(setting, "/off"); ok {
		for _, p := range pipeline {
			if p.Name == name {
				if o.Off == nil {
					o.Off = map[string]bool{}
				}
				o.Off[name] = true
				return nil
			}
		}
	}
	return fmt.Errorf("have %q, want check, all/time, or PASS/off with PASS one of %s", setting, strings.Join(names(pipeline), ", "))
}

// Later are the options of a pipeline that follows the first: neither dumps, probes nor the end of the first are its.
func (o Options) Later() Options { return Options{Off: o.Off, Why: o.Why, Log: o.Log} }

// Explain makes one pass log what it nearly changed.
func (o *Options) Explain(pipeline []Pass, pass string, log func(string, ...any)) error {
	if !slices.Contains(names(pipeline), pass) {
		return fmt.Errorf("have %q, want one of %s", pass, strings.Join(names(pipeline), ", "))
	}
	o.Why = pass
	if o.Log == nil {
		o.Log = func(format string, args ...any) {
			if strings.HasPrefix(format, "why ") {
				log(format, args...)
			}
		}
	}
	return nil
}

func names(pipeline []Pass) (out []string) {
	for _, p := range pipeline {
		out = append(out, p.Name)
	}
	return out
}

// Run applies a pipeline to every graph of a module and checks the graph after each pass.
func Run(ctx context.Context, m *ir.Module, pipeline []Pass, opts Options) ([]Result, error) {
	log := opts.Log
	if log == nil {
		log = func(string, ...any) {}
	}
	if err := dump(opts.Dump, 0, "input", m); err != nil {
		return nil, err
	}
	results := []Result{}
	for i, p := range pipeline {
		if opts.StopAfter > 0 && i >= opts.StopAfter {
			break
		}
		if opts.Off[p.Name] {
			continue
		}
		r := Result{Name: p.Name}
		for _, g := range m.Graphs {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if p.Name == opts.Why {
				g.Missed = func(v *ir.Value, reason string) { log("why %s: %s: %s left: %s", p.Name, g.Name, v, reason) }
			}
			start := time.Now()
			n, err := apply(ctx, g, p, opts.Probe, log)
			g.Missed = nil
			if err != nil {
				return nil, fmt.Errorf("pass %s: %w", p.Name, err)
			}
			log("pass %-16s %-10s %5d changed %5d values %8.1f ms", p.Name, g.Name, n, len(g.Values), float64(time.Since(start).Microseconds())/1e3)
			r.Changed += n
		}
		results = append(results, r)
		if err := dump(opts.Dump, i+1, p.Name, m); err != nil {
			return nil, err
		}
	}
	return results, nil
}

func apply(ctx context.Context, g *ir.Graph, p Pass, probe bool, log func(string, ...any)) (int, error) {
	var before map[string]*tensor.Tensor
	var err error
	if probe {
		if before, err = evalProbe(ctx, g); err != nil {
			return 0, err
		}
	}
	n, err := p.Run(g)
	if err != nil {
		return 0, fmt.Errorf("graph %s: %w", g.Name, err)
	}
	if err := ir.Check(g); err != nil {
		return 0, err
	}
	if !probe {
		return n, nil
	}
	after, err := evalProbe(ctx, g)
	if err != nil {
		return 0, err
	}
	for _, o := range g.Outputs {
		d, err := tensor.Compare(after[o.Name], before[o.Name])
		if err != nil {
			return 0, fmt.Errorf("graph %s: output %s: %w", g.Name, o.Name, err)
		}
		log("pass %-16s %-10s %s differs by %.2g standard deviations", p.Name, g.Name, o.Name, d.Relative())
		if p.Numerics == Exact && !tensor.Equal(after[o.Name], before[o.Name]) || p.Numerics == Rounding && !(d.Relative() <= RoundingTolerance) {
			return 0, fmt.Errorf("graph %s: output %s changes by %.2g of a standard deviation on the probe", g.Name, o.Name, d.Relative())
		}
	}
	return n, nil
}

// rewrite replaces, in order, each value for which build makes another; build gets a builder before the value and gives nil to leave it.
func rewrite(g *ir.Graph, rule string, build func(b *ir.Builder, v *ir.Value) (*ir.Value, error)) (int, error) {
	n := 0
	for _, v := range slices.Clone(g.Values) {
		b := g.Before(v, rule)
		y, err := build(b, v)
		if err == nil {
			err = b.Err()
		}
		if err != nil {
			return 0, err
		}
		if y == nil {
			continue
		}
		if err := g.Replace(rule, v, y); err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
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
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, _ := ir.Print(m)
	return os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d_%s.ir", i, name)), []byte(text), 0o644)
}
