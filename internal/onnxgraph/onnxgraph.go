// Package onnxgraph is an ONNX file made ready for questions about its nodes: what rules of targets are written on.
package onnxgraph

import (
	"fmt"

	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir/tensor"
)

// A Node with what is asked of it.
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
	Ranks    map[string]int // where declared
	FromData map[string]bool
}

// New reads a file's nodes, constants and declarations.
func New(f *onnxpb.File) *Model {
	m := &Model{Makes: map[string]*Node{}, Reads: map[string][]*Node{}, Constant: map[string]*tensor.Tensor{},
		Types: map[string]onnxpb.TensorProto_DataType{}, Ranks: map[string]int{}, FromData: map[string]bool{}}
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
	m.add(g, "")
	return m
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
				m.Ranks[v.GetName()] = len(t.Shape.Dim)
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
