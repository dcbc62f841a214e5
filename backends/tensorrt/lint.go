package tensorrt

import (
	"fmt"
	"slices"

	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir/tensor"
)

// A Finding is one place that a release of TensorRT refuses, or takes at a price.
type Finding struct {
	Release  string `json:"release"`
	Rule     string `json:"rule"`
	Severity string `json:"severity"` // "error": refused, or wrong results; "warning": slower, or less exact
	Node     string `json:"node"`     // its name, or #index; "" for the whole model
	Op       string `json:"op,omitempty"`
	Problem  string `json:"problem"`
	Way      string `json:"way_out"`
}

// Lint holds a model against a release's rules; findings in the model's order.
func Lint(f *onnxpb.File, r Release) []Finding {
	m := newModel(f)
	out := []Finding{}
	add := func(rule rule, n *node, problem string) {
		if problem == "" {
			return
		}
		found := Finding{Release: r.Name, Rule: rule.Name, Severity: rule.Severity, Problem: problem, Way: rule.Way}
		if n != nil {
			found.Node, found.Op = n.label, n.GetOpType()
		}
		out = append(out, found)
	}
	for _, rule := range rules {
		if len(rule.Releases) > 0 && !slices.Contains(rule.Releases, r.Name) {
			continue
		}
		if rule.model != nil {
			for _, problem := range rule.model(m, r) {
				add(rule, nil, problem)
			}
		}
	}
	for _, n := range m.nodes {
		for _, rule := range rules {
			if rule.node != nil && (len(rule.Releases) == 0 || slices.Contains(rule.Releases, r.Name)) {
				add(rule, n, rule.node(m, n, r))
			}
		}
	}
	return out
}

// A node with what rules ask of it.
type node struct {
	*onnxpb.NodeProto
	label string
	attrs map[string]*onnxpb.AttributeProto
}

// in is the name of input i, "" where it is absent.
func (n *node) in(i int) string {
	if i < len(n.Input) {
		return n.Input[i]
	}
	return ""
}

func (n *node) int(name string, absent int64) int64 {
	if a := n.attrs[name]; a != nil {
		return a.GetI()
	}
	return absent
}

// model is a file made ready for questions: who makes a tensor and who reads it, its element type as far as that is known, whether
// it depends on the values of graph inputs.
type model struct {
	opset    int64
	nodes    []*node // subgraphs' nodes included, behind those that hold them
	makes    map[string]*node
	reads    map[string][]*node
	constant map[string]*tensor.Tensor
	types    map[string]onnxpb.TensorProto_DataType
	ranks    map[string]int // where declared
	fromData map[string]bool
}

func newModel(f *onnxpb.File) *model {
	m := &model{makes: map[string]*node{}, reads: map[string][]*node{}, constant: map[string]*tensor.Tensor{},
		types: map[string]onnxpb.TensorProto_DataType{}, ranks: map[string]int{}, fromData: map[string]bool{}}
	for _, o := range f.Model.OpsetImport {
		if o.GetDomain() == "" || o.GetDomain() == "ai.onnx" {
			m.opset = o.GetVersion()
		}
	}
	for _, init := range f.Initializers {
		m.constants(init.Name, init.Tensor)
	}
	g := f.Model.Graph
	for _, in := range g.Input {
		if m.constant[in.GetName()] == nil {
			m.fromData[in.GetName()] = true
		}
	}
	for _, list := range [][]*onnxpb.ValueInfoProto{g.Input, g.ValueInfo, g.Output} {
		m.declare(list)
	}
	m.add(g, "")
	return m
}

func (m *model) constants(name string, t *tensor.Tensor) {
	m.constant[name] = t
	m.types[name] = onnxpb.TensorProto_DataType(onnxpb.NumberOf(t.DType()))
	m.ranks[name] = len(t.Dims())
}

func (m *model) declare(list []*onnxpb.ValueInfoProto) {
	for _, v := range list {
		if t := v.GetType().GetTensorType(); t != nil {
			m.types[v.GetName()] = onnxpb.TensorProto_DataType(t.GetElemType())
			if t.Shape != nil {
				m.ranks[v.GetName()] = len(t.Shape.Dim)
			}
		}
	}
}

// add takes a graph's nodes in order, and those of the graphs that they hold.
func (m *model) add(g *onnxpb.GraphProto, prefix string) {
	for i, p := range g.Node {
		n := &node{NodeProto: p, label: p.GetName(), attrs: map[string]*onnxpb.AttributeProto{}}
		if n.label == "" {
			n.label = fmt.Sprintf("%s#%d", prefix, i)
		}
		for _, a := range p.Attribute {
			n.attrs[a.GetName()] = a
		}
		m.nodes = append(m.nodes, n)
		data := false
		for _, in := range p.Input {
			m.reads[in] = append(m.reads[in], n)
			data = data || m.fromData[in] && p.GetOpType() != "Shape" && p.GetOpType() != "Size"
		}
		for k, out := range p.Output {
			m.makes[out] = n
			if data {
				m.fromData[out] = true
			}
			if m.types[out] == 0 {
				m.types[out] = m.typeOf(n, k)
			}
		}
		if t := n.attrs["value"]; p.GetOpType() == "Constant" && t.GetT() != nil && len(p.Output) > 0 {
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
				m.add(a.G, n.label+"/"+a.GetName())
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
func (m *model) typeOf(n *node, k int) onnxpb.TensorProto_DataType {
	op := n.GetOpType()
	if t := typeIs[op]; t != 0 && k == 0 {
		return t
	}
	switch op {
	case "Cast":
		return onnxpb.TensorProto_DataType(n.int("to", 0))
	case "Constant":
		return onnxpb.TensorProto_DataType(n.attrs["value"].GetT().GetDataType())
	case "ConstantOfShape":
		if t := n.attrs["value"].GetT(); t != nil {
			return onnxpb.TensorProto_DataType(t.GetDataType())
		}
		return onnxpb.TensorProto_FLOAT
	case "QuantizeLinear":
		if n.in(2) == "" {
			return onnxpb.TensorProto_UINT8
		}
	case "If", "Loop", "Scan":
		return 0
	case "TopK":
		if k == 1 {
			return onnxpb.TensorProto_INT64
		}
	}
	return m.types[n.in(typeFrom[op])]
}
