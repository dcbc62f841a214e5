package tensorrt

import (
	"cmp"
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// A Device is what a GPU can do at most: operations per second by the type of a product's arguments, bytes per second of its memory.
type Device struct {
	Name                string  `json:"name"`
	INT8, Half, TF32    float64 `json:"-"`
	Bandwidth           float64 `json:"-"`
	ComputeCapabilities string  `json:"compute_capability"`
}

// A100 is NVIDIA's A100 40 GB, dense, from its data sheet: 624 TOPS INT8, 312 TFLOPS FP16, 156 TFLOPS TF32, 1.55 TB/s.
var A100 = Device{"A100", 624e12, 312e12, 156e12, 1.555e12, "8.0"}

// An Estimate is the least time that a graph needs on a device; no GPU was asked.
type Estimate struct {
	Milliseconds float64      `json:"ms"`
	Operations   float64      `json:"operations"` // 2 multiply-adds
	Bytes        float64      `json:"bytes"`
	Ops          []OpEstimate `json:"ops"` // longest first
}

// OpEstimate is the part of all layers of one operator and precision.
type OpEstimate struct {
	Op           string  `json:"op"`
	Precision    string  `json:"precision"`
	Count        int     `json:"count"`
	Milliseconds float64 `json:"ms"`
}

// Roofline estimates a graph with its dimensions bound to sizes: each layer takes as long as its arithmetic or its memory traffic,
// whichever is longer, at the device's peaks. Pointwise operators and views are taken to be fused into what makes their argument, at no cost.
func Roofline(g *ir.Graph, sizes map[string]int64, d Device) (Estimate, error) {
	type kind struct{ op, precision string }
	sums := map[kind]*OpEstimate{}
	var e Estimate
	for _, v := range g.Values {
		if v.Op.Class != ir.Product && v.Op.Class != ir.Moving || allConst(v.Args) {
			continue
		}
		c, err := ir.CostOf(v, sizes)
		if err != nil {
			return Estimate{}, err
		}
		precision, peak, bytes := "fp32", d.TF32, float64(c.Bytes)
		switch {
		case slices.ContainsFunc(v.Args, func(a *ir.Value) bool { return a != nil && ir.DequantizeLinear.Is(a) }):
			precision, peak, bytes = "int8", d.INT8, bytes/float64(tensor.Float32.Size()) // its arguments travel as the integers they come from
		case v.Type.DType == tensor.Float16:
			precision, peak = "fp16", d.Half
		}
		ops := 2 * float64(c.MultiplyAdds)
		ms := 1e3 * max(ops/peak, bytes/d.Bandwidth)
		k := kind{v.Op.Name, precision}
		if sums[k] == nil {
			sums[k] = &OpEstimate{Op: k.op, Precision: k.precision}
		}
		sums[k].Count++
		sums[k].Milliseconds += ms
		e.Milliseconds += ms
		e.Operations += ops
		e.Bytes += bytes
	}
	for _, s := range sums {
		e.Ops = append(e.Ops, *s)
	}
	slices.SortFunc(e.Ops, func(a, b OpEstimate) int {
		return cmp.Or(cmp.Compare(b.Milliseconds, a.Milliseconds), cmp.Compare(a.Op, b.Op), cmp.Compare(a.Precision, b.Precision))
	})
	return e, nil
}

func allConst(args []*ir.Value) bool {
	return !slices.ContainsFunc(args, func(a *ir.Value) bool { return a != nil && !a.IsConst() })
}
