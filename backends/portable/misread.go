package portable

import (
	"fmt"
	"slices"
	"strings"

	"syncsam-convert/frontends/onnx"
	"syncsam-convert/internal/guard"
	"syncsam-convert/internal/onnxgraph"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir/tensor"
)

// The runtimes.
const (
	openVINO  = "openvino"
	openCV    = "opencv"
	oldORT    = "onnxruntime-1.16"
	reference = "reference" // onnx's reference evaluator
)

// tried has the versions, on a CPU, that the readings were measured with; whether an older or newer one differs is not known.
var tried = map[string]string{openVINO: "2026.4.1", openCV: "5.0.0", oldORT: "1.16.3", reference: "1.23.2"}

// A reading is a form that runtimes refuse, or read wrongly in silence. It looks at every node, or once at the model.
type reading struct {
	name    string
	targets []string
	seen    string                       // the releases that it was seen in (scripts/check_forms.py); "": the one that was tried
	unsure  bool                         // it says what nobody knows, or what depends on values, not what is wrong
	form    func(m *model, n *node) bool // with a problem
	model   func(m *model) string        // gives the problem, "" for none
	problem string
	way     string
}

// release is what a target's reading was seen in.
func (r reading) release(target string) string {
	if r.seen != "" {
		return r.seen
	}
	return tried[target]
}

func (r reading) severity() string {
	if r.unsure {
		return "warning"
	}
	return "error"
}

var misread = []reading{
	{name: "reduce-axes", targets: []string{openVINO}, seen: "2026.0 (ReduceL1 alone) to 2026.4",
		form: func(m *model, n *node) bool {
			return slices.Contains([]string{"ReduceL1", "ReduceLogSum", "ReduceLogSumExp"}, n.GetOpType()) && n.Attrs["axes"] != nil
		},
		problem: "below opset 18 it is read without its axes: everything is reduced, in silence",
		way:     "opset 18, or the same in other operators (absolute values or exponentials, ReduceSum, a logarithm)"},
	{name: "residual", targets: []string{openVINO}, seen: "2023.0 to 2026.4",
		form: func(m *model, n *node) bool {
			_, a, b := m.besideConv(n)
			return len(a) == 4 && len(b) == 4 && (a[0].Is(1) && !b[0].IsStatic() || b[0].Is(1) && !a[0].IsStatic()) && slices.Equal(a[1:], b[1:])
		},
		problem: "an addition right behind a convolution may be taken for a residual of its shape, and this one broadcasts over a dynamic batch: it stops at other batches than 1",
		way:     "a static batch, or reshape both to three axes first"},
	{name: "residual", targets: []string{openCV},
		form: func(m *model, n *node) bool {
			other, a, b := m.besideConv(n)
			return m.Makes[other] != nil && a != nil && b != nil && broadcasts(a, b)
		},
		problem: "an addition right behind a convolution is taken for a residual of its shape, and this one broadcasts: it stops",
		way:     "reshape both to three axes first"},
	{name: "unknown-shapes", targets: []string{openVINO, openCV}, unsure: true,
		model: func(m *model) string {
			var unknown int
			for _, n := range m.Nodes {
				if other, a, b := m.besideConv(n); other != "" && (a == nil || b == nil) {
					unknown++
				}
			}
			if unknown == 0 {
				return ""
			}
			return fmt.Sprintf("of %d additions right behind convolutions shapes are not known, so whether they broadcast is not, either", unknown)
		},
		way: "declare the shapes (onnx.shape_inference), then ask again"},
	{name: "constant-batch", targets: []string{openCV}, seen: "4.10, 5.0",
		form: func(m *model, n *node) bool {
			if n.GetOpType() != "MatMul" || m.Constant[n.In(1)] == nil {
				return false
			}
			c := m.Constant[n.In(1)].Dims()
			return len(c) > 2 && product(c[:len(c)-2]) > 1 && m.moreMatrices(n.In(0), c)
		},
		problem: "a constant at the right has a batch of its own, of fewer matrices than the product: all but the first row of the batch are multiplied with wrong ones, in silence",
		way:     "make the constant an input, or the left argument of the transposed product"},
	{name: "integer-pool", targets: []string{openCV},
		form: func(m *model, n *node) bool {
			from := m.Makes[n.In(0)]
			if from != nil && from.GetOpType() == "Relu" {
				from = m.Makes[from.In(0)]
			}
			return n.GetOpType() == "MaxPool" && from != nil && from.GetOpType() == "DequantizeLinear" && !slices.ContainsFunc(m.Nodes, func(u *node) bool {
				return u.GetOpType() == "QuantizeLinear" && slices.Contains(n.Output, u.In(0))
			})
		},
		problem: "of a pool of dequantized values one of integers is made, which stops where its result is not quantized",
		way:     "quantize the result"},
	{name: "same-padding", targets: []string{openCV}, seen: "4.10, 5.0",
		form: func(_ *model, n *node) bool {
			return n.GetOpType() == "ConvTranspose" && strings.HasPrefix(string(n.Attrs["auto_pad"].GetS()), "SAME")
		},
		problem: "with auto_pad SAME_UPPER and SAME_LOWER the result is smaller than the input's size times the strides, in silence",
		way:     "pads and output_padding as numbers"},
	{name: "log-sum-exp", targets: []string{openCV}, seen: "4.10, 5.0", unsure: true,
		form:    func(_ *model, n *node) bool { return n.GetOpType() == "ReduceLogSumExp" },
		problem: "it is computed without the maximum: infinite where an argument passes 88",
		way:     "subtract the maximum first"},
	{name: "output-shape", targets: []string{openCV},
		model: func(m *model) string {
			if len(m.bare) == 0 {
				return ""
			}
			return fmt.Sprintf("output %q is declared without a shape, which is refused", m.bare[0])
		},
		way: "declare the outputs' shapes, with names for what is free"},
	{name: "integers", targets: []string{openCV}, unsure: true,
		model: func(m *model) string {
			if !slices.ContainsFunc(m.Nodes, func(n *node) bool { return n.GetOpType() == "QuantizeLinear" }) {
				return ""
			}
			return "this program's INT8 encoders stop (\"bufidx >= 0\") and small quantized graphs run; in which form it stops is not known"
		},
		way: "run it there before you rely on it, or take the float model"},
	{name: "dequantize", targets: []string{reference},
		form:    func(m *model, n *node) bool { return m.Opset < 19 && n.GetOpType() == "DequantizeLinear" },
		problem: "it is refused below opset 19",
		way:     "opset 19 or newer"},
	{name: "opset", targets: []string{oldORT},
		model: func(m *model) string {
			if m.Opset > 19 || m.irVersion > 9 {
				return fmt.Sprintf("opset %d and IR version %d: it knows up to 19 and 9", m.Opset, m.irVersion)
			}
			return ""
		},
		way: "opset 17"},
	{name: "half-functions", targets: []string{oldORT},
		form: func(m *model, n *node) bool {
			return m.Opset >= 18 && slices.Contains([]string{"LayerNormalization", "Softmax", "LogSoftmax", "MeanVarianceNormalization"}, n.GetOpType()) &&
				slices.ContainsFunc(n.Input, func(x string) bool { return m.Types[x] == onnxpb.TensorProto_FLOAT16 })
		},
		problem: "of its float16 form a function of opset 13 is made, which refuses this file's spelling",
		way:     "opset 17"},
}

// besideConv gives what an addition adds to a convolution's result, "" where there is none or it is a constant, and both shapes, nil where they are not known.
func (m *model) besideConv(n *node) (other string, conv, beside []tensor.Dim) {
	if n.GetOpType() != "Add" || len(n.Input) != 2 || m.Constant[n.Input[0]] != nil || m.Constant[n.Input[1]] != nil {
		return "", nil, nil
	}
	for i, x := range n.Input {
		if c := m.Makes[x]; c != nil && c.GetOpType() == "Conv" {
			return n.Input[1-i], m.shapes[x], m.shapes[n.Input[1-i]]
		}
	}
	return "", nil, nil
}

// broadcasts reports whether two shapes that fit differ.
func broadcasts(a, b []tensor.Dim) bool {
	if len(a) != len(b) {
		return true
	}
	for i := range a {
		if a[i].Is(1) != b[i].Is(1) {
			return true
		}
	}
	return false
}

// moreMatrices reports whether the product of x and a constant has more matrices than the constant, or may have.
func (m *model) moreMatrices(x string, c []int64) bool {
	shape := m.shapes[x]
	if shape == nil {
		return true
	}
	for i := 3; i <= len(shape); i++ { // from the last batch axis on
		if d := shape[len(shape)-i]; !d.Is(1) && (i > len(c) || c[len(c)-i] == 1) {
			return true
		}
	}
	return false
}

func product(dims []int64) int64 {
	p := int64(1)
	for _, d := range dims {
		p *= d
	}
	return p
}

// model is a file made ready for questions, and shapes where they are known.
type model struct {
	*onnxgraph.Model
	irVersion int64
	shapes    map[string][]tensor.Dim // declared, or the IR's; constants included
	bare      []string                // outputs that are declared without a shape
}

type node = onnxgraph.Node

func newModel(f *onnxpb.File) *model {
	m := &model{Model: onnxgraph.New(f), irVersion: f.Model.GetIrVersion(), shapes: map[string][]tensor.Dim{}}
	m.infer(f)
	g := f.Model.Graph
	for _, list := range [][]*onnxpb.ValueInfoProto{g.Input, g.ValueInfo, g.Output} {
		for _, v := range list {
			m.declare(v)
		}
	}
	for _, o := range g.Output {
		if o.GetType().GetTensorType() != nil && o.GetType().GetTensorType().Shape == nil {
			m.bare = append(m.bare, o.GetName())
		}
	}
	for name, t := range m.Constant {
		m.shapes[name] = tensor.Dims(t.Dims()...)
	}
	return m
}

// infer takes what the IR knows of a file that it can hold. Of another one, declarations are all there is.
func (m *model) infer(f *onnxpb.File) {
	_ = guard.Do(func() error {
		read, err := onnx.Import(f)
		if err != nil {
			return err
		}
		for _, v := range read.Graph.Values {
			if v.Name != "" {
				m.shapes[v.Name] = v.Type.Shape
			}
		}
		return nil
	})
}

func (m *model) declare(v *onnxpb.ValueInfoProto) {
	t := v.GetType().GetTensorType()
	if t.GetShape() == nil || m.shapes[v.GetName()] != nil {
		return
	}
	dims := []tensor.Dim{}
	for i, d := range t.GetShape().Dim {
		switch {
		case d.GetDimValue() > 0:
			dims = append(dims, tensor.Static(d.GetDimValue()))
		case d.GetDimParam() != "":
			dims = append(dims, tensor.Symbol(d.GetDimParam()))
		default:
			dims = append(dims, tensor.Symbol(fmt.Sprintf("%s.%d", v.GetName(), i)))
		}
	}
	m.shapes[v.GetName()] = dims
}
