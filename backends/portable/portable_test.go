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
	conv := op("Conv", "c", "x", "w")
	for _, c := range []struct {
		target, rule string
		path         string
	}{
		{openVINO, "reduce-axes", file(t, 17, nil, axes)},
		{openVINO, "", file(t, 18, nil, op("ReduceLogSumExp", "y", "x", "a"))},
		{openCV, "residual", file(t, 17, nil, conv, op("Add", "y", "c", "image"))},
		{openVINO, "residual", file(t, 17, nil, conv, op("Add", "y", "image", "c"))},
		{openVINO, "", file(t, 17, nil, conv, op("Add", "y", "c", "c"))},
		{openCV, "constant-batch", file(t, 17, one("k", zeros(tensor.Float32, 4, 8, 5)), op("MatMul", "y", "x", "k"))},
		{openCV, "", file(t, 17, one("k", zeros(tensor.Float32, 8, 5)), op("MatMul", "y", "x", "k"))},
		{openCV, "integer-bias", file(t, 17, one("b", zeros(tensor.Int32, 5)), op("DequantizeLinear", "y", "b", "s"))},
		{reference, "integer-bias", file(t, 18, one("b", zeros(tensor.Int32, 5)), op("DequantizeLinear", "y", "b", "s"))},
		{reference, "", file(t, 19, one("b", zeros(tensor.Int32, 5)), op("DequantizeLinear", "y", "b", "s"))},
		{openCV, "half-constants", file(t, 17, one("h", zeros(tensor.Float16, 5)), op("Cast", "y", "h"))},
		{oldORT, "opset", file(t, 20, nil, op("Relu", "y", "x"))},
		{oldORT, "half-functions", file(t, 18, one("h", zeros(tensor.Float16, 5)), op("LayerNormalization", "y", "h", "h"))},
		{Vocabulary, "vocabulary", file(t, 17, nil, op("Loop", "y", "x"))},
		{Vocabulary, "vocabulary", file(t, 27, nil, op("Relu", "y", "x"))},
		{Vocabulary, "", file(t, 17, nil, op("Relu", "y", "x"))},
	} {
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
	_, err := Lint(file(t, 17, nil, op("Relu", "y", "x")), []string{"coreml"})
	require.ErrorContains(t, err, "want one of onnx, openvino, opencv, reference, onnxruntime-1.16, tensorrt-8.6")
	_, err = Lint(t.TempDir(), Targets())
	require.ErrorContains(t, err, "it has no .onnx file")
}
