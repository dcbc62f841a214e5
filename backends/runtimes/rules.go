package runtimes

import (
	"fmt"
	"slices"
	"strings"

	"syncsam-convert/backends/lint"
	"syncsam-convert/internal/onnxpb"
)

// A rule is one thing that a target refuses or reads wrongly. Severity is of its newest release that was tried; what only older ones get
// wrong is a warning. Each was seen on a graph of a node or two, against onnx's reference evaluator (docs/runtimes.md), or is documented.
type rule struct {
	Target, Releases string // of the target, those that it was seen of
	Name, Severity   string
	Portable         bool // asked of files for every runtime, too
	Way              string
	node             func(m *lint.Model, n *lint.Node) string
	model            func(m *lint.Model) string
}

// rules have an example each that breaks them, in the tests.
var rules = []rule{
	{Target: "openvino", Releases: "2026.0 (ReduceL1) to 2026.4", Name: "reduction-axes", Severity: lint.Refused, Portable: true,
		Way: "opset 18, where axes are an input; or maxima, exponentials, sums and logarithms one by one", node: reductionAxes},
	{Target: "openvino", Releases: "2023.0", Name: "reduction-input", Severity: lint.Costly, Way: "opset 17, or a newer OpenVINO", node: reductionInput},
	{Target: "openvino", Releases: "2023.0", Name: "shape-slice", Severity: lint.Costly, Way: "Gather from the whole shape, or a newer OpenVINO", node: shapeSlice},
	{Target: "openvino", Releases: "2023.0 to 2025.0", Name: "auto-pad", Severity: lint.Costly, Way: "pads and output_padding as numbers", node: autoPad},
	{Target: "openvino", Releases: "2024.6 to 2026.0", Name: "log-sum-exp", Severity: lint.Costly, Way: "subtract the maximum first", node: logSumExp},
	{Target: "openvino", Releases: "2026.4", Name: "residual", Severity: lint.Refused, Portable: true,
		Way: "join the pixels' axes on both sides of the addition, or make the other side's batch as free as the convolution's", node: residual},

	{Target: "opencv", Releases: "4.10, 5.0", Name: "matmul-constant", Severity: lint.Refused, Portable: true,
		Way: "make the constant an input, or repeat it over the whole batch", node: matMulConstant},
	{Target: "opencv", Releases: "4.10, 5.0", Name: "auto-pad", Severity: lint.Refused, Portable: true, Way: "pads and output_padding as numbers", node: autoPad},
	{Target: "opencv", Releases: "4.10, 5.0", Name: "log-sum-exp", Severity: lint.Costly, Portable: true, Way: "subtract the maximum first", node: logSumExp},
	{Target: "opencv", Releases: "5.0", Name: "integer-bias", Severity: lint.Refused, Way: "leave the bias in float", node: integerBias},
	{Target: "opencv", Releases: "5.0", Name: "output-shape", Severity: lint.Refused, Way: "declare the outputs' shapes, with names for free dimensions", model: outputShape},
	{Target: "opencv", Releases: "4.10", Name: "resize", Severity: lint.Costly, Way: "mode linear, or OpenCV 5", node: resizeModes},

	{Target: "onnxruntime", Releases: "1.32", Name: "opset", Severity: lint.Refused, Portable: true, Way: "export with an older opset; 17 runs everywhere", model: opsets("opset", 1, 26)},
	{Target: "onnxruntime", Releases: "1.16", Name: "old-opset", Severity: lint.Costly, Way: "opset 17 and IR version 8, or a newer ONNX Runtime", model: opsets("opset", 1, 19)},
	{Target: "onnxruntime", Releases: "1.16", Name: "half-functions", Severity: lint.Costly, Way: "opset 17, or a newer ONNX Runtime", node: halfFunctions},

	{Target: "reference", Releases: "onnx 1.23", Name: "dequantize", Severity: lint.Refused, Way: "opset 19 or newer (integer biases and their zero points: 21)", node: oldDequantize},

	{Target: "coreml", Releases: "coremltools 6.0 and newer", Name: "converter", Severity: lint.Refused, Way: "ONNX Runtime's provider for Core ML, or conversion from PyTorch",
		model: func(*lint.Model) string {
			return "coremltools converts no ONNX since 6.0; 4 and 5 took opsets up to 10"
		}},
}

// outside is the rule of the vocabulary.
var outside = rule{Target: Portable, Name: "vocabulary", Severity: lint.Costly, Way: "spell it in the vocabulary's words, or try it in each runtime that it is for"}

// lost are reductions that OpenVINO reads by opset 18's rule in older files: without the attribute it reduces every axis.
var lost = []string{"ReduceL1", "ReduceLogSum", "ReduceLogSumExp"}

func reductionAxes(m *lint.Model, n *lint.Node) string {
	if m.Opset < 18 && slices.Contains(lost, n.GetOpType()) && n.Attrs["axes"] != nil {
		return fmt.Sprintf("its axes, an attribute below opset 18, are not read: every axis is reduced; opset %d", m.Opset)
	}
	return ""
}

func reductionInput(m *lint.Model, n *lint.Node) string {
	if m.Opset >= 18 && strings.HasPrefix(n.GetOpType(), "Reduce") && n.GetOpType() != "ReduceSum" && n.In(1) != "" {
		return "its axes, an input from opset 18, are not read: every axis is reduced"
	}
	return ""
}

func shapeSlice(_ *lint.Model, n *lint.Node) string {
	if n.GetOpType() == "Shape" && (n.Attrs["start"] != nil || n.Attrs["end"] != nil) {
		return "start and end are not read: the whole shape is given"
	}
	return ""
}

func autoPad(_ *lint.Model, n *lint.Node) string {
	if a := n.Attrs["auto_pad"]; n.GetOpType() == "ConvTranspose" && a != nil && strings.HasPrefix(string(a.S), "SAME") {
		return fmt.Sprintf("auto_pad %s gives another size than the input's times the strides", a.S)
	}
	return ""
}

func logSumExp(_ *lint.Model, n *lint.Node) string {
	if n.GetOpType() == "ReduceLogSumExp" {
		return "computed without its maximum: infinite past 88"
	}
	return ""
}

// residual finds a convolution whose batch is free and whose result is added to something of a fixed batch of 1 that is declared so.
func residual(m *lint.Model, n *lint.Node) string {
	if n.GetOpType() != "Add" || len(n.Input) != 2 {
		return ""
	}
	for i, in := range n.Input {
		conv, other := m.Makes[in], m.Source(n.In(1-i))
		if conv == nil || conv.GetOpType() != "Conv" || m.Constant[n.In(1-i)] != nil {
			continue
		}
		mine, its := m.Shapes[m.Source(conv.In(0))], m.Shapes[other]
		if len(its) == 4 && its[0] == 1 && (len(mine) == 0 || mine[0] != 1) {
			return fmt.Sprintf("%q, of batch 1, is taken for a residual of the convolution's batch: an error when the batch is another", other)
		}
	}
	return ""
}

func matMulConstant(m *lint.Model, n *lint.Node) string {
	if n.GetOpType() != "MatMul" || len(n.Input) != 2 {
		return ""
	}
	c := m.Constant[n.In(1)]
	if c == nil || len(c.Dims()) < 3 {
		return ""
	}
	batch, rank := int64(1), len(c.Dims())
	for _, d := range c.Dims()[:rank-2] {
		batch *= d
	}
	if other := m.Ranks[n.In(0)]; batch == 1 || other == rank && c.Dims()[0] != 1 {
		return ""
	}
	return fmt.Sprintf("a constant of %d matrices beside a larger batch: all rows of the batch but the first take wrong matrices", batch)
}

func integerBias(m *lint.Model, n *lint.Node) string {
	if n.GetOpType() == "DequantizeLinear" && m.Types[n.In(0)] == onnxpb.TensorProto_INT32 {
		return "dequantizes int32"
	}
	return ""
}

func outputShape(m *lint.Model) string {
	for _, o := range m.Outputs {
		if !m.Declared[o] {
			return fmt.Sprintf("output %q is declared without a shape", o)
		}
	}
	return ""
}

func resizeModes(_ *lint.Model, n *lint.Node) string {
	if a := n.Attrs["mode"]; n.GetOpType() == "Resize" && (a == nil || string(a.S) != "linear") {
		return "nearest takes other pixels than every coordinate_transformation_mode says, cubic is refused"
	}
	return ""
}

func opsets(what string, least, most int64) func(m *lint.Model) string {
	return func(m *lint.Model) string {
		if m.Opset < least || m.Opset > most {
			return fmt.Sprintf("%s %d, want %d to %d", what, m.Opset, least, most)
		}
		return ""
	}
}

func halfFunctions(m *lint.Model, n *lint.Node) string {
	if op := n.GetOpType(); m.Opset >= 18 && (op == "Softmax" || op == "LayerNormalization") && m.Types[n.In(0)] == onnxpb.TensorProto_FLOAT16 {
		return "in float16 it becomes a function of opset 13 inside a graph of opset 18, and is refused"
	}
	return ""
}

func oldDequantize(m *lint.Model, n *lint.Node) string {
	if n.GetOpType() != "DequantizeLinear" {
		return ""
	}
	if m.Opset < 19 {
		return fmt.Sprintf("opset %d has no implementation", m.Opset)
	}
	return ""
}
