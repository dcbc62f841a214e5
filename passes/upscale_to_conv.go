package passes

import (
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// upscaleToConv writes a transposed convolution of kernel and stride 2 as a 1x1 convolution to four times the channels and a
// rearrangement: each output pixel has exactly one input pixel. Executors have integer kernels for the one and not for the other.
func upscaleToConv(w *Work) error {
	return rewrite(w, "upscale-to-conv", func(b *ir.Builder, v *ir.Value) (*ir.Value, error) {
		if !isUpscale(v) {
			if ir.ConvTranspose.Is(v) {
				w.Miss(v, "it is not of kernel and stride 2 with constant weights, without groups and padding")
			}
			return nil, nil
		}
		x, w := v.Args[0], v.Args[1].Const
		c, m := w.Dims()[0], w.Dims()[1]
		rows, err := tensor.Transpose(w, 2, 3, 1, 0) // [2,2,M,C]
		if err != nil {
			return nil, err
		}
		if rows, err = tensor.Reshape(rows, 4*m, c, 1, 1); err != nil {
			return nil, err
		}
		var bias *ir.Value
		if len(v.Args) > 2 {
			four := slices.Repeat(v.Args[2].Const.Float32s(), 4)
			bias = b.As(v.Args[2].Name).Const(tensor.FromFloat32([]int64{4 * m}, four))
		}
		conv := b.Op(ir.Conv.With(ir.ConvAttrs{}), x, b.As(v.Args[1].Name).Const(rows), bias)
		batch, h, wd := x.Type.Shape[0], x.Type.Shape[2], x.Type.Shape[3]
		two, channels := tensor.Static(2), tensor.Static(m)
		y := b.Transpose(b.Reshape(conv, batch, two, two, channels, h, wd), 0, 3, 4, 1, 5, 2)
		return b.Reshape(y, batch, channels, h.Times(2), wd.Times(2)), nil
	})
}

func isUpscale(v *ir.Value) bool {
	if !ir.ConvTranspose.Is(v) || !allConst(v.Args[1:]) {
		return false
	}
	a, k := v.Attrs.(ir.ConvTransposeAttrs), v.Args[1].Const.Dims()
	zero := func(x []int64) bool { return !slices.ContainsFunc(x, func(p int64) bool { return p != 0 }) }
	return a.Group <= 1 && k[2] == 2 && k[3] == 2 && slices.Equal(a.Strides, []int64{2, 2}) && zero(a.Pads) && zero(a.OutputPadding)
}
