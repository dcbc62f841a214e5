package quant

import (
	"math"
	"slices"
	"strings"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// Sites is what a graph's branch offers to INT8, in graph order.
type Sites struct {
	Convs  []*ir.Value             // convolutions of the branch with constant weights
	Inputs []*ir.Value             // what they read that is not one of Values
	Values []*ir.Value             // results that all their users take in INT8: of convolutions and residual additions (after their ReLU), of max-pooling
	Same   map[*ir.Value]*ir.Value // result of max-pooling -> the value whose range it shares
}

// A Layer is a convolution that insert-qdq has quantized.
type Layer struct {
	Key     string         // of the float convolution
	Conv    *ir.Value      // Conv(DequantizeLinear(x), DequantizeLinear(weights), bias)
	Weights *tensor.Tensor // [M,C,kH,kW]: what the integers stand for
	Bias    []float32      // [M], in the scale of Conv's results
	In      []float32      // [C]: Conv reads what the float convolution reads, divided by this; nil for ones
}

// IntegerBias is a bias in steps of its scales, rounded half to even, in int32's range.
func IntegerBias[F float32 | float64](bias []F, scales []float32) []int32 {
	x := make([]int32, len(bias))
	for i, b := range bias {
		x[i] = int32(min(max(math.RoundToEven(float64(b)/float64(scales[i])), math.MinInt32), math.MaxInt32))
	}
	return x
}

// FindSites looks through a graph for the branch: values whose source path starts with one of the prefixes.
func FindSites(g *ir.Graph, branch []string) *Sites {
	in := func(v *ir.Value) bool {
		return slices.ContainsFunc(branch, func(p string) bool { return v.Name == p || strings.HasPrefix(v.Name, p+".") })
	}
	uses := g.Uses()
	terminal := func(v *ir.Value) *ir.Value { // a ReLU that alone uses v takes its place
		if u := uses[v]; len(u) == 1 && ir.Relu.Is(u[0]) && !isOutput(g, v) {
			return u[0]
		}
		return v
	}
	s := &Sites{Same: map[*ir.Value]*ir.Value{}}
	inside := map[*ir.Value]bool{}
	keep := func(v *ir.Value) {
		if !inside[v] {
			inside[v] = true
			s.Values = append(s.Values, v)
		}
	}
	for _, v := range g.Values {
		switch {
		case !in(v):
		case ir.Conv.Is(v) && v.Args[1].IsConst() && (len(v.Args) < 3 || v.Args[2].IsConst()):
			s.Convs = append(s.Convs, v)
			if x := v.Args[0]; !inside[x] && !slices.Contains(s.Inputs, x) {
				s.Inputs = append(s.Inputs, x)
			}
			keep(terminal(v))
		case ir.Add.Is(v) && inside[v.Args[0]] && inside[v.Args[1]]:
			keep(terminal(v))
		case ir.MaxPool.Is(v) && inside[v.Args[0]]:
			s.Same[v] = v.Args[0]
			keep(v)
		}
	}
	return s
}

func isOutput(g *ir.Graph, v *ir.Value) bool {
	return slices.ContainsFunc(g.Outputs, func(o ir.Output) bool { return o.Value == v })
}

// Observed lists the values whose statistics a plan needs.
func (s *Sites) Observed() []*ir.Value { return append(slices.Clone(s.Inputs), s.Values...) }

// MultiplyAdds counts a convolution's multiply-adds for one image; 0 when its shape is not static but for the batch.
func MultiplyAdds(conv *ir.Value) int64 {
	n := int64(1)
	for _, d := range append(slices.Clone(conv.Type.Shape[1:]), conv.Args[1].Type.Shape[1:]...) {
		if !d.IsStatic() {
			return 0
		}
		n *= d.B
	}
	return n
}
