// Package compare measures one model's values against another's, layer by layer.
package compare

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// A Layer is one value of the first model, beside the second's that has the same identity.
type Layer struct {
	Name       string   `json:"name"`               // the identity: the key that the frontend's value has; of a result, the output's name
	Output     bool     `json:"output"`             // it is a result of the graph
	Cumulative float64  `json:"cumulative_db"`      // signal-to-noise against the other model; math.MaxFloat64 when equal
	Local      *float64 `json:"local_db,omitempty"` // of quantizing and dequantizing it, in the second model alone
	Relative   float64  `json:"max_abs_over_std"`   // largest difference in standard deviations
	Alone      string   `json:"alone,omitempty"`    // why it has no partner, and so no figures; "" where it has one
}

// Tolerance is the difference below which two outputs count as equal: float32 sums in another order.
const Tolerance = 2e-5

// maxKept is the largest tensor that is kept for comparison, in bytes; larger ones are products inside attention.
const maxKept = 8 << 20

// Graphs runs both graphs on the same inputs (the first's names) and compares every float value of the first with the one of the second
// that has its identity (ir.Value.Of): outputs first, then worst first, then what has no partner.
func Graphs(ctx context.Context, a, b *ir.Graph, inputs map[string]*tensor.Tensor) ([]Layer, error) {
	c := &comparison{first: map[string]*tensor.Tensor{}, alone: map[string]string{}, taken: map[*ir.Value]*tensor.Tensor{}, quantizes: map[*ir.Value]bool{}, outputs: map[*ir.Value]bool{}}
	theirs := map[string]bool{}
	for _, v := range b.Values {
		theirs[v.Of] = true
		if ir.QuantizeLinear.Is(v) {
			c.quantizes[v.Args[0]] = true
		}
	}
	for _, o := range slices.Concat(a.Outputs, b.Outputs) {
		c.outputs[o.Value] = true
	}
	first, err := run(ctx, a, inputs, func(v *ir.Value, t *tensor.Tensor) {
		switch {
		case v.Of == "" || c.outputs[v] || t.DType() != tensor.Float32:
		case !theirs[v.Of]:
			c.alone[v.Of] = "the second model has no such value"
		case t.NumBytes() > maxKept:
			c.alone[v.Of] = fmt.Sprintf("larger than %d MiB: not kept", maxKept>>20)
		default:
			c.first[v.Of] = t
		}
	})
	if err != nil {
		return nil, err
	}
	second, err := run(ctx, b, inputs, c.see)
	if err := cmp.Or(err, c.err); err != nil {
		return nil, err
	}
	for _, o := range a.Outputs {
		if second[o.Name] == nil {
			return nil, fmt.Errorf("output %q: the second model has none", o.Name)
		}
		c.add(o.Name, true, second[o.Name], first[o.Name], nil)
	}
	for of := range c.first { // what nobody came for
		c.alone[of] = "the second model has it in another scale, or not as a float"
	}
	for _, of := range slices.Sorted(maps.Keys(c.alone)) {
		c.layers = append(c.layers, Layer{Name: of, Alone: c.alone[of]})
	}
	rank := func(l Layer) int { return map[bool]int{l.Output: 0, !l.Output: 1, l.Alone != "": 2}[true] }
	slices.SortStableFunc(c.layers, func(x, y Layer) int {
		return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(x.Cumulative, y.Cumulative))
	})
	return c.layers, c.err
}

// A comparison is the state of one: what the first model had by identity, and what the second one is asked for.
type comparison struct {
	first     map[string]*tensor.Tensor
	alone     map[string]string
	taken     map[*ir.Value]*tensor.Tensor // what a QuantizeLinear of the second took
	quantizes map[*ir.Value]bool
	outputs   map[*ir.Value]bool
	layers    []Layer
	err       error
}

// see compares one value of the second model. A value that is quantized is judged behind its DequantizeLinear.
func (c *comparison) see(v *ir.Value, t *tensor.Tensor) {
	var local *float64
	if c.quantizes[v] {
		c.taken[v] = t
		return
	}
	if ir.DequantizeLinear.Is(v) && ir.QuantizeLinear.Is(v.Args[0]) {
		if v.Args[0].Args[1] != v.Args[1] && v.Of == "" {
			return // another scale comes out than went in: the weights around make up for it
		}
		x := v.Args[0].Args[0]
		if taken := c.taken[x]; taken != nil {
			d, err := tensor.Compare(t, taken)
			if err != nil {
				c.fail(x.Of, err)
				return
			}
			snr := min(d.SNR, math.MaxFloat64)
			local = &snr
		}
		v = x
	}
	if want := c.first[v.Of]; want != nil && v.Of != "" && !c.outputs[v] && t.DType() == tensor.Float32 {
		c.add(v.Of, false, t, want, local)
		delete(c.first, v.Of)
	}
}

func (c *comparison) add(name string, output bool, have, want *tensor.Tensor, local *float64) {
	d, err := tensor.Compare(have, want)
	if err != nil {
		c.fail(name, err)
		return
	}
	c.layers = append(c.layers, Layer{Name: name, Output: output, Cumulative: min(d.SNR, math.MaxFloat64), Local: local, Relative: d.Relative()})
}

func (c *comparison) fail(name string, err error) {
	c.err = cmp.Or(c.err, fmt.Errorf("%s: %w", name, err))
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
