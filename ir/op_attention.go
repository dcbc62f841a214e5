package ir

import (
	"fmt"
	"math"
	"slices"

	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
)

// AttentionAttrs of WindowAttention: the window's side in tokens, heads, and what queries are multiplied with before the product with keys.
type AttentionAttrs struct {
	Window int64   `ir:"window"`
	Heads  int64   `ir:"heads"`
	Scale  float32 `ir:"scale"`
}

// WindowAttention is the attention layer of SAM's image encoder: tokens [N,g,g,D] attend in windows of w x w (w = g: all to all) with
// h heads of hd = D/h and decomposed relative positions, which see the unscaled queries. Windows take part with the zeros that pad the
// grid to a multiple of w, as in SAM's code. Arguments: x, qkv [D,3D] and its bias [3D], relative positions of rows and of columns
// [w,hd,w] (query's place, channel, key's place), projection [D,D] and its bias [D].
var WindowAttention = composite("WindowAttention", 7, 7, Product, HalfPlain, func(a AttentionAttrs, in []tensor.Type) (tensor.Type, error) {
	if err := want(in, 0, tensor.Float32, 4); err != nil {
		return tensor.Type{}, err
	}
	x := in[0].Shape
	if !x[1].IsStatic() || x[1] != x[2] || !x[3].IsStatic() || a.Window < 1 || a.Heads < 1 || x[3].B%a.Heads != 0 {
		return tensor.Type{}, fmt.Errorf("have tokens %s, windows of %d and %d heads, want [N,g,g,D] and whole heads", in[0], a.Window, a.Heads)
	}
	w, d := a.Window, x[3].B
	hd := d / a.Heads
	for i, dims := range [][]int64{{d, 3 * d}, {3 * d}, {w, hd, w}, {w, hd, w}, {d, d}, {d}} {
		if want := tensor.Of(tensor.Float32, dims...); !in[i+1].Equal(want) {
			return tensor.Type{}, fmt.Errorf("argument %d: have %s, want %s", i+1, in[i+1], want)
		}
	}
	return in[0], nil
}, expandAttention)

func expandAttention(b *Builder, v *Value) *Value {
	a, x, fixed := v.Attrs.(AttentionAttrs), v.Args[0], tensor.Static
	n, g, d, w, h := x.Type.Shape[0], x.Type.Shape[1].B, x.Type.Shape[3].B, a.Window, a.Heads
	hd, cuts := d/h, (g+w-1)/w // windows a side
	if pad := cuts*w - g; pad > 0 {
		x = b.Op(Pad.With(PadAttrs{Pads: []int64{0, 0, 0, 0, 0, pad, pad, 0}}), x)
	}
	if cuts > 1 {
		x = b.Transpose(b.Reshape(x, n, fixed(cuts), fixed(w), fixed(cuts), fixed(w), fixed(d)), 0, 1, 3, 2, 4, 5)
	}
	batch := n.Times(cuts * cuts)
	qkv := v.linear(b.In("qkv"), b.Reshape(x, batch, fixed(w*w), fixed(d)), 1)
	qkv = b.Transpose(b.Reshape(qkv, batch, fixed(w*w), fixed(3), fixed(h), fixed(hd)), 2, 0, 3, 1, 4)
	part := func(i int64) *Value { return b.Op(Squeeze.With(AxesAttrs{Axes: []int64{0}}), b.Slice(qkv, 0, i, i+1)) }
	q, k, value := part(0), part(1), part(2)
	scale := b.In("scale").ScalarLike(x, a.Scale)
	logits := b.MatMul(b.Mul(q, scale), b.Transpose(k, 0, 1, 3, 2))

	// rel_h[b,h,y,x,ky] = q[b,h,y,x,:] . Rh[y,:,ky], and the same for columns.
	grid := b.Reshape(q, batch, fixed(h), fixed(w), fixed(w), fixed(hd))
	relH := b.MatMul(grid, v.weight(b, 3))
	relW := b.Transpose(b.MatMul(b.Transpose(grid, 0, 1, 3, 2, 4), v.weight(b, 4)), 0, 1, 3, 2, 4)
	logits = b.Reshape(logits, batch, fixed(h), fixed(w), fixed(w), fixed(w), fixed(w))
	logits = b.Add(b.Add(logits, b.Unsqueeze(relH, -1)), b.Unsqueeze(relW, -2))
	y := b.MatMul(b.Softmax(b.Reshape(logits, batch, fixed(h), fixed(w*w), fixed(w*w)), -1), value)
	y = v.linear(b.In("proj"), b.Reshape(b.Transpose(y, 0, 2, 1, 3), batch, fixed(w*w), fixed(d)), 5)
	if cuts > 1 {
		y = b.Transpose(b.Reshape(y, n, fixed(cuts), fixed(cuts), fixed(w), fixed(w), fixed(d)), 0, 1, 3, 2, 4, 5)
	}
	y = b.Reshape(y, n, fixed(cuts*w), fixed(cuts*w), fixed(d))
	if cuts*w > g {
		y = b.Op(Slice.With(SliceAttrs{Axes: []int64{1, 2}, Starts: []int64{0, 0}, Ends: []int64{g, g}}), y)
	}
	return y
}

// weight is an argument of a composite in its spelling: a constant stands where it is used, as a frontend would write it.
func (v *Value) weight(b *Builder, i int) *Value {
	if c := v.Args[i]; c.IsConst() {
		return b.As(c.Name).Const(c.Const)
	}
	return v.Args[i]
}

// linear is x times argument i of a composite, plus the next one.
func (v *Value) linear(b *Builder, x *Value, i int) *Value {
	return b.Add(b.MatMul(x, v.weight(b, i)), v.weight(b, i+1))
}

// HeadsAttrs of MultiHeadAttention.
type HeadsAttrs struct {
	Heads int64 `ir:"heads"`
}

// MultiHeadAttention is attention with h heads of queries from x [B,T,C] over keys from y [B,U,C] and values from z [B,U,C], with its four
// linear layers: softmax((x Q + q) (y K + k)' / sqrt(I / h)) (z V + v) O + o. Arguments: x, y, z, Q [C,I], q [I], K [C,I], k [I], V [C,I],
// v [I], O [I,D], o [D]; the result is [B,T,D] (SAM's decoder: prompt tokens attend to themselves, and they and the image to each other).
var MultiHeadAttention = composite("MultiHeadAttention", 11, 11, Product, HalfPlain, func(a HeadsAttrs, in []tensor.Type) (tensor.Type, error) {
	for i := range 3 {
		if err := want(in, i, tensor.Float32, 3); err != nil {
			return tensor.Type{}, err
		}
	}
	for i := 3; i < len(in); i++ {
		if err := want(in, i, tensor.Float32, 1+i%2); err != nil {
			return tensor.Type{}, err
		}
		if _, static := in[i].Static(); !static {
			return tensor.Type{}, fmt.Errorf("argument %d: have %s, want fixed sizes", i, in[i])
		}
	}
	inner, out := in[3].Shape[1], in[9].Shape[1]
	if a.Heads < 1 || inner.B%a.Heads != 0 {
		return tensor.Type{}, fmt.Errorf("%d channels do not divide into %d heads", inner.B, a.Heads)
	}
	for i := range 4 {
		w, bias, x := in[3+2*i].Shape, in[4+2*i].Shape, tensor.Static(inner.B)
		rows, cols := x, out
		if i < 3 {
			rows, cols = in[i].Shape[2], x
		}
		if w[0] != rows || w[1] != cols || bias[0] != cols {
			return tensor.Type{}, fmt.Errorf("argument %d: have weights %s and bias %s, want [%s,%s] and [%s]", 3+2*i, in[3+2*i], in[4+2*i], rows, cols, cols)
		}
	}
	if in[1].Shape[1] != in[2].Shape[1] {
		return tensor.Type{}, fmt.Errorf("have keys %s and values %s, want as many", in[1], in[2])
	}
	batch := in[0].Shape[:1]
	for _, t := range in[1:3] {
		var err error
		if batch, err = broadcast(batch, t.Shape[:1]); err != nil {
			return tensor.Type{}, err
		}
	}
	return tensor.Type{DType: tensor.Float32, Shape: []tensor.Dim{batch[0], in[0].Shape[1], out}}, nil
}, expandMultiHeadAttention)

func expandMultiHeadAttention(b *Builder, v *Value) *Value {
	h, inner := v.Attrs.(HeadsAttrs).Heads, v.Args[3].Type.Shape[1].B
	split := func(i int, name string, perm ...int64) *Value {
		y := v.linear(b.In(name), v.Args[i], 3+2*i)
		return b.Transpose(b.Reshape(y, y.Type.Shape[0], y.Type.Shape[1], tensor.Static(h), tensor.Static(inner/h)), perm...)
	}
	logits := b.MatMul(split(0, "q_proj", 0, 2, 1, 3), split(1, "k_proj", 0, 2, 3, 1))
	logits = b.Op(Div, logits, b.In("scale").Scalar(float32(math.Sqrt(float64(inner/h)))))
	y := b.Transpose(b.MatMul(b.Softmax(logits, -1), split(2, "v_proj", 0, 2, 1, 3)), 0, 2, 1, 3)
	y = b.Reshape(y, v.Type.Shape[0], v.Type.Shape[1], tensor.Static(inner))
	return v.linear(b.In("out_proj"), y, 9)
}

// BlockAttention is softmax(q k + bias) v in one step, which needs no memory for the logits: q [...,T,D], k [...,D,U], v [...,U,E] give
// [...,T,E]. The bias is absent, or relative positions of keys on a grid of R x C = U: rows [...,T,R] and cols [...,T,C], added in this order.
var BlockAttention = newOp("BlockAttention", 3, 5, Product, HalfPlain, func(_ NoAttrs, in []tensor.Type) (tensor.Type, error) {
	rank := in[0].Rank()
	shape := slices.Clone(in[0].Shape)
	for i, t := range in {
		if err := want(in, i, tensor.Float32, rank); err != nil {
			return tensor.Type{}, err
		}
		if rank < 2 || !slices.Equal(t.Shape[:rank-2], shape[:rank-2]) {
			return tensor.Type{}, fmt.Errorf("have q %s and argument %d %s, want matrices of one batch", in[0], i, t)
		}
	}
	last := func(i int) []tensor.Dim { return in[i].Shape[rank-2:] }
	q, k, v := last(0), last(1), last(2)
	if q[1] != k[0] || k[1] != v[0] {
		return tensor.Type{}, fmt.Errorf("have q %s, k %s, v %s", in[0], in[1], in[2])
	}
	if len(in) > 3 {
		if len(in) != 5 || last(3)[0] != q[0] || last(4)[0] != q[0] || !last(3)[1].IsStatic() || last(4)[1].Times(last(3)[1].B) != k[1] {
			return tensor.Type{}, fmt.Errorf("have keys %s and relative positions %v, want those of each row and of each column of keys", in[1], in[3:])
		}
	}
	shape[rank-1] = v[1]
	return tensor.Type{DType: tensor.Float32, Shape: shape}, nil
}, func(e *Env, _ NoAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	rank := len(e.Dims)
	size := func(i, axis int) int { return int(in[i].Dims()[rank-2+axis]) }
	a := kernel.Attention{Batch: product(e.Dims[:rank-2]), T: size(0, 0), U: size(1, 1), D: size(0, 1), E: size(2, 1)}
	var rows, cols []float32
	if len(in) > 3 {
		a.Rows, a.Cols, rows, cols = size(3, 1), size(4, 1), in[3].Float32s(), in[4].Float32s()
	}
	return e.float32(func(y []float32) { a.Run(in[0].Float32s(), in[1].Float32s(), in[2].Float32s(), rows, cols, y) })
}).expands(func(b *Builder, v *Value) *Value {
	logits := b.MatMul(v.Args[0], v.Args[1])
	if len(v.Args) > 3 {
		rank, rows, cols := logits.Type.Rank(), v.Args[3].Type, v.Args[4].Type
		grid := append(slices.Clone(logits.Type.Shape[:rank-1]), rows.Shape[rank-1], cols.Shape[rank-1])
		sum := b.Add(b.Add(b.Reshape(logits, grid...), b.Unsqueeze(v.Args[3], -1)), b.Unsqueeze(v.Args[4], -2))
		logits = b.Reshape(sum, logits.Type.Shape...)
	}
	return b.MatMul(b.Softmax(logits, -1), v.Args[2])
}).multiplies(func(_ NoAttrs, out int64, in [][]int64) int64 {
	q, v := in[0], in[2]
	d, e := q[len(q)-1], v[len(v)-1]
	return out / max(1, e) * v[len(v)-2] * (d + e)
})
