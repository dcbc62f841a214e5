package blocks

import (
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// What Medical-SAM-Adapter's code has and some of its checkpoints do not tell: SAM's windows, head width and share of global blocks.
const (
	adaptedWindow = 14
	adaptedHead   = 64
	adaptedSize   = 256 // its -image_size
	globalEvery   = 4   // of depth/4 blocks the last is global
)

// readAdapted completes the configuration of a Medical-SAM-Adapter. The names of the tables tell its era: SAM's (2023: made for the size of the
// absolute positions alone), rel_h and rel_w (of the size that was trained at), none (v0.1.0: nothing tells that size).
func (v *ViT) readAdapted(s Scope) {
	v.Adapted = true
	table := func(name string, i int64) []int64 { return s.W.Shape(s.Key("blocks."+index(i)+".attn."+name), 2) }
	switch {
	case s.W.Has(s.Key("blocks.0.attn.rel_h")):
		v.Rel, v.Fitted, v.Grid = [2]string{"rel_h", "rel_w"}, true, 0
		for i := range v.Depth {
			v.Window = append(v.Window, (table("rel_h", i)[0]+1)/2)
			v.Grid = max(v.Grid, v.Window[i])
		}
		v.Heads = max(1, v.Dim/table("rel_h", 0)[1])
	case s.W.Has(s.Key("blocks.0.attn.rel_pos_h")):
		v.Grid = v.Stored
		for i := range v.Depth {
			v.Window = append(v.Window, (table("rel_pos_h", i)[0]+1)/2)
		}
		v.Heads = max(1, v.Dim/table("rel_pos_h", 0)[1])
	default:
		v.Rel, v.Heads = [2]string{}, max(1, v.Dim/adaptedHead)
		if s.W.ImageSize == 0 {
			v.Grid = adaptedSize / v.Patch
		}
		for i := range v.Depth {
			w := int64(adaptedWindow)
			if every := v.Depth / globalEvery; every > 0 && (i+1)%every == 0 {
				w = v.Grid
			}
			v.Window = append(v.Window, w)
		}
	}
}

// adapted is a block of Medical-SAM-Adapter. Its windows are padded before norm1, which makes of a zero the norm's bias: attention sees tokens
// without that bias, and has it in its own, through the layer.
func (v ViT) adapted(b Scope, x *ir.Value, w int64) *ir.Value {
	d, norm, at := v.Dim, b.In("norm1"), b.In("attn")
	qkv := at.In("qkv")
	none := norm.Float32("zeros", []int64{d}, make([]float32, d))
	y := norm.Op(ir.LayerNormalization.With(ir.LayerNormAttrs{Axis: -1, Epsilon: v.Eps}), x, norm.Param("weight", d), none)
	shift, weight, own := b.W.Tensor(norm.Key("bias"), d), b.W.Tensor(qkv.Key("weight"), 3*d, d), b.W.Tensor(qkv.Key("bias"), 3*d)
	bias, err := tensor.MapFloat32([]int64{3 * d}, func() []float32 {
		p, m, out := shift.Float32s(), weight.Float32s(), make([]float32, 3*d)
		for i, o := range own.Float32s() {
			sum := float64(o)
			for j, x := range m[int64(i)*d:][:d] {
				sum += float64(float64(x) * float64(p[j]))
			}
			out[i] = float32(sum)
		}
		return out
	})
	if err != nil {
		return b.Fail("%w", err)
	}
	a := v.windows(at, y, w, qkv.Builder.As(qkv.Key("bias")).Const(bias), d/v.Heads, at.In("proj"))
	x = b.Add(x, b.Add(a, b.In("Space_Adapter").bottleneck(a)))
	n, m := b.In("norm2").LayerNorm(x, v.Eps), b.In("mlp")
	z := m.In(v.Linear[1]).Linear(m.Gelu(m.In(v.Linear[0]).Linear(n, v.MLP)), d)
	return b.Add(b.Add(x, z), b.Mul(b.In("MLP_Adapter").bottleneck(n), b.Scalar(0.5)))
}

// bottleneck is D_fc2(GELU(D_fc1 x)).
func (s Scope) bottleneck(x *ir.Value) *ir.Value {
	y := s.Gelu(s.In("D_fc1").Linear(x, s.W.Shape(s.Key("D_fc1.weight"), 2)[0]))
	return s.In("D_fc2").Linear(y, width(x, -1))
}
