package ir

import (
	"fmt"

	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
)

// QuantAttrs of QuantizeLinear and DequantizeLinear: the axis of a scale with more than one element.
type QuantAttrs struct {
	Axis int64 `ir:"axis"`
}

// QuantizeLinear: y = saturate(round_half_even(x / scale) + zero_point), arguments x, scale, zero_point.
// DequantizeLinear: y = (x - zero_point) * scale. Integers are int8 or uint8, for DequantizeLinear also int32.
var QuantizeLinear = newOp("QuantizeLinear", 3, 3, Pointwise, HalfPlain, func(a QuantAttrs, in []tensor.Type) (tensor.Type, error) {
	if d := in[2].DType; d != tensor.Int8 && d != tensor.Uint8 {
		return tensor.Type{}, fmt.Errorf("zero_point: have %s, want int8 or uint8", in[2])
	}
	return tensor.Type{DType: in[2].DType, Shape: in[0].Shape}, firstError(want(in, 0, tensor.Float32, -1), checkScale(a, in))
}, func(e *Env, a QuantAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	outer, n, inner := quantLayout(a, in[0].Dims(), in[1])
	x, s := in[0].Float32s(), in[1].Float32s()
	return e.bytes(func(y []byte, _ int) {
		if e.Type.DType == tensor.Uint8 {
			kernel.QuantizeUint8(outer, n, inner, x, s, in[2].Bytes(), y)
		} else {
			kernel.QuantizeInt8(outer, n, inner, x, s, in[2].Int8s(), tensor.Int8View(y))
		}
	})
})

var DequantizeLinear = newOp("DequantizeLinear", 2, 3, Pointwise, HalfPlain, func(a QuantAttrs, in []tensor.Type) (tensor.Type, error) {
	d := in[0].DType
	if d != tensor.Int8 && d != tensor.Uint8 && d != tensor.Int32 || len(in) > 2 && in[2].DType != d {
		return tensor.Type{}, fmt.Errorf("have %s and a zero point of another type, want int8, uint8 or int32", in[0])
	}
	return tensor.Type{DType: tensor.Float32, Shape: in[0].Shape}, checkScale(a, in)
}, func(e *Env, a QuantAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	if in[0].DType() == tensor.Uint8 && in[1].Len() == 1 && len(in) > 2 {
		return e.float32(func(y []float32) {
			kernel.DequantizeUint8(in[0].Bytes(), in[1].Float32s()[0], in[2].Bytes()[0], y)
		})
	}
	outer, n, inner := quantLayout(a, in[0].Dims(), in[1])
	s, x := in[1].Float32s(), in[0].Int64s()
	zero := make([]int64, n)
	if len(in) > 2 {
		zero = in[2].Int64s()
	}
	return e.float32(func(y []float32) {
		for i := range outer * n {
			for j := i * inner; j < (i+1)*inner; j++ {
				y[j] = float32(x[j]-zero[i%n]) * s[i%n]
			}
		}
	})
})

func checkScale(a QuantAttrs, in []tensor.Type) error {
	s, ok := in[1].Static()
	if !ok || in[1].DType != tensor.Float32 || len(s) > 1 {
		return fmt.Errorf("scale: have %s, want float32 of rank 0 or 1", in[1])
	}
	if len(in) > 2 && tensor.ShapeString(in[2].Shape) != tensor.ShapeString(in[1].Shape) {
		return fmt.Errorf("zero_point: have %s, want the shape of scale %s", in[2], in[1])
	}
	if len(s) == 1 && s[0] != 1 {
		axis, err := axisOf(a.Axis, in[0].Rank())
		if err != nil {
			return err
		}
		if !in[0].Shape[axis].Is(s[0]) {
			return fmt.Errorf("scale: have %s for axis %d of %s", in[1], axis, in[0])
		}
	}
	return nil
}

// checkNumbers refuses constants that make no integers of numbers: a scale that is not finite and above 0, an int32's zero point other than 0
// (those of 8 bits are in range by their type), a variance that has no root.
func checkNumbers(v *Value) error {
	var scales []int
	switch v.Op {
	case QuantizeLinear.Op, DequantizeLinear.Op:
		scales = []int{1}
	case QLinearMatMulFloat.Op:
		scales = []int{1, 4}
	case QLinearConv.Op:
		scales = []int{1, 4, 6}
	}
	if BatchNormalization.Is(v) && v.Args[4].IsConst() {
		eps := BatchNormalization.Of(v).Epsilon
		for i, x := range v.Args[4].Const.Float32s() {
			if x+eps <= 0 {
				return fmt.Errorf("variance %q: element %d: have %v, want one that is above 0 with the epsilon of %v", v.Args[4].Name, i, x, eps)
			}
		}
	}
	for _, at := range scales {
		if s := v.Args[at]; s.IsConst() {
			for i, x := range s.Const.Float32s() {
				if !(x > 0) || x-x != 0 {
					return fmt.Errorf("scale %q: element %d: have %v, want a finite number above 0", s.Name, i, x)
				}
			}
		}
	}
	if DequantizeLinear.Is(v) && len(v.Args) > 2 && v.Args[2].IsConst() && v.Args[2].Type.DType == tensor.Int32 {
		for i, z := range v.Args[2].Const.Int32s() {
			if z != 0 {
				return fmt.Errorf("zero_point %q: element %d: have %d, want 0 for int32", v.Args[2].Name, i, z)
			}
		}
	}
	return nil
}

// quantLayout splits x into outer rows of n scales of inner elements.
func quantLayout(a QuantAttrs, dims []int64, scale *tensor.Tensor) (outer, n, inner int) {
	if scale.Len() == 1 {
		return 1, 1, product(dims)
	}
	axis, _ := axisOf(a.Axis, len(dims))
	return product(dims[:axis]), int(dims[axis]), product(dims[axis+1:])
}
