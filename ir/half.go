package ir

import (
	"fmt"

	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
)

// Half precision is one rule for every op but Cast: floating-point arguments are float16, all of them, the op computes as it does in
// float32, and its result is rounded to float16 (what tensor cores do: products and sums in float32, storage in float16). Between
// values of a program the elements travel as float32 numbers that float16 can hold.

// typesInFloat32 gives the argument types that a row's Infer sees, and whether the op is in half precision.
func (op *Op) typesInFloat32(in []tensor.Type) ([]tensor.Type, bool, error) {
	half, single := -1, -1
	for i, t := range in {
		switch t.DType {
		case tensor.Float16:
			half = i
		case tensor.Float32:
			single = i
		}
	}
	if half < 0 || op == Cast.Op {
		return in, false, nil
	}
	if single >= 0 {
		return nil, false, fmt.Errorf("have %s and %s, want one floating-point type", in[half], in[single])
	}
	wide := make([]tensor.Type, len(in))
	for i, t := range in {
		wide[i] = inFloat32(t)
	}
	return wide, true, nil
}

// inFloat32 is t with float32 for float16.
func inFloat32(t tensor.Type) tensor.Type {
	if t.DType == tensor.Float16 {
		t.DType = tensor.Float32
	}
	return t
}

// inFloat16 is t with float16 for float32.
func inFloat16(t tensor.Type) tensor.Type {
	if t.DType == tensor.Float32 {
		t.DType = tensor.Float16
	}
	return t
}

// widened is a float16 tensor as float32; others it gives back.
func widened(t *tensor.Tensor) *tensor.Tensor {
	if t == nil || t.DType() != tensor.Float16 {
		return t
	}
	return tensor.Dense(tensor.Cast(t, tensor.Float32))
}

// rounded rounds a fresh float32 result to what float16 holds; memory that the result shares with an argument is rounded already.
func rounded(t *tensor.Tensor, args []*tensor.Tensor) *tensor.Tensor {
	if t.DType() != tensor.Float32 {
		return widened(t)
	}
	y := t.Float32s()
	for _, a := range args {
		if a != nil && len(y) > 0 && a.DType() == tensor.Float32 && a.Len() > 0 && &a.Float32s()[0] == &y[0] {
			return t
		}
	}
	kernel.RoundFloat16(y)
	return t
}
