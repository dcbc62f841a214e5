// Package ir is the compiler's intermediate representation: typed values in straight-line graphs,
// the operator table, a builder, a checker, a text form and a reference evaluator.
package ir

import (
	"fmt"
	"math/rand/v2"
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
	uses    map[*Value][]*Value // nil until somebody asks
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

// Output is the value of a named result, nil when the graph has none of it.
func (g *Graph) Output(name string) *Value {
	for _, o := range g.Outputs {
		if o.Name == name {
			return o.Value
		}
	}
	return nil
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

// Uses maps every value to the values that take it as an argument, as they are now; outputs are not counted.
func (g *Graph) Uses() map[*Value][]*Value {
	uses := make(map[*Value][]*Value, len(g.Values))
	for _, v := range g.Values {
		v.eachArg(func(a *Value) { uses[a] = append(uses[a], v) })
	}
	return uses
}

// UsesOf lists the values that take v as an argument, each once; outputs are not counted. The graph keeps the list as it changes: it
// may be read until the next change.
func (g *Graph) UsesOf(v *Value) []*Value {
	if g.uses == nil {
		g.uses = g.Uses()
	}
	return g.uses[v]
}

// IsOutput reports whether v is a result of the graph.
func (g *Graph) IsOutput(v *Value) bool {
	return slices.ContainsFunc(g.Outputs, func(o Output) bool { return o.Value == v })
}

// eachArg calls f with the arguments that are there, each once.
func (v *Value) eachArg(f func(a *Value)) {
	for i, a := range v.Args {
		if a != nil && slices.Index(v.Args, a) == i {
			f(a)
		}
	}
}

// SetConst gives a constant another tensor of its type.
func (v *Value) SetConst(t *tensor.Tensor) error {
	if !v.IsConst() || !t.Type().Equal(v.Type) {
		return fmt.Errorf("set %s: have a tensor of type %s", v, t.Type())
	}
	v.Const = t
	return nil
}

// Become makes the graph what another one is, under its own name, for passes that build a graph anew. The other one is used up.
func (g *Graph) Become(other *Graph) {
	name := g.Name
	*g, *other = *other, Graph{}
	g.Name = name
}

// Replace redirects every use of old, output names included, to new. It, ReplaceIn and Become are the only ways to change a graph's edges.
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
	move := slices.DeleteFunc(slices.Clone(g.UsesOf(old)), func(v *Value) bool { return v == new || !users(v) })
	for _, v := range g.Values[:at] {
		if slices.Contains(move, v) {
			return fmt.Errorf("%s: replace %s: its use %s stands before %s", rule, old, v, new)
		}
	}
	for _, v := range move {
		if !slices.Contains(v.Args, new) {
			g.uses[new] = append(g.uses[new], v)
		}
		for k, a := range v.Args {
			if a == old {
				v.Args[k] = new
			}
		}
	}
	g.uses[old] = slices.DeleteFunc(g.uses[old], func(v *Value) bool { return slices.Contains(move, v) })
	return nil
}

// Clone is a graph of its own with the same values; tensors are shared.
func (g *Graph) Clone() *Graph {
	own := *g
	own.uses = nil
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
	g.uses = nil
	g.Values = slices.DeleteFunc(g.Values, func(v *Value) bool { return !live[v] && v.Op != opInput })
	return before - len(g.Values)
}

// Shuffle brings the values into another order that the graph allows, a seed for each, so that tests see what depends on the order.
// Inputs keep theirs, which is part of what a graph promises.
func Shuffle(g *Graph, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0))
	waits, next := map[*Value]int{}, map[*Value][]*Value{}
	after := func(v, a *Value) {
		waits[v]++
		next[a] = append(next[a], v)
	}
	in := g.Inputs()
	for i := range in[min(1, len(in)):] {
		after(in[i+1], in[i])
	}
	for _, v := range g.Values {
		v.eachArg(func(a *Value) { after(v, a) })
	}
	ready := slices.DeleteFunc(slices.Clone(g.Values), func(v *Value) bool { return waits[v] > 0 })
	order := make([]*Value, 0, len(g.Values))
	for len(ready) > 0 {
		i := random.IntN(len(ready))
		v := ready[i]
		ready = slices.Delete(ready, i, i+1)
		order = append(order, v)
		for _, u := range next[v] {
			if waits[u]--; waits[u] == 0 {
				ready = append(ready, u)
			}
		}
	}
	g.Values = order
}
