package blocks

import (
	"strconv"

	"syncsam-convert/ir"
	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
)

func index(i int64) string { return strconv.FormatInt(i, 10) }

// ViT is the configuration of SAM's image encoder, all read off shapes.
type ViT struct {
	Dim, Depth, Heads, Grid, Patch, MLP, Out int64
	Window                                   []int64   // per block: the window's side in tokens, Grid where attention is global
	Linear                                   [2]string // names of the MLP's layers: SAM's lin1, lin2 or timm's fc1, fc2
	Eps                                      float32   // of the blocks' LayerNorm: SAM's 1e-6; timm's model has 1e-5
	Cubic                                    bool      // absolute positions are resampled by timm's antialiased bicubic filter
	Rel                                      [2]string // names of the relative positions' tables; "": there are none
	Adapted                                  bool      // Medical-SAM-Adapter's blocks: windows are cut before the norm, adapters behind attention and beside the MLP
	Fitted                                   bool      // the tables are those of Grid, whatever the absolute positions are of
	Stored                                   int64     // the checkpoint's grid; positions are resampled where it is not Grid
}

// ReadViT derives the configuration of the encoder at s.
func ReadViT(s Scope) ViT {
	at := func(key string, rank, axis int) Dimension { return Dimension{s.Key(key), rank, axis} }
	v := ViT{Depth: s.W.Children(s.Key("blocks.")), Grid: s.W.Size(at("pos_embed", 4, 1)),
		Dim:    s.W.Size(at("pos_embed", 4, 3), at("patch_embed.proj.weight", 4, 0), at("neck.0.weight", 4, 1)),
		Patch:  s.W.Size(at("patch_embed.proj.weight", 4, 2)),
		Out:    s.W.Size(at("neck.0.weight", 4, 0), at("neck.2.weight", 4, 0)),
		Linear: [2]string{"lin1", "lin2"}, Eps: s.W.EpsViT, Rel: [2]string{"rel_pos_h", "rel_pos_w"}}
	if s.W.Has(s.Key("blocks.0.mlp.fc1.weight")) {
		v.Linear = [2]string{"fc1", "fc2"}
	}
	v.MLP = s.W.Size(at("blocks.0.mlp."+v.Linear[0]+".weight", 2, 0), at("blocks.1.mlp."+v.Linear[0]+".weight", 2, 0))
	v.Stored = v.Grid
	if size := s.W.ImageSize; size > 0 {
		v.Grid = size / v.Patch
	}
	if s.W.Has(s.Key("blocks.0.Space_Adapter.D_fc1.weight")) {
		v.readAdapted(s)
		return v
	}
	v.Heads = max(1, v.Dim/s.W.Shape(s.Key("blocks.0.attn.rel_pos_h"), 2)[1])
	for i := range v.Depth {
		rel := s.W.Shape(s.Key("blocks."+index(i)+".attn.rel_pos_h"), 2)
		w := (rel[0] + 1) / 2
		if w == v.Stored {
			w = v.Grid
		}
		v.Window = append(v.Window, w)
	}
	return v
}

// Size is the side of the input image in pixels.
func (v ViT) Size() int64 { return v.Grid * v.Patch }

// PatchEmbed turns the image [N,3,S,S] into tokens [N,g,g,D] with positions.
func (v ViT) PatchEmbed(s Scope, image *ir.Value) *ir.Value {
	p := s.In("patch_embed").In("proj")
	x := p.Transpose(p.Conv(image, v.Dim, v.Patch, v.Patch, 0), 0, 2, 3, 1)
	pos := s.W.Tensor(s.Key("pos_embed"), 1, v.Stored, v.Stored, v.Dim)
	return s.Add(x, s.Builder.As(s.Key("pos_embed")).Const(v.resampled(s, pos)))
}

// resampled stretches a grid of positions [1,from,from,D] to [1,to,to,D] as a checkpoint for one image size is loaded at
// another: bilinear, half-pixel centres (SAM-Med2D's and SyncSAM's loaders), or bicubic with antialiasing (timm).
func (v ViT) resampled(s Scope, pos *tensor.Tensor) *tensor.Tensor {
	from, to, d := v.Stored, v.Grid, v.Dim
	if from == to {
		return pos
	}
	t, err := tensor.MapFloat32([]int64{1, to, to, d}, func() []float32 {
		planes, small, out := make([]float32, d*from*from), make([]float32, d*to*to), make([]float32, d*to*to)
		tensor.TransposeFloat32(planes, pos.Float32s(), []int64{from * from, d}, []int{1, 0})
		if v.Adapted {
			kernel.ResizeCubicPoints(int(d), int(from), int(from), int(to), int(to), planes, small)
		} else if v.Cubic {
			kernel.ResizeCubic(int(d), int(from), int(from), int(to), int(to), planes, small)
		} else {
			kernel.Resize("linear", "half_pixel", int(d), int(from), int(from), int(to), int(to), planes, small)
		}
		tensor.TransposeFloat32(out, small, []int64{d, to * to}, []int{1, 0})
		return out
	})
	if err != nil {
		s.Fail("pos_embed: %w", err)
		return pos
	}
	return t
}

// relPos is an axis' relative positions [2w-1, hd]; a global block's are stretched to the grid, linearly.
func (v ViT) relPos(s Scope, name string, w, hd int64) *tensor.Tensor {
	if w != v.Grid || v.Grid == v.Stored || v.Fitted {
		return s.W.Tensor(s.Key(name), 2*w-1, hd)
	}
	from, to := 2*v.Stored-1, 2*v.Grid-1
	rel := s.W.Tensor(s.Key(name), from, hd)
	t, err := tensor.MapFloat32([]int64{to, hd}, func() []float32 {
		out := make([]float32, to*hd)
		kernel.Resize("linear", "half_pixel", 1, int(from), int(hd), int(to), int(hd), rel.Float32s(), out)
		return out
	})
	if err != nil {
		s.Fail("%s: %w", name, err)
		return rel
	}
	return t
}

// Block applies transformer block i to tokens [N,g,g,D].
func (v ViT) Block(s Scope, x *ir.Value, i int64) *ir.Value {
	b := s.In("blocks").In(index(i))
	if v.Adapted {
		return v.adapted(b, x, v.Window[i])
	}
	x = b.Add(x, v.attention(b.In("attn"), b.In("norm1").LayerNorm(x, v.Eps), v.Window[i]))
	y := b.In("norm2").LayerNorm(x, v.Eps)
	m := b.In("mlp")
	z := m.In(v.Linear[1]).Linear(m.Gelu(m.In(v.Linear[0]).Linear(y, v.MLP)), v.Dim)
	if s.W.Has(b.Key("Adapter.norm.weight")) {
		return b.Add(b.Add(x, z), v.adapter(b.In("Adapter"), y))
	}
	return b.Add(x, z)
}

// adapter is SAM-Med2D's Adapter of y [N,g,g,D]: a gate per channel, a convolution down and a transposed one up again, the
// input added, LayerNorm.
func (v ViT) adapter(s Scope, y *ir.Value) *ir.Value {
	x := s.Transpose(y, 0, 3, 1, 2)
	channel := s.In("channel")
	gate := s.Op(ir.ReduceMean.With(ir.ReduceAttrs{Axes: []int64{1, 2}}), y) // [N,D]
	gate = channel.Relu(channel.In("0").LinearNoBias(gate, s.W.Shape(channel.Key("0.weight"), 2)[0]))
	gate = channel.Op(ir.Sigmoid, channel.In("2").LinearNoBias(gate, v.Dim))
	spatial := s.In("spatial")
	z := s.Mul(x, s.Unsqueeze(gate, 2, 3))
	z = spatial.Relu(spatial.In("0").ConvNoBias(z, s.W.Shape(spatial.Key("0.weight"), 4)[0], 3, 2, 1))
	up := spatial.In("2")
	z = spatial.Relu(up.Op(ir.ConvTranspose.With(ir.ConvTransposeAttrs{Strides: []int64{2, 2}, Pads: []int64{1, 1, 1, 1}}), z, up.Param("weight", width(z, 1), v.Dim, 4, 4)))
	z = s.Transpose(s.Add(z, x), 0, 2, 3, 1)
	return s.In("norm").LayerNorm(z, EpsDecoder)
}

// attention is multi-head attention over the whole grid or over windows of w x w tokens, with decomposed relative positions.
func (v ViT) attention(s Scope, x *ir.Value, w int64) *ir.Value {
	d, hd := v.Dim, v.Dim/v.Heads
	qkv, proj := s.In("qkv"), s.In("proj")
	return v.windows(s, x, w, qkv.Param("bias", 3*d), hd, proj)
}

func (v ViT) windows(s Scope, x *ir.Value, w int64, bias *ir.Value, hd int64, proj Scope) *ir.Value {
	d := v.Dim
	return s.Op(ir.WindowAttention.With(ir.AttentionAttrs{Window: w, Heads: v.Heads, Scale: float32(1 / sqrt(float64(hd)))}), x,
		s.In("qkv").factor(d, 3*d), bias, v.relative(s, v.Rel[0], w, hd), v.relative(s, v.Rel[1], w, hd), proj.factor(d, d), proj.Param("bias", d))
}

// relative is the table [w, hd, w] with element (i, c, k) = rel_pos[i - k + w - 1, c].
func (v ViT) relative(s Scope, name string, w, hd int64) *ir.Value {
	if name == "" {
		return s.Float32("no_positions", []int64{w, hd, w}, make([]float32, w*hd*w))
	}
	rel := v.relPos(s, name, w, hd)
	t, err := tensor.MapFloat32([]int64{w, hd, w}, func() []float32 {
		r, out := rel.Float32s(), make([]float32, w*hd*w)
		for i := range w {
			for k := range w {
				for c := range hd {
					out[(i*hd+c)*w+k] = r[(i-k+w-1)*hd+c]
				}
			}
		}
		return out
	})
	if err != nil {
		return s.Fail("%w", err)
	}
	return s.Builder.As(s.Key(name)).Const(t)
}

// Neck turns tokens [N,g,g,D] into the image embedding [N,Out,g,g].
func (v ViT) Neck(s Scope, x *ir.Value) *ir.Value {
	n := s.In("neck")
	return neck(n, n.Transpose(x, 0, 3, 1, 2), v.Out)
}

// neck is conv1x1, LayerNorm2d, conv3x3, LayerNorm2d of NCHW, to out channels.
func neck(n Scope, x *ir.Value, out int64) *ir.Value {
	x = n.In("0").ConvNoBias(x, out, 1, 1, 0)
	x = n.In("2").ConvNoBias(n.In("1").LayerNorm2d(x), out, 3, 1, 1)
	return n.In("3").LayerNorm2d(x)
}
