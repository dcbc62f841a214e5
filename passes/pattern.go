package passes

import (
	"reflect"

	"syncsam-convert/ir"
)

// A pattern is a small graph that a pass looks for: its inputs are variables, everything else must be found as it is.
type pattern struct {
	vars map[string]*ir.Value // pattern inputs by name
	root *ir.Value
}

// newPattern takes a graph with one output.
func newPattern(g *ir.Graph) pattern {
	p := pattern{map[string]*ir.Value{}, g.Outputs[0].Value}
	for _, v := range g.Inputs() {
		p.vars[v.Name] = v
	}
	return p
}

// match binds the pattern's variables so that its root becomes v: the same ops, attributes and types all the way down.
func (p pattern) match(v *ir.Value) (map[string]*ir.Value, bool) {
	bound := map[*ir.Value]*ir.Value{}
	if !unify(p.root, v, bound) {
		return nil, false
	}
	found := make(map[string]*ir.Value, len(p.vars))
	for name, x := range p.vars {
		found[name] = bound[x]
	}
	return found, true
}

func unify(p, v *ir.Value, bound map[*ir.Value]*ir.Value) bool {
	if have, ok := bound[p]; ok {
		return have == v
	}
	if v == nil || !p.Type.Equal(v.Type) {
		return false
	}
	bound[p] = v
	if p.IsInput() {
		return true
	}
	if p.Op != v.Op || len(p.Args) != len(v.Args) || !reflect.DeepEqual(p.Attrs, v.Attrs) {
		return false
	}
	for i, a := range p.Args {
		if a == nil && v.Args[i] == nil {
			continue
		}
		if a == nil || !unify(a, v.Args[i], bound) {
			return false
		}
	}
	return true
}

// back follows first arguments through the named ops and gives the last one's value, nil where the chain differs.
func back(v *ir.Value, ops ...*ir.Op) *ir.Value {
	for i, op := range ops {
		if v == nil || v.Op != op {
			return nil
		}
		if i < len(ops)-1 {
			v = v.Args[0]
		}
	}
	return v
}

// side is v's static size along an axis, 0 for none.
func side(v *ir.Value, axis int) int64 {
	if v == nil || axis >= len(v.Type.Shape) || !v.Type.Shape[axis].IsStatic() {
		return 0
	}
	return v.Type.Shape[axis].B
}
