package passes

import (
	"math"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// fuseGelu recognises the spelling of Gelu that files below opset 20 have, PyTorch's exporters' as well as ours.
func fuseGelu(w *Work) error {
	g := w.Graph
	err := rewrite(w, "fuse-gelu", func(b *ir.Builder, v *ir.Value) (*ir.Value, error) {
		if x := geluOf(v); x != nil {
			return b.Gelu(x), nil
		}
		return nil, nil
	})
	g.Sweep()
	return err
}

// geluOf is x where v is Mul(Mul(x, Add(Erf(Div(x, sqrt 2)), 1)), 0.5), nil where it is not.
func geluOf(v *ir.Value) *ir.Value {
	half := scaled(v, ir.Mul.Op, 0.5)
	if half == nil || !ir.Mul.Is(half) {
		return nil
	}
	x, sum := half.Args[0], half.Args[1]
	erf := scaled(sum, ir.Add.Op, 1)
	if erf == nil || !ir.Erf.Is(erf) {
		return nil
	}
	if scaled(erf.Args[0], ir.Div.Op, math.Sqrt2) != x || !x.Type.Equal(v.Type) {
		return nil
	}
	return x
}

// scaled is the first argument of an op whose second is a scalar constant of about the given value.
func scaled(v *ir.Value, op *ir.Op, by float64) *ir.Value {
	if v.Op != op || !v.Args[1].IsConst() || v.Args[1].Const.Len() != 1 || !v.Args[1].Const.DType().IsFloat() {
		return nil
	}
	tolerance := 1e-6
	if v.Args[1].Type.DType == tensor.Float16 {
		tolerance = 1e-3 // 1.4140625 is float16's sqrt 2
	}
	if c := float64(v.Args[1].Const.Float32s()[0]); math.Abs(c-by) > tolerance {
		return nil
	}
	return v.Args[0]
}
