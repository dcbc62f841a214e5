// Package onnx reads ONNX models as IR graphs. What ONNX computes at run time only to describe shapes is evaluated while
// reading: the IR knows every shape. Where shapes follow from more than the IR's symbols, a model is read for given inputs.
package onnx

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// A Model is an open file; its graph's constants are slices of the file until Close.
type Model struct {
	Graph    *ir.Graph
	Opset    int64
	Metadata map[string]string
	Decide   map[string]*tensor.Tensor // of a model read for inputs: those whose values its shapes follow from
	file     *onnxpb.File
}

// Close ends the mapping.
func (m *Model) Close() error { return m.file.Close() }

// Open reads a model file. Errors name the file and the node.
func Open(path string) (*Model, error) {
	f, err := onnxpb.Open(path)
	if err != nil {
		return nil, err
	}
	m, err := Import(f)
	if err != nil {
		f.Close()
		return nil, &Refusal{path, err}
	}
	return m, nil
}

// A Refusal is a model that another program may run: the file is in order, and the IR lacks something of it.
type Refusal struct {
	path string // "": whoever opened it says so
	why  error
}

// Error names the file, the node and the reason.
func (r *Refusal) Error() string {
	if r.path == "" {
		return r.why.Error()
	}
	return r.path + ": " + r.why.Error()
}

// Unwrap gives the reason.
func (r *Refusal) Unwrap() error { return r.why }

// Import makes a graph of a parsed file, which stays as it is.
func Import(f *onnxpb.File) (*Model, error) { return ImportFor(f, nil) }

// ImportFor is Import; with inputs, all of the graph's by name, of a graph that holds for their shapes and the values of those in Decide.
func ImportFor(f *onnxpb.File, inputs map[string]*tensor.Tensor) (*Model, error) {
	m := &Model{file: f, Metadata: map[string]string{}}
	for _, p := range f.Model.MetadataProps {
		m.Metadata[p.GetKey()] = p.GetValue()
	}
	for _, o := range f.Model.OpsetImport {
		if d := o.GetDomain(); d == "" || d == "ai.onnx" {
			m.Opset = o.GetVersion()
		}
	}
	if m.Opset == 0 {
		return nil, fmt.Errorf("opset_import: no version of the default domain")
	}
	name := f.Model.Graph.GetName()
	if !tensor.IsIdent(name) {
		name = "graph"
	}
	graph := f.Model.Graph
	if skip := m.Metadata[onnxpb.PostprocessKey]; skip != "" { // shapes that depend on values: executors compute it, the IR cannot
		graph = without(graph, skip)
	}
	im := &importer{b: ir.NewBuilder(name), opset: m.Opset, values: map[string]value{}, inputs: inputs, decide: map[string]*tensor.Tensor{}, known: &ir.Evaluated{}, left: maxMade}
	m.Decide = im.decide
	if err := im.run(graph, f.Initializers); err != nil {
		return nil, err
	}
	g, err := im.b.Graph()
	if err != nil {
		return nil, err
	}
	g.Sweep()
	m.Graph = g
	return m, ir.Check(g)
}

// without is a graph less an output, and less the nodes and inputs that only it needs.
func without(g *onnxpb.GraphProto, output string) *onnxpb.GraphProto {
	rest, needed := &onnxpb.GraphProto{Name: g.Name}, map[string]bool{}
	for _, o := range g.Output {
		if o.GetName() != output {
			rest.Output = append(rest.Output, o)
			needed[o.GetName()] = true
		}
	}
	for _, n := range slices.Backward(g.Node) {
		if slices.ContainsFunc(n.Output, func(name string) bool { return needed[name] }) {
			rest.Node = append(rest.Node, n)
			for _, in := range n.Input {
				needed[in] = true
			}
		}
	}
	slices.Reverse(rest.Node)
	for _, in := range g.Input {
		if needed[in.GetName()] {
			rest.Input = append(rest.Input, in)
		}
	}
	return rest
}

// A value is what a name stands for: an IR value, or a vector of sizes that only exists while reading (both, for small integer constants).
type value struct {
	v     *ir.Value
	sizes []tensor.Dim
	rank0 bool // sizes is a scalar
}

type importer struct {
	b      *ir.Builder
	opset  int64
	values map[string]value
	inputs map[string]*tensor.Tensor // what the model is read for; nil: anything
	decide map[string]*tensor.Tensor // those of them that were looked at
	known  *ir.Evaluated             // what was evaluated
	left   int64                     // elements that nodes may still make while they are read
	depth  int                       // of graphs within graphs
}

func (im *importer) run(g *onnxpb.GraphProto, inits []onnxpb.Initializer) error {
	for _, init := range inits {
		im.values[init.Name] = im.constant(init.Name, init.Tensor)
	}
	for _, in := range g.Input {
		if _, isInit := im.values[in.GetName()]; isInit {
			continue // before IR version 4 initializers were listed as inputs
		}
		t, err := im.inputType(in)
		if err != nil {
			return fmt.Errorf("input %q: %w", in.GetName(), err)
		}
		im.values[in.GetName()] = value{v: im.b.Input(in.GetName(), t.DType, t.Shape...)}
	}
	if err := im.nodes(g.Node); err != nil {
		return err
	}
	for _, o := range g.Output {
		v, err := im.ir(o.GetName())
		if err != nil {
			return fmt.Errorf("output %q: %w", o.GetName(), err)
		}
		im.b.Output(o.GetName(), v)
	}
	return nil
}

// maxMade is how many elements all nodes make that become constants while they are read; maxNested how deep graphs lie in graphs.
const (
	maxMade   = 1 << 24
	maxNested = 16
)

// make takes elements of what may be made.
func (im *importer) make(n int64) error {
	if n < 0 || n > im.left {
		return fmt.Errorf("it makes more constants than a model has: want fewer than %d elements", maxMade)
	}
	im.left -= n
	return nil
}

func (im *importer) nodes(nodes []*onnxpb.NodeProto) error {
	for i, n := range nodes {
		label := n.GetName()
		if label == "" {
			label = fmt.Sprintf("#%d", i)
		}
		if err := im.node(n); err != nil {
			return fmt.Errorf("node %q (%s): %w", label, n.GetOpType(), err)
		}
	}
	return nil
}

// maxSizes is the longest integer constant that may describe a shape.
const maxSizes = 64

// constant registers a tensor; short integer vectors double as sizes.
func (im *importer) constant(name string, t *tensor.Tensor) value {
	val := value{v: im.b.As(name).Const(t)}
	if d := t.DType(); (d == tensor.Int64 || d == tensor.Int32) && len(t.Dims()) <= 1 && t.Len() <= maxSizes {
		val.sizes, val.rank0 = tensor.Dims(t.Int64s()...), len(t.Dims()) == 0
	}
	return val
}

// inputType is an input's type: what it is declared as, or what the given one is.
func (im *importer) inputType(in *onnxpb.ValueInfoProto) (tensor.Type, error) {
	if im.inputs == nil {
		return declared(in)
	}
	t := im.inputs[in.GetName()]
	if t == nil {
		return tensor.Type{}, errors.New("it is missing")
	}
	return t.Type(), nil
}

func declared(in *onnxpb.ValueInfoProto) (tensor.Type, error) {
	tt := in.GetType().GetTensorType()
	if tt == nil {
		return tensor.Type{}, fmt.Errorf("it is not a tensor")
	}
	d, err := onnxpb.DTypeOf(tt.GetElemType())
	if err != nil {
		return tensor.Type{}, err
	}
	if tt.Shape == nil {
		return tensor.Type{}, fmt.Errorf("its rank is not known")
	}
	t := tensor.Type{DType: d, Shape: []tensor.Dim{}}
	for i, dim := range tt.Shape.Dim {
		if _, ok := dim.Value.(*onnxpb.TensorShapeProto_Dimension_DimValue); ok {
			if dim.GetDimValue() < 0 {
				return tensor.Type{}, fmt.Errorf("axis %d: have %d elements", i, dim.GetDimValue())
			}
			t.Shape = append(t.Shape, tensor.Static(dim.GetDimValue()))
			continue
		}
		if p, err := tensor.ParseDim(dim.GetDimParam()); err == nil && !p.IsStatic() {
			t.Shape = append(t.Shape, p)
			continue
		}
		sym := symbol(dim.GetDimParam())
		if sym == "" {
			sym = fmt.Sprintf("%s_%d", symbol(in.GetName()), i)
		}
		t.Shape = append(t.Shape, tensor.Symbol(sym))
	}
	return t, nil
}

// symbol makes an identifier of any text.
func symbol(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 128 && tensor.IsIdent("_"+string(r)) {
			return r
		}
		return '_'
	}, s)
	if s != "" && !tensor.IsIdent(s) {
		s = "_" + s
	}
	return s
}

// input is the name of input i, "" where the node has none.
func input(n *onnxpb.NodeProto, i int) string {
	if i >= len(n.Input) {
		return ""
	}
	return n.Input[i]
}

// undefined says what is wrong with a name that stands for nothing.
func undefined(name string) error {
	if name == "" {
		return errors.New("an input is absent")
	}
	return fmt.Errorf("%q is not defined above", name)
}

// ir gives the IR value that a name stands for; sizes become a constant when they are static.
func (im *importer) ir(name string) (*ir.Value, error) {
	val, ok := im.values[name]
	if !ok {
		return nil, undefined(name)
	}
	if val.v == nil {
		dims, ok := tensor.Type{Shape: val.sizes}.Static()
		if !ok {
			return nil, fmt.Errorf("%q is computed from shapes and used as data", name)
		}
		shape := []int64{int64(len(dims))}
		if val.rank0 {
			shape = []int64{}
		}
		val.v = im.b.As(name).Const(tensor.FromInt64(shape, dims))
		im.values[name] = val
	}
	return val.v, nil
}

// sizes gives the vector of sizes that a name stands for.
func (im *importer) sizes(name string) ([]tensor.Dim, error) {
	val, ok := im.values[name]
	if !ok {
		return nil, undefined(name)
	}
	if val.sizes == nil {
		t, err := im.evaluate(name)
		if err != nil {
			return nil, err
		}
		if d := t.DType(); d != tensor.Int64 && d != tensor.Int32 || len(t.Dims()) > 1 {
			return nil, fmt.Errorf("%q is %s, want a vector of integers", name, t.Type())
		}
		return tensor.Dims(t.Int64s()...), nil
	}
	return val.sizes, nil
}

// evaluate computes what a name stands for, from constants and the inputs that the model is read for.
func (im *importer) evaluate(name string) (*tensor.Tensor, error) {
	v, err := im.ir(name)
	if err != nil {
		return nil, err
	}
	return ir.Evaluate(v, func(a *ir.Value) (*tensor.Tensor, error) {
		if !a.IsInput() {
			return nil, nil
		}
		t := im.inputs[a.Name]
		if t == nil {
			return nil, fmt.Errorf("%q must be known when the model is read", name)
		}
		im.decide[a.Name] = t
		return t, nil
	}, im.known)
}

// ints is sizes that are all static.
func (im *importer) ints(name string) ([]int64, error) {
	s, err := im.sizes(name)
	if err != nil {
		return nil, err
	}
	out, ok := tensor.Type{Shape: s}.Static()
	if !ok {
		return nil, fmt.Errorf("%q is %s, want integers", name, tensor.ShapeString(s))
	}
	return out, nil
}

// optional is ints of input i, nil when it is absent.
func (im *importer) optional(n *onnxpb.NodeProto, i int) ([]int64, error) {
	if input(n, i) == "" {
		return nil, nil
	}
	return im.ints(n.Input[i])
}

// scalar is the float constant at input i, or what absent says.
func (im *importer) scalar(n *onnxpb.NodeProto, i int, absent float32) (float32, error) {
	if input(n, i) == "" {
		return absent, nil
	}
	t, err := im.evaluate(n.Input[i])
	if err != nil || t.Len() != 1 {
		return 0, fmt.Errorf("input %d must be a constant number", i)
	}
	return t.Float32s()[0], nil
}

// args gives all inputs as IR values; absent ones are nil.
func (im *importer) args(n *onnxpb.NodeProto) ([]*ir.Value, error) {
	out := make([]*ir.Value, len(n.Input))
	for i, name := range n.Input {
		if name == "" {
			continue
		}
		v, err := im.ir(name)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// emit applies an op and binds the node's first output.
func (im *importer) emit(n *onnxpb.NodeProto, op ir.Applied, args ...*ir.Value) error {
	v := im.b.As(n.Output[0]).Op(op, args...)
	if err := im.b.Err(); err != nil {
		return err
	}
	im.values[n.Output[0]] = value{v: v}
	return nil
}
