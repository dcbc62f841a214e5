package ir

import (
	"errors"
	"fmt"
	"slices"

	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
)

// Integer products over what QuantizeLinear and DequantizeLinear spell in files; the embedded engine makes them when it
// reads one.
//
// QLinearMatMulFloat: y = (x - x_zero_point) x_scale times w w_scale, float32 [..., N], of x uint8 [..., K] and w int8 [K,N] with zero
// points 0; w_scale has N elements. The sum is exact in int32 and is multiplied by x_scale w_scale once.
//
// QLinearConv is ONNX's, for uint8 activations, int8 weights with zero points 0 and one group: arguments x, x_scale, x_zero_point, w, w_scale
// [M], w_zero_point [M], y_scale, y_zero_point, bias int32 [M] of scale x_scale w_scale. y = saturate(round_half_even(sum x_scale w_scale / y_scale) + y_zero_point).
var (
	QLinearMatMulFloat = newOp("QLinearMatMulFloat", 5, 5, Product, HalfPlain, inferQMatMul, evalQMatMul).expands(func(b *Builder, v *Value) *Value {
		x := b.Op(DequantizeLinear.With(QuantAttrs{}), v.Args[0], v.Args[1], v.Args[2])
		return b.MatMul(x, b.Op(DequantizeLinear.With(QuantAttrs{Axis: 1}), v.Args[3], v.Args[4]))
	}).multiplies(func(_ NoAttrs, out int64, in [][]int64) int64 { return out * in[3][0] })
	QLinearConv = newOp("QLinearConv", 9, 9, Product, HalfPlain, inferQConv, evalQConv).multiplies(func(_ ConvAttrs, out int64, in [][]int64) int64 { return out * int64(product(in[3][1:])) })
)

func checkQuantized(in []tensor.Type, n tensor.Dim) error {
	scalar := func(t tensor.Type, d tensor.DType) bool { return t.DType == d && t.Rank() == 0 }
	switch {
	case in[0].DType != tensor.Uint8 || !scalar(in[1], tensor.Float32) || !scalar(in[2], tensor.Uint8):
		return fmt.Errorf("have x %s, scale %s, zero_point %s, want uint8 with scalars", in[0], in[1], in[2])
	case in[3].DType != tensor.Int8 || in[4].DType != tensor.Float32 || in[4].Rank() != 1 || in[4].Shape[0] != n:
		return fmt.Errorf("have weights %s, scale %s, want int8 and a scale per output channel", in[3], in[4])
	}
	return nil
}

func inferQMatMul(_ NoAttrs, in []tensor.Type) (tensor.Type, error) {
	if in[3].Rank() != 2 || in[0].Rank() < 1 || in[0].Shape[in[0].Rank()-1] != in[3].Shape[0] {
		return tensor.Type{}, fmt.Errorf("have %s times %s", in[0], in[3])
	}
	shape := append(append([]tensor.Dim{}, in[0].Shape[:in[0].Rank()-1]...), in[3].Shape[1])
	return tensor.Type{DType: tensor.Float32, Shape: shape}, checkQuantized(in, in[3].Shape[1])
}

func evalQMatMul(e *Env, _ NoAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	k, n := int(in[3].Dims()[0]), int(in[3].Dims()[1])
	w := e.Memo(func() any { return kernel.PackInt8(k, n, in[3].Int8s()) }).(*kernel.PackedInt8)
	scales := scaledBy(in[4].Float32s(), in[1].Float32s()[0])
	return e.float32(func(y []float32) { kernel.QMatMul(len(y)/max(1, n), in[0].Bytes(), in[2].Bytes()[0], w, scales, y) })
}

func scaledBy(x []float32, s float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = v * s
	}
	return y
}

func inferQConv(a ConvAttrs, in []tensor.Type) (tensor.Type, error) {
	if in[3].Rank() != 4 || a.Group > 1 {
		return tensor.Type{}, fmt.Errorf("have weights %s and group %d, want rank 4 and one group", in[3], a.Group)
	}
	if err := checkQuantized(in, in[3].Shape[0]); err != nil {
		return tensor.Type{}, err
	}
	if m := in[3].Shape[0]; in[5].DType != tensor.Int8 || in[6].DType != tensor.Float32 || in[6].Rank() != 0 || in[7].DType != tensor.Uint8 || in[7].Rank() != 0 || in[8].DType != tensor.Int32 || in[8].Rank() != 1 || in[8].Shape[0] != m {
		return tensor.Type{}, fmt.Errorf("have w_zero_point %s, y_scale %s, y_zero_point %s, bias %s", in[5], in[6], in[7], in[8])
	}
	x, w := in[0], in[3]
	x.DType, w.DType = tensor.Float32, tensor.Float32
	t, err := inferConv(a, []tensor.Type{x, w})
	t.DType = tensor.Uint8
	return t, err
}

// packedConv is weights as a matrix [kh kw C, M], the order in which pixels lie in memory when channels come last.
func packedConv(w *tensor.Tensor) *kernel.PackedInt8 {
	d := w.Dims()
	m, k := d[0], d[1]*d[2]*d[3]
	rows := make([]byte, m*k)
	tensor.TransposeBytes(rows, w.Bytes(), d, []int{2, 3, 1, 0}, 1)
	return kernel.PackInt8(int(k), int(m), tensor.Int8View(rows))
}

func evalQConv(e *Env, a ConvAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	if slices.ContainsFunc(in[5].Int8s(), func(z int8) bool { return z != 0 }) {
		return nil, errors.New("w_zero_point: want 0")
	}
	w := e.Memo(func() any { return packedConv(in[3]) }).(*kernel.PackedInt8)
	win, err := newWindows(in[3].Dims()[2:], a.Strides, a.Pads, a.Dilations)
	if err != nil {
		return nil, err
	}
	p := kernelConv(win, in[0].Dims(), e.Dims, 1)
	zero := in[2].Bytes()[0]
	scales := make([]float32, w.N)
	for i, s := range in[4].Float32s() {
		scales[i] = in[1].Float32s()[0] * s / in[6].Float32s()[0]
	}
	bias := make([]int32, w.N)
	for i, b := range in[8].Int64s() {
		bias[i] = int32(b) - int32(zero)*w.Sums[i]
	}
	return e.bytes(func(y []byte, _ int) {
		kernel.QConv2D(p, in[0].Bytes(), zero, w, bias, scales, in[7].Bytes()[0], y)
	})
}
