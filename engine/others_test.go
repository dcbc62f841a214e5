package engine

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/safetensors"
)

const others = "../frontends/onnx/testdata/others"

// othersTolerance bounds other programs' models against ONNX Runtime, in standard deviations: the bar of our own.
const othersTolerance = 5e-5

// Files that other programs exported, with shapes that follow from inputs' sizes and values, give what ONNX Runtime gives (DATA.md).
func TestFilesOfOthers(t *testing.T) {
	expected, err := safetensors.Open(filepath.Join(others, "expected.safetensors"))
	require.NoError(t, err)
	defer expected.Close()
	for _, model := range []string{"official", "samexporter", "dynamo"} {
		t.Run(model, func(t *testing.T) {
			s, err := Load(Embedded, filepath.Join(others, model+".onnx"), Options{})
			require.NoError(t, err)
			defer s.Close()
			part := func(side string, names []string) map[string]*tensor.Tensor {
				all := map[string]*tensor.Tensor{}
				for _, name := range names {
					all[name] = expected.Get(model + "/" + side + "/" + name)
					require.NotNil(t, all[name], name)
				}
				return all
			}
			in, want := part("in", s.Inputs()), part("out", s.Outputs())
			agree := func() {
				have, err := s.Run(context.Background(), in)
				require.NoError(t, err)
				require.Len(t, have, len(want))
				for name := range want {
					require.Equal(t, want[name].Dims(), have[name].Dims(), name)
					d, err := tensor.Compare(have[name], want[name])
					require.NoError(t, err)
					if want[name].Len() == 1 { // no deviation to measure by
						require.InDelta(t, want[name].Float32s()[0], have[name].Float32s()[0], othersTolerance)
						continue
					}
					require.LessOrEqual(t, d.Relative(), othersTolerance, name)
				}
			}
			agree()
			if size := in["orig_im_size"]; size != nil { // the same shapes, another value: another result, and back
				in["orig_im_size"] = tensor.FromFloat32([]int64{2}, []float32{11, 40})
				have, err := s.Run(context.Background(), in)
				require.NoError(t, err)
				require.Equal(t, []int64{1, 1, 11, 40}, have["masks"].Dims())
				in["orig_im_size"] = size
				agree()
			}
			delete(in, s.Inputs()[0])
			_, err = s.Run(context.Background(), in)
			require.ErrorContains(t, err, "is missing")
		})
	}
}

// What the embedded engine's reader refuses names the node and the way out; what no engine runs does not.
func TestRefusalsNameTheWayOut(t *testing.T) {
	one := &onnxpb.TensorShapeProto{Dim: []*onnxpb.TensorShapeProto_Dimension{{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: 1}}}}
	write := func(nodes ...*onnxpb.NodeProto) string {
		data, err := proto.Marshal(&onnxpb.ModelProto{IrVersion: proto.Int64(8), OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(17)}},
			Graph: &onnxpb.GraphProto{Name: proto.String("g"), Node: nodes, Output: []*onnxpb.ValueInfoProto{{Name: proto.String("y")}},
				Input: []*onnxpb.ValueInfoProto{{Name: proto.String("x"), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(1), Shape: one}}}}}}})
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), "m.onnx")
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	node := func(op, domain string) *onnxpb.NodeProto {
		return &onnxpb.NodeProto{OpType: &op, Domain: &domain, Input: []string{"x"}, Output: []string{"y"}}
	}
	for want, n := range map[string]*onnxpb.NodeProto{
		`(Loop): the operator is not in the IR: `:                node("Loop", ""),
		`(Relu): domain "com.microsoft" is not supported: `:      node("Relu", "com.microsoft"),
		`node "#0" (Reshape): an input is absent: the embedded `: node("Reshape", ""),
	} {
		s, err := Load(Embedded, write(n), Options{})
		if err == nil {
			_, err = s.Run(context.Background(), map[string]*tensor.Tensor{"x": tensor.FromFloat32([]int64{1}, []float32{1})})
		}
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "--engine onnxruntime")
	}
	path := filepath.Join(t.TempDir(), "m.onnx")
	require.NoError(t, os.WriteFile(path, []byte("no model"), 0o600))
	_, err := Load(Embedded, path, Options{})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "onnxruntime")
}
