package runtimes

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"syncsam-convert/backends/lint"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir/tensor"
)

const (
	f32 = int32(onnxpb.TensorProto_FLOAT)
	f16 = int32(onnxpb.TensorProto_FLOAT16)
	i64 = int32(onnxpb.TensorProto_INT64)
)

// A sketch is a model in a few words.
type sketch struct{ *onnxpb.File }

func draw(opset int64) sketch {
	return sketch{&onnxpb.File{Model: &onnxpb.ModelProto{Graph: &onnxpb.GraphProto{}, OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: &opset}}}}}
}

func info(name string, d int32, dims []int64) *onnxpb.ValueInfoProto {
	t := &onnxpb.TypeProto_Tensor{ElemType: &d}
	if dims != nil {
		t.Shape = &onnxpb.TensorShapeProto{}
		for _, size := range dims {
			dim := &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: "B"}}
			if size > 0 {
				dim.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: size}
			}
			t.Shape.Dim = append(t.Shape.Dim, dim)
		}
	}
	return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: t}}}
}

// in declares an input; 0 is a free dimension.
func (s sketch) in(name string, d int32, dims ...int64) sketch {
	s.Model.Graph.Input = append(s.Model.Graph.Input, info(name, d, dims))
	return s
}

func (s sketch) out(name string, dims ...int64) sketch {
	s.Model.Graph.Output = append(s.Model.Graph.Output, info(name, f32, dims))
	return s
}

func (s sketch) constant(name string, t *tensor.Tensor) sketch {
	s.Initializers = append(s.Initializers, onnxpb.Initializer{Name: name, Tensor: t})
	return s
}

func (s sketch) node(op, out string, in ...string) sketch {
	s.Model.Graph.Node = append(s.Model.Graph.Node, &onnxpb.NodeProto{OpType: &op, Name: proto.String(op), Input: in, Output: []string{out}})
	return s
}

func (s sketch) with(name string, value any) sketch {
	a := &onnxpb.AttributeProto{Name: &name}
	switch x := value.(type) {
	case int64:
		a.I = &x
	case []int64:
		a.Ints = x
	case string:
		a.S = []byte(x)
	}
	n := s.Model.Graph.Node[len(s.Model.Graph.Node)-1]
	n.Attribute = append(n.Attribute, a)
	return s
}

// image is a model with an input of a free batch.
func image(opset int64) sketch { return draw(opset).in("x", f32, 0, 3, 4, 5) }

func zeros(dims ...int64) *tensor.Tensor {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	return tensor.FromFloat32(dims, make([]float32, n))
}

var (
	weights = zeros(6, 3, 1, 1)
	axes    = tensor.FromInt64([]int64{1}, []int64{-1})
)

// Each rule has a model that breaks it, and one close to it that does not; those of older releases alone are warnings.
var cases = []struct {
	target, rule string
	bad, good    sketch
}{
	{"openvino", "reduction-axes", image(17).node("ReduceL1", "y", "x").with("axes", []int64{-1}), image(17).node("ReduceMax", "y", "x").with("axes", []int64{-1})},
	{"openvino", "reduction-input", image(18).constant("a", axes).node("ReduceMax", "y", "x", "a"), image(18).constant("a", axes).node("ReduceSum", "y", "x", "a")},
	{"openvino", "shape-slice", image(17).node("Shape", "y", "x").with("start", int64(0)), image(17).node("Shape", "y", "x")},
	{"openvino", "auto-pad", image(17).node("ConvTranspose", "y", "x", "w").with("auto_pad", "SAME_UPPER"), image(17).node("ConvTranspose", "y", "x", "w").with("auto_pad", "NOTSET")},
	{"openvino", "log-sum-exp", image(18).node("ReduceLogSumExp", "y", "x"), image(18).node("ReduceL2", "y", "x")},
	{"openvino", "residual", image(17).in("z", f32, 1, 6, 4, 5).constant("w", weights).node("Conv", "t", "x", "w").node("Relu", "r", "z").node("Add", "y", "r", "t"),
		image(17).in("z", f32, 0, 6, 4, 5).constant("w", weights).node("Conv", "t", "x", "w").node("Relu", "r", "z").node("Add", "y", "r", "t")},
	{"opencv", "matmul-constant", draw(17).in("x", f32, 0, 4, 3, 8).constant("c", zeros(4, 8, 5)).node("MatMul", "y", "x", "c"), draw(17).in("x", f32, 4, 3, 8).constant("c", zeros(4, 8, 5)).node("MatMul", "y", "x", "c")},
	{"opencv", "matmul-constant", draw(17).in("x", f32, 0, 4, 3, 8).constant("c", zeros(1, 4, 8, 5)).node("MatMul", "y", "x", "c"), draw(17).in("x", f32, 0, 4, 3, 8).constant("c", zeros(8, 5)).node("MatMul", "y", "x", "c")},
	{"opencv", "auto-pad", image(17).node("ConvTranspose", "y", "x", "w").with("auto_pad", "SAME_LOWER"), image(17).node("ConvTranspose", "y", "x", "w")},
	{"opencv", "log-sum-exp", image(18).node("ReduceLogSumExp", "y", "x"), image(18).node("ReduceLogSum", "y", "x")},
	{"opencv", "integer-bias", draw(17).constant("b", tensor.FromInt32([]int64{1}, []int32{7})).node("DequantizeLinear", "y", "b", "s"), draw(17).constant("b", tensor.FromInt8([]int64{1}, []int8{7})).node("DequantizeLinear", "y", "b", "s")},
	{"opencv", "output-shape", image(17).node("Relu", "y", "x").out("y"), image(17).node("Relu", "y", "x").out("y", 0, 3, 4, 5)},
	{"opencv", "resize", image(17).node("Resize", "y", "x").with("mode", "nearest"), image(17).node("Resize", "y", "x").with("mode", "linear")},
	{"onnxruntime", "opset", draw(27), draw(17)},
	{"onnxruntime", "old-opset", draw(20), draw(19)},
	{"onnxruntime", "half-functions", draw(18).in("x", f16, 0, 4).node("Softmax", "y", "x"), draw(17).in("x", f16, 0, 4).node("Softmax", "y", "x")},
	{"reference", "dequantize", draw(17).node("DequantizeLinear", "y", "q", "s"), draw(19).node("DequantizeLinear", "y", "q", "s")},
	{"onnx", "vocabulary", image(17).node("Unique", "y", "x"), image(17).node("Relu", "y", "x")},
	{"onnx", "vocabulary", image(18).constant("a", axes).node("ReduceMean", "y", "x", "a").with("noop_with_empty_axes", int64(1)), image(18).constant("a", axes).node("ReduceMean", "y", "x", "a").with("keepdims", int64(1))},
	{"onnx", "vocabulary", image(17).node("Resize", "y", "x").with("mode", "cubic"), image(17).node("Resize", "y", "x").with("mode", "linear")},
	{"onnx", "vocabulary", image(19).node("Gelu", "y", "x"), image(20).node("Gelu", "y", "x")},
	{"onnx", "vocabulary", draw(17).in("x", i64, 0).node("Softmax", "y", "x"), draw(17).in("x", f32, 0).node("Softmax", "y", "x")},
}

func lintOf(t *testing.T, s sketch, target string) Report {
	r, err := Lint(s.File, target, nil)
	require.NoError(t, err)
	return r
}

func TestEachRule(t *testing.T) {
	seen := map[string]bool{"coreml converter": true}
	for _, c := range cases {
		seen[c.target+" "+c.rule] = true
		var found []string
		for _, f := range lintOf(t, c.bad, c.target).Findings {
			found = append(found, f.Rule)
			require.NotEmpty(t, f.Problem)
			require.NotEmpty(t, f.Way)
			require.Contains(t, lint.Line(f), f.Problem)
		}
		require.Contains(t, found, c.rule)
		for _, f := range lintOf(t, c.good, c.target).Findings {
			require.NotEqual(t, c.rule, f.Rule)
		}
	}
	for _, r := range append(rules, outside) {
		require.True(t, seen[r.Target+" "+r.Name], "rule %s of %s has no example", r.Name, r.Target)
	}
	require.Equal(t, 1, lintOf(t, draw(17), "coreml").Refused())
}

// What any runtime's newest release gets wrong, the portable target says, too.
func TestPortableAsksForAll(t *testing.T) {
	for _, r := range rules {
		if r.Severity == lint.Refused && r.Target != "coreml" && !r.Portable {
			require.Contains(t, []string{"integer-bias", "output-shape", "dequantize"}, r.Name, "INT8 models, and files without shapes, are for runtimes that take them")
		}
	}
	require.Equal(t, 1, lintOf(t, cases[0].bad, Portable).Refused())
}

func TestTargets(t *testing.T) {
	require.Equal(t, []string{"onnx", "tensorrt", "openvino", "opencv", "onnxruntime", "reference", "coreml"}, Targets())
	_, err := Lint(draw(17).File, "tflite", nil)
	require.ErrorContains(t, err, `--target: have "tflite", want one of onnx, tensorrt`)
	_, err = Lint(draw(17).File, "openvino", []string{"10"})
	require.ErrorContains(t, err, "--release: only with --target tensorrt")
	_, err = Lint(draw(17).File, TensorRT, []string{"7"})
	require.ErrorContains(t, err, `--release: have "7", want one of 8.6, 10, 11`)
	r, err := Lint(draw(18).File, TensorRT, []string{"8.6", "10"})
	require.NoError(t, err)
	require.Equal(t, 1, r.Refused())
	require.Equal(t, "TensorRT 8.6, 10", r.Target)
}

// Every line of the vocabulary is read, and no operator has two forms at one opset.
func TestVocabulary(t *testing.T) {
	require.Greater(t, len(vocabulary), 40)
	for op, forms := range vocabulary {
		for opset := int64(17); opset <= 26; opset++ {
			n := 0
			for _, f := range forms {
				require.LessOrEqual(t, f.least, f.most, op)
				if f.least <= opset && opset <= f.most {
					n++
				}
			}
			require.LessOrEqual(t, n, 1, "%s at opset %d", op, opset)
		}
	}
}
