package blocks

import (
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// Epsilons that no checkpoint carries (SAM's code: ViT blocks and LayerNorm2d 1e-6, decoder LayerNorm and BatchNorm 1e-5).
const (
	EpsViT     = 1e-6
	EpsDecoder = 1e-5
	EpsBatch   = 1e-5
)

// width is the static size of x's axis, which counts from the end when negative; 1 after a builder error.
func width(x *ir.Value, axis int) int64 {
	shape := x.Type.Shape
	if axis < 0 {
		axis += len(shape)
	}
	if axis < 0 || axis >= len(shape) || !shape[axis].IsStatic() {
		return 1
	}
	return shape[axis].B
}

// Dim is x's axis; 1 after a builder error.
func Dim(x *ir.Value, axis int) tensor.Dim {
	if axis >= len(x.Type.Shape) {
		return tensor.Static(1)
	}
	return x.Type.Shape[axis]
}

// Linear is x [..., in] times weight [out, in] transposed, plus bias [out].
func (s Scope) Linear(x *ir.Value, out int64) *ir.Value {
	return s.Add(s.LinearNoBias(x, out), s.Param("bias", out))
}

// LinearNoBias is Linear of a layer that has no bias.
func (s Scope) LinearNoBias(x *ir.Value, out int64) *ir.Value {
	return s.MatMul(x, s.factor(width(x, -1), out))
}

// factor is a linear layer's weight [out, in] as the right factor of a product, [in, out].
func (s Scope) factor(in, out int64) *ir.Value {
	w, err := tensor.Transpose(s.W.Tensor(s.Key("weight"), out, in), 1, 0)
	if err != nil {
		return s.Fail("%w", err)
	}
	return s.Builder.As(s.Key("weight")).Const(w)
}

// LayerNorm normalises the last axis.
func (s Scope) LayerNorm(x *ir.Value, eps float32) *ir.Value {
	n := width(x, -1)
	return s.Op(ir.LayerNormalization.With(ir.LayerNormAttrs{Axis: -1, Epsilon: eps}), x, s.Param("weight", n), s.Param("bias", n))
}

// LayerNorm2d normalises the channels of NCHW (SAM's LayerNorm2d).
func (s Scope) LayerNorm2d(x *ir.Value) *ir.Value {
	return s.Transpose(s.LayerNorm(s.Transpose(x, 0, 2, 3, 1), EpsViT), 0, 3, 1, 2)
}

// Conv convolves with a k x k kernel to out channels, and adds a bias.
func (s Scope) Conv(x *ir.Value, out, k, stride, pad int64) *ir.Value {
	return s.conv(x, out, k, stride, pad, s.Param("bias", out))
}

// ConvNoBias is Conv of a layer that has no bias.
func (s Scope) ConvNoBias(x *ir.Value, out, k, stride, pad int64) *ir.Value {
	return s.conv(x, out, k, stride, pad, nil)
}

func (s Scope) conv(x *ir.Value, out, k, stride, pad int64, bias *ir.Value) *ir.Value {
	a := ir.ConvAttrs{Strides: []int64{stride, stride}, Pads: []int64{pad, pad, pad, pad}}
	return s.Op(ir.Conv.With(a), x, s.Param("weight", out, width(x, 1), k, k), bias)
}

// ConvBN is a convolution `c` without bias, in groups, and batch normalization `bn` (TinyViT's Conv2d_BN).
func (s Scope) ConvBN(x *ir.Value, k, stride, pad, groups int64) *ir.Value {
	c := s.In("c")
	a := ir.ConvAttrs{Strides: []int64{stride, stride}, Pads: []int64{pad, pad, pad, pad}, Group: groups}
	return s.In("bn").BatchNorm(c.Op(ir.Conv.With(a), x, c.Param("weight", s.W.Shape(c.Key("weight"), 4)[0], width(x, 1)/groups, k, k)))
}

// ConvTranspose2 doubles height and width: kernel and stride 2, out channels, bias.
func (s Scope) ConvTranspose2(x *ir.Value, out int64) *ir.Value {
	a := ir.ConvTransposeAttrs{Strides: []int64{2, 2}}
	return s.Op(ir.ConvTranspose.With(a), x, s.Param("weight", width(x, 1), out, 2, 2), s.Param("bias", out))
}

// BatchNorm normalises with the checkpoint's running statistics (eval mode).
func (s Scope) BatchNorm(x *ir.Value) *ir.Value {
	n := width(x, 1)
	return s.Op(ir.BatchNormalization.With(ir.EpsilonAttrs{Epsilon: EpsBatch}), x, s.Param("weight", n), s.Param("bias", n), s.Param("running_mean", n), s.Param("running_var", n))
}

// MLP is a chain of linear layers `layers.N` with ReLU between (SAM's hypernetworks and heads).
func (s Scope) MLP(x *ir.Value) *ir.Value {
	n := s.W.Children(s.Key("layers."))
	if n == 0 {
		s.W.Shape(s.Key("layers.0.weight"), 2) // notes what is missing
	}
	for i := range n {
		l := s.In("layers").In(index(i))
		x = l.Linear(x, s.W.Shape(l.Key("weight"), 2)[0])
		if i < n-1 {
			x = l.Relu(x)
		}
	}
	return x
}

// Upscale is ConvTranspose 2x2, LayerNorm2d, GELU, ConvTranspose 2x2 (children 0, 1, 3): four times the side.
// Widths come from the checkpoint; SAM's output_upscaling ends with another GELU, which the caller adds.
func (s Scope) Upscale(x *ir.Value) *ir.Value {
	x = s.In("0").ConvTranspose2(x, s.W.Shape(s.Key("0.weight"), 4)[1])
	x = s.In("2").Gelu(s.In("1").LayerNorm2d(x))
	return s.In("3").ConvTranspose2(x, s.W.Shape(s.Key("3.weight"), 4)[1])
}

// MaskFeature is conv3x3, LayerNorm2d, GELU, conv3x3 (children 0, 1, 3).
func (s Scope) MaskFeature(x *ir.Value) *ir.Value {
	x = s.In("0").Conv(x, s.W.Shape(s.Key("0.weight"), 4)[0], 3, 1, 1)
	x = s.In("2").Gelu(s.In("1").LayerNorm2d(x))
	return s.In("3").Conv(x, s.W.Shape(s.Key("3.weight"), 4)[0], 3, 1, 1)
}
