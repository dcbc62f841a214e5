package onnx_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"syncsam-convert/engine"
	frontend "syncsam-convert/frontends/onnx"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// A slider is a model of one operator that slides a window, with the inputs of a run.
type slider struct {
	what   string // spells it in failures
	data   []byte
	inputs map[string]*tensor.Tensor
}

// windowOf names axes and their numbers: what is drawn for a window.
type windowOf struct{ kernel, strides, dilations, pads []int64 }

// drawn draws a window; now and then one that no executor takes.
func drawn(rng *rand.Rand) windowOf {
	pick := func(n int, from ...int64) (out []int64) {
		for range n {
			out = append(out, from[rng.IntN(len(from))])
		}
		return out
	}
	return windowOf{kernel: pick(2, 1, 1, 2, 3, 3, 4, 5, 7), strides: pick(2, 1, 1, 1, 2, 2, 3, 4), dilations: pick(2, 1, 1, 1, 1, 2, 3), pads: pick(4, 0, 0, 0, 1, 1, 2, 3, 6)}
}

func listed(name string, v []int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INTS.Enum(), Ints: v}
}

func single(name string, v int64) *onnxpb.AttributeProto {
	return &onnxpb.AttributeProto{Name: &name, Type: onnxpb.AttributeProto_INT.Enum(), I: &v}
}

// whole is a tensor of whole numbers from lo to hi, so that sums are exact in whatever order they are made.
func whole(rng *rand.Rand, d tensor.DType, lo, hi int, dims ...int64) *tensor.Tensor {
	n, err := tensor.Elements(dims)
	if err != nil {
		panic(err)
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(lo + rng.IntN(hi-lo+1))
	}
	return tensor.Dense(tensor.Cast(tensor.FromFloat32(dims, x), d))
}

// slid is a file of one node; tensors that are no constants of it are its inputs.
func slid(n *onnxpb.NodeProto, result tensor.DType, named map[string]*tensor.Tensor, constants map[string]bool) []byte {
	g := &onnxpb.GraphProto{Name: proto.String("g"), Node: []*onnxpb.NodeProto{n}}
	for _, name := range n.Input {
		t := named[name]
		if constants[name] {
			if !slices.ContainsFunc(g.Initializer, func(p *onnxpb.TensorProto) bool { return p.GetName() == name }) {
				g.Initializer = append(g.Initializer, onnxpb.Proto(name, t))
			}
			continue
		}
		g.Input = append(g.Input, typed(name, t.DType(), t.Dims()))
	}
	g.Output = []*onnxpb.ValueInfoProto{typed("y", result, nil)}
	data, err := proto.Marshal(&onnxpb.ModelProto{IrVersion: proto.Int64(8), OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(17)}}, Graph: g})
	if err != nil {
		panic(err)
	}
	return data
}

// typed declares a tensor; dims nil leaves its shape open.
func typed(name string, d tensor.DType, dims []int64) *onnxpb.ValueInfoProto {
	t := &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(onnxpb.Proto("", tensor.Dense(tensor.Cast(tensor.Scalar(0), d))).GetDataType())}
	if dims != nil {
		t.Shape = &onnxpb.TensorShapeProto{}
		for _, n := range dims {
			t.Shape.Dim = append(t.Shape.Dim, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: n}})
		}
	}
	return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: t}}}
}

// drawnSlider draws a slider; the first is one that had a panic once.
func drawnSlider(seed uint64) slider {
	rng := rand.New(rand.NewPCG(seed, 1))
	if seed == 0 {
		x, w := whole(rng, tensor.Float32, -8, 8, 1, 1, 12, 3), whole(rng, tensor.Float32, -8, 8, 16, 1, 1, 4)
		node := &onnxpb.NodeProto{OpType: proto.String("Conv"), Input: []string{"x", "w"}, Output: []string{"y"},
			Attribute: []*onnxpb.AttributeProto{listed("strides", []int64{2, 1}), listed("pads", []int64{6, 4, 3, 6}), listed("dilations", []int64{3, 3})}}
		return slider{"the first", slid(node, tensor.Float32, map[string]*tensor.Tensor{"x": x, "w": w}, map[string]bool{"w": true}), map[string]*tensor.Tensor{"x": x}}
	}
	s := drawn(rng)
	n, h, w := int64(1+rng.IntN(2)), int64(1+rng.IntN(20)), int64(1+rng.IntN(20))
	if rng.IntN(8) == 0 {
		w = 64 + int64(rng.IntN(80)) // wider than a tile
	}
	group, c, m := int64(1), int64(1+rng.IntN(5)), int64(1+rng.IntN(20))
	if rng.IntN(4) == 0 {
		group = int64(1 + rng.IntN(4))
		c, m = c*group, group*int64(1+rng.IntN(4))
	}
	named, constants := map[string]*tensor.Tensor{"x": whole(rng, tensor.Float32, -8, 8, n, c, h, w)}, map[string]bool{}
	node := &onnxpb.NodeProto{Input: []string{"x"}, Output: []string{"y"}, Attribute: []*onnxpb.AttributeProto{listed("kernel_shape", s.kernel), listed("strides", s.strides), listed("pads", s.pads)}}
	add := func(name string, t *tensor.Tensor, constant bool) {
		node.Input = append(node.Input, name)
		named[name], constants[name] = t, constant
	}
	result, op := tensor.Float32, []string{"Conv", "Conv", "ConvTranspose", "MaxPool", "AveragePool", "QLinearConv"}[rng.IntN(6)]
	switch node.OpType = &op; op {
	case "Conv", "ConvTranspose":
		weights := []int64{m, c / group, s.kernel[0], s.kernel[1]}
		node.Attribute = append(node.Attribute, single("group", group))
		if op == "Conv" {
			node.Attribute = append(node.Attribute, listed("dilations", s.dilations))
		} else {
			weights = []int64{c, m / group, s.kernel[0], s.kernel[1]}
			node.Attribute = append(node.Attribute, listed("output_padding", []int64{int64(rng.IntN(int(s.strides[0]))), int64(rng.IntN(int(s.strides[1])))}))
		}
		constant := rng.IntN(2) == 0
		add("w", whole(rng, tensor.Float32, -8, 8, weights...), constant)
		if rng.IntN(2) == 0 {
			add("b", whole(rng, tensor.Float32, -50, 50, m), constant)
		}
	case "AveragePool":
		node.Attribute = append(node.Attribute, single("count_include_pad", int64(rng.IntN(2))))
	case "QLinearConv":
		node.Attribute = append(node.Attribute, listed("dilations", s.dilations))
		scales := make([]float32, m)
		for i := range scales {
			scales[i] = []float32{0.25, 0.5, 1}[rng.IntN(3)] // powers of two: exact, ties and all
		}
		named["x"] = whole(rng, tensor.Uint8, 0, 255, n, c, h, w)
		result = tensor.Uint8
		add("x_scale", tensor.Scalar(0.5), true)
		add("x_zero", whole(rng, tensor.Uint8, 0, 255), true)
		add("w", whole(rng, tensor.Int8, -8, 8, m, c, s.kernel[0], s.kernel[1]), true)
		add("w_scale", tensor.FromFloat32([]int64{m}, scales), true)
		add("w_zero", whole(rng, tensor.Int8, 0, 0, m), true)
		add("y_scale", tensor.Scalar(32), true)
		add("y_zero", whole(rng, tensor.Uint8, 0, 255), true)
		add("b", whole(rng, tensor.Int32, -500, 500, m), true)
	}
	g := slider{what: fmt.Sprintf("%s x%v", op, named["x"].Dims()), inputs: map[string]*tensor.Tensor{}, data: slid(node, result, named, constants)}
	if t := named["w"]; t != nil {
		g.what += fmt.Sprintf(" w%v", t.Dims())
	}
	for _, a := range node.Attribute {
		g.what += fmt.Sprintf(" %s %v", a.GetName(), append(a.Ints, a.GetI()))
	}
	for name, t := range named {
		if !constants[name] {
			g.inputs[name] = t
		}
	}
	return g
}

// run evaluates a slider as an executor does, and gives its result or why there is none.
func (g slider) run(path string) (*tensor.Tensor, error) {
	m, err := frontend.Open(path)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	p, err := ir.Compile(m.Graph)
	if err != nil {
		return nil, err
	}
	out, err := p.Run(context.Background(), g.inputs)
	return out["y"], err
}

func (g slider) loaded(name, path string) (*tensor.Tensor, error) {
	s, err := engine.Load(name, path, engine.Options{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	out, err := s.Run(context.Background(), g.inputs)
	return out["y"], err
}

// Windows of all sizes, strides, dilations, pads and groups, seeded: what ONNX Runtime takes is taken and gives the same, what it refuses is refused.
// WINDOWS=5000 tries so many.
func TestWindows(t *testing.T) {
	if _, err := engine.FindLibrary(""); err != nil {
		t.Skip("ONNX Runtime is not there")
	}
	count := fromEnvironment(t, "WINDOWS", 400)
	path, both := filepath.Join(t.TempDir(), "m.onnx"), 0
	for seed := range count {
		g := drawnSlider(uint64(seed))
		require.NoError(t, os.WriteFile(path, g.data, 0o600))
		want, refused := g.loaded("onnxruntime", path)
		for how, run := range map[string]func() (*tensor.Tensor, error){"evaluated": func() (*tensor.Tensor, error) { return g.run(path) }, "go": func() (*tensor.Tensor, error) { return g.loaded("go", path) }} {
			have, err := run()
			switch {
			case err != nil && refused == nil && strings.Contains(err.Error(), "larger than the padded input"): // has no place: ONNX Runtime rounds to one, or to none
			case (err == nil) != (refused == nil):
				t.Errorf("seed %d, %s: %s: have error %v, ONNX Runtime has %.300v", seed, how, g.what, err, refused)
			case err != nil:
				require.NotContains(t, err.Error(), "internal error", g.what)
			default:
				both++
				near(t, want, have, fmt.Sprintf("seed %d, %s: %s", seed, how, g.what))
			}
		}
	}
	require.Greater(t, both, count) // of twice as many: most geometries are in order
}
