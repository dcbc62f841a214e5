package onnx

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"

	"google.golang.org/protobuf/proto"

	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// A row lowers one op. Below the opset since, an op that has an expansion is written as that.
type row struct {
	since int64
	emit  func(e *emission, v *ir.Value) error
}

// fused as row.since: ONNX has no such operator in any opset.
const fused = math.MaxInt64

// table has a row for every op of the IR.
var table = map[string]row{
	"Input": {0, emitInput}, "Constant": {0, emitConstant},
	"Add": {0, plain}, "Sub": {0, plain}, "Mul": {0, plain}, "Div": {0, plain}, "Pow": {0, plain}, "Min": {0, plain}, "Max": {0, plain}, "PRelu": {0, plain}, "Mod": {0, plain},
	"Equal": {0, plain}, "Less": {0, plain}, "Greater": {0, plain}, "LessOrEqual": {0, plain}, "GreaterOrEqual": {0, plain},
	"And": {0, plain}, "Or": {0, plain}, "Xor": {0, plain}, "Not": {0, plain}, "Where": {0, plain},
	"Relu": {0, plain}, "LeakyRelu": {0, plain}, "Erf": {0, plain}, "Exp": {0, plain}, "Log": {0, plain}, "Sqrt": {0, plain}, "Sin": {0, plain}, "Cos": {0, plain},
	"Tanh": {0, plain}, "Sigmoid": {0, plain}, "Neg": {0, plain}, "Abs": {0, plain}, "Reciprocal": {0, plain}, "Floor": {0, plain}, "Ceil": {0, plain}, "Round": {0, plain},
	"Gelu": {20, plain}, "Clip": {0, emitClip},
	"Conv": {0, emitConv(1)}, "ConvTranspose": {0, emitConv(1)}, "MaxPool": {0, plain}, "AveragePool": {0, plain}, "BatchNormalization": {0, plain},
	"MatMul": {0, plain}, "Gemm": {0, plain}, "LayerNormalization": {17, plain}, "Softmax": {0, plain},
	"Identity": {0, plain}, "Transpose": {0, plain}, "Concat": {0, plain}, "Gather": {0, plain}, "GatherND": {0, plain}, "Cast": {0, emitCast},
	"Reshape": {0, emitReshape}, "Expand": {0, emitExpand}, "Squeeze": {0, emitAxes}, "Unsqueeze": {0, emitAxes},
	"Slice": {0, emitSlice}, "Pad": {0, emitPad}, "Tile": {0, emitTile}, "Resize": {0, emitResize},
	"ReduceMean": {0, emitReduce}, "ReduceSum": {0, emitReduce}, "ReduceMax": {0, emitReduce}, "ReduceMin": {0, emitReduce}, "ReduceLogSumExp": {0, emitReduce}, "ArgMax": {0, plain},
	"WindowAttention": {fused, nil}, "MultiHeadAttention": {fused, nil}, "BlockAttention": {fused, nil}, "LayerNorm2d": {fused, nil}, "ProjectAdd": {fused, nil}, "QLinearMatMulFloat": {fused, nil}, "QLinearConv": {0, emitConv(3)},
	"QuantizeLinear": {0, plain}, "DequantizeLinear": {0, plain},
}

// emission is the state of writing one graph.
type emission struct {
	opset  int64
	graph  *onnxpb.GraphProto
	inits  []onnxpb.Initializer
	names  map[*ir.Value]string // of values written so far
	output map[*ir.Value]string // first public name of a result
	taken  map[string]int       // names in use, with the last suffix given
	inputs []*ir.Value
	sizes  map[string]string // shape vectors written so far: text of a dim -> name
	edges  *Edges
	labels string                   // what the edge of prompts made of point_labels
	later  []*onnxpb.ValueInfoProto // inputs that stand behind the graph's
}

func newEmission(g *ir.Graph, opset int64) *emission {
	e := &emission{opset: opset, graph: &onnxpb.GraphProto{Name: proto.String(g.Name)}, names: map[*ir.Value]string{},
		output: map[*ir.Value]string{}, taken: map[string]int{}, inputs: g.Inputs(), sizes: map[string]string{}}
	for _, v := range e.inputs {
		e.taken[v.Name] = 1
	}
	for _, o := range g.Outputs {
		e.taken[o.Name] = 1
		if e.output[o.Value] == "" && !o.Value.IsInput() && !o.Value.IsConst() {
			e.output[o.Value] = o.Name
		}
	}
	return e
}

// unique gives base, or base with the first free number.
func (e *emission) unique(base string) string {
	name := base
	for e.taken[name] > 0 {
		e.taken[base]++
		name = fmt.Sprintf("%s_%d", base, e.taken[base])
	}
	e.taken[name] = 1
	return name
}

// value writes one value, or its expansion.
func (e *emission) value(v *ir.Value) error {
	r, ok := table[v.Op.Name]
	if !ok {
		return fmt.Errorf("no ONNX lowering")
	}
	if e.opset >= r.since {
		return r.emit(e, v)
	}
	if v.Op.Expand == nil {
		return fmt.Errorf("needs opset %d, have %d", r.since, e.opset)
	}
	g, result, err := v.Expansion()
	if err != nil {
		return err
	}
	if name := e.output[v]; name != "" {
		e.output[result] = name
	}
	for _, x := range g.Values {
		if err := e.value(x); err != nil {
			return err
		}
	}
	e.names[v] = e.names[result]
	return nil
}

// node adds a node. Its name is the source path, the operator and the pass that made it.
func (e *emission) node(op, name string, in, out []string, attrs []*onnxpb.AttributeProto) {
	e.graph.Node = append(e.graph.Node, &onnxpb.NodeProto{OpType: &op, Name: &name, Input: in, Output: out, Attribute: attrs})
}

// op adds a value's node with the given inputs and attributes.
func (e *emission) op(v *ir.Value, in []string, attrs []*onnxpb.AttributeProto) {
	base := v.Op.Name
	if v.Name != "" {
		base = v.Name + "/" + base
	}
	name := e.unique(base)
	out := name
	if e.output[v] != "" {
		out = e.output[v]
	}
	if v.From != "" {
		name += "[" + v.From + "]"
	}
	e.names[v] = out
	e.node(v.Op.Name, name, in, []string{out}, attrs)
}

func (e *emission) args(v *ir.Value) []string {
	in := make([]string, len(v.Args))
	for i, a := range v.Args {
		if a != nil {
			in[i] = e.names[a]
		}
	}
	return in
}

// constant adds a small initializer that an op's attributes make.
func (e *emission) constant(base string, t *tensor.Tensor) string {
	name := e.unique(base)
	e.inits = append(e.inits, onnxpb.Initializer{Name: name, Tensor: t})
	return name
}

// scalar adds a constant of rank 0.
func (e *emission) scalar(base string, x float32, d tensor.DType) string {
	return e.constant(base, tensor.Dense(tensor.Cast(tensor.Scalar(x), d)))
}

// int64s adds a vector of integers, once per content.
func (e *emission) int64s(v ...int64) string {
	key := fmt.Sprint(v)
	if e.sizes[key] == "" {
		e.sizes[key] = e.constant("int64"+key, tensor.FromInt64([]int64{int64(len(v))}, v))
	}
	return e.sizes[key]
}

func plain(e *emission, v *ir.Value) error {
	e.op(v, e.args(v), attributes(v.Attrs))
	return nil
}

func emitInput(e *emission, v *ir.Value) error {
	if made, ok, err := e.edge(v.Name); ok || err != nil {
		e.names[v] = made
		return err
	}
	e.names[v] = v.Name
	e.graph.Input = append(e.graph.Input, valueInfo(v.Name, v.Type))
	return nil
}

func emitConstant(e *emission, v *ir.Value) error {
	base := v.Name
	if base == "" {
		base = "constant"
	}
	e.names[v] = e.constant(base, v.Const)
	return nil
}

// attributes spells an attribute struct: numbers always, lists and strings when present. A group of 0 is ONNX's default, 1.
func attributes(attrs any) []*onnxpb.AttributeProto {
	var out []*onnxpb.AttributeProto
	for _, f := range ir.AttrFields(attrs) {
		switch x := reflect.ValueOf(attrs).Field(f.Index).Interface().(type) {
		case int64:
			if f.Name != "group" || x != 0 {
				out = append(out, intAttr(f.Name, x))
			}
		case float32:
			out = append(out, &onnxpb.AttributeProto{Name: &f.Name, Type: onnxpb.AttributeProto_FLOAT.Enum(), F: &x})
		case string:
			if x != "" {
				out = append(out, stringAttr(f.Name, x))
			}
		case []int64:
			if x != nil {
				out = append(out, intsAttr(f.Name, x))
			}
		}
	}
	return out
}

func intAttr(name string, x int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INT.Enum(), I: &x}
}

func intsAttr(name string, x []int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INTS.Enum(), Ints: x}
}

func stringAttr(name, x string) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_STRING.Enum(), S: []byte(x)}
}

// emitConv spells kernel_shape too, which ONNX lets readers infer from the weights, the argument of that number, and some readers do not.
func emitConv(weights int) func(e *emission, v *ir.Value) error {
	return func(e *emission, v *ir.Value) error {
		kernel, ok := tensor.Type{Shape: v.Args[weights].Type.Shape[2:]}.Static()
		if !ok {
			return fmt.Errorf("weights: have %s, want a static kernel", v.Args[weights].Type)
		}
		e.op(v, e.args(v), append(attributes(v.Attrs), intsAttr("kernel_shape", kernel)))
		return nil
	}
}

func emitCast(e *emission, v *ir.Value) error {
	e.op(v, e.args(v), []*onnxpb.AttributeProto{intAttr("to", int64(onnxpb.NumberOf(ir.Cast.Of(v).To)))})
	return nil
}

func emitAxes(e *emission, v *ir.Value) error {
	in := e.args(v)
	if axes := v.Attrs.(ir.AxesAttrs).Axes; len(axes) > 0 {
		in = append(in, e.int64s(axes...))
	}
	e.op(v, in, nil)
	return nil
}

// emitReshape spells the shape with 0 (as the input's) and one -1; where two axes would need it, the shape is computed.
func emitReshape(e *emission, v *ir.Value) error {
	from, to := v.Args[0].Type.Shape, v.Attrs.(ir.ReshapeAttrs).Shape
	spelled, free := make([]int64, len(to)), 0
	for i, d := range to {
		switch {
		case d.IsStatic():
			spelled[i] = d.B
		case i < len(from) && from[i] == d:
			spelled[i] = 0
		default:
			spelled[i] = -1
			free++
		}
	}
	shape := ""
	var err error
	if free > 1 || slices.Contains(to, tensor.Static(0)) {
		shape, err = e.shape(to)
	} else {
		shape = e.int64s(spelled...)
	}
	e.op(v, append(e.args(v), shape), nil)
	return err
}

func emitExpand(e *emission, v *ir.Value) error {
	shape, err := e.shape(v.Attrs.(ir.ReshapeAttrs).Shape)
	e.op(v, append(e.args(v), shape), nil)
	return err
}

// shape adds nodes that compute a shape vector from the shapes of graph inputs, or a constant when it is static.
func (e *emission) shape(dims []tensor.Dim) (string, error) {
	t := tensor.Type{Shape: dims}
	if static, ok := t.Static(); ok {
		return e.int64s(static...), nil
	}
	key := "shape" + tensor.ShapeString(dims)
	if e.sizes[key] != "" {
		return e.sizes[key], nil
	}
	var parts []string
	var static []int64
	flush := func() {
		if len(static) > 0 {
			parts = append(parts, e.int64s(static...))
			static = nil
		}
	}
	for _, d := range dims {
		if d.IsStatic() {
			static = append(static, d.B)
			continue
		}
		flush()
		p, err := e.size(d)
		if err != nil {
			return "", err
		}
		parts = append(parts, p)
	}
	flush()
	name := e.unique(key)
	e.node("Concat", name, parts, []string{name}, []*onnxpb.AttributeProto{intAttr("axis", 0)})
	e.sizes[key] = name
	return name, nil
}

// size adds nodes that compute one symbolic dimension as a vector of one element.
func (e *emission) size(d tensor.Dim) (string, error) {
	if e.sizes[d.String()] != "" {
		return e.sizes[d.String()], nil
	}
	symbol := tensor.Symbol(d.Sym)
	name := e.sizes[d.Sym]
	for _, in := range e.inputs {
		if axis := slices.Index(in.Type.Shape, symbol); axis >= 0 && name == "" {
			name = e.unique("size." + d.Sym)
			e.node("Shape", name, []string{e.names[in]}, []string{name}, []*onnxpb.AttributeProto{intAttr("start", int64(axis)), intAttr("end", int64(axis+1))})
			e.sizes[d.Sym] = name
		}
	}
	if name == "" {
		return "", fmt.Errorf("no input has the dimension %s alone", d.Sym)
	}
	for _, step := range []struct {
		op      string
		by, one int64
	}{{"Mul", d.A, 1}, {"Add", d.B, 0}} {
		if step.by != step.one {
			next := e.unique("size." + d.String())
			e.node(step.op, next, []string{name, e.int64s(step.by)}, []string{next}, nil)
			name = next
		}
	}
	e.sizes[d.String()] = name
	return name, nil
}

func emitSlice(e *emission, v *ir.Value) error {
	a := ir.Slice.Of(v)
	in := append(e.args(v), e.int64s(a.Starts...), e.int64s(a.Ends...), e.int64s(a.Axes...))
	if a.Steps != nil {
		in = append(in, e.int64s(a.Steps...))
	}
	e.op(v, in, nil)
	return nil
}

func emitPad(e *emission, v *ir.Value) error {
	a := ir.Pad.Of(v)
	in := append(e.args(v), e.int64s(a.Pads...))
	var attrs []*onnxpb.AttributeProto
	if a.Mode != "" {
		attrs = []*onnxpb.AttributeProto{stringAttr("mode", a.Mode)}
	} else if a.Value != 0 {
		in = append(in, e.scalar("pad_value", a.Value, v.Type.DType))
	}
	e.op(v, in, attrs)
	return nil
}

func emitTile(e *emission, v *ir.Value) error {
	e.op(v, append(e.args(v), e.int64s(ir.Tile.Of(v).Repeats...)), nil)
	return nil
}

func emitClip(e *emission, v *ir.Value) error {
	a := ir.Clip.Of(v)
	in := append(e.args(v), "", "")
	if !math.IsInf(float64(a.Min), -1) {
		in[1] = e.scalar("clip_min", a.Min, v.Type.DType)
	}
	if !math.IsInf(float64(a.Max), 1) {
		in[2] = e.scalar("clip_max", a.Max, v.Type.DType)
	}
	e.op(v, in, nil)
	return nil
}

// emitReduce passes the axes as an attribute before opset 18 (ReduceSum: 13), as an input from there on.
func emitReduce(e *emission, v *ir.Value) error {
	a := v.Attrs.(ir.ReduceAttrs)
	if e.opset < 18 && !ir.ReduceSum.Is(v) {
		return plain(e, v)
	}
	in := e.args(v)
	if a.Axes != nil {
		in = append(in, e.int64s(a.Axes...))
	}
	e.op(v, in, []*onnxpb.AttributeProto{intAttr("keepdims", a.KeepDims)})
	return nil
}

// emitResize passes the sizes of the last two axes; N and C come from scales of 1 where they are symbolic.
func emitResize(e *emission, v *ir.Value) error {
	a := ir.Resize.Of(v)
	sizes, err := e.shape(append(slices.Clone(v.Args[0].Type.Shape[:2]), tensor.Dims(a.Sizes...)...))
	attrs := []*onnxpb.AttributeProto{stringAttr("coordinate_transformation_mode", a.Coord), stringAttr("mode", a.Mode)}
	if a.Mode == "nearest" {
		attrs = append(attrs, stringAttr("nearest_mode", "round_prefer_floor"))
	}
	e.op(v, append(e.args(v), "", "", sizes), attrs)
	return err
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// Lowers reports whether an op has a row, and whether ONNX has the operator in some opset, so that files may hold it.
func Lowers(op string) (ok, native bool) {
	r, ok := table[op]
	return ok, ok && r.since != fused
}
