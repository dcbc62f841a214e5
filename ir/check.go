package ir

import (
	"fmt"
	"reflect"
	"slices"
)

// Check reports the first broken rule of a graph: an argument that does not stand before its use, a type that the
// operator table does not give, an input or output name that occurs twice, an output that is not in the graph, an edge that was changed
// behind the graph's back.
func Check(g *Graph) error {
	fail := func(v *Value, format string, args ...any) error {
		return fmt.Errorf("graph %s: %s: %w", g.Name, v, fmt.Errorf(format, args...))
	}
	seen, ids, inputs := map[*Value]bool{}, map[int]bool{}, map[string]bool{}
	for _, v := range g.Values {
		switch {
		case ids[v.ID]:
			return fail(v, "its ID occurs twice")
		case v.IsConst() && (v.Const == nil || !v.Const.Type().Equal(v.Type)):
			return fail(v, "the constant's tensor is not of its type")
		case v.IsInput() && (v.Name == "" || inputs[v.Name]):
			return fail(v, "input name is empty or occurs twice")
		}
		if v.IsInput() {
			inputs[v.Name] = true
		}
		for _, a := range v.Args {
			if a != nil && !seen[a] {
				return fail(v, "its argument %s does not stand before it", a)
			}
		}
		if !v.IsConst() && !v.IsInput() {
			t, err := v.Op.infer(v.Attrs, v.Args)
			if err != nil {
				return fail(v, "%w", err)
			}
			if !t.Equal(v.Type) {
				return fail(v, "have type %s, want %s", v.Type, t)
			}
		}
		seen[v], ids[v.ID] = true, true
	}
	names := map[string]bool{}
	for _, o := range g.Outputs {
		if o.Name == "" || names[o.Name] {
			return fmt.Errorf("graph %s: output name %q is empty or occurs twice", g.Name, o.Name)
		}
		if !seen[o.Value] {
			return fail(o.Value, "output %s is not in the graph", o.Name)
		}
		names[o.Name] = true
	}
	if g.uses != nil {
		for a, users := range g.Uses() {
			if kept := g.uses[a]; len(kept) != len(users) || slices.ContainsFunc(users, func(v *Value) bool { return !slices.Contains(kept, v) }) {
				return fail(a, "have %d uses, want %d", len(kept), len(users))
			}
		}
	}
	return nil
}

// CheckModule checks every graph; graph names must differ.
func CheckModule(m *Module) error {
	names := map[string]bool{}
	for _, g := range m.Graphs {
		if names[g.Name] {
			return fmt.Errorf("module: graph %q occurs twice", g.Name)
		}
		names[g.Name] = true
		if err := Check(g); err != nil {
			return err
		}
	}
	return nil
}

// AttrField is one attribute of an op: its ONNX name and where it lies in the attribute struct.
type AttrField struct {
	Name  string
	Index int
}

// AttrFields lists an attribute struct's fields by their `ir` tags, in declaration order.
func AttrFields(attrs any) []AttrField {
	if attrs == nil {
		return nil
	}
	t := reflect.TypeOf(attrs)
	fields := make([]AttrField, 0, t.NumField())
	for i := range t.NumField() {
		fields = append(fields, AttrField{t.Field(i).Tag.Get("ir"), i})
	}
	return fields
}
