package ir

import (
	"fmt"

	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
)

// GemmAttrs of Gemm: y = Alpha A' B' + Beta C; in the text form both factors are spelled out.
type GemmAttrs struct {
	Alpha  float32 `ir:"alpha"`
	Beta   float32 `ir:"beta"`
	TransA int64   `ir:"transA"`
	TransB int64   `ir:"transB"`
}

func linearOps() []*Op {
	return []*Op{
		newOp("MatMul", 2, 2, inferMatMul, evalMatMul),
		newOp("Gemm", 2, 3, inferGemm, evalGemm),
	}
}

func inferMatMul(_ NoAttrs, in []tensor.Type) (tensor.Type, error) {
	if err := firstError(want(in, 0, tensor.Float32, -1), want(in, 1, tensor.Float32, -1)); err != nil {
		return tensor.Type{}, err
	}
	a, b := in[0].Shape, in[1].Shape
	if len(a) < 2 || len(b) < 2 {
		return tensor.Type{}, fmt.Errorf("have %s and %s, want matrices", in[0], in[1])
	}
	m, k, n := a[len(a)-2], a[len(a)-1], b[len(b)-1]
	if k != b[len(b)-2] {
		return tensor.Type{}, fmt.Errorf("have %s times %s", in[0], in[1])
	}
	shape, err := broadcast(a[:len(a)-2], b[:len(b)-2])
	if err != nil {
		return tensor.Type{}, err
	}
	return tensor.Type{DType: tensor.Float32, Shape: append(append([]tensor.Dim{}, shape...), m, n)}, nil
}

func evalMatMul(e *Env, _ NoAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	a, b := ints(in[0].Dims()), ints(in[1].Dims())
	return e.float32(func(y []float32) {
		kernel.MatMul(ints(e.Dims), in[0].Float32s(), a, in[1].Float32s(), b, y)
	})
}

func inferGemm(a GemmAttrs, in []tensor.Type) (tensor.Type, error) {
	if err := firstError(want(in, 0, tensor.Float32, 2), want(in, 1, tensor.Float32, 2)); err != nil {
		return tensor.Type{}, err
	}
	m, k := in[0].Shape[0], in[0].Shape[1]
	if a.TransA != 0 {
		m, k = k, m
	}
	l, n := in[1].Shape[0], in[1].Shape[1]
	if a.TransB != 0 {
		l, n = n, l
	}
	if k != l {
		return tensor.Type{}, fmt.Errorf("have %s times %s", in[0], in[1])
	}
	shape := []tensor.Dim{m, n}
	if len(in) > 2 && in[2].DType != tensor.Invalid {
		s, err := broadcast(shape, in[2].Shape)
		if err != nil || tensor.ShapeString(s) != tensor.ShapeString(shape) || in[2].DType != tensor.Float32 {
			return tensor.Type{}, fmt.Errorf("argument 2: have %s, want what broadcasts to %s", in[2], tensor.ShapeString(shape))
		}
	}
	return tensor.Type{DType: tensor.Float32, Shape: shape}, nil
}

func evalGemm(e *Env, a GemmAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	m, n := int(e.Dims[0]), int(e.Dims[1])
	d, l := ints(in[0].Dims()), ints(in[1].Dims())
	k := d[1]
	if a.TransA != 0 {
		k = d[0]
	}
	return e.float32(func(y []float32) {
		beta := float32(0)
		if len(in) > 2 && in[2] != nil {
			kernel.Binary("Add", []int{m, n}, y, []int{m, n}, in[2].Float32s(), ints(in[2].Dims()), y) // y is 0: a broadcast copy
			beta = a.Beta
		}
		kernel.Gemm(a.TransA != 0, a.TransB != 0, m, n, k, a.Alpha, in[0].Float32s(), d[1], in[1].Float32s(), l[1], beta, y, n)
	})
}
