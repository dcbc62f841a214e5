package quantizer

import (
	"slices"
	"strings"

	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
)

// Sites is what a graph offers to INT8 in a scope, in graph order.
type Sites struct {
	Convs   []*ir.Value             // convolutions of the branch with constant weights
	Inputs  []*ir.Value             // what they read that is not one of Values
	Values  []*ir.Value             // results that all their users take in INT8: of convolutions and residual additions (after their ReLU), of max-pooling
	Same    map[*ir.Value]*ir.Value // result of max-pooling -> the value whose range it shares
	Linears []*ir.Value             // products with constant matrices: linear layers
}

// FindSites looks through a graph for what a scope names: values whose source path lies in one of its modules.
func FindSites(g *ir.Graph, scope quant.Scope) *Sites {
	in := func(v *ir.Value) bool {
		return slices.ContainsFunc(scope.Convolutions, func(p string) bool { return v.Name == p || strings.HasPrefix(v.Name, p+".") })
	}
	uses := g.Uses()
	terminal := func(v *ir.Value) *ir.Value { // a ReLU that alone uses v takes its place
		if u := uses[v]; len(u) == 1 && ir.Relu.Is(u[0]) && !g.IsOutput(v) {
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
		case isLinear(v, scope.Linears):
			s.Linears = append(s.Linears, v)
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

// leastLinear is the size, in multiply-adds for one image, from which converting to integers and back pays.
const leastLinear = 1 << 16

func isLinear(v *ir.Value, modules []string) bool {
	inside := slices.ContainsFunc(modules, func(m string) bool { return strings.HasPrefix(v.Name, m+".") })
	return inside && ir.MatMul.Is(v) && v.Args[1].IsConst() && v.Args[1].Type.Rank() == 2 && MultiplyAdds(v) >= leastLinear
}

// Observed lists the values whose statistics a plan needs, each once.
func (s *Sites) Observed() []*ir.Value {
	observed := slices.Concat(s.Inputs, s.Values)
	for _, l := range s.Linears {
		if !slices.Contains(observed, l.Args[0]) {
			observed = append(observed, l.Args[0])
		}
	}
	return observed
}

// ChannelsLast reports whether an observed value's channels are its last axis: what linear layers read. Others have them on axis 1 of NCHW.
func (s *Sites) ChannelsLast(v *ir.Value) bool {
	return slices.ContainsFunc(s.Linears, func(l *ir.Value) bool { return l.Args[0] == v })
}

// MultiplyAdds counts a value's multiply-adds for one image, other dynamic sizes as 1.
func MultiplyAdds(v *ir.Value) int64 {
	one := map[string]int64{}
	for _, x := range append([]*ir.Value{v}, v.Args...) {
		if x != nil {
			for _, d := range x.Type.Shape {
				if !d.IsStatic() {
					one[d.Sym] = 1
				}
			}
		}
	}
	c, err := ir.CostOf(v, one)
	if err != nil { // a shape that no size of 1 fits has no cost to speak of
		return 0
	}
	return c.MultiplyAdds
}

// fusedSums gives, of each residual addition, the convolution whose kernel can add: the last one, when nothing else reads its result.
func (s *Sites) fusedSums(uses map[*ir.Value][]*ir.Value, inInt8 map[*ir.Value]bool) map[*ir.Value]bool {
	fused := map[*ir.Value]bool{}
	for _, v := range s.Values {
		sum := producer(v)
		if !ir.Add.Is(sum) {
			continue
		}
		for _, c := range slices.Backward(s.Convs) {
			if slices.Contains(sum.Args, c) && inInt8[c] && len(uses[c]) == 1 {
				fused[c] = true
				break
			}
		}
	}
	return fused
}

// producer is what computes v before its ReLU.
func producer(v *ir.Value) *ir.Value {
	if ir.Relu.Is(v) {
		return v.Args[0]
	}
	return v
}
