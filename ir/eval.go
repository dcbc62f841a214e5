package ir

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"syncsam-convert/internal/guard"
	"syncsam-convert/internal/memory"
	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
)

// A Program is a graph made ready for evaluation. It may run in several goroutines at once.
type Program struct {
	g    *Graph
	dead [][]*Value                // values nobody needs after the i-th
	memo map[*Value]*memo          // of values whose arguments but the first are constants
	done map[*Value]*tensor.Tensor // what depends on constants alone, computed once
	pool *pool

	fitted sync.Map // of string: the sizes for which a run's memory was found to be within the limit

	Threads int // of a run, at most, and of whatever else runs meanwhile; 0: as many as the machine has

	// Observe, when set, sees every computed value, half precision as float32. Unless Transient it may keep the tensors, and no memory is reused.
	Observe   func(v *Value, t *tensor.Tensor)
	Transient bool
}

// Compile checks a graph and plans its evaluation. Lazy constants and what depends on constants alone (dequantized weights, for
// one) are computed once, here, and kept by the program; the graph stays as it is.
func Compile(g *Graph) (*Program, error) {
	if err := Check(g); err != nil {
		return nil, err
	}
	last := lastUses(g)
	for _, o := range g.Outputs {
		last[o.Value] = len(g.Values)
	}
	p := &Program{g: g, dead: make([][]*Value, len(g.Values)), done: map[*Value]*tensor.Tensor{}, memo: map[*Value]*memo{}, pool: &pool{}}
	for _, v := range g.Values {
		if v.constantBehindFirst() {
			p.memo[v] = &memo{}
		}
	}
	if err := p.fold(last); err != nil {
		return nil, err
	}
	for _, v := range g.Values { // in order, so that plans are reproducible
		if i := last[v]; i < len(g.Values) && !v.IsConst() && p.done[v] == nil {
			p.dead[i] = append(p.dead[i], v)
		}
	}
	return p, nil
}

// lastUses tells at which place a value is used last; where it stands, if it never is. Outputs are not counted.
func lastUses(g *Graph) map[*Value]int {
	last := make(map[*Value]int, len(g.Values))
	for i, v := range g.Values {
		last[v] = i
		for _, a := range v.Args {
			last[a] = i
		}
	}
	return last
}

// fold evaluates what depends on constants alone, and keeps of it what something else needs.
func (p *Program) fold(last map[*Value]int) error {
	known := map[*Value]*tensor.Tensor{}
	left := p.g.foldable()
	for _, v := range p.g.Values {
		if v.IsConst() {
			if known[v] = v.Const; !p.g.laidOut(v) {
				known[v] = widened(tensor.Dense(v.Const))
			}
			continue
		}
		_, static := v.Type.Static()
		if v.IsInput() || !static || slices.ContainsFunc(v.Args, func(a *Value) bool { return a != nil && known[a] == nil }) {
			continue
		}
		if size, err := v.memory(nil); err != nil || size > left { // it is computed when it is needed
			continue
		} else if v.Op.Class != View {
			left -= size
		}
		t, err := evalValue(v, known, nil, nil, nil)
		if err != nil {
			return fmt.Errorf("graph %s: %s: %w", p.g.Name, v, err)
		}
		known[v] = t
	}
	needed := map[*Value]bool{}
	for _, v := range p.g.Values {
		if known[v] == nil {
			for _, a := range v.Args {
				needed[a] = true
			}
		}
	}
	for v, t := range known {
		switch {
		case t == v.Const:
		case needed[v] || last[v] >= len(p.g.Values):
			p.done[v] = t
		case !v.IsConst():
			p.done[v] = nothing
		}
	}
	return nil
}

// foldable is how many bytes may be kept of what depends on constants alone: in proportion to those, which dequantization makes four times as large.
func (g *Graph) foldable() int64 {
	n := int64(64 << 20)
	for _, v := range g.Values {
		if v.IsConst() {
			n += 8 * v.Const.NumBytes()
		}
	}
	return n
}

// laidOut reports whether a large lazy constant is read once alone, when its users lay it out for their kernels: it need not be kept.
func (g *Graph) laidOut(c *Value) bool {
	const large = 1 << 20 // bytes; products with so many weights are always laid out
	if !c.Const.IsLazy() || c.Type.DType != tensor.Float32 || c.Const.NumBytes() < large || g.IsOutput(c) {
		return false
	}
	return !slices.ContainsFunc(g.UsesOf(c), func(u *Value) bool {
		product := MatMul.Is(u) && c.Type.Rank() == 2 || Conv.Is(u) || ConvTranspose.Is(u)
		return !product || u.Args[0] == c || !u.constantBehindFirst()
	})
}

// nothing stands for a folded value that only folded values need.
var nothing = tensor.Scalar(0)

// Graph is the graph that the program runs.
func (p *Program) Graph() *Graph { return p.g }

// Run evaluates the graph: inputs by name, results by output name. Symbols are bound by the shapes of the inputs.
// It stops between values when ctx is done.
func (p *Program) Run(ctx context.Context, inputs map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	syms, err := Bind(p.g, inputs)
	if err != nil {
		return nil, err
	}
	if err := p.fits(syms); err != nil {
		return nil, err
	}
	defer kernel.Limit(p.Threads)()
	values := make(map[*Value]*tensor.Tensor, len(p.g.Values))
	var held *leases
	if p.Observe == nil || p.Transient {
		held = newLeases(p.pool)
	}
	for i, v := range p.g.Values {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("graph %s: %w", p.g.Name, err)
		}
		switch {
		case v.IsInput():
			values[v] = widened(inputs[v.Name])
		case p.done[v] != nil:
			values[v] = p.done[v]
		case v.IsConst():
			values[v] = v.Const
		default:
			t, err := evalValue(v, values, syms, p.memo[v], held)
			if err != nil {
				return nil, fmt.Errorf("graph %s: %s: %w", p.g.Name, v, err)
			}
			values[v] = t
			held.born(v, t)
			if p.Observe != nil {
				p.Observe(v, t)
			}
		}
		for _, d := range p.dead[i] {
			delete(values, d)
			held.dies(d)
		}
	}
	out := make(map[string]*tensor.Tensor, len(p.g.Outputs))
	for _, o := range p.g.Outputs {
		out[o.Name] = tensor.Dense(tensor.Cast(values[o.Value], o.Value.Type.DType))
	}
	return out, nil
}

func evalValue(v *Value, values map[*Value]*tensor.Tensor, syms map[string]int64, kept *memo, held *leases) (t *tensor.Tensor, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = guard.Error(r)
		}
	}()
	env := &Env{Type: inFloat32(v.Type), memo: kept, leases: held}
	if env.Dims, err = v.dims(syms); err != nil {
		return nil, err
	}
	for i, n := range env.Dims {
		if n < 0 {
			return nil, fmt.Errorf("axis %d has %d elements", i, n)
		}
	}
	if size, err := v.bytes(env.Dims); err != nil {
		return nil, err
	} else if err := memory.Fits("its result", size, 1); err != nil {
		return nil, err
	}
	if v.Op.Eval == nil {
		return evalExpansion(v, values, syms)
	}
	args := make([]*tensor.Tensor, len(v.Args))
	for i, a := range v.Args {
		if a != nil {
			args[i] = values[a]
		}
	}
	if t, err = v.Op.Eval(env, v.Attrs, args); err != nil {
		return nil, err
	}
	if v.Type.DType == tensor.Float16 {
		t = rounded(t, args)
	}
	if have, want := t.Type(), tensor.Of(env.Type.DType, env.Dims...); !have.Equal(want) {
		return nil, fmt.Errorf("internal error: evaluated to %s, want %s", have, want)
	}
	return t, nil
}

// evalExpansion computes a composite as its spelling in primitives.
func evalExpansion(v *Value, values map[*Value]*tensor.Tensor, syms map[string]int64) (*tensor.Tensor, error) {
	g, result, err := v.Expansion()
	if err != nil {
		return nil, err
	}
	inside := map[*Value]*tensor.Tensor{}
	v.eachArg(func(a *Value) { inside[a] = values[a] })
	last := lastUses(g)
	for i, x := range g.Values {
		if x.IsConst() {
			if i := slices.IndexFunc(v.Args, func(a *Value) bool { return a.IsConst() && a.Const == x.Const }); i >= 0 {
				inside[x] = values[v.Args[i]] // computed already
			} else {
				inside[x] = widened(tensor.Dense(x.Const))
			}
			continue
		}
		var kept *memo
		if x.constantBehindFirst() {
			kept = &memo{}
		}
		if inside[x], err = evalValue(x, inside, syms, kept, nil); err != nil {
			return nil, err
		}
		x.eachArg(func(a *Value) {
			if last[a] == i {
				delete(inside, a)
			}
		})
	}
	return inside[result], nil
}

// constantBehindFirst reports whether a value has arguments behind the first, and those are constants.
func (v *Value) constantBehindFirst() bool {
	return len(v.Args) > 1 && !slices.ContainsFunc(v.Args[1:], func(a *Value) bool { return a != nil && !a.IsConst() })
}

// Bind matches input tensors with a graph's inputs: none missing, none unknown, types as declared. It gives the symbols' sizes.
func Bind(g *Graph, inputs map[string]*tensor.Tensor) (map[string]int64, error) {
	syms := map[string]int64{}
	known := map[string]bool{}
	for _, v := range g.Inputs() {
		known[v.Name] = true
		t := inputs[v.Name]
		if t == nil {
			return nil, fmt.Errorf("graph %s: input %q is missing", g.Name, v.Name)
		}
		if err := t.Type().Measurable(); err != nil {
			return nil, fmt.Errorf("graph %s: input %q: %w", g.Name, v.Name, err)
		}
		bad := fmt.Errorf("graph %s: input %q: have %s, want %s", g.Name, v.Name, t.Type(), v.Type)
		if t.DType() != v.Type.DType || len(t.Dims()) != v.Type.Rank() {
			return nil, bad
		}
		for i, d := range v.Type.Shape {
			n := t.Dims()[i]
			if d.IsStatic() {
				if d.B != n {
					return nil, bad
				}
				continue
			}
			if d.A == 0 || (n-d.B)%d.A != 0 || (n-d.B)/d.A < 0 {
				return nil, bad
			}
			size := (n - d.B) / d.A
			if have, ok := syms[d.Sym]; ok && have != size {
				return nil, fmt.Errorf("%w: %s is %d in another input", bad, d.Sym, have)
			}
			syms[d.Sym] = size
		}
	}
	for name := range inputs {
		if !known[name] {
			return nil, fmt.Errorf("graph %s: there is no input %q", g.Name, name)
		}
	}
	if m, ok := syms[MaskBatch]; ok && m != 1 && m != syms["B"] {
		return nil, fmt.Errorf("graph %s: have %d mask prompts for %d prompts, want one for all or one for each", g.Name, m, syms["B"])
	}
	return syms, nil
}

// fits refuses a run that takes more memory than one may, before it begins.
func (p *Program) fits(syms map[string]int64) error {
	key := fmt.Sprint(syms) // in the order of the names
	if _, known := p.fitted.Load(key); known {
		return nil
	}
	most, _, err := p.peak(syms)
	if err == nil {
		err = memory.Fits("its values", most, 1)
	}
	if err != nil {
		return fmt.Errorf("graph %s: %w", p.g.Name, err)
	}
	p.fitted.Store(key, nil)
	return nil
}

// EvalConst computes a value of static type whose arguments are all constants.
func EvalConst(v *Value) (*tensor.Tensor, error) {
	return Evaluate(v, func(a *Value) (*tensor.Tensor, error) {
		if a == v || a.IsConst() {
			return nil, nil
		}
		return nil, fmt.Errorf("%s: its argument %s is not a constant", v, a)
	}, nil)
}

// Evaluate computes one value from constants and what known gives: nil has an argument computed in its turn, an error ends it. Types must
// be static. What is computed on the way is kept in memo, which later calls find it in; nil keeps nothing.
func Evaluate(v *Value, known func(*Value) (*tensor.Tensor, error), memo *Evaluated) (*tensor.Tensor, error) {
	if memo == nil {
		memo = &Evaluated{}
	}
	if memo.values == nil {
		memo.values = map[*Value]*tensor.Tensor{}
	}
	t, err := evaluate(v, known, memo)
	if err != nil {
		return nil, err
	}
	return tensor.Dense(tensor.Cast(t, v.Type.DType)), nil
}

// Evaluated is what Evaluate keeps.
type Evaluated struct {
	values map[*Value]*tensor.Tensor
	bytes  int64
}

// maxEvaluated bounds what is computed by Evaluate, in bytes: it serves shapes and small tables.
const maxEvaluated = 128 << 20

func evaluate(v *Value, known func(*Value) (*tensor.Tensor, error), memo *Evaluated) (*tensor.Tensor, error) {
	if t := memo.values[v]; t != nil {
		return t, nil
	}
	t, err := known(v)
	switch {
	case err != nil:
		return nil, err
	case t != nil:
		t = widened(t)
	case v.IsConst():
		t = widened(tensor.Dense(v.Const))
	case v.IsInput():
		return nil, fmt.Errorf("%s is not known", v)
	default:
		args := make(map[*Value]*tensor.Tensor, len(v.Args))
		for _, a := range v.Args {
			if a != nil && args[a] == nil {
				if args[a], err = evaluate(a, known, memo); err != nil {
					return nil, err
				}
			}
		}
		size, err := v.memory(nil)
		if err != nil {
			return nil, err
		}
		if memo.bytes += size; memo.bytes > maxEvaluated {
			return nil, fmt.Errorf("%s: what shapes follow from takes more than %d MB", v, maxEvaluated>>20)
		}
		if t, err = evalValue(v, args, nil, nil, nil); err != nil {
			return nil, err
		}
	}
	memo.values[v] = t
	return t, nil
}
