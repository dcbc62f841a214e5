package onnx

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	backend "syncsam-convert/backends/onnx"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// model marshals a graph of the given nodes over x float32[N,4].
func model(nodes []*onnxpb.NodeProto, inits ...*onnxpb.TensorProto) []byte {
	dim := func(n string) *onnxpb.TensorShapeProto_Dimension {
		return &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: n}}
	}
	four := &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: 4}}
	x := &onnxpb.ValueInfoProto{Name: proto.String("x"), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{
		ElemType: proto.Int32(1), Shape: &onnxpb.TensorShapeProto{Dim: []*onnxpb.TensorShapeProto_Dimension{dim("batch size"), four}}}}}}
	data, err := proto.Marshal(&onnxpb.ModelProto{IrVersion: proto.Int64(8), OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(17)}},
		Graph: &onnxpb.GraphProto{Name: proto.String("g"), Node: nodes, Initializer: inits, Input: []*onnxpb.ValueInfoProto{x}, Output: []*onnxpb.ValueInfoProto{{Name: proto.String("y")}}}})
	if err != nil {
		panic(err)
	}
	return data
}

func node(op string, in ...string) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{OpType: &op, Input: in, Output: []string{"y"}}
}

func read(data []byte) (*Model, error) {
	f, err := onnxpb.Parse(data)
	if err != nil {
		return nil, err
	}
	return Import(f)
}

func TestSymbols(t *testing.T) {
	m, err := read(model([]*onnxpb.NodeProto{node("Relu", "x")}))
	require.NoError(t, err)
	require.Equal(t, "float32[batch_size,4]", m.Graph.Outputs[0].Value.Type.String(), "any name becomes a symbol")
}

// Every refusal names the node and the reason.
func TestRefusals(t *testing.T) {
	foreign := node("Relu", "x")
	foreign.Domain = proto.String("com.example")
	for want, nodes := range map[string][]*onnxpb.NodeProto{
		`node "#0" (Frobnicate): the operator is not in the IR`: {node("Frobnicate", "x")},
		`node "#0" (Relu): "nothing" is not defined above`:      {node("Relu", "nothing")},
		`domain "com.example" is not supported`:                 {foreign},
		`have 0 arguments, want 1`:                              {node("Relu")},
		`"x" must be known when the model is read`:              {node("Reshape", "x", "x")},
		`output "y"`:       {},
		`it has no output`: {{OpType: proto.String("Relu"), Input: []string{"x"}}},
	} {
		_, err := read(model(nodes))
		require.ErrorContains(t, err, want)
	}
	_, err := read([]byte("no protobuf"))
	require.Error(t, err)
	_, err = Open(filepath.Join(t.TempDir(), "none.onnx"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// External data outside the model's folder is not read.
func TestExternalDataStaysInside(t *testing.T) {
	for _, location := range []string{"../secret", "/etc/passwd", "a/../../secret", ""} {
		init := &onnxpb.TensorProto{Name: proto.String("w"), Dims: []int64{4}, DataType: proto.Int32(1), DataLocation: onnxpb.TensorProto_EXTERNAL.Enum(),
			ExternalData: []*onnxpb.StringStringEntryProto{{Key: proto.String("location"), Value: &location}}}
		path := filepath.Join(t.TempDir(), "m.onnx")
		require.NoError(t, os.WriteFile(path, model([]*onnxpb.NodeProto{node("Add", "x", "w")}, init), 0o600))
		_, err := Open(path)
		require.ErrorContains(t, err, `"w"`)
	}
}

// Whatever the bytes: an error, or a graph that checks.
func FuzzImport(f *testing.F) {
	f.Add(model([]*onnxpb.NodeProto{node("Relu", "x")}))
	shape := onnxpb.Proto("s", tensor.FromInt64([]int64{2}, []int64{-1, 2}))
	f.Add(model([]*onnxpb.NodeProto{node("Reshape", "x", "s")}, shape))
	f.Add(model([]*onnxpb.NodeProto{{OpType: proto.String("Shape"), Input: []string{"x"}, Output: []string{"n"}}, node("Expand", "x", "n")}))
	suite, err := filepath.Glob("../../ir/testdata/ops/*.ir") // every operator
	require.NoError(f, err)
	for _, path := range suite {
		text, err := os.ReadFile(path)
		require.NoError(f, err)
		m, err := ir.Parse(string(text), nil)
		require.NoError(f, err)
		for _, g := range m.Graphs {
			path := filepath.Join(f.TempDir(), "m.onnx")
			_, err := backend.WriteFile(path, g, backend.Options{NonFinite: true})
			require.NoError(f, err)
			if data, err := os.ReadFile(path); err == nil && len(data) < 1<<14 {
				f.Add(data)
			}
		}
	}
	big := onnxpb.Proto("s", tensor.FromInt64([]int64{2}, []int64{1 << 40, 1 << 40}))
	for _, op := range []string{"ConstantOfShape", "Expand", "Tile", "Pad", "Resize", "Reshape", "Slice", "Range", "OneHot", "Trilu", "Split"} {
		f.Add(model([]*onnxpb.NodeProto{node(op, "s", "s", "s")}, big))
		f.Add(model([]*onnxpb.NodeProto{node(op, "x", "s")}, big))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := read(data)
		if err != nil {
			require.NotContains(t, err.Error(), "internal error")
			return
		}
		require.NoError(t, ir.Check(m.Graph))
		p, err := ir.Compile(m.Graph)
		if err != nil {
			require.NotContains(t, err.Error(), "internal error")
			return
		}
		plan, err := p.Memory(map[string]int64{"batch_size": 2})
		if err != nil || plan.Peak > 1<<20 { // which the limit of memory decides about
			return
		}
		in, err := ir.Probe(m.Graph, 1, nil)
		if err != nil {
			return
		}
		if _, err = p.Run(context.Background(), in); err != nil {
			require.NotContains(t, err.Error(), "internal error")
		}
	})
}

// Importing leaves the parsed file as it is, also where an output is left out.
func TestImportChangesNothing(t *testing.T) {
	masks := node("Shape", "x")
	masks.Output = []string{"masks"}
	f, err := onnxpb.Parse(model([]*onnxpb.NodeProto{node("Relu", "x"), masks}))
	require.NoError(t, err)
	f.Model.Graph.Output = append(f.Model.Graph.Output, &onnxpb.ValueInfoProto{Name: proto.String("masks")})
	f.Model.MetadataProps = []*onnxpb.StringStringEntryProto{{Key: proto.String(onnxpb.PostprocessKey), Value: proto.String("masks")}}
	before := proto.Clone(f.Model)
	for range 2 {
		m, err := Import(f)
		require.NoError(t, err)
		require.Len(t, m.Graph.Outputs, 1)
	}
	require.True(t, proto.Equal(before, f.Model))
}

// Inputs that are missing, empty, sizes or of another rank are errors, in whatever operator; none is a panic.
func TestMissingInputs(t *testing.T) {
	ops := []string{"Add", "Sub", "Mul", "Div", "Concat", "Gather", "Identity", "Transpose", "Where", "ArgMax", "MatMul", "Gemm"}
	for op := range importers {
		ops = append(ops, op)
	}
	names := []string{"", "x", "sizes", "two", "s"}
	sized := &onnxpb.NodeProto{OpType: proto.String("Shape"), Input: []string{"x"}, Output: []string{"sizes"}}
	two := onnxpb.Proto("two", tensor.FromInt64([]int64{2}, []int64{1, 0}))
	s := onnxpb.Proto("s", tensor.Scalar(0.5))
	for _, op := range ops {
		for count, combinations := 0, 1; count <= 3; count, combinations = count+1, combinations*len(names) {
			for k := range combinations {
				in := make([]string, count)
				for i, rest := 0, k; i < count; i, rest = i+1, rest/len(names) {
					in[i] = names[rest%len(names)]
				}
				f, err := onnxpb.Parse(model([]*onnxpb.NodeProto{sized, node(op, in...)}, two, s))
				require.NoError(t, err)
				for _, opset := range []int64{9, 17} {
					f.Model.OpsetImport[0].Version = &opset
					if _, err := Import(f); count == 0 && op != "Constant" {
						require.Error(t, err, op)
					}
				}
			}
		}
	}
}
