package quant

import (
	"slices"
	"strings"

	"syncsam-convert/ir"
)

// FindLinears lists a graph's products with constant matrices below the given modules: their linear layers.
func FindLinears(g *ir.Graph, modules []string) []*ir.Value {
	var found []*ir.Value
	for _, v := range g.Values {
		inside := slices.ContainsFunc(modules, func(m string) bool { return strings.HasPrefix(v.Name, m+".") })
		if inside && ir.MatMul.Is(v) && v.Args[1].IsConst() && v.Args[1].Type.Rank() == 2 && LinearMultiplyAdds(v) >= leastLinear {
			found = append(found, v)
		}
	}
	return found
}

// leastLinear is the size, in multiply-adds for one image, from which converting to integers and back pays.
const leastLinear = 1 << 16

// LinearMultiplyAdds counts a product's multiply-adds for one image.
func LinearMultiplyAdds(v *ir.Value) int64 {
	n := v.Args[1].Type.Shape[0].B
	for i, d := range v.Type.Shape {
		if i > 0 || d.IsStatic() {
			n *= d.B + d.A
		}
	}
	return n
}
