// Package compare measures one model's values against another's, layer by layer.
package compare

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// A Layer is one value that both models compute under one name.
type Layer struct {
	Name       string   `json:"name"`
	Output     bool     `json:"output"`             // it is a result of the graph
	Cumulative float64  `json:"cumulative_db"`      // signal-to-noise against the other model; math.MaxFloat64 when equal
	Local      *float64 `json:"local_db,omitempty"` // of quantizing and dequantizing it, in the second model alone
	Relative   float64  `json:"max_abs_over_std"`   // largest difference in standard deviations
}

// Tolerance is the difference below which two outputs count as equal: float32 sums in another order.
const Tolerance = 2e-5

// maxKept is the largest tensor that is kept for comparison, in bytes; larger ones are products inside attention.
const maxKept = 8 << 20

// Graphs runs both graphs on the same inputs (the first's names) and compares every float value that both have by name, worst
// first; outputs come first of all.
func Graphs(ctx context.Context, a, b *ir.Graph, inputs map[string]*tensor.Tensor) ([]Layer, error) {
	wanted := map[string]bool{}
	for _, v := range b.Values {
		wanted[v.Name] = true
	}
	kept := map[string]*tensor.Tensor{}
	first, err := run(ctx, a, inputs, func(v *ir.Value, t *tensor.Tensor) {
		if wanted[v.Name] && v.Type.DType == tensor.Float32 && t.NumBytes() <= maxKept {
			kept[v.Name] = t
		}
	})
	if err != nil {
		return nil, err
	}
	var layers []Layer
	var failed error
	add := func(name string, output bool, have, want *tensor.Tensor, local *float64) {
		d, err := tensor.Compare(have, want)
		if err != nil {
			failed = fmt.Errorf("%s: %w", name, err)
			return
		}
		layers = append(layers, Layer{name, output, min(d.SNR, math.MaxFloat64), local, d.Relative()})
	}
	outputs := map[string]bool{}
	for _, o := range a.Outputs {
		outputs[o.Name] = true
	}
	source := map[*ir.Value]*tensor.Tensor{} // what a QuantizeLinear took
	quantizes := map[*ir.Value]bool{}
	for _, v := range b.Values {
		if ir.QuantizeLinear.Is(v) {
			quantizes[v.Args[0]] = true
		}
	}
	second, err := run(ctx, b, inputs, func(v *ir.Value, t *tensor.Tensor) {
		if quantizes[v] {
			source[v] = t
		}
		want := kept[v.Name]
		if ir.DequantizeLinear.Is(v) && ir.QuantizeLinear.Is(v.Args[0]) {
			if v.Args[0].Args[1] != v.Args[1] {
				return // another scale comes out than went in: the weights around make up for it
			}
			v = v.Args[0].Args[0]
			if taken := source[v]; taken != nil && kept[v.Name] != nil {
				d, err := tensor.Compare(t, taken)
				if err != nil {
					failed = fmt.Errorf("%s: %w", v.Name, err)
					return
				}
				local := min(d.SNR, math.MaxFloat64)
				add(v.Name, false, t, kept[v.Name], &local)
				delete(source, v)
			}
			return
		}
		if want != nil && !quantizes[v] && !outputs[v.Name] && want.Type().Equal(t.Type()) {
			add(v.Name, false, t, want, nil)
		}
	})
	if err := cmp.Or(err, failed); err != nil {
		return nil, err
	}
	for _, o := range a.Outputs {
		if second[o.Name] == nil {
			return nil, fmt.Errorf("output %q: the second model has none", o.Name)
		}
		add(o.Name, true, second[o.Name], first[o.Name], nil)
	}
	slices.SortStableFunc(layers, func(x, y Layer) int {
		if x.Output != y.Output {
			if x.Output {
				return -1
			}
			return 1
		}
		return cmp.Compare(x.Cumulative, y.Cumulative)
	})
	return layers, failed
}

func run(ctx context.Context, g *ir.Graph, inputs map[string]*tensor.Tensor, see func(*ir.Value, *tensor.Tensor)) (map[string]*tensor.Tensor, error) {
	p, err := ir.Compile(g)
	if err != nil {
		return nil, err
	}
	p.Observe = see
	return p.Run(ctx, inputs)
}

// Differ lists the outputs that differ by more than Tolerance.
func Differ(layers []Layer) []string {
	var names []string
	for _, l := range layers {
		if l.Output && !(l.Relative <= Tolerance) {
			names = append(names, fmt.Sprintf("%s by %.1f dB", l.Name, l.Cumulative))
		}
	}
	return names
}
