// Package ir is the compiler's intermediate representation: typed values in straight-line graphs,
// the operator table, a builder, a checker, a text form and a reference evaluator.
package ir

import (
	"fmt"
	"slices"

	"syncsam-convert/ir/tensor"
)

// A Value is one operator application and its one result.
type Value struct {
	ID    int            // unique in its graph, never reused; carries no order
	Op    *Op            // a row of the operator table
	Args  []*Value       // nil entries are absent optional arguments
	Attrs any            // the op's attribute struct, nil when it has none
	Type  tensor.Type    // fixed at birth
	Const *tensor.Tensor // of Constant: its value
	Name  string         // source path, "image_encoder.blocks.3.attn.qkv"; of Input: the input's name
	From  string         // the pass that made it, "" for a frontend
	Of    string         // the key of the value that the frontend made and this one is, within rounding or quantization; "" for none
}

// An Output is a graph result under its public name.
type Output struct {
	Name  string
	Value *Value
}

// A Graph is a straight-line program: every argument of a value stands before it in Values.
type Graph struct {
	Name    string
	Values  []*Value // inputs and constants included
	Outputs []Output
	nextID  int
}

// A Module is a model: its graphs, and what surrounds them.
type Module struct {
	Graphs []*Graph
	Meta   Meta
}

// Graph finds a graph by name, nil when the module has none of it.
func (m *Module) Graph(name string) *Graph {
	for _, g := range m.Graphs {
		if g.Name == name {
			return g
		}
	}
	return nil
}

// Encoder is the graph that reads the image: "encoder", or "model" where one graph does everything.
func (m *Module) Encoder() *Graph {
	if g := m.Graph("encoder"); g != nil {
		return g
	}
	return m.Graph("model")
}

// Inputs lists the graph's Input values in order.
func (g *Graph) Inputs() []*Value {
	var in []*Value
	for _, v := range g.Values {
		if v.Op == opInput {
			in = append(in, v)
		}
	}
	return in
}

// IsConst reports whether v is a Constant.
func (v *Value) IsConst() bool { return v != nil && v.Op == opConstant }

// IsInput reports whether v is a graph input.
func (v *Value) IsInput() bool { return v != nil && v.Op == opInput }

// String names the value as error texts and the text form do: the op, the result type, the source path.
func (v *Value) String() string {
	if v == nil {
		return "absent argument"
	}
	s := fmt.Sprintf("%%%d = %s : %s", v.ID, v.Op.Name, v.Type)
	if v.Name != "" {
		s += fmt.Sprintf(" %q", v.Name)
	}
	return s
}

// Uses maps every value to the values that take it as an argument; outputs are not counted.
func (g *Graph) Uses() map[*Value][]*Value {
	uses := make(map[*Value][]*Value, len(g.Values))
	for _, v := range g.Values {
		for i, a := range v.Args {
			if a != nil && slices.Index(v.Args, a) == i {
				uses[a] = append(uses[a], v)
			}
		}
	}
	return uses
}

// Replace redirects every use of old, output names included, to new. It and ReplaceIn are the only ways to change a graph's edges.
// new must have old's type and stand in the graph; it takes over old's name when it has none, and is stamped with rule.
func (g *Graph) Replace(rule string, old, new *Value) error {
	if err := g.ReplaceIn(rule, old, new, func(*Value) bool { return true }); err != nil {
		return err
	}
	for i := range g.Outputs {
		if g.Outputs[i].Value == old {
			g.Outputs[i].Value = new
		}
	}
	if !new.IsConst() && !new.IsInput() {
		if new.Name == "" {
			new.Name = old.Name
		}
		if new.Of == "" {
			new.Of = old.Of
		}
		new.From = rule
	}
	return nil
}

// ReplaceIn redirects the uses of old in the values that users chooses; outputs keep their value.
func (g *Graph) ReplaceIn(rule string, old, new *Value, users func(*Value) bool) error {
	if !old.Type.Equal(new.Type) {
		return fmt.Errorf("%s: replace %s: have type %s, want %s", rule, old, new.Type, old.Type)
	}
	at := slices.Index(g.Values, new)
	if at < 0 {
		return fmt.Errorf("%s: replace %s: %s is not in graph %s", rule, old, new, g.Name)
	}
	for i, v := range g.Values {
		if v == new || !slices.Contains(v.Args, old) || !users(v) {
			continue
		}
		if i < at {
			return fmt.Errorf("%s: replace %s: its use %s stands before %s", rule, old, v, new)
		}
		for k, a := range v.Args {
			if a == old {
				v.Args[k] = new
			}
		}
	}
	return nil
}

// Clone is a graph of its own with the same values; tensors are shared.
func (g *Graph) Clone() *Graph {
	own := *g
	own.Values, own.Outputs = make([]*Value, len(g.Values)), slices.Clone(g.Outputs)
	of := map[*Value]*Value{}
	for i, v := range g.Values {
		w := *v
		w.Args = slices.Clone(v.Args)
		for k, a := range w.Args {
			w.Args[k] = of[a]
		}
		own.Values[i], of[v] = &w, &w
	}
	for i, o := range own.Outputs {
		own.Outputs[i].Value = of[o.Value]
	}
	return &own
}

// Live is the set of values that an output needs.
func (g *Graph) Live() map[*Value]bool {
	live := make(map[*Value]bool, len(g.Values))
	for _, o := range g.Outputs {
		live[o.Value] = true
	}
	for _, v := range slices.Backward(g.Values) {
		if live[v] {
			for _, a := range v.Args {
				live[a] = true
			}
		}
	}
	return live
}

// Sweep removes the values that no output needs, inputs excepted, and reports how many.
func (g *Graph) Sweep() int {
	live, before := g.Live(), len(g.Values)
	g.Values = slices.DeleteFunc(g.Values, func(v *Value) bool { return !live[v] && v.Op != opInput })
	return before - len(g.Values)
}
