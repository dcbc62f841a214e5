package ir

import (
	"fmt"
	"slices"

	"syncsam-convert/ir/tensor"
)

// A Builder adds values to a graph. It keeps its first error; after one, it gives values of no use and adds nothing.
// Builders made from one another by In and As share the graph, the place and the error.
type Builder struct {
	*site
	path string // Name of the values made
}

type site struct {
	g    *Graph
	next *Value // values go before it; nil: at the end
	from string
	err  error
}

// NewBuilder starts a graph.
func NewBuilder(name string) *Builder {
	return &Builder{site: &site{g: &Graph{Name: name}}}
}

// Before makes a builder that inserts before v, with v's name, on behalf of a pass.
func (g *Graph) Before(v *Value, rule string) *Builder {
	return &Builder{site: &site{g: g, next: v, from: rule}, path: v.Name}
}

// After makes a builder that inserts behind v.
func (g *Graph) After(v *Value, rule string) *Builder {
	s := &site{g: g, from: rule}
	if at := slices.Index(g.Values, v); at+1 < len(g.Values) {
		s.next = g.Values[at+1]
	}
	return &Builder{site: s, path: v.Name}
}

// Graph gives the graph, or the builder's first error.
func (b *Builder) Graph() (*Graph, error) {
	if b.err != nil {
		return nil, fmt.Errorf("graph %s: %w", b.g.Name, b.err)
	}
	return b.g, nil
}

// Err is the builder's first error.
func (b *Builder) Err() error { return b.err }

// In makes a builder whose values lie one step deeper on the source path.
func (b *Builder) In(step string) *Builder {
	c := *b
	if c.path != "" {
		step = c.path + "." + step
	}
	c.path = step
	return &c
}

// As makes a builder whose values have exactly this source path.
func (b *Builder) As(path string) *Builder {
	c := *b
	c.path = path
	return &c
}

// Path is the source path of the values made.
func (b *Builder) Path() string { return b.path }

// Fail records an error, unless there is one.
func (b *Builder) Fail(format string, args ...any) *Value {
	if b.err == nil {
		b.err = fmt.Errorf(format, args...)
		if b.path != "" {
			b.err = fmt.Errorf("%s: %w", b.path, b.err)
		}
	}
	return &Value{Op: opConstant}
}

func (b *Builder) add(v *Value) *Value {
	v.ID, v.From = b.g.nextID, b.from
	b.g.nextID++
	at := len(b.g.Values)
	if b.next != nil {
		at = slices.Index(b.g.Values, b.next)
	}
	b.g.Values = slices.Insert(b.g.Values, at, v)
	if b.g.uses != nil {
		v.eachArg(func(a *Value) { b.g.uses[a] = append(b.g.uses[a], v) })
	}
	return v
}

// Input declares a graph input.
func (b *Builder) Input(name string, d tensor.DType, shape ...tensor.Dim) *Value {
	return b.add(&Value{Op: opInput, Name: name, Type: tensor.Type{DType: d, Shape: shape}})
}

// Const adds a constant under the builder's source path.
func (b *Builder) Const(t *tensor.Tensor) *Value {
	return b.add(&Value{Op: opConstant, Name: b.path, Type: t.Type(), Const: t})
}

// Scalar adds a float32 constant of rank 0.
func (b *Builder) Scalar(x float32) *Value { return b.Const(tensor.Scalar(x)) }

// ScalarLike adds a constant of rank 0 and x's element type.
func (b *Builder) ScalarLike(v *Value, x float32) *Value {
	return b.Const(tensor.Dense(tensor.Cast(tensor.Scalar(x), v.Type.DType)))
}

// Op applies an operator: ir.Relu, or ir.Conv.With(attributes). Trailing absent arguments are dropped.
func (b *Builder) Op(o Applied, args ...*Value) *Value {
	for len(args) > 0 && args[len(args)-1] == nil {
		args = args[:len(args)-1]
	}
	if b.err != nil {
		return b.Fail("")
	}
	op, attrs := o.applied()
	t, err := op.infer(attrs, args)
	if err != nil {
		return b.Fail("%w", err)
	}
	return b.add(&Value{Op: op, Args: slices.Clone(args), Attrs: attrs, Type: t, Name: b.path})
}

// Output names a graph result.
func (b *Builder) Output(name string, v *Value) {
	b.g.Outputs = append(b.g.Outputs, Output{name, v})
}

// The applications that model definitions use most, so that they read as arithmetic.

// Add is x + y with broadcasting.
func (b *Builder) Add(x, y *Value) *Value { return b.Op(Add, x, y) }

// Sub is x - y with broadcasting.
func (b *Builder) Sub(x, y *Value) *Value { return b.Op(Sub, x, y) }

// Mul is x * y with broadcasting.
func (b *Builder) Mul(x, y *Value) *Value { return b.Op(Mul, x, y) }

// MatMul is the batched matrix product.
func (b *Builder) MatMul(x, y *Value) *Value { return b.Op(MatMul, x, y) }

// Relu is max(x, 0).
func (b *Builder) Relu(x *Value) *Value { return b.Op(Relu, x) }

// Gelu is x times the normal distribution function of x, by erf.
func (b *Builder) Gelu(x *Value) *Value { return b.Op(Gelu, x) }

// Transpose permutes the axes.
func (b *Builder) Transpose(x *Value, perm ...int64) *Value {
	return b.Op(Transpose.With(TransposeAttrs{Perm: perm}), x)
}

// Reshape gives x another shape.
func (b *Builder) Reshape(x *Value, shape ...tensor.Dim) *Value {
	return b.Op(Reshape.With(ReshapeAttrs{Shape: shape}), x)
}

// Unsqueeze inserts axes of size 1.
func (b *Builder) Unsqueeze(x *Value, axes ...int64) *Value {
	return b.Op(Unsqueeze.With(AxesAttrs{Axes: axes}), x)
}

// Concat joins values along an axis.
func (b *Builder) Concat(axis int64, x ...*Value) *Value {
	return b.Op(Concat.With(AxisAttrs{Axis: axis}), x...)
}

// Slice takes the elements from start up to end along one axis.
func (b *Builder) Slice(x *Value, axis, start, end int64) *Value {
	return b.Op(Slice.With(SliceAttrs{Axes: []int64{axis}, Starts: []int64{start}, Ends: []int64{end}}), x)
}

// Softmax normalises along an axis.
func (b *Builder) Softmax(x *Value, axis int64) *Value {
	return b.Op(Softmax.With(SoftmaxAttrs{Axis: axis}), x)
}
