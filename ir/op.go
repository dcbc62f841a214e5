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

// newOp makes a row from functions over the op's own attribute struct.
func newOp[A any](name string, min, max int, infer func(a A, in []tensor.Type) (tensor.Type, error),
	eval func(e *Env, a A, in []*tensor.Tensor) (*tensor.Tensor, error)) *Op {
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
	return op
}

// NoAttrs is the attribute struct of an op that has none.
type NoAttrs struct{}

// The two leaves of every graph.
var (
	opInput    = &Op{Name: "Input", Infer: leaf, Eval: noEval}
	opConstant = &Op{Name: "Constant", Infer: leaf, Eval: noEval}
)

func leaf(any, []tensor.Type) (tensor.Type, error) { return tensor.Type{}, nil }
func noEval(*Env, any, []*tensor.Tensor) (*tensor.Tensor, error) {
	return nil, fmt.Errorf("a leaf has no evaluation")
}

var ops = map[string]*Op{}

// The operator table. It is filled here, not in a literal, because expansions build values and so refer back to it.
func init() {
	for _, rows := range [][]*Op{{opInput, opConstant}, unaryOps(), binaryOps(), convOps(), linearOps(), normOps(), shapeOps(), reduceOps(), quantOps(), qlinearOps()} {
		for _, op := range rows {
			if ops[op.Name] != nil {
				panic("BUG: operator " + op.Name + " has two rows")
			}
			ops[op.Name] = op
		}
	}
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
