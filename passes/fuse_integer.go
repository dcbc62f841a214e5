package passes

import (
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// fuseQLinear makes integer products of what files spell as products of dequantized integers: a linear layer with a float result, and a
// convolution (with its ReLU) whose result is quantized. Activations are uint8, weights int8 per output channel with zero points 0.
func fuseQLinear(w *Work) error {
	g := w.Graph
	err := rewrite(w, "fuse-qlinear", func(b *ir.Builder, v *ir.Value) (*ir.Value, error) {
		switch v.Op {
		case ir.MatMul.Op:
			return integerMatMul(b, v), nil
		case ir.QuantizeLinear.Op:
			return integerConv(b, g, v), nil
		}
		return nil, nil
	})
	g.Sweep()
	return err
}

// activation is the DequantizeLinear of uint8 by one scale that v is, nil when it is not.
func activation(v *ir.Value) *ir.Value {
	if !ir.DequantizeLinear.Is(v) || len(v.Args) != 3 || v.Args[0].Type.DType != tensor.Uint8 || v.Args[1].Type.Rank() != 0 || !allConst(v.Args[1:]) {
		return nil
	}
	return v
}

// weights is the DequantizeLinear of constant int8 with a scale per element of the axis and zero points 0 that v is, nil when it is not.
func weights(v *ir.Value, axis int64) *ir.Value {
	if !ir.DequantizeLinear.Is(v) || !allConst(v.Args) || v.Args[0].Type.DType != tensor.Int8 || v.Args[1].Type.Rank() != 1 || ir.DequantizeLinear.Of(v).Axis != axis {
		return nil
	}
	if len(v.Args) > 2 && slices.ContainsFunc(v.Args[2].Const.Int8s(), func(z int8) bool { return z != 0 }) {
		return nil
	}
	return v
}

func integerMatMul(b *ir.Builder, v *ir.Value) *ir.Value {
	x, w := activation(v.Args[0]), weights(v.Args[1], 1)
	if x == nil || w == nil || w.Type.Rank() != 2 {
		return nil
	}
	return b.Op(ir.QLinearMatMulFloat, x.Args[0], x.Args[1], x.Args[2], w.Args[0], w.Args[1])
}

// integerConv recognises QuantizeLinear(Relu?(Conv(DequantizeLinear...))). ReLU is the saturation at 0 where that is the zero point.
func integerConv(b *ir.Builder, g *ir.Graph, q *ir.Value) *ir.Value {
	conv := q.Args[0]
	if ir.Relu.Is(conv) && len(g.UsesOf(conv)) == 1 && allConst(q.Args[1:]) && q.Args[2].Const.NumBytes() == 1 && q.Args[2].Const.Bytes()[0] == 0 {
		conv = conv.Args[0]
	}
	if !ir.Conv.Is(conv) || len(g.UsesOf(conv)) != 1 || len(conv.Args) != 3 || q.Type.DType != tensor.Uint8 || q.Args[1].Type.Rank() != 0 || !allConst(q.Args[1:]) {
		return nil
	}
	a := ir.Conv.Of(conv)
	x, w, bias := activation(conv.Args[0]), weights(conv.Args[1], 0), conv.Args[2]
	if x == nil || w == nil || a.Group > 1 || !ir.DequantizeLinear.Is(bias) || !allConst(bias.Args) || bias.Args[0].Type.DType != tensor.Int32 {
		return nil
	}
	zero := b.As(w.Args[0].Name + ".zero_point").Const(tensor.FromInt8([]int64{w.Args[1].Const.Len()}, make([]int8, w.Args[1].Const.Len())))
	return b.As(conv.Name).Op(ir.QLinearConv.With(a), x.Args[0], x.Args[1], x.Args[2], w.Args[0], w.Args[1], zero, q.Args[1], q.Args[2], bias.Args[0])
}
