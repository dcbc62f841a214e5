package ir

import (
	"fmt"

	"syncsam-convert/ir/tensor"
)

// broadcast is the NumPy broadcast of two shapes. A mask batch, which is 1 or B (Bind sees to it), becomes what it meets.
func broadcast(a, b []tensor.Dim) ([]tensor.Dim, error) {
	if len(a) < len(b) {
		a, b = b, a
	}
	out := make([]tensor.Dim, len(a))
	copy(out, a)
	for i, d := range b {
		k := len(a) - len(b) + i
		switch {
		case a[k] == d || d.Is(1) || d == maskBatch && a[k].Sym != "":
		case a[k].Is(1) || a[k] == maskBatch && d.Sym != "":
			out[k] = d
		default:
			return nil, fmt.Errorf("cannot broadcast %s with %s", tensor.ShapeString(a), tensor.ShapeString(b))
		}
	}
	return out, nil
}

var maskBatch = tensor.Symbol(MaskBatch)

// axisOf resolves an axis that may count from the end.
func axisOf(axis int64, rank int) (int, error) {
	a := axis
	if a < 0 {
		a += int64(rank)
	}
	if a < 0 || a >= int64(rank) {
		return 0, fmt.Errorf("axis: have %d, want -%d to %d", axis, rank, rank-1)
	}
	return int(a), nil
}

// axesOf resolves a list of distinct axes.
func axesOf(axes []int64, rank int) (map[int]bool, error) {
	set := map[int]bool{}
	for _, x := range axes {
		a, err := axisOf(x, rank)
		if err != nil {
			return nil, err
		}
		if set[a] {
			return nil, fmt.Errorf("axes: %d occurs twice", x)
		}
		set[a] = true
	}
	return set, nil
}

// want checks argument types: rank (-1 for any) and element type.
func want(in []tensor.Type, i int, d tensor.DType, rank int) error {
	t := in[i]
	if t.DType != d {
		return fmt.Errorf("argument %d: have %s, want %s", i, t, d)
	}
	if rank >= 0 && t.Rank() != rank {
		return fmt.Errorf("argument %d: have %s, want rank %d", i, t, rank)
	}
	return nil
}

// within refuses numbers of a list of attributes that no arithmetic on sizes needs.
func within(name string, v []int64, least int64) error {
	for _, x := range v {
		if x < least || x > tensor.MaxDim {
			return fmt.Errorf("%s: have %d, want %d to %d", name, x, least, tensor.MaxDim)
		}
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ints converts the static dimensions of an evaluated tensor.
func ints(dims []int64) []int {
	out := make([]int, len(dims))
	for i, d := range dims {
		out[i] = int(d)
	}
	return out
}

func product(dims []int64) int {
	n := 1
	for _, d := range dims {
		n *= int(d)
	}
	return n
}

// float32s gives an evaluated argument's elements, nil for an absent one.
func float32s(t *tensor.Tensor) []float32 {
	if t == nil {
		return nil
	}
	return t.Float32s()
}

// float32 is bytes for float32 results.
func (e *Env) float32(f func(y []float32)) (*tensor.Tensor, error) {
	return e.bytes(func(y []byte, _ int) { f(tensor.Float32View(y)) })
}

// bytes makes the result of an evaluation: f fills memory of the result's type, all of it, which holds anything before.
func (e *Env) bytes(f func(y []byte, size int)) (*tensor.Tensor, error) {
	size := int(e.Type.DType.Size())
	y := e.leases.bytes(product(e.Dims) * size)
	f(y, size)
	return tensor.New(e.Type.DType, e.Dims, y)
}
