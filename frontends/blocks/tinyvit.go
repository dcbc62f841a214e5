package blocks

import (
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// EpsTiny is what TinyViT's LayerNorms add to variances (its code; no checkpoint tells it).
const EpsTiny = 1e-5

// Strides of TinyViT's code that are in no shape: what halves the side between two stages, but for a stage of one of these widths, which keeps it.
const tinyStride = 2

var tinyKeeps = []int64{320, 448, 576}

// TinyViT is the configuration of MobileSAM's image encoder: convolutions, then stages of attention in windows, with depthwise convolutions in
// every block (tiny_vit_sam.py).
type TinyViT struct {
	Stages []TinyStage
	Stride int64 // of each of the two first convolutions: 2 with kernels of 3 x 3, 1 with 1 x 1
	Out    int64
	Size   int64 // S
	Grid   int64 // side of the embedding
}

// A TinyStage is one of `layers`: Depth blocks, and what leads to the next.
type TinyStage struct {
	Dim, Depth, Heads, Window int64 // Heads and Window: 0 where there is no attention
	Grid                      int64 // side in tokens
}

// tinyGrid is the side of the first stage in the code that the checkpoints are of.
const tinyGrid = 256

// ReadTinyViT derives the configuration of the encoder at s.
func ReadTinyViT(s Scope) TinyViT {
	first := s.In("patch_embed").In("seq").In("0").In("c")
	v := TinyViT{Stride: 1, Out: s.W.Size(Dimension{s.Key("neck.0.weight"), 4, 0}, Dimension{s.Key("neck.2.weight"), 4, 0})}
	if s.W.Shape(first.Key("weight"), 4)[2] > 1 {
		v.Stride = 2
	}
	v.Size = s.W.ImageSize
	if v.Size == 0 {
		v.Size = tinyGrid * v.Stride * v.Stride
	}
	grid := v.Size
	for range 2 {
		grid = (grid + v.Stride - 1) / v.Stride
	}
	for i := range s.W.Children(s.Key("layers.")) {
		l := s.In("layers").In(index(i))
		st := TinyStage{Depth: s.W.Children(l.Key("blocks.")), Grid: grid, Dim: 1}
		b := l.In("blocks").In("0")
		if conv := b.Key("conv1.c.weight"); s.W.Has(conv) {
			st.Dim = s.W.Shape(conv, 4)[1]
		} else {
			biases := s.W.Shape(b.Key("attn.attention_biases"), 2)
			st.Dim, st.Heads = s.W.Size(Dimension{b.Key("attn.norm.weight"), 1, 0}, Dimension{b.Key("mlp.norm.weight"), 1, 0}), biases[0]
			for st.Window = 1; st.Window*st.Window < biases[1]; st.Window++ {
			}
		}
		v.Stages, v.Grid = append(v.Stages, st), grid
		if d := l.Key("downsample.conv2.c.weight"); s.W.Has(d) {
			if stride := tinyStep(s.W.Shape(d, 4)[0]); stride > 1 {
				grid = (grid + stride - 1) / stride
			}
		}
	}
	return v
}

// tinyStep is the stride towards a stage of a width.
func tinyStep(width int64) int64 {
	if slices.Contains(tinyKeeps, width) {
		return 1
	}
	return tinyStride
}

// Encode turns the image [N,3,S,S] into the embedding [N,Out,Grid,Grid].
func (v TinyViT) Encode(s Scope, image *ir.Value) *ir.Value {
	seq := s.In("patch_embed").In("seq")
	x := seq.In("1").Gelu(v.first(seq.In("0"), image))
	x = v.first(seq.In("2"), x)
	for i, st := range v.Stages {
		l := s.In("layers").In(index(int64(i)))
		if st.Heads > 0 {
			x = l.Transpose(x, 0, 2, 3, 1)
		}
		for j := range st.Depth {
			b := l.In("blocks").In(index(j))
			if st.Heads > 0 {
				x = st.block(b, x)
			} else {
				x = b.In("act3").Gelu(b.Add(narrows(b, x, 1), x))
			}
		}
		if st.Heads > 0 {
			x = l.Transpose(x, 0, 3, 1, 2)
		}
		if d := l.In("downsample"); i+1 < len(v.Stages) {
			x = narrows(d, x, tinyStep(s.W.Shape(d.Key("conv2.c.weight"), 4)[0]))
		}
	}
	return neck(s.In("neck"), x, v.Out)
}

// first is one of the two first convolutions.
func (v TinyViT) first(s Scope, x *ir.Value) *ir.Value {
	k := 2*v.Stride - 1
	return s.ConvBN(x, k, v.Stride, k/2, 1)
}

// narrows is conv1 (1x1), GELU, conv2 (depthwise 3x3 with the stride), GELU, conv3 (1x1): an MBConv without its shortcut, or a downsampling.
func narrows(s Scope, x *ir.Value, stride int64) *ir.Value {
	x = s.In("act1").Gelu(s.In("conv1").ConvBN(x, 1, 1, 0, 1))
	x = s.In("act2").Gelu(s.In("conv2").ConvBN(x, 3, stride, 1, width(x, 1)))
	return s.In("conv3").ConvBN(x, 1, 1, 0, 1)
}

// block is TinyViT's: attention and its input; a depthwise convolution in their place; an MLP and its input. x is [N,g,g,D].
func (t TinyStage) block(s Scope, x *ir.Value) *ir.Value {
	x = s.Add(x, t.attention(s.In("attn"), x))
	x = s.Transpose(s.In("local_conv").ConvBN(s.Transpose(x, 0, 3, 1, 2), 3, 1, 1, t.Dim), 0, 2, 3, 1)
	m := s.In("mlp")
	y := m.In("fc1").Linear(m.In("norm").LayerNorm(x, EpsTiny), s.W.Shape(m.Key("fc1.weight"), 2)[0])
	return s.Add(x, m.In("fc2").Linear(m.In("act").Gelu(y), t.Dim))
}

// attention is LayerNorm, then attention in windows of w x w tokens with a bias for each head and distance. The grid is padded with zeros before
// the norm, which makes of each the norm's bias: LayerNorm without its bias and the products keep a zero, so padding follows them. What biases
// give is the same for all tokens, padding among them: of the keys it adds one number to all logits of a query, which softmax takes away; of the
// values it goes through the projection, for the weights' sum is 1; of the queries it is added, and queries of padding are dropped.
func (t TinyStage) attention(s Scope, x *ir.Value) *ir.Value {
	fixed, n, w, d, h := tensor.Static, Dim(x, 0), t.Window, t.Dim, t.Heads
	hd, cuts := d/h, (t.Grid+t.Window-1)/t.Window
	side, norm := cuts*w, s.In("norm")
	none := norm.Float32("zeros", []int64{d}, make([]float32, d))
	y := norm.Op(ir.LayerNormalization.With(ir.LayerNormAttrs{Axis: -1, Epsilon: EpsTiny}), x, norm.Param("weight", d), none)
	weight, bias := t.qkv(s.In("qkv"), norm)
	y = s.In("qkv").MatMul(y, weight)
	part := func(i int64) *ir.Value {
		z := s.Slice(y, 3, i*d, (i+1)*d)
		if i == 0 {
			z = s.Add(z, s.Slice(bias, 0, 0, d))
		}
		if pad := side - t.Grid; pad > 0 {
			z = s.Op(ir.Pad.With(ir.PadAttrs{Pads: []int64{0, 0, 0, 0, 0, pad, pad, 0}}), z)
		}
		z = s.Reshape(z, n, fixed(cuts), fixed(w), fixed(cuts), fixed(w), fixed(h), fixed(hd))
		return s.Reshape(s.Transpose(z, 0, 1, 3, 5, 2, 4, 6), n.Times(cuts*cuts), fixed(h), fixed(w*w), fixed(hd))
	}
	logits := s.MatMul(part(0), s.Transpose(part(1), 0, 1, 3, 2))
	y = s.MatMul(s.Softmax(s.Add(logits, t.biases(s)), -1), part(2))
	y = s.Transpose(s.Reshape(y, n, fixed(cuts), fixed(cuts), fixed(h), fixed(w), fixed(w), fixed(hd)), 0, 1, 4, 2, 5, 3, 6)
	y = s.Reshape(y, n, fixed(side), fixed(side), fixed(d))
	if side > t.Grid {
		y = s.Op(ir.Slice.With(ir.SliceAttrs{Axes: []int64{1, 2}, Starts: []int64{0, 0}, Ends: []int64{t.Grid, t.Grid}}), y)
	}
	proj := s.In("proj")
	out := proj.factor(d, d)
	through := s.MatMul(s.Unsqueeze(s.Slice(bias, 0, 2*d, 3*d), 0), out)
	return s.Add(proj.MatMul(y, out), s.Add(through, proj.Param("bias", d)))
}

// qkv is the layer's weight as a right factor [D,3D] and its bias [3D], the norm's bias before it included: all queries first, which the checkpoint has
// by head, and scaled by hd^-1/2, then the keys, then the values.
func (t TinyStage) qkv(s, norm Scope) (weight, bias *ir.Value) {
	d, hd := t.Dim, t.Dim/t.Heads
	stored, own, shift := s.W.Tensor(s.Key("weight"), 3*d, d), s.W.Tensor(s.Key("bias"), 3*d), s.W.Tensor(norm.Key("bias"), d)
	each := func(to func(row, from int64, scale float64)) {
		for row := range 3 * d {
			part, head, scale := row/d, row%d/hd, 1.0
			if part == 0 {
				scale = 1 / sqrt(float64(hd))
			}
			to(row, (head*3+part)*hd+row%hd, scale)
		}
	}
	w, err := tensor.MapFloat32([]int64{d, 3 * d}, func() []float32 {
		m, out := stored.Float32s(), make([]float32, 3*d*d)
		each(func(row, from int64, scale float64) {
			for k, x := range m[from*d:][:d] {
				out[int64(k)*3*d+row] = float32(float64(x) * scale)
			}
		})
		return out
	})
	if err != nil {
		return s.Fail("%w", err), s.Fail("%w", err)
	}
	b, err := tensor.MapFloat32([]int64{3 * d}, func() []float32 {
		m, o, n, out := stored.Float32s(), own.Float32s(), shift.Float32s(), make([]float32, 3*d)
		each(func(row, from int64, scale float64) {
			sum := float64(o[from])
			for k, x := range m[from*d:][:d] {
				sum += float64(float64(x) * float64(n[k]))
			}
			out[row] = float32(sum * scale)
		})
		return out
	})
	if err != nil {
		return s.Fail("%w", err), s.Fail("%w", err)
	}
	return s.Builder.As(s.Key("weight")).Const(w), s.Builder.As(s.Key("bias")).Const(b)
}

// biases is [h,w*w,w*w] of the checkpoint's [h,w*w]: for tokens p and q the element |dy|*w + |dx|.
func (t TinyStage) biases(s Scope) *ir.Value {
	w, h := t.Window, t.Heads
	stored := s.W.Tensor(s.Key("attention_biases"), h, w*w)
	full, err := tensor.MapFloat32([]int64{h, w * w, w * w}, func() []float32 {
		b, out := stored.Float32s(), make([]float32, 0, h*w*w*w*w)
		for i := range h {
			for p := range w * w {
				for q := range w * w {
					out = append(out, b[i*w*w+max(p/w-q/w, q/w-p/w)*w+max(p%w-q%w, q%w-p%w)])
				}
			}
		}
		return out
	})
	if err != nil {
		return s.Fail("attention_biases: %w", err)
	}
	return s.Builder.As(s.Key("attention_biases")).Const(full)
}
