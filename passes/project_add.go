package passes

import (
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
)

// projectAdd writes tokens + Transpose(Conv(features)), with a 1x1 convolution, as one ProjectAdd. Its bias joins the bias of the
// linear layer that the tokens come from, where there is one.
func projectAdd(w *Work) error {
	err := rewrite(w, "project-add", func(b *ir.Builder, v *ir.Value) (*ir.Value, error) {
		if !ir.Add.Is(v) || v.Type.Rank() != 4 {
			return nil, nil
		}
		tokens, conv := v.Args[0], projection(w, v.Args[1])
		if conv == nil {
			tokens, conv = v.Args[1], projection(w, v.Args[0])
		}
		if conv == nil {
			return nil, nil
		}
		if !tokens.Type.Equal(v.Type) || side(v, 1) == 0 || side(v, 2) == 0 {
			w.Miss(v, "the tokens have another shape than the projection, or none known")
			return nil, nil
		}
		var bias *ir.Value
		if len(conv.Args) > 2 {
			bias = conv.Args[2]
		}
		if moved := biased(w, b, tokens, bias); moved != nil {
			tokens, bias = moved, nil
		}
		weights, err := tensor.Reshape(conv.Args[1].Const, conv.Args[1].Const.Dims()[:2]...)
		if err != nil {
			return nil, err
		}
		return b.As(conv.Name).Op(ir.ProjectAdd, tokens, conv.Args[0], b.As(conv.Args[1].Name).Const(weights), bias), nil
	})
	w.Graph.Sweep()
	return err
}

// projection is the 1x1 convolution behind a transposition to channels last, nil when v is not that or has other uses.
func projection(w *Work, v *ir.Value) *ir.Value {
	if !transposes(v, 0, 2, 3, 1) {
		return nil
	}
	c := v.Args[0]
	if !ir.Conv.Is(c) {
		w.Miss(v, "it transposes a %s, not a Conv", c.Op.Name)
		return nil
	}
	if len(w.Graph.UsesOf(v)) != 1 || len(w.Graph.UsesOf(c)) != 1 || !allConst(c.Args[1:]) {
		w.Miss(v, "the projection has other uses, or weights that are not constant")
		return nil
	}
	a, k := ir.Conv.Of(c), c.Args[1].Const.Dims()
	plain := !slices.ContainsFunc(a.Strides, func(s int64) bool { return s != 1 }) && !slices.ContainsFunc(a.Pads, func(p int64) bool { return p != 0 })
	if !plain || a.Group > 1 || k[2] != 1 || k[3] != 1 {
		w.Miss(v, "the convolution is not 1 x 1 of stride 1 without padding and groups")
		return nil
	}
	return c
}

// biased rebuilds tokens = x + (product + b) as x + (product + (b + bias)), nil when they are not that.
func biased(w *Work, b *ir.Builder, tokens, bias *ir.Value) *ir.Value {
	g := w.Graph
	if bias == nil || !ir.Add.Is(tokens) || len(g.UsesOf(tokens)) != 1 {
		return nil
	}
	linear := tokens.Args[1]
	product, old := addend(linear)
	if old == nil || !ir.MatMul.Is(product) || len(g.UsesOf(linear)) != 1 || !old.Type.Equal(bias.Type) {
		return nil
	}
	sum, more := slices.Clone(old.Const.Float32s()), bias.Const.Float32s()
	for i := range sum {
		sum[i] += more[i]
	}
	const fused = ".fused" // these values are not the float model's, so they do not have its names
	inner := b.As(linear.Name+fused).Add(product, b.As(old.Name).Const(tensor.FromFloat32(old.Const.Dims(), sum)))
	outer := b.As(tokens.Name+fused).Add(tokens.Args[0], inner)
	top := kernel.Amplitude(more)
	w.Carry(inner, linear, top)
	w.Carry(outer, tokens, top)
	return outer
}
