package reconstruct

import (
	"context"
	"crypto/sha256"
	"fmt"

	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/ir/tensor"
)

// A Reference is a float graph with some of its results for some inputs, kept: what many quantized graphs are rounded by, or measured
// against. They are computed only from where they differ from the float graph.
type Reference struct {
	inputs []map[string]*tensor.Tensor
	plain  map[string]*ir.Value // by key
	float  map[*ir.Value][]*tensor.Tensor
	known  map[[sha256.Size]byte][]*tensor.Tensor
}

// NewReference runs a float graph and keeps the results of the values that keep chooses, up to so many bytes; where they would be more it
// gives nil.
func NewReference(ctx context.Context, float *ir.Graph, inputs []map[string]*tensor.Tensor, keep func(*ir.Value) bool, most int64) (*Reference, error) {
	r := &Reference{inputs: inputs, plain: map[string]*ir.Value{}, float: map[*ir.Value][]*tensor.Tensor{}, known: map[[sha256.Size]byte][]*tensor.Tensor{}}
	for v, key := range quant.Keys(float) {
		r.plain[key] = v
	}
	var wanted []*ir.Value
	for _, v := range float.Values {
		if !v.IsConst() && keep(v) {
			wanted = append(wanted, v)
		}
	}
	prints, size := ir.Fingerprints(float), int64(0)
	kept := map[*ir.Value]bool{}
	for _, v := range wanted {
		kept[v] = true
	}
	for step, err := range ir.StepsFrom(ctx, float, inputs, nil, wanted) {
		if err != nil {
			return nil, err
		}
		if !kept[step.Value] {
			continue
		}
		for _, t := range step.Results {
			size += t.NumBytes()
		}
		if size > most {
			return nil, nil
		}
		r.float[step.Value], r.known[prints[step.Value]] = step.Results, step.Results
	}
	return r, nil
}

// in gives the values of another graph whose results are known.
func (r *Reference) in(g *ir.Graph) map[*ir.Value][]*tensor.Tensor {
	known := map[*ir.Value][]*tensor.Tensor{}
	for v, print := range ir.Fingerprints(g) {
		if results := r.known[print]; results != nil {
			known[v] = results
		}
	}
	return known
}

// Outputs are a graph's results by name, for each of the inputs.
func (r *Reference) Outputs(ctx context.Context, g *ir.Graph) ([]map[string]*tensor.Tensor, error) {
	out := make([]map[string]*tensor.Tensor, len(r.inputs))
	for i := range out {
		out[i] = map[string]*tensor.Tensor{}
	}
	var wanted []*ir.Value
	for _, o := range g.Outputs {
		wanted = append(wanted, o.Value)
	}
	for step, err := range ir.StepsFrom(ctx, g, r.inputs, r.in(g), wanted) {
		if err != nil {
			return nil, err
		}
		for _, o := range g.Outputs {
			if o.Value == step.Value {
				for i, t := range step.Results {
					out[i][o.Name] = t
				}
			}
		}
	}
	return out, nil
}

// Run rewrites the constants of the layers of a quantized graph as the function Run does.
func (r *Reference) Run(ctx context.Context, quantized *ir.Graph, layers []quant.Layer, seen func()) error {
	return run(ctx, quantized, layers, r.inputs, r.in(quantized), func(l quant.Layer) ([]*tensor.Tensor, error) {
		v := r.plain[l.Key]
		if v == nil || r.float[v.Args[0]] == nil {
			return nil, fmt.Errorf("internal error: the reference has no input of %s", l.Key)
		}
		return r.float[v.Args[0]], nil
	}, seen)
}
