package tensorrt

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir/tensor"
)

const (
	f32 = int32(onnxpb.TensorProto_FLOAT)
	f16 = int32(onnxpb.TensorProto_FLOAT16)
	i64 = int32(onnxpb.TensorProto_INT64)
)

// A sketch is a model in a few words: inputs, constants, nodes.
type sketch struct{ f *onnxpb.File }

func draw(opset int64) *sketch {
	return &sketch{&onnxpb.File{Model: &onnxpb.ModelProto{Graph: &onnxpb.GraphProto{}, OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: &opset}}}}}
}

func (s *sketch) input(name string, d int32, rank int) *sketch {
	shape := &onnxpb.TensorShapeProto{}
	for range rank {
		shape.Dim = append(shape.Dim, &onnxpb.TensorShapeProto_Dimension{})
	}
	s.f.Model.Graph.Input = append(s.f.Model.Graph.Input, &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: &d, Shape: shape}}}})
	return s
}

func (s *sketch) constant(name string, t *tensor.Tensor) *sketch {
	s.f.Initializers = append(s.f.Initializers, onnxpb.Initializer{Name: name, Tensor: t})
	return s
}

func (s *sketch) node(op, out string, in ...string) *sketch {
	s.f.Model.Graph.Node = append(s.f.Model.Graph.Node, &onnxpb.NodeProto{OpType: &op, Name: proto.String(op), Input: in, Output: []string{out}})
	return s
}

// with adds an attribute to the last node.
func (s *sketch) with(name string, value any) *sketch {
	a := &onnxpb.AttributeProto{Name: &name}
	switch x := value.(type) {
	case int64:
		a.I = &x
	case []int64:
		a.Ints = x
	case string:
		a.S = []byte(x)
	}
	n := s.f.Model.Graph.Node[len(s.f.Model.Graph.Node)-1]
	n.Attribute = append(n.Attribute, a)
	return s
}

func floats(x ...float32) *tensor.Tensor { return tensor.FromFloat32([]int64{int64(len(x))}, x) }

// weights are int8 constants [4,4] with a scale per element of an axis.
func weights(s *sketch, op string, axis int64) *sketch {
	return s.input("x", f32, 4).constant("w", tensor.FromInt8([]int64{4, 4}, make([]int8, 16))).constant("s", floats(1, 1, 1, 1)).
		node("DequantizeLinear", "dw", "w", "s").with("axis", axis).node(op, "y", "x", "dw")
}

func quantized(zero *tensor.Tensor, scale float32) *sketch {
	return draw(17).input("x", f32, 4).constant("s", tensor.Scalar(scale)).constant("z", zero).node("QuantizeLinear", "q", "x", "s", "z").node("DequantizeLinear", "y", "q", "s", "z")
}

// Each rule has a model that breaks it and it alone, and one close to it that does not.
var cases = []struct {
	rule, release string
	bad, good     *sketch
}{
	{"opset", "8.6", draw(18), draw(17)},
	{"opset", "11", draw(26), draw(25)},
	{"half-constants", "10", draw(17).constant("c", tensor.Dense(tensor.Cast(floats(1, 1e6), tensor.Float16))), draw(17).constant("c", tensor.Dense(tensor.Cast(floats(1, 1e4), tensor.Float16)))},
	{"domain", "10", draw(17).input("x", f32, 4).node("FusedConv", "y", "x").domain("com.microsoft"), draw(17).input("x", f32, 4).node("Relu", "y", "x").domain("ai.onnx")},
	{"operator", "10", draw(17).input("x", f32, 4).node("Unique", "y", "x"), draw(17).input("x", f32, 4).node("Gelu", "y", "x")},
	{"operator", "8.6", draw(17).input("x", f32, 4).node("Gelu", "y", "x"), draw(17).input("x", f32, 4).node("Erf", "y", "x")},
	{"type", "10", draw(17).input("x", i64, 4).node("Softmax", "y", "x"), draw(17).input("x", i64, 4).node("Add", "y", "x", "x")},
	{"mixed-types", "11", draw(17).input("x", f32, 4).input("h", f16, 4).node("Add", "y", "x", "h"), draw(17).input("x", f32, 4).input("h", f16, 4).node("Cast", "c", "h").with("to", int64(f32)).node("Add", "y", "x", "c")},
	{"rank", "10", draw(17).input("x", f32, 9).node("Relu", "y", "x"), draw(17).input("x", f32, 8).node("Relu", "y", "x")},
	{"attribute", "10", draw(17).input("x", f32, 4).node("Resize", "y", "x").with("mode", "cubic"), draw(17).input("x", f32, 4).node("Resize", "y", "x").with("mode", "linear")},
	{"attribute", "8.6", draw(17).input("x", f32, 4).node("MaxPool", "y", "x").with("dilations", []int64{2, 2}), draw(17).input("x", f32, 4).node("MaxPool", "y", "x").with("dilations", []int64{1, 1})},
	{"initializer", "10", draw(17).input("x", f32, 4).input("a", i64, 1).node("Squeeze", "y", "x", "a"), draw(17).input("x", f32, 4).constant("a", tensor.FromInt64([]int64{1}, []int64{0})).node("Squeeze", "y", "x", "a")},
	{"outputs", "10", draw(17).input("x", f32, 4).node("LayerNormalization", "y", "x").output("mean").node("Relu", "z", "mean"), draw(17).input("x", f32, 4).node("LayerNormalization", "y", "x").output("mean")},
	{"modulo", "10", draw(17).input("x", f32, 4).node("Mod", "y", "x", "x"), draw(17).input("x", f32, 4).node("Div", "y", "x", "x")},
	{"shape-from-data", "10", draw(17).input("x", f32, 4).input("size", i64, 1).node("Reshape", "y", "x", "size"), draw(17).input("x", f32, 4).node("Shape", "size", "x").node("Reshape", "y", "x", "size")},
	{"uint8", "10", quantized(tensor.FromUint8([]int64{}, []uint8{0}), 1), quantized(tensor.FromInt8([]int64{}, []int8{0}), 1)},
	{"zero-point", "10", quantized(tensor.FromInt8([]int64{}, []int8{3}), 1), quantized(tensor.FromInt8([]int64{}, []int8{0}), 1)},
	{"scale", "11", quantized(tensor.FromInt8([]int64{}, []int8{0}), 0), quantized(tensor.FromInt8([]int64{}, []int8{0}), 1e-6)},
	{"activation-axis", "10", draw(17).input("x", f32, 4).constant("s", floats(1, 2)).constant("z", tensor.FromInt8([]int64{2}, make([]int8, 2))).node("QuantizeLinear", "q", "x", "s", "z"),
		draw(17).constant("x", floats(3, 4)).constant("s", floats(1, 2)).constant("z", tensor.FromInt8([]int64{2}, make([]int8, 2))).node("QuantizeLinear", "q", "x", "s", "z")},
	{"weight-axis", "10", weights(draw(17), "Conv", 1), weights(draw(17), "Conv", 0)},
	{"weight-axis", "10", weights(draw(17), "ConvTranspose", 0), weights(draw(17), "ConvTranspose", 1)},
	{"weight-axis", "8.6", weights(draw(17), "ConvTranspose", 1), weights(draw(17), "MatMul", 1)},
	{"integer-bias", "10", draw(17).constant("b", tensor.FromInt32([]int64{1}, []int32{7})).constant("s", floats(1)).node("DequantizeLinear", "y", "b", "s"),
		draw(17).constant("b", tensor.FromInt8([]int64{1}, []int8{7})).constant("s", floats(1)).node("DequantizeLinear", "y", "b", "s")},
	{"normalization", "10", draw(17).input("x", f16, 3).node("Mul", "v", "x", "x").node("ReduceMean", "m", "v"), draw(17).input("x", f32, 3).node("Mul", "v", "x", "x").node("ReduceMean", "m", "v")},
	{"residual", "10", quantized(tensor.FromInt8([]int64{}, []int8{0}), 1).node("Add", "sum", "y", "y"), quantized(tensor.FromInt8([]int64{}, []int8{0}), 1).node("Add", "sum", "y", "x")},
}

func (s *sketch) domain(d string) *sketch {
	s.f.Model.Graph.Node[len(s.f.Model.Graph.Node)-1].Domain = &d
	return s
}

func (s *sketch) output(name string) *sketch {
	n := s.f.Model.Graph.Node[len(s.f.Model.Graph.Node)-1]
	n.Output = append(n.Output, name)
	return s
}

func release(t *testing.T, name string) Release {
	for _, r := range Releases {
		if r.Name == name {
			return r
		}
	}
	require.Fail(t, name)
	return Release{}
}

func TestEachRule(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range cases {
		seen[c.rule] = true
		found := Lint(c.bad.f, release(t, c.release))
		require.NotEmpty(t, found, c.rule)
		for _, f := range found {
			require.Equal(t, c.rule, f.Rule, "%v", found)
			require.NotEmpty(t, f.Problem)
			require.NotEmpty(t, f.Way)
		}
		require.Empty(t, Lint(c.good.f, release(t, c.release)), c.rule)
	}
	for _, r := range rules {
		require.True(t, seen[r.Name], "rule %s has no example", r.Name)
	}
}

func TestOperatorTable(t *testing.T) {
	require.Greater(t, len(operators), 190)
	for _, r := range Releases {
		types, ok := r.takes("MatMul")
		require.True(t, ok)
		require.Contains(t, types, "f16")
		_, ok = r.takes("QLinearConv")
		require.False(t, ok)
	}
	_, ok := Releases[2].takes("Attention")
	require.True(t, ok)
	require.True(t, math.IsInf(float64(tensor.Float16ToFloat32(tensor.Float32ToFloat16(1e6))), 1))
}
