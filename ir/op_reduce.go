package ir

import (
	"errors"
	"fmt"

	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
)

// ReduceAttrs of ReduceMean, ReduceSum, ReduceMax, ReduceMin and ReduceLogSumExp; absent axes are all. Sums and extremes of integers are integers.
type ReduceAttrs struct {
	Axes     []int64 `ir:"axes"`
	KeepDims int64   `ir:"keepdims"`
}

// ArgAttrs of ArgMax; the first of equal elements wins.
type ArgAttrs struct {
	Axis     int64 `ir:"axis"`
	KeepDims int64 `ir:"keepdims"`
}

// Reductions over axes.
var (
	ReduceMean      = reduction("ReduceMean", HalfPlain)
	ReduceSum       = reduction("ReduceSum", HalfPlain)
	ReduceMax       = reduction("ReduceMax", HalfPlain)
	ReduceMin       = reduction("ReduceMin", HalfPlain)
	ReduceLogSumExp = reduction("ReduceLogSumExp", HalfExponential)
)

func reduction(name string, half Half) Kind[ReduceAttrs] {
	return newOp(name, 1, 1, Moving, half, func(a ReduceAttrs, in []tensor.Type) (tensor.Type, error) {
		if d := in[0].DType; d == tensor.Float32 || (d == tensor.Int64 || d == tensor.Int32) && (name == "ReduceSum" || name == "ReduceMax" || name == "ReduceMin") {
			return inferReduce(a, in)
		}
		return tensor.Type{}, fmt.Errorf("argument 0: have %s, want float32", in[0])
	}, func(e *Env, a ReduceAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
		set, err := axesOf(a.axes(len(in[0].Dims())), len(in[0].Dims()))
		if err != nil {
			return nil, err
		}
		var axes []int
		for i := range in[0].Dims() {
			if set[i] {
				axes = append(axes, i)
			}
		}
		if d := in[0].DType(); d != tensor.Float32 {
			if len(axes) > 0 && product(in[0].Dims()) == 0 && name != "ReduceSum" {
				return nil, errors.New("no integer has the place of an empty axis' extreme")
			}
			y := make([]int64, product(e.Dims))
			kernel.ReduceInts(name, ints(in[0].Dims()), axes, in[0].Int64s(), y)
			return tensor.Dense(tensor.Cast(tensor.FromInt64(e.Dims, y), d)), nil
		}
		return e.float32(func(y []float32) { kernel.Reduce(name, ints(in[0].Dims()), axes, in[0].Float32s(), y) })
	})
}

// ArgMax is the index of the largest element along an axis.
var ArgMax = newOp("ArgMax", 1, 1, Moving, HalfPlain, func(a ArgAttrs, in []tensor.Type) (tensor.Type, error) {
	if d := in[0].DType; d != tensor.Float32 && d != tensor.Int64 && d != tensor.Int32 {
		return tensor.Type{}, fmt.Errorf("argument 0: have %s, want float32, int64 or int32", in[0])
	}
	t, err := inferReduce(ReduceAttrs{[]int64{a.Axis}, a.KeepDims}, in)
	return tensor.Type{DType: tensor.Int64, Shape: t.Shape}, err
}, func(e *Env, a ArgAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	dims := in[0].Dims()
	axis, _ := axisOf(a.Axis, len(dims))
	if dims[axis] == 0 {
		return nil, errors.New("an empty axis has no maximum")
	}
	y := make([]int64, product(e.Dims))
	if outer, n, inner := product(dims[:axis]), int(dims[axis]), product(dims[axis+1:]); in[0].DType() == tensor.Float32 {
		kernel.ArgMax(outer, n, inner, in[0].Float32s(), y)
	} else {
		kernel.ArgMax(outer, n, inner, in[0].Int64s(), y)
	}
	return tensor.FromInt64(e.Dims, y), nil
})

func (a ReduceAttrs) axes(rank int) []int64 {
	if a.Axes != nil {
		return a.Axes
	}
	all := make([]int64, rank)
	for i := range all {
		all[i] = int64(i)
	}
	return all
}

func inferReduce(a ReduceAttrs, in []tensor.Type) (tensor.Type, error) {
	set, err := axesOf(a.axes(in[0].Rank()), in[0].Rank())
	if err != nil {
		return tensor.Type{}, err
	}
	shape := []tensor.Dim{}
	for i, d := range in[0].Shape {
		switch {
		case !set[i]:
			shape = append(shape, d)
		case a.KeepDims != 0:
			shape = append(shape, tensor.Static(1))
		}
	}
	return tensor.Type{DType: in[0].DType, Shape: shape}, nil
}
