// Package lint makes ONNX files ready for the questions that targets ask of them, and has the words for what they find.
package lint

import (
	"fmt"
	"slices"

	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir/tensor"
)

// A Finding is one place that a target refuses, reads wrongly, or takes at a price.
type Finding struct {
	Target   string `json:"target"`
	Release  string `json:"release"` // of the target, or releases that it was seen of
	Rule     string `json:"rule"`
	Severity string `json:"severity"` // "error": refused, or wrong results; "warning": slower, or less exact, or not known
	Node     string `json:"node"`     // its name, or #index; "" for the whole model
	Op       string `json:"op,omitempty"`
	Problem  string `json:"problem"`
	Way      string `json:"way_out"`
}

// Severities of findings.
const (
	Refused = "error"
	Costly  = "warning"
)

// A Node with what rules ask of it.
type Node struct {
	*onnxpb.NodeProto
	Label string
	Attrs map[string]*onnxpb.AttributeProto
}

// In is the name of input i, "" where it is absent.
func (n *Node) In(i int) string {
	if i < len(n.Input) {
		return n.Input[i]
	}
	return ""
}

// Int is an attribute, or what it is where it is absent.
func (n *Node) Int(name string, absent int64) int64 {
	if a := n.Attrs[name]; a != nil {
		return a.GetI()
	}
	return absent
}

// Model is a file made ready for questions: who makes a tensor and who reads it, its element type as far as that is known, whether
// it depends on the values of graph inputs.
type Model struct {
	Opset    int64
	Nodes    []*Node // subgraphs' nodes included, behind those that hold them
	Makes    map[string]*Node
	Reads    map[string][]*Node
	Constant map[string]*tensor.Tensor
	Types    map[string]onnxpb.TensorProto_DataType
	Ranks    map[string]int     // where declared
	Shapes   map[string][]int64 // where declared: 0 for a dimension that is free
	Declared map[string]bool    // shapes that files give, scalars' too
	Outputs  []string
	FromData map[string]bool
}

// NewModel reads a file once; a File without its Initializers is read as far as it goes.
func NewModel(f *onnxpb.File) *Model {
	m := &Model{Makes: map[string]*Node{}, Reads: map[string][]*Node{}, Constant: map[string]*tensor.Tensor{},
		Types: map[string]onnxpb.TensorProto_DataType{}, Ranks: map[string]int{}, FromData: map[string]bool{}, Shapes: map[string][]int64{}, Declared: map[string]bool{}}
	for _, o := range f.Model.OpsetImport {
		if o.GetDomain() == "" || o.GetDomain() == "ai.onnx" {
			m.Opset = o.GetVersion()
		}
	}
	for _, init := range f.Initializers {
		m.constants(init.Name, init.Tensor)
	}
	g := f.Model.Graph
	for _, in := range g.Input {
		if m.Constant[in.GetName()] == nil {
			m.FromData[in.GetName()] = true
		}
	}
	for _, list := range [][]*onnxpb.ValueInfoProto{g.Input, g.ValueInfo, g.Output} {
		m.declare(list)
	}
	for _, o := range g.Output {
		m.Outputs = append(m.Outputs, o.GetName())
	}
	m.add(g, "")
	return m
}

// pointwise operators of one argument keep a shape.
var pointwise = []string{"Relu", "Cast", "Identity", "Sigmoid", "Erf", "Gelu", "Tanh", "Clip", "QuantizeLinear", "DequantizeLinear", "Neg", "Exp", "Sqrt"}

// Source goes back from a tensor over what keeps its shape.
func (m *Model) Source(name string) string {
	for n := m.Makes[name]; n != nil && slices.Contains(pointwise, n.GetOpType()); n = m.Makes[name] {
		name = n.In(0)
	}
	return name
}

func (m *Model) constants(name string, t *tensor.Tensor) {
	m.Constant[name] = t
	m.Types[name] = onnxpb.TensorProto_DataType(onnxpb.NumberOf(t.DType()))
	m.Ranks[name] = len(t.Dims())
}

func (m *Model) declare(list []*onnxpb.ValueInfoProto) {
	for _, v := range list {
		if t := v.GetType().GetTensorType(); t != nil {
			m.Types[v.GetName()] = onnxpb.TensorProto_DataType(t.GetElemType())
			if t.Shape != nil {
				m.Ranks[v.GetName()], m.Declared[v.GetName()] = len(t.Shape.Dim), true
				for _, d := range t.Shape.Dim {
					m.Shapes[v.GetName()] = append(m.Shapes[v.GetName()], d.GetDimValue())
				}
			}
		}
	}
}

// add takes a graph's nodes in order, and those of the graphs that they hold.
func (m *Model) add(g *onnxpb.GraphProto, prefix string) {
	for i, p := range g.Node {
		n := &Node{NodeProto: p, Label: p.GetName(), Attrs: map[string]*onnxpb.AttributeProto{}}
		if n.Label == "" {
			n.Label = fmt.Sprintf("%s#%d", prefix, i)
		}
		for _, a := range p.Attribute {
			n.Attrs[a.GetName()] = a
		}
		m.Nodes = append(m.Nodes, n)
		data := false
		for _, in := range p.Input {
			m.Reads[in] = append(m.Reads[in], n)
			data = data || m.FromData[in] && p.GetOpType() != "Shape" && p.GetOpType() != "Size"
		}
		for k, out := range p.Output {
			m.Makes[out] = n
			if data {
				m.FromData[out] = true
			}
			if m.Types[out] == 0 {
				m.Types[out] = m.typeOf(n, k)
			}
		}
		if t := n.Attrs["value"]; p.GetOpType() == "Constant" && t.GetT() != nil && len(p.Output) > 0 {
			if c, err := onnxpb.TensorOf(t.T); err == nil {
				m.constants(p.Output[0], c)
			}
		}
		for _, a := range p.Attribute {
			if a.G != nil {
				for _, init := range a.G.Initializer {
					if c, err := onnxpb.TensorOf(init); err == nil {
						m.constants(init.GetName(), c)
					}
				}
				m.declare(a.G.ValueInfo)
				m.add(a.G, n.Label+"/"+a.GetName())
			}
		}
	}
}

// typeFrom says which input gives an operator's result its element type, where it is not the first.
var typeFrom = map[string]int{"Where": 1, "OneHot": 2, "DequantizeLinear": 1, "QuantizeLinear": 2, "CastLike": 1, "QLinearConv": 7, "QLinearMatMul": 7}

// typeIs has the operators whose results have one element type.
var typeIs = map[string]onnxpb.TensorProto_DataType{
	"Shape": onnxpb.TensorProto_INT64, "Size": onnxpb.TensorProto_INT64, "NonZero": onnxpb.TensorProto_INT64, "ArgMax": onnxpb.TensorProto_INT64,
	"ArgMin": onnxpb.TensorProto_INT64, "Equal": onnxpb.TensorProto_BOOL, "Less": onnxpb.TensorProto_BOOL, "Greater": onnxpb.TensorProto_BOOL,
	"LessOrEqual": onnxpb.TensorProto_BOOL, "GreaterOrEqual": onnxpb.TensorProto_BOOL, "And": onnxpb.TensorProto_BOOL, "Or": onnxpb.TensorProto_BOOL,
	"Xor": onnxpb.TensorProto_BOOL, "Not": onnxpb.TensorProto_BOOL, "IsNaN": onnxpb.TensorProto_BOOL, "IsInf": onnxpb.TensorProto_BOOL,
	"DynamicQuantizeLinear": onnxpb.TensorProto_UINT8, "MatMulInteger": onnxpb.TensorProto_INT32, "ConvInteger": onnxpb.TensorProto_INT32,
}

// typeOf is the element type of a node's output k, 0 where it is not known.
func (m *Model) typeOf(n *Node, k int) onnxpb.TensorProto_DataType {
	op := n.GetOpType()
	if t := typeIs[op]; t != 0 && k == 0 {
		return t
	}
	switch op {
	case "Cast":
		return onnxpb.TensorProto_DataType(n.Int("to", 0))
	case "Constant":
		return onnxpb.TensorProto_DataType(n.Attrs["value"].GetT().GetDataType())
	case "ConstantOfShape":
		if t := n.Attrs["value"].GetT(); t != nil {
			return onnxpb.TensorProto_DataType(t.GetDataType())
		}
		return onnxpb.TensorProto_FLOAT
	case "QuantizeLinear":
		if n.In(2) == "" {
			return onnxpb.TensorProto_UINT8
		}
	case "If", "Loop", "Scan":
		return 0
	case "TopK":
		if k == 1 {
			return onnxpb.TensorProto_INT64
		}
	}
	return m.Types[n.In(typeFrom[op])]
}

// TypeNames are ONNX's element types in the words of the tables.
var TypeNames = map[onnxpb.TensorProto_DataType]string{
	onnxpb.TensorProto_FLOAT: "f32", onnxpb.TensorProto_FLOAT16: "f16", onnxpb.TensorProto_BFLOAT16: "bf16", onnxpb.TensorProto_DOUBLE: "f64",
	onnxpb.TensorProto_INT32: "i32", onnxpb.TensorProto_INT64: "i64", onnxpb.TensorProto_INT8: "i8", onnxpb.TensorProto_UINT8: "u8",
	onnxpb.TensorProto_BOOL: "bool", onnxpb.TensorProto_INT16: "i16", onnxpb.TensorProto_UINT16: "u16", onnxpb.TensorProto_UINT32: "u32",
	onnxpb.TensorProto_UINT64: "u64", onnxpb.TensorProto_STRING: "string",
}

// Line is a finding as one line of text.
func Line(f Finding) string {
	where := f.Target
	if f.Release != "" {
		where += " " + f.Release
	}
	if f.Node != "" {
		return fmt.Sprintf("%s: %s: %s: %s (%s): %s; %s", where, f.Severity, f.Node, f.Op, f.Rule, f.Problem, f.Way)
	}
	return fmt.Sprintf("%s: %s: the model (%s): %s; %s", where, f.Severity, f.Rule, f.Problem, f.Way)
}
