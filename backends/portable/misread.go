package portable

import (
	"fmt"
	"slices"
	"strings"

	"syncsam-convert/internal/onnxpb"
)

// The runtimes, by the versions that were tried (docs/runtimes.md).
const (
	openVINO  = "openvino"         // 2026.4, CPU
	openCV    = "opencv"           // 5.0, dnn
	oldORT    = "onnxruntime-1.16" // 1.16.3, CPU
	reference = "reference"        // onnx 1.23's reference evaluator
	coreML    = "coreml"           // coremltools, by its documentation
)

// A reading is a form that runtimes refuse, or read wrongly in silence. Each was seen on a graph of a node or two beside onnx's reference
// evaluator (scripts/check_forms.py), in the releases that since names; where those do not reach the one that was tried last, it is a warning.
type reading struct {
	name    string
	targets []string
	since   string
	form    func(m *model, n *node) bool
	model   func(m *model) string // says what is wrong with the file as a whole; instead of form
	problem string
	way     string
}

// severity is a warning where the release that was tried last reads it right.
func (r reading) severity() string {
	if strings.Contains(r.since, ", not ") {
		return "warning"
	}
	return "error"
}

var misread = []reading{
	{"reduce-axes", []string{openVINO}, "2026.0 (ReduceL1), 2026.4 (all three)", func(m *model, n *node) bool {
		return m.opset < 18 && n.is("ReduceL1", "ReduceLogSum", "ReduceLogSumExp") && n.attribute("axes") != nil
	}, nil, "below opset 18 it is read without its axes: everything is reduced, in silence",
		"opset 18, or for a logarithm of exponentials the maximum, exponentials, their sum and a logarithm"},
	{"reduce-axes-input", []string{openVINO}, "2023.0, not 2024.6", func(m *model, n *node) bool {
		return m.opset >= 18 && strings.HasPrefix(n.GetOpType(), "Reduce") && !n.is("ReduceSum") && n.in(1) != ""
	}, nil, "axes that are an input are not read: everything is reduced, in silence", "opset 17, or a newer OpenVINO"},
	{"shape-range", []string{openVINO}, "2023.0, not 2024.6", func(_ *model, n *node) bool {
		return n.is("Shape") && (n.attribute("start") != nil || n.attribute("end") != nil)
	}, nil, "start and end are not read: the whole shape is given", "a newer OpenVINO, or Gather from the shape"},
	{"auto-pad", []string{openVINO}, "2023.0 to 2025.0, not 2026.4", samePadding, nil, "the result has another size than the input's times the strides", "pads and output_padding as numbers"},
	{"log-sum-exp", []string{openVINO}, "2024.6 to 2026.0, not 2026.4", logSumExp, nil, "computed without the maximum: infinite past 88", "subtract the maximum first"},
	{"residual", []string{openVINO, openCV}, "OpenVINO 2023.0 to 2026.4; OpenCV 5.0 in a decoder", broadcastResidual, nil,
		"an addition right behind a convolution is taken for a residual of its shape, and this one broadcasts over the batch", "reshape both to three axes first"},
	{"constant-batch", []string{openCV}, "4.10, 5.0", func(m *model, n *node) bool {
		if !n.is("MatMul") || len(n.Input) != 2 {
			return false
		}
		c := m.constants[n.Input[1]]
		return len(c) > 2 && product(c[:len(c)-2]) > 1
	}, nil, "a constant with a batch of its own and fewer matrices than the other side: all but the first row of the batch are multiplied with wrong ones, in silence",
		"make the constant an input"},
	{"auto-pad", []string{openCV}, "4.10, 5.0", samePadding, nil, "the result has another size than the input's times the strides", "pads and output_padding as numbers"},
	{"log-sum-exp", []string{openCV}, "4.10, 5.0", logSumExp, nil, "computed without the maximum: infinite past 88", "subtract the maximum first"},
	{"resize", []string{openCV}, "4.10, not 5.0", func(_ *model, n *node) bool {
		return n.is("Resize") && n.word("mode") != "linear"
	}, nil, "nearest takes other pixels, cubic is refused", "mode linear, or OpenCV 5"},
	{"integer-bias", []string{openCV}, "5.0", func(m *model, n *node) bool {
		return n.is("DequantizeLinear") && m.typeOf(n.in(0)) == onnxpb.TensorProto_INT32
	}, nil, "a bias of int32 is refused", "the float model"},
	{"output-shape", []string{openCV}, "5.0", nil, func(m *model) string {
		for _, name := range m.outputs {
			if m.shapes[name] == nil {
				return fmt.Sprintf("output %q is declared without a shape, which is refused", name)
			}
		}
		return ""
	}, "", "declare the shapes of outputs, with names for what is free"},
	{"dequantize", []string{reference}, "onnx 1.23", func(m *model, n *node) bool {
		return m.opset < 19 && n.is("DequantizeLinear")
	}, nil, "below opset 19 there is no implementation", "opset 21"},
	{"opset", []string{oldORT}, "1.16", nil, func(m *model) string {
		if m.opset > 19 || m.irVersion > 9 {
			return fmt.Sprintf("opset %d and IR version %d: it knows up to 19 and 9", m.opset, m.irVersion)
		}
		return ""
	}, "", "opset 17"},
	{"half-functions", []string{oldORT}, "1.16", func(m *model, n *node) bool {
		return m.opset >= 18 && n.is("LayerNormalization", "Softmax") && m.typeOf(n.in(0)) == onnxpb.TensorProto_FLOAT16
	}, nil, "in float16 it becomes a function of opset 13, which refuses this file's spelling", "opset 17"},
	{"converter", []string{coreML}, "coremltools 6.0 and newer", nil, func(*model) string {
		return "coremltools converts no ONNX since 6.0; before, opsets up to 10"
	}, "", "ONNX Runtime's provider for Core ML, or conversion from PyTorch"},
}

// samePadding finds sizes that auto_pad leaves to the runtime.
func samePadding(_ *model, n *node) bool {
	return n.is("ConvTranspose") && strings.HasPrefix(n.word("auto_pad"), "SAME")
}

func logSumExp(_ *model, n *node) bool { return n.is("ReduceLogSumExp") }

// broadcastResidual finds an image of batch 1 that is added to the convolutions of a batch that is free; what keeps shapes is looked through.
func broadcastResidual(m *model, n *node) bool {
	if !n.is("Add") || len(n.Input) != 2 {
		return false
	}
	for i, x := range n.Input {
		c, other := m.makes[x], m.shapes[m.source(n.Input[1-i])]
		if c == nil || !c.is("Conv") || len(other) != 4 || other[0] != 1 || other[2] == 1 && other[3] == 1 {
			continue
		}
		mine := m.shapes[x]
		if mine == nil {
			mine = m.shapes[m.source(c.in(0))]
		}
		if mine == nil || mine[0] != 1 {
			return true
		}
	}
	return false
}

// pointwise operators keep a shape.
var pointwise = []string{"Relu", "LeakyRelu", "Cast", "Identity", "Sigmoid", "Tanh", "Erf", "Gelu", "Clip", "QuantizeLinear", "DequantizeLinear", "Neg", "Exp", "Sqrt"}

// source goes back from a tensor over what keeps its shape.
func (m *model) source(name string) string {
	for n := m.makes[name]; n != nil && n.is(pointwise...) && m.shapes[name] == nil; n = m.makes[name] {
		name = n.in(0)
	}
	return name
}

// typeOf is an element type as far as inputs, constants, casts and quantization tell it, 0 where they do not.
func (m *model) typeOf(name string) onnxpb.TensorProto_DataType {
	for {
		n := m.makes[name]
		switch {
		case m.types[name] != 0 || n == nil:
			return m.types[name]
		case n.is("Cast"):
			return onnxpb.TensorProto_DataType(n.attribute("to").GetI())
		case n.is("QuantizeLinear"):
			name = n.in(2)
		case n.is("DequantizeLinear", "Where"):
			name = n.in(1)
		case n.is("Shape", "Size", "ArgMax", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "If", "Loop", "Scan"):
			return 0
		default:
			name = n.in(0)
		}
	}
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

func (n *node) is(ops ...string) bool { return slices.Contains(ops, n.GetOpType()) }

// in is the name of input i, "" where it is absent.
func (n *node) in(i int) string {
	if i < len(n.Input) {
		return n.Input[i]
	}
	return ""
}

// word is an attribute's text.
func (n *node) word(name string) string { return string(n.attribute(name).GetS()) }

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
	outputs          []string
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
	for _, o := range g.Output {
		m.outputs = append(m.outputs, o.GetName())
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
