package onnx

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// Operators that other programs' files have, spelled or evaluated while reading, give what ONNX defines.
func TestSpelled(t *testing.T) {
	i64 := func(dims []int64, x ...int64) *tensor.Tensor { return tensor.FromInt64(dims, x) }
	f32 := func(dims []int64, x ...float32) *tensor.Tensor { return tensor.FromFloat32(dims, x) }
	at := func(n *onnxpb.NodeProto, a ...*onnxpb.AttributeProto) *onnxpb.NodeProto { n.Attribute = a; return n }
	number := func(name string, i int64) *onnxpb.AttributeProto { return &onnxpb.AttributeProto{Name: &name, I: &i} }
	text := func(name, s string) *onnxpb.AttributeProto { return &onnxpb.AttributeProto{Name: &name, S: []byte(s)} }
	named := func(n *onnxpb.NodeProto, out string) *onnxpb.NodeProto { n.Output = []string{out}; return n }
	branch := func(name, op string) *onnxpb.AttributeProto {
		return &onnxpb.AttributeProto{Name: &name, G: &onnxpb.GraphProto{Node: []*onnxpb.NodeProto{named(node(op, "x"), "inner")}, Output: []*onnxpb.ValueInfoProto{{Name: proto.String("inner")}}}}
	}
	consts := map[string]*tensor.Tensor{
		"m": f32([]int64{3, 4}, 1, 0, 0, 0, 0, 2, 0, 0, 1, 1, 1, -1), "i": i64([]int64{2}, 1, -2), "depth": i64([]int64{}, 3), "offon": f32([]int64{2}, -1, 5),
		"zero": i64([]int64{}, 0), "two": i64([]int64{}, 2), "seven": i64([]int64{}, 7), "scales": f32([]int64{4}, 1, 1, 2, 1.5), "plane": f32([]int64{1, 1, 1, 2}, 1, 3),
		"shape": i64([]int64{4}, 1, 1, 2, 2),
	}
	x := f32([]int64{2, 4}, 1, 2, 3, 4, 5, 6, 7, -8)
	for name, c := range map[string]struct {
		nodes []*onnxpb.NodeProto
		want  *tensor.Tensor
	}{
		"Einsum":             {[]*onnxpb.NodeProto{at(node("Einsum", "x", "m"), text("equation", "ab, cb -> ca"))}, f32([]int64{3, 2}, 1, 5, 4, 12, 2, 26)},
		"OneHot":             {[]*onnxpb.NodeProto{at(node("OneHot", "i", "depth", "offon"), number("axis", 0))}, f32([]int64{3, 2}, -1, -1, 5, 5, -1, -1)},
		"Range":              {[]*onnxpb.NodeProto{node("Range", "zero", "seven", "two")}, i64([]int64{4}, 0, 2, 4, 6)},
		"Trilu":              {[]*onnxpb.NodeProto{at(node("Trilu", "x", "two"), number("upper", 1))}, f32([]int64{2, 4}, 0, 0, 3, 4, 0, 0, 0, -8)},
		"Tril":               {[]*onnxpb.NodeProto{at(node("Trilu", "x"), number("upper", 0))}, f32([]int64{2, 4}, 1, 0, 0, 0, 5, 6, 0, 0)},
		"NonZero of a value": {[]*onnxpb.NodeProto{named(node("Relu", "x"), "r"), named(node("Sub", "x", "r"), "n"), node("NonZero", "n")}, i64([]int64{2, 1}, 1, 3)},
		"If, first": {[]*onnxpb.NodeProto{named(node("ReduceMax", "x"), "most"), named(node("Less", "x", "most"), "all"),
			named(node("ReduceMax", "x"), "top"), named(at(node("Cast", "top"), number("to", 9)), "flag"), at(node("If", "flag"), branch("then_branch", "Neg"), branch("else_branch", "Relu"))},
			f32([]int64{2, 4}, -1, -2, -3, -4, -5, -6, -7, 8)},
		"If, second": {[]*onnxpb.NodeProto{named(at(node("Cast", "zero"), number("to", 9)), "flag"), at(node("If", "flag"), branch("then_branch", "Neg"), branch("else_branch", "Relu"))},
			f32([]int64{2, 4}, 1, 2, 3, 4, 5, 6, 7, 0)},
		"Resize by factors": {[]*onnxpb.NodeProto{at(node("Resize", "plane", "", "scales"), text("mode", "nearest"))}, f32([]int64{1, 1, 2, 3}, 1, 1, 3, 1, 1, 3)},
		"Resize, floor":     {[]*onnxpb.NodeProto{at(node("Resize", "plane", "", "", "wide"), text("mode", "nearest"), text("nearest_mode", "floor"), text("coordinate_transformation_mode", "asymmetric"))}, f32([]int64{1, 1, 1, 4}, 1, 1, 3, 3)},
		"Slice by a value": {[]*onnxpb.NodeProto{named(node("ReduceMax", "x"), "top"), named(at(node("Cast", "top"), number("to", 7)), "end"), named(node("Div", "end", "two"), "half"),
			named(node("Reshape", "half", "one"), "ends"), node("Slice", "x", "start", "ends", "axis")}, f32([]int64{2, 3}, 1, 2, 3, 5, 6, 7)},
	} {
		t.Run(name, func(t *testing.T) {
			consts["wide"], consts["one"], consts["start"], consts["axis"] = i64([]int64{4}, 1, 1, 1, 4), i64([]int64{1}, 1), i64([]int64{1}, 0), i64([]int64{1}, 1)
			var inits []*onnxpb.TensorProto
			for name, c := range consts {
				inits = append(inits, onnxpb.Proto(name, c))
			}
			f, err := onnxpb.Parse(model(c.nodes, inits...))
			require.NoError(t, err)
			in := map[string]*tensor.Tensor{"x": x}
			g := &Given{f}
			m, err := g.Read(in)
			require.NoError(t, err)
			p, err := ir.Compile(m.Graph)
			require.NoError(t, err)
			out, err := p.Run(context.Background(), in)
			require.NoError(t, err)
			require.Equal(t, c.want.Type(), out["y"].Type())
			require.Equal(t, c.want.Bytes(), out["y"].Bytes())
		})
	}
}

// Inputs that a file does not declare so are errors before anything is read.
func TestGivenInputs(t *testing.T) {
	f, err := onnxpb.Parse(model([]*onnxpb.NodeProto{node("Relu", "x")}))
	require.NoError(t, err)
	g := &Given{f}
	for want, in := range map[string]map[string]*tensor.Tensor{
		`input "x" is missing`:       {},
		`there is no input "z"`:      {"x": tensor.FromFloat32([]int64{1, 4}, make([]float32, 4)), "z": tensor.Scalar(1)},
		`have float32[1,3], want`:    {"x": tensor.FromFloat32([]int64{1, 3}, make([]float32, 3))},
		`have int64[1,4], want floa`: {"x": tensor.FromInt64([]int64{1, 4}, make([]int64, 4))},
	} {
		_, err := g.Read(in)
		require.ErrorContains(t, err, want)
	}
}
