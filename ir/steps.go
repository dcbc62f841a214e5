package ir

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"syncsam-convert/ir/tensor"
)

// A Step is a value and its results, one for each of the inputs that a graph is evaluated for.
type Step struct {
	Value   *Value
	Results []*tensor.Tensor
}

// Steps evaluates a graph for several inputs at once, value by value, and yields each value that depends on an input. Constants are
// taken when their first user is computed: until then a caller may change them (Value.SetConst). The last step may be an error.
func Steps(ctx context.Context, g *Graph, inputs []map[string]*tensor.Tensor) iter.Seq2[Step, error] {
	return StepsFrom(ctx, g, inputs, nil, g.Values)
}

// StepsFrom is Steps for what leads to some values of the graph, from where results are known on.
func StepsFrom(ctx context.Context, g *Graph, inputs []map[string]*tensor.Tensor, known map[*Value][]*tensor.Tensor, wanted []*Value) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		s, err := newStepper(g, inputs)
		if err != nil {
			yield(Step{}, err)
			return
		}
		needed := map[*Value]bool{}
		for _, v := range wanted {
			needed[v] = true
		}
		for _, v := range slices.Backward(g.Values) {
			if needed[v] && known[v] == nil {
				for _, a := range v.Args {
					needed[a] = true
				}
			}
		}
		for i, v := range g.Values {
			if s.static[v] || !needed[v] {
				continue
			}
			err := ctx.Err()
			if results := known[v]; results != nil {
				for k, t := range results {
					s.values[k][v] = t
				}
			} else if err == nil {
				err = s.compute(v)
			}
			if err != nil {
				yield(Step{}, fmt.Errorf("graph %s: %s: %w", g.Name, v, err))
				return
			}
			step := Step{v, make([]*tensor.Tensor, len(inputs))}
			for k := range inputs {
				step.Results[k] = s.values[k][v]
			}
			if !yield(step, nil) {
				return
			}
			for _, a := range slices.Concat(v.Args, []*Value{v}) {
				if a != nil && s.last[a] <= i {
					for _, values := range s.values {
						delete(values, a)
					}
				}
			}
		}
	}
}

type stepper struct {
	static map[*Value]bool // depends on constants alone, its shape too
	last   map[*Value]int  // where the last use of a value stands
	inputs []map[string]*tensor.Tensor
	syms   []map[string]int64
	values []map[*Value]*tensor.Tensor
}

func newStepper(g *Graph, inputs []map[string]*tensor.Tensor) (*stepper, error) {
	if err := Check(g); err != nil {
		return nil, err
	}
	s := &stepper{static: map[*Value]bool{}, last: lastUses(g), inputs: inputs}
	for _, in := range inputs {
		syms, err := Bind(g, in)
		if err != nil {
			return nil, err
		}
		s.syms, s.values = append(s.syms, syms), append(s.values, map[*Value]*tensor.Tensor{})
	}
	for _, v := range g.Values {
		_, fixed := v.Type.Static()
		s.static[v] = fixed && !v.IsInput() && !slices.ContainsFunc(v.Args, func(a *Value) bool { return a != nil && !s.static[a] })
	}
	return s, nil
}

// compute puts a value's results into values, after those of its arguments that depend on constants alone.
func (s *stepper) compute(v *Value) error {
	var kept *memo // what follows from arguments but the first, where those are constants
	if len(v.Args) > 1 {
		kept = &memo{}
	}
	for i, a := range v.Args {
		switch {
		case a == nil:
		case s.static[a]:
			t, err := s.constant(a)
			if err != nil {
				return err
			}
			for _, values := range s.values {
				values[a] = t
			}
		case i > 0:
			kept = nil
		}
	}
	for k, values := range s.values {
		if v.IsInput() {
			values[v] = widened(s.inputs[k][v.Name])
			continue
		}
		t, err := evalValue(v, values, s.syms[k], kept, nil)
		if err != nil {
			return err
		}
		values[v] = t
	}
	return nil
}

// constant computes a value that depends on constants alone.
func (s *stepper) constant(v *Value) (*tensor.Tensor, error) {
	if len(s.values) > 0 && s.values[0][v] != nil {
		return s.values[0][v], nil
	}
	if v.IsConst() {
		return widened(tensor.Dense(v.Const)), nil
	}
	args := map[*Value]*tensor.Tensor{}
	for _, a := range v.Args {
		if a != nil {
			t, err := s.constant(a)
			if err != nil {
				return nil, err
			}
			args[a] = t
		}
	}
	return evalValue(v, args, nil, nil, nil)
}
