package ir

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"

	"syncsam-convert/ir/tensor"
)

// An Op is one row of the operator table: everything the compiler knows of an operator's meaning.
// Names and semantics are ONNX's where ONNX has the operator; what ONNX passes as constant inputs (shapes, axes, pads) are attributes here.
type Op struct {
	Name  string
	Min   int // fewest arguments
	Max   int // most arguments, Many for any number
	Attrs any // zero value of the attribute struct, nil when the op has none
	Class Class
	Half  Half

	// Infer gives the result type; absent arguments have the zero Type.
	Infer func(attrs any, in []tensor.Type) (tensor.Type, error)
	// Eval computes the result; absent arguments are nil. Nil for a composite, which is what its expansion is.
	Eval func(e *Env, attrs any, in []*tensor.Tensor) (*tensor.Tensor, error)
	// Expand spells an op in primitives; nil for a primitive. Where there is Eval, too, both give the same within float32 rounding.
	Expand func(b *Builder, v *Value) *Value
	// MultiplyAdds counts a product's work from the number of elements of its result and the shapes of its arguments (nil for absent
	// ones); nil for an op that is none, and for a composite, which takes what its expansion takes.
	MultiplyAdds func(attrs any, out int64, in [][]int64) int64
}

// A Class says where an op's time goes.
type Class int

// Every row has one of them.
const (
	_         Class = iota
	Product         // multiply-adds
	Moving          // reads its arguments and writes its result, whatever stands around it
	Pointwise       // an element follows from few elements of the arguments: executors compute it in passing, where an argument is made
	View            // the argument's memory under another shape
)

// A Half says what an op needs to be computed in half precision, besides arguments and results that fit.
type Half int

// Every row has one of them.
const (
	_               Half = iota
	HalfPlain            // nothing
	HalfSquares          // squares its first argument: that must stay below the square root of the largest number
	HalfProduct          // squares its first argument where the second is the same
	HalfExponential      // raises to the power of its first argument: that must stay below the logarithm of the largest number
	HalfLogarithm        // what is lost below the least number comes back as infinity
	HalfPhase            // its argument's absolute precision counts, however large it is
)

// Half is what the value needs of half precision: its op's need, HalfProduct decided.
func (v *Value) Half() Half {
	switch {
	case v.Op.Half != HalfProduct:
		return v.Op.Half
	case v.Args[0] == v.Args[1]:
		return HalfSquares
	}
	return HalfPlain
}

// Many as Op.Max: any number of arguments.
const Many = 1 << 30

// Env is what an evaluation knows of one value.
type Env struct {
	Type   tensor.Type // the result's type
	Dims   []int64     // the result's shape, symbols resolved
	memo   *memo       // nil: nothing is kept between evaluations
	leases *leases     // nil: results get fresh memory
}

// memo is what a program keeps for one value.
type memo struct {
	once  sync.Once
	kept  any
	fault any // what making it ended with, such as that of a mapped file that was cut
}

// Constant reports whether the arguments other than the first are constants, so that Memo keeps what is made of them.
func (e *Env) Constant() bool { return e.memo != nil }

// Memo gives what make makes from arguments other than the first: once for a program in which they are constants. A panic of make is that of every call.
func (e *Env) Memo(make func() any) any {
	if e.memo == nil {
		return make()
	}
	m := e.memo
	m.once.Do(func() {
		defer func() { m.fault = recover() }()
		m.kept = make()
	})
	if m.fault != nil {
		panic(m.fault)
	}
	return m.kept
}

// A Kind is an operator as Go code names it, with the type of its attributes: ir.Conv.Is(v), ir.Conv.Of(v).Strides, and
// b.Op(ir.Conv.With(ir.ConvAttrs{...}), x, w). A misspelt operator or another one's attributes do not compile.
type Kind[A any] struct{ *Op }

// Is reports whether a value is the result of the operator.
func (op *Op) Is(v *Value) bool { return v != nil && v.Op == op }

// Of gives the attributes of a value that Is of this kind.
func (k Kind[A]) Of(v *Value) A { return v.Attrs.(A) }

// With applies the operator with attributes.
func (k Kind[A]) With(attrs A) Application { return Application{k.Op, attrs} }

// An Applied is what Builder.Op applies: an operator with its attributes, by default all zero.
type Applied interface{ applied() (*Op, any) }

// An Application is an operator with its attributes. Code that handles any operator makes it from a value or a row of the table.
type Application struct {
	Op    *Op
	Attrs any
}

func (a Application) applied() (*Op, any) { return a.Op, a.Attrs }
func (op *Op) applied() (*Op, any)        { return op, op.Attrs }

// Applied is the operator with the attributes that v has.
func (v *Value) Applied() Application { return Application{v.Op, v.Attrs} }

// newOp makes a row of the table from functions over the op's own attribute struct.
func newOp[A any](name string, min, max int, class Class, half Half, infer func(a A, in []tensor.Type) (tensor.Type, error),
	eval func(e *Env, a A, in []*tensor.Tensor) (*tensor.Tensor, error)) Kind[A] {
	var zero A
	_, none := any(zero).(NoAttrs)
	of := func(attrs any) A {
		if none {
			return zero
		}
		return attrs.(A)
	}
	op := &Op{Name: name, Min: min, Max: max, Class: class, Half: half, Infer: func(attrs any, in []tensor.Type) (tensor.Type, error) { return infer(of(attrs), in) }}
	if !none {
		op.Attrs = zero
	}
	if eval != nil {
		op.Eval = func(e *Env, attrs any, in []*tensor.Tensor) (*tensor.Tensor, error) { return eval(e, of(attrs), in) }
	}
	return Kind[A]{register(op)}
}

// composite makes a row that is defined by its spelling in primitives.
func composite[A any](name string, min, max int, class Class, half Half, infer func(a A, in []tensor.Type) (tensor.Type, error), expand func(b *Builder, v *Value) *Value) Kind[A] {
	return newOp(name, min, max, class, half, infer, nil).expands(expand)
}

// expands gives an op its spelling in primitives.
func (k Kind[A]) expands(f func(b *Builder, v *Value) *Value) Kind[A] {
	k.Expand = f
	return k
}

// multiplies gives the multiply-adds of a product: from the number of elements of the result and the arguments' shapes.
func (k Kind[A]) multiplies(f func(attrs A, out int64, in [][]int64) int64) Kind[A] {
	k.MultiplyAdds = func(attrs any, out int64, in [][]int64) int64 {
		a, _ := attrs.(A) // nil for NoAttrs
		return f(a, out, in)
	}
	return k
}

// NoAttrs is the attribute struct of an op that has none.
type NoAttrs struct{}

// The two leaves of every graph.
var (
	opInput    = register(&Op{Name: "Input", Class: View, Half: HalfPlain, Infer: leaf, Eval: noEval})
	opConstant = register(&Op{Name: "Constant", Class: View, Half: HalfPlain, Infer: leaf, Eval: noEval})
)

func leaf(any, []tensor.Type) (tensor.Type, error) { return tensor.Type{}, nil }
func noEval(*Env, any, []*tensor.Tensor) (*tensor.Tensor, error) {
	return nil, fmt.Errorf("a leaf has no evaluation")
}

// ops is the operator table by name, for texts and files.
var ops = map[string]*Op{}

func register(op *Op) *Op {
	if ops[op.Name] != nil {
		panic("BUG: operator " + op.Name + " has two rows")
	}
	ops[op.Name] = op
	return op
}

// LookupOp finds a row of the operator table.
func LookupOp(name string) (*Op, bool) {
	op, ok := ops[name]
	return op, ok
}

// OpNames lists the operator table in alphabetical order.
func OpNames() []string { return slices.Sorted(maps.Keys(ops)) }

// infer checks the argument count and attribute type, then asks the row.
func (op *Op) infer(attrs any, args []*Value) (tensor.Type, error) {
	if n := len(args); n < op.Min || n > op.Max {
		return tensor.Type{}, fmt.Errorf("%s: have %d arguments, want %s", op.Name, n, op.arity())
	}
	if have, want := reflect.TypeOf(attrs), reflect.TypeOf(op.Attrs); have != want {
		return tensor.Type{}, fmt.Errorf("%s: attributes: have %v, want %v", op.Name, have, want)
	}
	in := make([]tensor.Type, len(args))
	for i, a := range args {
		if a != nil {
			in[i] = a.Type
		} else if i < op.Min {
			return tensor.Type{}, fmt.Errorf("%s: argument %d is absent", op.Name, i)
		}
	}
	for i, t := range in {
		if err := t.Measurable(); err != nil {
			return tensor.Type{}, fmt.Errorf("%s: argument %d: %w", op.Name, i, err)
		}
	}
	in, half, err := op.typesInFloat32(in)
	if err != nil {
		return tensor.Type{}, fmt.Errorf("%s: %w", op.Name, err)
	}
	t, err := op.Infer(attrs, in)
	if err != nil {
		return tensor.Type{}, fmt.Errorf("%s: %w", op.Name, err)
	}
	if half {
		t = inFloat16(t)
	}
	for _, d := range t.Shape {
		if d.IsStatic() && d.B < 0 {
			return tensor.Type{}, fmt.Errorf("%s: result %s has a negative dimension", op.Name, t)
		}
	}
	if err := t.Measurable(); err != nil {
		return tensor.Type{}, fmt.Errorf("%s: result: %w", op.Name, err)
	}
	return t, nil
}

func (op *Op) arity() string {
	switch {
	case op.Min == op.Max:
		return fmt.Sprint(op.Min)
	case op.Max == Many:
		return fmt.Sprintf("%d or more", op.Min)
	}
	return fmt.Sprintf("%d to %d", op.Min, op.Max)
}

// Expansion is a composite's spelling as a graph of its own, whose values take v's arguments from v's graph, and the result in it.
func (v *Value) Expansion() (*Graph, *Value, error) {
	b := NewBuilder(v.Op.Name).As(v.Name)
	b.from = v.From
	result := v.Op.Expand(b, v)
	g, err := b.Graph()
	return g, result, err
}
