package onnx

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"syncsam-convert/internal/memory"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// Small models whose values are large are refused where they are read or run, in words, before memory is taken for them.
func TestGrowth(t *testing.T) {
	memory.Set(256 << 20)
	defer memory.Set(0)
	ints := func(name string, v ...int64) *onnxpb.TensorProto {
		return onnxpb.Proto(name, tensor.FromInt64([]int64{int64(len(v))}, v))
	}
	to := func(n *onnxpb.NodeProto, out string) *onnxpb.NodeProto { n.Output = []string{out}; return n }
	with := func(n *onnxpb.NodeProto, name string, v ...int64) *onnxpb.NodeProto {
		n.Attribute = append(n.Attribute, &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INTS.Enum(), Ints: v})
		return n
	}
	chain := func(n int, link func(i int, in, out string) *onnxpb.NodeProto) (nodes []*onnxpb.NodeProto) {
		for i, in := 0, "x"; i < n; i++ {
			out := fmt.Sprint("v", i)
			if i == n-1 {
				out = "y"
			}
			nodes = append(nodes, link(i, in, out))
			in = out
		}
		return nodes
	}
	square := ints("s", 1<<20, 1<<20)
	four := []*onnxpb.NodeProto{to(node("Reshape", "x", "nchw"), "z")}
	nchw := ints("nchw", 0, 1, 2, 2)
	weights := onnxpb.Proto("w", tensor.FromFloat32([]int64{1, 1, 1, 1}, []float32{1}))
	for name, c := range map[string]struct {
		nodes []*onnxpb.NodeProto
		inits []*onnxpb.TensorProto
	}{
		"ConstantOfShape":          {[]*onnxpb.NodeProto{node("ConstantOfShape", "s")}, []*onnxpb.TensorProto{square}},
		"ConstantOfShape of int64": {[]*onnxpb.NodeProto{node("ConstantOfShape", "s")}, []*onnxpb.TensorProto{ints("s", 1<<62, 1<<62)}},
		"Expand":                   {[]*onnxpb.NodeProto{node("Expand", "x", "s")}, []*onnxpb.TensorProto{ints("s", 1<<30, 1, 4)}},
		"Tile":                     {chain(6, func(_ int, in, out string) *onnxpb.NodeProto { return to(node("Tile", in, "s"), out) }), []*onnxpb.TensorProto{ints("s", 1<<12, 1<<12)}},
		"Tile once":                {[]*onnxpb.NodeProto{node("Tile", "x", "s")}, []*onnxpb.TensorProto{ints("s", 1, 1<<28)}},
		"Concat": {chain(28, func(_ int, in, out string) *onnxpb.NodeProto {
			n := to(node("Concat", in, in), out)
			n.Attribute = []*onnxpb.AttributeProto{{Name: proto.String("axis"), Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(1)}}
			return n
		}), nil},
		"Pad":            {[]*onnxpb.NodeProto{node("Pad", "x", "s")}, []*onnxpb.TensorProto{ints("s", 0, 1<<30, 0, 1<<30)}},
		"Pad past int64": {[]*onnxpb.NodeProto{node("Pad", "x", "s")}, []*onnxpb.TensorProto{ints("s", 0, 1<<62, 0, 1<<62)}},
		"MatMul": {[]*onnxpb.NodeProto{to(node("ConstantOfShape", "a"), "l"), to(node("ConstantOfShape", "b"), "r"), node("MatMul", "l", "r")},
			[]*onnxpb.TensorProto{ints("a", 1<<20, 1), ints("b", 1, 1<<20)}},
		"Resize":        {append(four[:1:1], node("Resize", "z", "", "scales")), []*onnxpb.TensorProto{nchw, onnxpb.Proto("scales", tensor.FromFloat32([]int64{4}, []float32{1, 1, 1 << 19, 1 << 19}))}},
		"ConvTranspose": {append(four[:1:1], with(node("ConvTranspose", "z", "w"), "strides", 1<<20, 1<<20)), []*onnxpb.TensorProto{nchw, weights}},
		"Range":         {[]*onnxpb.NodeProto{node("Range", "zero", "limit", "one")}, []*onnxpb.TensorProto{ints("zero", -1<<63), ints("limit", 1<<62), ints("one", 1)}},
		"OneHot":        {[]*onnxpb.NodeProto{node("OneHot", "zero", "depth", "values")}, []*onnxpb.TensorProto{ints("zero", 0), ints("depth", 1<<40), ints("values", 0, 1)}},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := evaluated(model(c.nodes, c.inits...))
			runtime.ReadMemStats(&after)
			require.Error(t, err)
			require.NotContains(t, err.Error(), "internal error")
			require.Less(t, len(err.Error()), 600)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(200<<20), err.Error())
		})
	}
}

// evaluated reads a model and runs it once.
func evaluated(data []byte) error {
	m, err := read(data)
	if err != nil {
		return err
	}
	p, err := ir.Compile(m.Graph)
	if err != nil {
		return err
	}
	in, err := ir.Probe(m.Graph, 1, nil)
	if err != nil {
		return err
	}
	_, err = p.Run(context.Background(), in)
	return err
}
