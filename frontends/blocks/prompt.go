package blocks

import (
	"math"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

func sqrt(x float64) float64 { return math.Sqrt(x) }

// Prompt is the configuration of SAM's prompt encoder.
type Prompt struct {
	Dim  int64 // C
	Grid int64 // h: side of the image embedding
	Size int64 // S: side of the image in pixels
}

// Labels of prompt points; other labels keep the bare positional encoding.
const labelPadding = -1

// position encodes coords [...,2] in [0,1] as sin and cos of 2 pi (2c - 1) G: [...,C].
func (p Prompt) position(s Scope, coords *ir.Value) *ir.Value {
	pe := s.In("pe_layer")
	c := pe.Sub(pe.Mul(coords, pe.Scalar(2)), pe.Scalar(1))
	c = pe.MatMul(c, pe.Param("positional_encoding_gaussian_matrix", 2, p.Dim/2))
	c = pe.Mul(c, pe.Scalar(2*math.Pi))
	return pe.Concat(-1, pe.Op(ir.Sin, c), pe.Op(ir.Cos, c))
}

// DensePosition is the positional encoding of the embedding's grid, [1, h*h, C].
func (p Prompt) DensePosition(s Scope) *ir.Value {
	v := make([]float32, p.Grid*p.Grid*2)
	for y := range p.Grid {
		for x := range p.Grid {
			v[(y*p.Grid+x)*2] = (float32(x) + 0.5) / float32(p.Grid)
			v[(y*p.Grid+x)*2+1] = (float32(y) + 0.5) / float32(p.Grid)
		}
	}
	return p.position(s, s.Float32("grid", []int64{1, p.Grid * p.Grid, 2}, v))
}

// Sparse encodes points [B,P,2] in pixels of the S x S frame with labels [B,P] as tokens [B,P,C].
func (p Prompt) Sparse(s Scope, coords, labels *ir.Value) *ir.Value {
	c := s.Op(ir.Div, s.Add(coords, s.Scalar(0.5)), s.Scalar(float32(p.Size)))
	pe := p.position(s, c)
	l := s.Unsqueeze(labels, -1)
	is := func(label float32) *ir.Value { return s.Op(ir.Equal, l, s.Scalar(label)) }
	added := s.Float32("no_embedding", []int64{1, p.Dim}, make([]float32, p.Dim))
	for label := range int64(4) {
		added = s.Op(ir.Where, is(float32(label)), s.In("point_embeddings").In(index(label)).Param("weight", 1, p.Dim), added)
	}
	return s.Op(ir.Where, is(labelPadding), s.In("not_a_point_embed").Param("weight", 1, p.Dim), s.Add(pe, added))
}

// Dense adds the encoded mask prompt [M,1,4h,4h] to the image embedding [1,C,h,h]: [M,C,hh], with one mask for each prompt or one for
// all (M is 1 then, and so is what the image alone goes through). As in SAM's official export the mask counts has [1] times, and
// no_mask_embed 1 - has times: 0 and 1 choose. has scales what goes into the last convolution, which has a fraction of C's channels.
func (p Prompt) Dense(s Scope, image, mask, has *ir.Value) *ir.Value {
	m := s.In("mask_downscaling")
	x := mask
	for _, i := range []int64{0, 3} {
		conv := m.In(index(i))
		x = conv.Conv(x, s.W.Shape(conv.Key("weight"), 4)[0], 2, 2, 0)
		x = m.In(index(i + 2)).Gelu(m.In(index(i + 1)).LayerNorm2d(x))
	}
	x = s.Mul(x, has)
	last := m.In("6")
	channels := func(key string, shape ...int64) *ir.Value {
		t, err := tensor.Reshape(tensor.Dense(s.W.Tensor(key, shape...)), 1, p.Dim, 1, 1)
		if err != nil {
			return s.Fail("%w", err)
		}
		return s.Builder.As(key).Const(t)
	}
	bias, none := channels(last.Key("bias"), p.Dim), channels(s.Key("no_mask_embed.weight"), 1, p.Dim)
	ground := s.Add(s.Mul(has, bias), s.Mul(s.Sub(s.Scalar(1), has), none))
	// Pixels are in one axis where the image, of batch 1, is added: OpenVINO and OpenCV take an addition right behind a convolution for a
	// residual of its shape, and stop where it is none.
	flat := func(x *ir.Value) *ir.Value {
		return s.Reshape(x, Dim(x, 0), tensor.Static(p.Dim), tensor.Static(p.Grid*p.Grid))
	}
	return s.Add(flat(s.Add(image, ground)), flat(last.ConvNoBias(x, p.Dim, 1, 1, 0)))
}
