package portable

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"io"

	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/internal/output"
	"syncsam-convert/ir/tensor"
)

// file writes a model of one or two nodes.
func file(t *testing.T, opset int64, inits []onnxpb.Initializer, nodes ...*onnxpb.NodeProto) string {
	dim := func(n int64) *onnxpb.TensorShapeProto_Dimension {
		return &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: n}}
	}
	value := func(name string, dims ...int64) *onnxpb.ValueInfoProto {
		shape := &onnxpb.TensorShapeProto{}
		for _, d := range dims {
			if d == 0 {
				shape.Dim = append(shape.Dim, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: "N"}})
				continue
			}
			shape.Dim = append(shape.Dim, dim(d))
		}
		return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(1), Shape: shape}}}}
	}
	m := &onnxpb.ModelProto{IrVersion: proto.Int64(9), OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(opset)}},
		Graph: &onnxpb.GraphProto{Name: proto.String("g"), Node: nodes, Input: []*onnxpb.ValueInfoProto{value("x", 0, 4, 3, 8), value("image", 1, 5, 3, 8)},
			ValueInfo: []*onnxpb.ValueInfoProto{value("c", 0, 5, 3, 8)}, Output: []*onnxpb.ValueInfoProto{value("y", 0)}}}
	path := filepath.Join(t.TempDir(), "m.onnx")
	require.NoError(t, output.File(path, func(w io.Writer) error { return onnxpb.Write(w, m, inits, nil, nil) }))
	return path
}

func op(name string, out string, in ...string) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{OpType: proto.String(name), Input: in, Output: []string{out}}
}

// Every form that some runtime reads wrongly is found where it is, and not where it is none.
func TestMisread(t *testing.T) {
	zeros := func(d tensor.DType, dims ...int64) *tensor.Tensor {
		x, err := tensor.New(d, dims, make([]byte, int64(d.Size())*product(dims)))
		require.NoError(t, err)
		return x
	}
	axes := op("ReduceLogSumExp", "y", "x")
	axes.Attribute = []*onnxpb.AttributeProto{{Name: proto.String("axes"), Ints: []int64{-1}, Type: onnxpb.AttributeProto_INTS.Enum()}}
	one := func(name string, x *tensor.Tensor) []onnxpb.Initializer {
		return []onnxpb.Initializer{{Name: name, Tensor: x}}
	}
	sum := op("ReduceL1", "y", "x")
	sum.Attribute = axes.Attribute
	square := op("ReduceL2", "y", "x")
	square.Attribute = axes.Attribute
	conv, again, relu := op("Conv", "c", "x", "w"), op("Conv", "d", "x", "w"), op("Relu", "r", "image")
	named := op("Constant", "k")
	named.Attribute = []*onnxpb.AttributeProto{{Name: proto.String("value"), Type: onnxpb.AttributeProto_TENSOR.Enum(), T: &onnxpb.TensorProto{DataType: proto.Int32(1), Dims: []int64{4, 8, 5}, RawData: make([]byte, 640)}}}
	half := op("Cast", "h", "x")
	half.Attribute = []*onnxpb.AttributeProto{{Name: proto.String("to"), Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(10)}}
	soft := op("Softmax", "y", "h")
	soft.Attribute = []*onnxpb.AttributeProto{{Name: proto.String("axis"), Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(-1)}}
	most, cubic := op("ReduceMax", "y", "x"), op("Resize", "y", "x")
	most.Attribute = axes.Attribute
	cubic.Attribute = []*onnxpb.AttributeProto{{Name: proto.String("mode"), Type: onnxpb.AttributeProto_STRING.Enum(), S: []byte("cubic")}}
	w := one("w", zeros(tensor.Float32, 5, 4, 1, 1))
	seen := map[string]bool{}
	for _, c := range []struct {
		target, rule string
		path         string
	}{
		{openVINO, "reduce-axes", file(t, 17, nil, axes)},
		{openVINO, "", file(t, 18, nil, op("ReduceLogSumExp", "y", "x", "a"))},
		{openVINO, "reduce-axes", file(t, 17, nil, sum)},
		{openVINO, "", file(t, 17, nil, square)},
		{openVINO, "residual", file(t, 17, w, conv, op("Add", "y", "image", "c"))},
		{openVINO, "residual", file(t, 17, w, conv, relu, op("Add", "y", "r", "c"))}, // no shape of r is declared
		{openVINO, "", file(t, 17, w, conv, again, op("Add", "y", "c", "d"))},
		{openVINO, "", file(t, 17, append(w, one("k", zeros(tensor.Float32, 1, 5, 3, 8))...), conv, op("Add", "y", "k", "c"))},
		{openVINO, "unknown-shapes", file(t, 17, nil, op("Conv", "e", "x", "w"), op("Unique", "u", "image"), op("Add", "y", "e", "u"))},
		{openCV, "unknown-shapes", file(t, 17, nil, op("Conv", "e", "x", "w"), op("Unique", "u", "image"), op("Add", "y", "e", "u"))},
		{openCV, "residual", file(t, 17, w, conv, relu, op("Add", "y", "c", "r"))},
		{openCV, "", file(t, 17, w, conv, op("Add", "y", "c", "image"))},
		{openCV, "", file(t, 17, w, conv, again, op("Add", "y", "c", "d"))},
		{openCV, "integer-pool", file(t, 17, nil, op("DequantizeLinear", "d", "x", "s"), op("MaxPool", "y", "d"))},
		{openCV, "integer-pool", file(t, 17, nil, op("DequantizeLinear", "d", "x", "s"), op("Relu", "r", "d"), op("MaxPool", "y", "r"))},
		{openCV, "", file(t, 17, nil, op("DequantizeLinear", "d", "x", "s"), op("AveragePool", "y", "d"))},
		{openCV, "integers", file(t, 17, nil, op("DequantizeLinear", "d", "x", "s"), op("MaxPool", "p", "d"), op("QuantizeLinear", "y", "p", "s"))},
		{openCV, "constant-batch", file(t, 17, one("k", zeros(tensor.Float32, 4, 8, 5)), op("MatMul", "y", "x", "k"))},
		{openCV, "constant-batch", file(t, 17, nil, named, op("MatMul", "y", "x", "k"))},
		{openCV, "constant-batch", file(t, 17, nil, named, op("Unique", "u", "x"), op("MatMul", "y", "u", "k"))}, // nobody knows u's shape
		{openCV, "", file(t, 17, one("k", zeros(tensor.Float32, 5, 8, 5)), op("MatMul", "y", "image", "k"))},     // one batch: as many matrices
		{openCV, "", file(t, 17, one("k", zeros(tensor.Float32, 8, 5)), op("MatMul", "y", "x", "k"))},
		{openCV, "", file(t, 17, one("b", zeros(tensor.Int32, 5)), op("DequantizeLinear", "y", "b", "s"))},
		{reference, "dequantize", file(t, 18, one("b", zeros(tensor.Int32, 5)), op("DequantizeLinear", "y", "b", "s"))},
		{reference, "dequantize", file(t, 18, one("b", zeros(tensor.Int8, 5)), op("DequantizeLinear", "y", "b", "s"))},
		{reference, "", file(t, 19, one("b", zeros(tensor.Int32, 5)), op("DequantizeLinear", "y", "b", "s"))},
		{openCV, "", file(t, 19, nil, op("DequantizeLinear", "y"), op("MatMul", "z"), op("Add", "u"))}, // nodes without inputs
		{oldORT, "opset", file(t, 20, nil, op("Relu", "y", "x"))},
		{oldORT, "half-functions", file(t, 18, one("h", zeros(tensor.Float16, 5)), op("LayerNormalization", "y", "h", "h"))},
		{oldORT, "half-functions", file(t, 18, nil, half, soft)},
		{oldORT, "", file(t, 17, nil, half, soft)},
		{Vocabulary, "vocabulary", file(t, 17, nil, op("Loop", "y", "x"))},
		{Vocabulary, "vocabulary", file(t, 17, nil, cubic)},
		{Vocabulary, "vocabulary", file(t, 18, nil, most)},
		{Vocabulary, "", file(t, 17, nil, most)},
		{Vocabulary, "vocabulary", file(t, 27, nil, op("Relu", "y", "x"))},
		{Vocabulary, "", file(t, 17, nil, op("Relu", "y", "x"))},
	} {
		seen[c.target+" "+c.rule] = true
		found, err := Lint(c.path, []string{c.target})
		require.NoError(t, err)
		if c.rule == "" {
			require.Empty(t, found, "%s", c.target)
			continue
		}
		require.Len(t, found, 1, "%s %s", c.target, c.rule)
		require.Equal(t, c.rule, found[0].Rule)
		require.NotEmpty(t, found[0].Problem)
		require.NotEmpty(t, found[0].Way)
	}
	for _, r := range misread {
		for _, target := range r.targets {
			require.True(t, seen[target+" "+r.name] && seen[target+" "], "%s %s has no example, or no near one", target, r.name)
			require.NotEmpty(t, tried[target])
		}
	}
	_, err := Lint(file(t, 17, nil, op("Relu", "y", "x")), []string{"coreml"})
	require.ErrorContains(t, err, "want one of onnx, openvino, opencv, reference, onnxruntime-1.16, tensorrt")
	path := file(t, 26, nil, op("Relu", "y", "x"))
	found, err := Lint(filepath.Dir(path), []string{"tensorrt"})
	require.NoError(t, err)
	require.Len(t, found, 3)
	require.Equal(t, "m.onnx", found[0].File)
	require.Equal(t, "tensorrt-8.6", found[0].Target)
	_, err = Lint(t.TempDir(), Targets())
	require.ErrorContains(t, err, "it has no .onnx file")
}
