package onnx_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	backend "syncsam-convert/backends/onnx"
	frontend "syncsam-convert/frontends/onnx"
	"syncsam-convert/internal/guard"
	"syncsam-convert/internal/memory"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir"
)

// damages are what is done to one node at a time. Each gives how many of them a node has, and does the i-th.
var damages = []struct {
	what  string
	count func(n *onnxpb.NodeProto) int
	do    func(n *onnxpb.NodeProto, i int)
}{
	{"absent input", func(n *onnxpb.NodeProto) int { return len(n.Input) }, func(n *onnxpb.NodeProto, i int) { n.Input[i] = "" }},
	{"inputs that end", func(n *onnxpb.NodeProto) int { return len(n.Input) }, func(n *onnxpb.NodeProto, i int) { n.Input = n.Input[:i] }},
	{"one input for another", func(n *onnxpb.NodeProto) int { return len(n.Input) }, func(n *onnxpb.NodeProto, i int) { n.Input[i] = n.Input[(i+1)%len(n.Input)] }},
	{"one more input", func(n *onnxpb.NodeProto) int { return len(n.Input) }, func(n *onnxpb.NodeProto, i int) { n.Input = append(n.Input, n.Input[i]) }},
	{"absent output", func(n *onnxpb.NodeProto) int { return len(n.Output) }, func(n *onnxpb.NodeProto, i int) { n.Output[i] = "" }},
	{"no outputs", func(n *onnxpb.NodeProto) int { return 1 }, func(n *onnxpb.NodeProto, i int) { n.Output = nil }},
	{"absent attribute", func(n *onnxpb.NodeProto) int { return len(n.Attribute) }, func(n *onnxpb.NodeProto, i int) { n.Attribute = slices.Delete(n.Attribute, i, i+1) }},
	{"an attribute without a value", func(n *onnxpb.NodeProto) int { return len(n.Attribute) }, func(n *onnxpb.NodeProto, i int) {
		n.Attribute[i] = &onnxpb.AttributeProto{Name: n.Attribute[i].Name, Type: n.Attribute[i].Type}
	}},
	{"an attribute of another kind", func(n *onnxpb.NodeProto) int { return len(n.Attribute) }, func(n *onnxpb.NodeProto, i int) {
		n.Attribute[i] = &onnxpb.AttributeProto{Name: n.Attribute[i].Name, Type: onnxpb.AttributeProto_FLOATS.Enum(), Floats: []float32{1}}
	}},
	{"numbers out of range", func(n *onnxpb.NodeProto) int { return 8 * len(n.Attribute) }, func(n *onnxpb.NodeProto, i int) {
		x := []int64{-1, 0, 1 << 31, 1 << 62, -1 << 63, 1<<63 - 1, -1 << 31, 7}[i%8]
		a := n.Attribute[i/8]
		if a.I != nil {
			a.I = &x
		}
		for k := range a.Ints {
			a.Ints[k] = x
		}
	}},
	{"numbers less and more", func(n *onnxpb.NodeProto) int { return 2 * len(n.Attribute) }, func(n *onnxpb.NodeProto, i int) {
		if a := n.Attribute[i/2]; len(a.Ints) > 0 && i%2 == 0 {
			a.Ints = a.Ints[1:]
		} else if len(a.Ints) > 0 {
			a.Ints = append(a.Ints, a.Ints[0])
		}
	}},
	{"another operator", func(n *onnxpb.NodeProto) int { return len(otherOps) }, func(n *onnxpb.NodeProto, i int) { n.OpType = &otherOps[i] }},
}

var otherOps = []string{"Add", "Reshape", "Slice", "Concat", "Gather", "Resize", "Pad", "Conv", "MatMul", "Einsum", "Trilu", "OneHot", "Range", "NonZero", "If", "Split", "ReduceSum", "Clip", "Tile", "Expand", "QuantizeLinear", "Constant", "ConstantOfShape", "Flatten", "Softmax", "Cast", "Shape", "Max", "Dropout"}

// damaged reads a model, and runs it where it is small: an error or a result, and no panic, nor what is one in other words.
func damaged(t *testing.T, data []byte, run bool, what string) {
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("%s: panic: %v", what, r)
		}
	}()
	start := time.Now()
	err := guard.Do(func() error {
		f, err := onnxpb.Parse(data)
		if err != nil {
			return err
		}
		m, err := frontend.Import(f)
		if err != nil || !run {
			return err
		}
		in, err := ir.Probe(m.Graph, 1, nil)
		if err != nil {
			return err
		}
		p, err := ir.Compile(m.Graph)
		if err != nil {
			return err
		}
		_, err = p.Run(context.Background(), in)
		return err
	})
	if err != nil {
		require.NotContains(t, err.Error(), "internal error", what)
		require.Less(t, len(err.Error()), 2000, what)
	}
	require.Less(t, time.Since(start), 5*time.Second, what)
}

// Every input, output and attribute of every node of every model that tests have, dropped or changed, one at a time.
func TestDamagedNodes(t *testing.T) {
	type file struct {
		name string
		data []byte
		run  bool
	}
	var files []file
	for _, c := range opCases(t) {
		var data []byte
		require.NoError(t, guard.Do(func() (err error) {
			data, err = os.ReadFile(writeModel(t, c.graph, backend.Options{Opset: backend.MaxOpset}))
			return err
		}))
		files = append(files, file{c.graph.Name, data, true})
	}
	paths, err := filepath.Glob("../../frontends/onnx/testdata/others/*.onnx")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		files = append(files, file{filepath.Base(path), data, false})
	}
	memory.Set(256 << 20)
	defer memory.Set(0)
	count := 0
	for _, f := range files {
		whole := &onnxpb.ModelProto{}
		require.NoError(t, proto.Unmarshal(f.data, whole))
		known := map[string]bool{} // a large model has the same node many times
		for i, n := range whole.Graph.Node {
			kind := fmt.Sprint(n.GetOpType(), len(n.Input), len(n.Output), len(n.Attribute))
			if known[kind] && !f.run {
				continue
			}
			known[kind] = true
			for _, d := range damages {
				for k := range d.count(n) {
					was := proto.Clone(n).(*onnxpb.NodeProto)
					d.do(n, k)
					data, err := proto.Marshal(whole)
					require.NoError(t, err)
					damaged(t, data, f.run, fmt.Sprintf("%s: node %d (%s): %s %d", f.name, i, was.GetOpType(), d.what, k))
					whole.Graph.Node[i] = was
					n = was
					count++
				}
			}
		}
	}
	require.Greater(t, count, 5000)
	t.Log(count, "damaged models")
}
