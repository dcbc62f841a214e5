package passes

import (
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// foldHypernetwork multiplies a mask's vector into the linear convolution before it:
//
//	h (Conv(f, W, bias) + rest) = Conv(f, h W) + h bias + h rest
//
// with h [B,1,M] and Conv k x k of stride 1 from C to M channels. The convolution with one output channel and weights of its own per
// prompt is a product of f with k*k vectors, whose planes a convolution with constant one-hot weights shifts and adds.
// M times fewer multiply-adds (SAM-HQ's and SyncSAM's mask heads: 32).
func foldHypernetwork(w *Work) error {
	return rewrite(w, "fold-hypernetwork", func(b *ir.Builder, v *ir.Value) (*ir.Value, error) {
		conv, rest, reason := hypernetwork(v)
		if reason != "" {
			w.Miss(v, "%s", reason)
		}
		if conv == nil {
			return nil, nil
		}
		h := v.Args[0]
		y := maskConv(b, h, conv)
		if rest != nil {
			y = b.Add(y, b.MatMul(h, flat(b.As(rest.Name), rest)))
		}
		return y, nil
	})
}

// hypernetwork recognises MatMul(h, Reshape(Conv(f, W, bias))) and the same with Add(Conv, rest) inside. The reason is why a value of
// that form cannot be folded.
func hypernetwork(v *ir.Value) (conv, rest *ir.Value, reason string) {
	if !ir.MatMul.Is(v) || v.Type.Rank() != 3 || !v.Type.Shape[1].Is(1) || !ir.Reshape.Is(v.Args[1]) || v.Args[1].Type.Rank() != 3 {
		return nil, nil, ""
	}
	conv = v.Args[1].Args[0]
	if ir.Add.Is(conv) {
		conv, rest = conv.Args[0], conv.Args[1]
		if !ir.Conv.Is(conv) {
			conv, rest = rest, conv
		}
	}
	if !ir.Conv.Is(conv) {
		return nil, nil, "what it multiplies is no convolution, with or without an addend"
	}
	if !allConst(conv.Args[1:]) || conv.Type.Rank() != 4 || !conv.Type.Shape[1].Is(side(v.Args[0], 2)) || side(conv, 2) == 0 || side(conv, 3) == 0 {
		return nil, nil, "the convolution's weights are not constant, or its channels are not the vector's"
	}
	if rest != nil && (rest.Type.Rank() != 4 || !slices.Equal(rest.Type.Shape[1:], conv.Type.Shape[1:])) {
		return nil, nil, "the addend is not of the convolution's shape"
	}
	a, k := ir.Conv.Of(conv), conv.Args[1].Const.Dims()
	same := a.Group <= 1 && k[2] == k[3] && k[2]%2 == 1 && side(conv, 2) == side(conv.Args[0], 2) && side(conv, 3) == side(conv.Args[0], 3)
	ones := !slices.ContainsFunc(slices.Concat(a.Strides, a.Dilations), func(s int64) bool { return s != 1 })
	if !same || !ones || a.Pads != nil && !slices.Equal(a.Pads, slices.Repeat([]int64{k[2] / 2}, 4)) {
		return nil, nil, "the convolution is not k x k of stride 1, k odd, padded to its input's size"
	}
	return conv, rest, ""
}

// flat is x [B,C,H,W] as [B,C,HW].
func flat(b *ir.Builder, x *ir.Value) *ir.Value {
	return b.Reshape(x, x.Type.Shape[0], x.Type.Shape[1], x.Type.Shape[2].Times(side(x, 3)))
}

// maskConv is h [B,1,M] times the convolution, [B,1,HW].
func maskConv(b *ir.Builder, h, conv *ir.Value) *ir.Value {
	f, w := conv.Args[0], conv.Args[1]
	dims, batch, fixed := w.Const.Dims(), f.Type.Shape[0], tensor.Static
	m, c, k, height, width := dims[0], dims[1], dims[2], side(f, 2), side(f, 3)
	rows, err := tensor.Reshape(tensor.Dense(w.Const), m, c*k*k)
	if err != nil {
		return b.Fail("%w", err)
	}
	kernels := b.Reshape(b.MatMul(h, b.As(w.Name).Const(rows)), h.Type.Shape[0], fixed(c), fixed(k*k))
	pixels := b.Reshape(channelsLast(b.As(f.Name), f), batch, fixed(height*width), fixed(c))
	planes := b.Reshape(b.Transpose(b.MatMul(pixels, kernels), 0, 2, 1), h.Type.Shape[0], fixed(k*k), fixed(height), fixed(width))
	y := b.Op(ir.Conv.With(ir.ConvAttrs{Pads: slices.Repeat([]int64{k / 2}, 4)}), planes, b.As("shift").Const(tensor.FromFloat32([]int64{1, k * k, k, k}, identity(int(k*k)))))
	y = flat(b, y)
	if len(conv.Args) > 2 && conv.Args[2] != nil {
		column, err := tensor.Reshape(tensor.Dense(conv.Args[2].Const), m, 1)
		if err != nil {
			return b.Fail("%w", err)
		}
		y = b.Add(y, b.MatMul(h, b.As(conv.Args[2].Name).Const(column)))
	}
	return y
}

// channelsLast is f [N,C,H,W] as [N,H,W,C]: without a transposition where f is Gelu of one, for nobody else.
func channelsLast(b *ir.Builder, f *ir.Value) *ir.Value {
	if ir.Gelu.Is(f) {
		if x := f.Args[0]; transposes(x, 0, 3, 1, 2) {
			return b.Op(f.Applied(), x.Args[0])
		}
	}
	return b.Transpose(f, 0, 2, 3, 1)
}

func identity(n int) []float32 {
	x := make([]float32, n*n)
	for i := range n {
		x[i*n+i] = 1
	}
	return x
}
