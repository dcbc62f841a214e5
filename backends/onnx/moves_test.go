package onnx_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"syncsam-convert/engine"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir/tensor"
)

// A geometry is a model of one node, or of a quantized one, over x.
type drawing struct {
	text  string // what it is, for a report
	nodes []*onnxpb.NodeProto
	inits []*onnxpb.TensorProto
	x     []int64
}

func (g *drawing) node(op string, attrs map[string]any, out string, in ...string) {
	n := &onnxpb.NodeProto{OpType: &op, Input: in, Output: []string{out}}
	for name, v := range attrs {
		a := &onnxpb.AttributeProto{Name: &name}
		switch v := v.(type) {
		case int64:
			a.Type, a.I = onnxpb.AttributeProto_INT.Enum(), &v
		case []int64:
			a.Type, a.Ints = onnxpb.AttributeProto_INTS.Enum(), v
		case string:
			a.Type, a.S = onnxpb.AttributeProto_STRING.Enum(), []byte(v)
		}
		n.Attribute = append(n.Attribute, a)
	}
	g.nodes = append(g.nodes, n)
	g.text += fmt.Sprint(" ", op, " ", attrs)
}

func (g *drawing) constant(name string, t *tensor.Tensor) {
	d := onnxpb.NumberOf(t.DType())
	g.inits = append(g.inits, &onnxpb.TensorProto{Name: &name, Dims: t.Dims(), DataType: &d, RawData: t.Bytes()})
	if t.Len() < 1<<16 {
		g.text += fmt.Sprintf(" %s %s", name, t.Type())
	}
}

func (g *drawing) marshal(t *testing.T) []byte {
	dims := make([]*onnxpb.TensorShapeProto_Dimension, len(g.x))
	for i, d := range g.x {
		dims[i] = &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d}}
	}
	info := func(name string, shape *onnxpb.TensorShapeProto) *onnxpb.ValueInfoProto {
		return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(1), Shape: shape}}}}
	}
	data, err := proto.Marshal(&onnxpb.ModelProto{IrVersion: proto.Int64(8), OpsetImport: []*onnxpb.OperatorSetIdProto{{Version: proto.Int64(17)}},
		Graph: &onnxpb.GraphProto{Name: proto.String("g"), Node: g.nodes, Initializer: g.inits, Input: []*onnxpb.ValueInfoProto{info("x", &onnxpb.TensorShapeProto{Dim: dims})},
			Output: []*onnxpb.ValueInfoProto{info("y", nil)}}})
	require.NoError(t, err)
	return data
}

// noise is a tensor of numbers that float32 adds without rounding, so that the order of a sum does not matter.
func noise(r *rand.Rand, dims ...int64) *tensor.Tensor {
	n, _ := tensor.Elements(dims)
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.IntN(129)-64) / 16
	}
	return tensor.FromFloat32(dims, x)
}

// geometries make random nodes, most of them valid. Windows in float32 are those of TestWindows.
var geometries = []func(r *rand.Rand) *drawing{quantized, moved, moved}

func between(r *rand.Rand, lo, hi int) int64 { return int64(lo + r.IntN(hi-lo+1)) }

func some(r *rand.Rand, n, lo, hi int) []int64 {
	v := make([]int64, n)
	for i := range v {
		v[i] = between(r, lo, hi)
	}
	return v
}

// slidingAttrs draws the attributes that sliding windows share; each may be absent.
func slidingAttrs(r *rand.Rand, kernel []int64, pads int) map[string]any {
	a := map[string]any{}
	if r.IntN(4) > 0 {
		a["strides"] = some(r, 2, 1, 4)
	}
	if r.IntN(3) > 0 {
		a["pads"] = some(r, 4, 0, pads)
	}
	if r.IntN(2) > 0 {
		a["kernel_shape"] = kernel
	}
	return a
}

func channels(r *rand.Rand) (c, m, group int64) {
	group = []int64{1, 1, 1, 2, 3, 4}[r.IntN(6)]
	c, m = group*between(r, 1, 5), group*between(r, 1, 9)
	if r.IntN(8) == 0 { // a depthwise one
		group = between(r, 1, 40)
		c, m = group, group
	}
	if r.IntN(30) == 0 { // that do not divide
		c++
	}
	return c, m, group
}

func convolution(r *rand.Rand) (x, w []int64, a map[string]any) {
	c, m, group := channels(r)
	kernel := some(r, 2, 1, 5)
	a = slidingAttrs(r, kernel, 6)
	if r.IntN(3) == 0 {
		a["dilations"] = some(r, 2, 1, 3)
	}
	if group > 1 || r.IntN(2) == 0 {
		a["group"] = group
	}
	return []int64{between(r, 1, 2), c, between(r, 1, 20), between(r, 1, 20)}, append([]int64{m, max(1, c/group)}, kernel...), a
}

// quantized is a convolution between integers, as files spell it: quantized and dequantized values around it.
func quantized(r *rand.Rand) *drawing {
	x, w, a := convolution(r)
	for a["group"] != nil && a["group"] != int64(1) { // the others are not computed in integers
		x, w, a = convolution(r)
	}
	g := &drawing{x: x}
	n, _ := tensor.Elements(w)
	weights, scales := make([]int8, n), make([]float32, w[0])
	for i := range weights {
		weights[i] = int8(r.IntN(255) - 127)
	}
	for i := range scales {
		scales[i] = 1 / float32(int(64)<<r.IntN(3))
	}
	g.constant("s", tensor.Scalar(1.0/16))
	g.constant("z", tensor.FromUint8([]int64{}, []uint8{uint8(r.IntN(256))}))
	g.constant("ys", tensor.Scalar(1.0/4))
	g.constant("yz", tensor.FromUint8([]int64{}, []uint8{uint8(r.IntN(256))}))
	g.constant("w", tensor.FromInt8(w, weights))
	g.constant("ws", tensor.FromFloat32([]int64{w[0]}, scales))
	g.constant("wz", tensor.FromInt8([]int64{w[0]}, make([]int8, w[0])))
	g.node("QuantizeLinear", nil, "q", "x", "s", "z")
	g.node("DequantizeLinear", nil, "d", "q", "s", "z")
	g.node("DequantizeLinear", map[string]any{"axis": int64(0)}, "wd", "w", "ws", "wz")
	g.node("Conv", a, "c", "d", "wd")
	g.node("QuantizeLinear", nil, "cq", "c", "ys", "yz")
	g.node("DequantizeLinear", nil, "y", "cq", "ys", "yz")
	return g
}

// moved is a node that copies elements.
func moved(r *rand.Rand) *drawing {
	rank := 1 + r.IntN(4)
	g := &drawing{x: some(r, rank, 1, 7)}
	list := func(name string, v []int64) string {
		g.constant(name, tensor.FromInt64([]int64{int64(len(v))}, v))
		g.text += fmt.Sprint(v)
		return name
	}
	switch r.IntN(5) {
	case 0:
		g.node("Pad", map[string]any{"mode": []string{"constant", "edge", "reflect"}[r.IntN(3)]}, "y", "x", list("pads", some(r, 2*rank, 0, 3)))
	case 1:
		axis := []int64{between(r, -rank, rank-1)}
		step := some(r, 1, -3, 3)
		if step[0] == 0 || r.IntN(9) == 0 {
			step = []int64{-1 << 63}
		}
		g.node("Slice", nil, "y", "x", list("starts", some(r, 1, -9, 9)), list("ends", some(r, 1, -9, 9)), list("axes", axis), list("steps", step))
	case 2:
		g.node("Tile", nil, "y", "x", list("repeats", some(r, rank, 0, 3)))
	case 3:
		shape := append([]int64{}, g.x...)
		for i := range shape {
			if r.IntN(2) == 0 {
				shape[i], g.x[i] = g.x[i], 1
			}
		}
		g.node("Expand", nil, "y", "x", list("shape", shape))
	case 4:
		sizes := some(r, 2, -1, 5)
		g.node("Split", map[string]any{"axis": between(r, -rank, rank-1)}, "y", "x", list("split", sizes))
		g.nodes[0].Output = append(g.nodes[0].Output, "z")
	}
	return g
}

// fromEnvironment is the number that a variable has.
func fromEnvironment(t *testing.T, name string, absent int) int {
	text := os.Getenv(name)
	if text == "" {
		return absent
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// Random moves of elements and convolutions in integers, valid and not, through the whole of the embedded engine: the same as ONNX Runtime, refused where it refuses, and
// never a panic. DRAWINGS=5000 SEED=2 takes so many others.
func TestMovesAndIntegers(t *testing.T) {
	_, missing := engine.FindLibrary("")
	seed, count := fromEnvironment(t, "SEED", 1), fromEnvironment(t, "DRAWINGS", 200)
	dir := t.TempDir()
	refused := 0
	for i := range count {
		r := rand.New(rand.NewPCG(uint64(seed), uint64(i)))
		g := geometries[i%len(geometries)](r)
		what := fmt.Sprintf("seed %d, geometry %d: x %v%s", seed, i, g.x, g.text)
		path := filepath.Join(dir, "g.onnx")
		require.NoError(t, os.WriteFile(path, g.marshal(t), 0o600))
		in := map[string]*tensor.Tensor{"x": noise(r, g.x...)}
		have, err := once("go", path, in)
		if err != nil {
			refused++
			require.NotContains(t, err.Error(), "internal error", what)
			require.NotContains(t, err.Error(), "runtime error", what)
		}
		if missing != nil {
			continue
		}
		want, wantErr := once("onnxruntime", path, in)
		switch {
		case err == nil && wantErr != nil:
			t.Errorf("%s: ONNX Runtime refuses it: %.300s", what, strings.ReplaceAll(wantErr.Error(), "\n", " "))
		case err != nil && strings.Contains(err.Error(), "larger than the padded input"): // has no place: ONNX Runtime rounds to one, or to none
		case err != nil && wantErr == nil:
			t.Errorf("%s: ONNX Runtime computes it: %v", what, err)
		case err == nil:
			x, y := want["y"], have["y"]
			if !x.Type().Equal(y.Type()) {
				t.Errorf("%s: have %s, ONNX Runtime has %s", what, y.Type(), x.Type())
				continue
			}
			for k, v := range x.Float32s() {
				require.InDelta(t, v, y.Float32s()[k], 1e-5*max(1, float64(abs(v))), "%s: element %d", what, k)
			}
		}
	}
	t.Logf("%d geometries, %d of them refused", count, refused)
	if missing != nil {
		t.Skip(missing)
	}
}

// once runs a model in an engine.
func once(name, path string, in map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	s, err := engine.Load(name, path, engine.Options{Threads: 1})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Run(context.Background(), in)
}
