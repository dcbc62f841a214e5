package ir

import (
	"fmt"

	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
)

// LayerNormAttrs of LayerNormalization over the axes from Axis on; arguments x, scale, bias.
type LayerNormAttrs struct {
	Axis    int64   `ir:"axis"`
	Epsilon float32 `ir:"epsilon"`
}

// SoftmaxAttrs of Softmax.
type SoftmaxAttrs struct {
	Axis int64 `ir:"axis"`
}

// Normalizations.
var LayerNormalization = newOp("LayerNormalization", 2, 3, Moving, HalfSquares, inferLayerNorm, evalLayerNorm)

// LayerNorm2d normalises each pixel of [N,C,H,W] over its channels (SAM's LayerNorm2d); arguments x, scale [C], bias [C].
var LayerNorm2d = newOp("LayerNorm2d", 3, 3, Moving, HalfSquares, func(_ EpsilonAttrs, in []tensor.Type) (tensor.Type, error) {
	if err := want(in, 0, tensor.Float32, 4); err != nil {
		return tensor.Type{}, err
	}
	part := tensor.Type{DType: tensor.Float32, Shape: in[0].Shape[1:2]}
	if _, static := part.Static(); !static || !in[1].Equal(part) || !in[2].Equal(part) {
		return tensor.Type{}, fmt.Errorf("have x %s, scale %s, bias %s, want [N,C,H,W], [C] and [C]", in[0], in[1], in[2])
	}
	return in[0], nil
}, func(e *Env, a EpsilonAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	return e.float32(func(y []float32) {
		kernel.LayerNorm2d(int(e.Dims[0]), int(e.Dims[1]), product(e.Dims[2:]), in[0].Float32s(), in[1].Float32s(), in[2].Float32s(), a.Epsilon, y)
	})
}).expands(func(b *Builder, v *Value) *Value {
	x := b.Transpose(v.Args[0], 0, 2, 3, 1)
	x = b.Op(LayerNormalization.With(LayerNormAttrs{Axis: -1, Epsilon: v.Attrs.(EpsilonAttrs).Epsilon}), x, v.Args[1], v.Args[2])
	return b.Transpose(x, 0, 3, 1, 2)
})

var Softmax = newOp("Softmax", 1, 1, Moving, HalfPlain, func(a SoftmaxAttrs, in []tensor.Type) (tensor.Type, error) {
	_, err := axisOf(a.Axis, in[0].Rank())
	return in[0], firstError(want(in, 0, tensor.Float32, -1), err)
}, evalSoftmax)

func inferLayerNorm(a LayerNormAttrs, in []tensor.Type) (tensor.Type, error) {
	axis, err := axisOf(a.Axis, in[0].Rank())
	if err != nil {
		return tensor.Type{}, err
	}
	part := tensor.Type{DType: tensor.Float32, Shape: in[0].Shape[axis:]}
	if _, ok := part.Static(); !ok || in[0].DType != tensor.Float32 {
		return tensor.Type{}, fmt.Errorf("argument 0: have %s, want float32 with static axes from %d on", in[0], axis)
	}
	for i := 1; i < len(in); i++ {
		if in[i].DType != tensor.Invalid && !in[i].Equal(part) {
			return tensor.Type{}, fmt.Errorf("argument %d: have %s, want %s", i, in[i], part)
		}
	}
	return in[0], nil
}

func evalLayerNorm(e *Env, a LayerNormAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	axis, _ := axisOf(a.Axis, len(e.Dims))
	return e.float32(func(y []float32) {
		kernel.LayerNorm(product(e.Dims[:axis]), product(e.Dims[axis:]), in[0].Float32s(), in[1].Float32s(), bias(in), a.Epsilon, y)
	})
}

func evalSoftmax(e *Env, a SoftmaxAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	axis, _ := axisOf(a.Axis, len(e.Dims))
	outer, n, inner := product(e.Dims[:axis]), int(e.Dims[axis]), product(e.Dims[axis+1:])
	x := in[0].Float32s()
	return e.float32(func(y []float32) {
		if inner == 1 {
			kernel.Softmax(outer, n, x, y)
			return
		}
		moved := make([]float32, len(x)) // the axis last, and back
		dims := []int64{int64(outer), int64(n), int64(inner)}
		tensor.TransposeFloat32(y, x, dims, []int{0, 2, 1})
		kernel.Softmax(outer*inner, n, y, moved)
		tensor.TransposeFloat32(y, moved, []int64{dims[0], dims[2], dims[1]}, []int{0, 2, 1})
	})
}
