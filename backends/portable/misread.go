package portable

import (
	"fmt"

	"syncsam-convert/internal/onnxpb"
)

// The runtimes, by the versions that were tried (docs/runtimes.md).
const (
	openVINO  = "openvino"         // 2026.4, CPU
	openCV    = "opencv"           // 5.0, dnn
	oldORT    = "onnxruntime-1.16" // 1.16.3, CPU
	reference = "reference"        // onnx 1.23's reference evaluator
)

// A reading is a form that runtimes refuse, or read wrongly in silence.
type reading struct {
	name    string
	targets []string
	form    func(m *model, n *node) bool
	model   func(m *model) string // says what is wrong with the file as a whole; instead of form
	problem string
	way     string
}

var misread = []reading{
	{"reduce-axes", []string{openVINO}, func(m *model, n *node) bool {
		return n.GetOpType() == "ReduceLogSumExp" && n.attribute("axes") != nil
	}, nil, "below opset 18 it is read without its axes: everything is reduced, in silence",
		"opset 18, or the maximum, exponentials, their sum and a logarithm"},
	{"residual", []string{openVINO, openCV}, func(m *model, n *node) bool {
		if n.GetOpType() != "Add" || len(n.Input) != 2 {
			return false
		}
		for i, x := range n.Input {
			other := m.shapes[n.Input[1-i]]
			if c := m.makes[x]; c != nil && c.GetOpType() == "Conv" && len(other) == 4 && other[0] == 1 && other[2] > 1 && other[3] > 1 && m.shapes[x] != nil && m.shapes[x][0] != 1 {
				return true
			}
		}
		return false
	}, nil, "an addition right behind a convolution is taken for a residual of its shape, and this one broadcasts over the batch", "reshape both to three axes first"},
	{"constant-batch", []string{openCV}, func(m *model, n *node) bool {
		if n.GetOpType() != "MatMul" || len(n.Input) != 2 {
			return false
		}
		c := m.constants[n.Input[1]]
		return len(c) > 2 && product(c[:len(c)-2]) > 1
	}, nil, "a constant with a batch of its own and fewer matrices than the other side: all but the first row of the batch are multiplied with wrong ones, in silence",
		"make the constant an input"},
	{"integer-bias", []string{openCV}, func(m *model, n *node) bool {
		return n.GetOpType() == "DequantizeLinear" && m.types[n.Input[0]] == onnxpb.TensorProto_INT32
	}, nil, "a bias of int32 is refused", "the float model"},
	{"half-constants", []string{openCV}, nil, func(m *model) string {
		for name, t := range m.types {
			if t == onnxpb.TensorProto_FLOAT16 && m.constants[name] != nil {
				return "constants of float16 are read wrongly"
			}
		}
		return ""
	}, "", "the float32 model"},
	{"integer-bias", []string{reference}, func(m *model, n *node) bool {
		return m.opset < 19 && n.GetOpType() == "DequantizeLinear" && m.types[n.Input[0]] == onnxpb.TensorProto_INT32
	}, nil, "int32 is refused below opset 19", "opset 21"},
	{"opset", []string{oldORT}, nil, func(m *model) string {
		if m.opset > 19 || m.irVersion > 9 {
			return fmt.Sprintf("opset %d and IR version %d: it knows up to 19 and 9", m.opset, m.irVersion)
		}
		return ""
	}, "", "opset 17"},
	{"half-functions", []string{oldORT}, func(m *model, n *node) bool {
		half := func() bool {
			for _, x := range n.Input {
				if m.types[x] == onnxpb.TensorProto_FLOAT16 {
					return true
				}
			}
			return false
		}
		return m.opset >= 18 && n.GetOpType() == "LayerNormalization" && half()
	}, nil, "float16 normalization becomes a function of opset 13, which refuses this file's spelling", "opset 17"},
}

func product(dims []int64) int64 {
	p := int64(1)
	for _, d := range dims {
		p *= d
	}
	return p
}

// A node with what is asked of it.
type node struct {
	*onnxpb.NodeProto
	label string
}

func (n *node) attribute(name string) *onnxpb.AttributeProto {
	for _, a := range n.Attribute {
		if a.GetName() == name {
			return a
		}
	}
	return nil
}

// model is a file made ready for questions. Sizes that are not fixed are 0.
type model struct {
	opset, irVersion int64
	nodes            []*node
	makes            map[string]*node
	constants        map[string][]int64 // shapes
	shapes           map[string][]int64 // where declared, constants included
	types            map[string]onnxpb.TensorProto_DataType
}

func newModel(f *onnxpb.File) *model {
	m := &model{irVersion: f.Model.GetIrVersion(), makes: map[string]*node{}, constants: map[string][]int64{}, shapes: map[string][]int64{}, types: map[string]onnxpb.TensorProto_DataType{}}
	for _, o := range f.Model.OpsetImport {
		if o.GetDomain() == "" || o.GetDomain() == "ai.onnx" {
			m.opset = o.GetVersion()
		}
	}
	for _, init := range f.Initializers {
		m.constants[init.Name], m.shapes[init.Name] = append([]int64{}, init.Tensor.Dims()...), init.Tensor.Dims()
		m.types[init.Name] = onnxpb.TensorProto_DataType(onnxpb.NumberOf(init.Tensor.DType()))
	}
	g := f.Model.Graph
	for _, list := range [][]*onnxpb.ValueInfoProto{g.Input, g.ValueInfo, g.Output} {
		for _, v := range list {
			t := v.GetType().GetTensorType()
			m.types[v.GetName()] = onnxpb.TensorProto_DataType(t.GetElemType())
			if t.GetShape() == nil {
				continue
			}
			dims := []int64{}
			for _, d := range t.GetShape().Dim {
				dims = append(dims, d.GetDimValue())
			}
			m.shapes[v.GetName()] = dims
		}
	}
	m.add(g)
	return m
}

// add takes the nodes of a graph, and those of graphs in it.
func (m *model) add(g *onnxpb.GraphProto) {
	for _, p := range g.Node {
		n := &node{p, p.GetName()}
		if n.label == "" {
			n.label = fmt.Sprintf("#%d", len(m.nodes))
		}
		m.nodes = append(m.nodes, n)
		for _, out := range p.Output {
			m.makes[out] = n
		}
		for _, a := range p.Attribute {
			if a.G != nil {
				m.add(a.G)
			}
		}
	}
}
