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

// MatMul is the batched matrix product.
var MatMul = newOp("MatMul", 2, 2, Product, HalfPlain, inferMatMul, evalMatMul).multiplies(func(_ NoAttrs, out int64, in [][]int64) int64 { return out * in[0][len(in[0])-1] })

// Gemm is the matrix product with a third term.
var Gemm = newOp("Gemm", 2, 3, Product, HalfPlain, inferGemm, evalGemm).multiplies(func(a GemmAttrs, out int64, in [][]int64) int64 {
	if a.TransA != 0 {
		return out * in[0][0]
	}
	return out * in[0][1]
})

// ProjectAdd adds a 1x1 convolution's result to tokens: tokens [N,h,w,D] + W features + bias, with features [N,C,h,w], W [D,C]
// and an optional bias [D] (SyncSAM's fusion, paper, section 2.2). It is one product over all pixels whose third term is the token matrix.
var ProjectAdd = composite("ProjectAdd", 3, 4, Product, HalfPlain, func(_ NoAttrs, in []tensor.Type) (tensor.Type, error) {
	if err := firstError(want(in, 0, tensor.Float32, 4), want(in, 1, tensor.Float32, 4), want(in, 2, tensor.Float32, 2)); err != nil {
		return tensor.Type{}, err
	}
	x, f, w := in[0].Shape, in[1].Shape, in[2].Shape
	if x[0] != f[0] || x[1] != f[2] || x[2] != f[3] || w[0] != x[3] || w[1] != f[1] {
		return tensor.Type{}, fmt.Errorf("have tokens %s, features %s, weights %s", in[0], in[1], in[2])
	}
	if len(in) > 3 && (in[3].DType != tensor.Float32 || in[3].Rank() != 1 || in[3].Shape[0] != x[3]) {
		return tensor.Type{}, fmt.Errorf("bias: have %s, want float32[%s]", in[3], x[3])
	}
	return in[0], nil
}, expandProjectAdd)

func expandProjectAdd(b *Builder, v *Value) *Value {
	x, f, w := v.Args[0], v.Args[1], v.Args[2]
	n, rows := x.Type.Shape, x.Type.Shape[0].Times(x.Type.Shape[1].B*x.Type.Shape[2].B)
	tokens := b.Reshape(x, rows, n[3])
	pixels := b.Reshape(b.Transpose(f, 0, 2, 3, 1), rows, w.Type.Shape[1])
	y := b.Op(Gemm.With(GemmAttrs{Alpha: 1, Beta: 1, TransB: 1}), pixels, w, tokens)
	if len(v.Args) > 3 && v.Args[3] != nil {
		y = b.Add(y, v.Args[3])
	}
	return b.Reshape(y, n...)
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
	if k, n := b[len(b)-2], b[len(b)-1]; len(b) == 2 && e.Constant() && k > 0 && kernel.Tiled(len(in[0].Float32s())/k, n, k) {
		w := e.Memo(func() any {
			defer in[1].Release()
			return kernel.PackRight(k, n, in[1].Float32s())
		}).(*kernel.Packed)
		return e.float32(func(y []float32) { kernel.GemmRight(len(y)/max(1, n), in[0].Float32s(), w, y) })
	}
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
			clear(y)
			kernel.Binary("Add", []int{m, n}, y, []int{m, n}, in[2].Float32s(), ints(in[2].Dims()), y) // a broadcast copy
			beta = a.Beta
		}
		kernel.Gemm(a.TransA != 0, a.TransB != 0, m, n, k, a.Alpha, in[0].Float32s(), d[1], in[1].Float32s(), l[1], beta, y, n)
	})
}
