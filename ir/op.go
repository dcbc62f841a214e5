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

	// Infer gives the result type; absent arguments have the zero Type.
	Infer func(attrs any, in []tensor.Type) (tensor.Type, error)
	// Eval computes the result; absent arguments are nil.
	Eval func(e *Env, attrs any, in []*tensor.Tensor) (*tensor.Tensor, error)
	// Expand spells a fused op in primitives; nil for a primitive. Evaluating both gives the same within float32 rounding.
	Expand func(b *Builder, v *Value) *Value
	// MultiplyAdds counts a product's work from the number of elements of its result and the shapes of its arguments (nil for absent
	// ones); nil for an op that is none.
	MultiplyAdds func(attrs any, out int64, in [][]int64) int64
	// View is set where the result is the argument's memory under another shape.
	View bool
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
	once sync.Once
	kept any
}

// Constant reports whether the arguments other than the first are constants, so that Memo keeps what is made of them.
func (e *Env) Constant() bool { return e.memo != nil }

// Memo gives what make makes from arguments other than the first: once for a program in which they are constants.
func (e *Env) Memo(make func() any) any {
	if e.memo == nil {
		return make()
	}
	e.memo.once.Do(func() { e.memo.kept = make() })
	return e.memo.kept
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
func newOp[A any](name string, min, max int, infer func(a A, in []tensor.Type) (tensor.Type, error),
	eval func(e *Env, a A, in []*tensor.Tensor) (*tensor.Tensor, error)) Kind[A] {
	var zero A
	op := &Op{Name: name, Min: min, Max: max,
		Infer: func(attrs any, in []tensor.Type) (tensor.Type, error) { return infer(attrs.(A), in) },
		Eval: func(e *Env, attrs any, in []*tensor.Tensor) (*tensor.Tensor, error) {
			return eval(e, attrs.(A), in)
		}}
	if _, none := any(zero).(NoAttrs); !none {
		op.Attrs = zero
	} else {
		op.Infer = func(_ any, in []tensor.Type) (tensor.Type, error) { return infer(zero, in) }
		op.Eval = func(e *Env, _ any, in []*tensor.Tensor) (*tensor.Tensor, error) { return eval(e, zero, in) }
	}
	return Kind[A]{register(op)}
}

// expands gives a fused op its spelling in primitives.
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

// view marks an op that gives its argument's memory under another shape.
func (k Kind[A]) view() Kind[A] {
	k.View = true
	return k
}

// NoAttrs is the attribute struct of an op that has none.
type NoAttrs struct{}

// The two leaves of every graph.
var (
	opInput    = register(&Op{Name: "Input", Infer: leaf, Eval: noEval})
	opConstant = register(&Op{Name: "Constant", Infer: leaf, Eval: noEval})
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
