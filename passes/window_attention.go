package passes

import (
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// attention is a WindowAttention with constant weights that a pass rewrites.
type attention struct {
	v          *ir.Value
	n          tensor.Dim
	g, w, d, h int64
	scale      float32
}

func attentionOf(v *ir.Value) attention {
	a, shape := ir.WindowAttention.Of(v), v.Type.Shape
	return attention{v, shape[0], shape[1].B, a.Window, shape[3].B, a.Heads, a.Scale}
}

// The weights among the operator's arguments.
const (
	qkvWeight = 1 + iota
	qkvBias
	relRows
	relCols
	projWeight
	projBias
)

func (a attention) cuts() int64 { return (a.g + a.w - 1) / a.w } // windows a side
func (a attention) hd() int64   { return a.d / a.h }

// masked is what keeps a key from a query: no logit is large enough to make up for it.
const masked = -1e30

// windowPad attends without the padding that windows of w need on a grid of g (at 256 x 256, 14 x 14 windows pad 256 tokens to
// 784). A padded token is zero before the qkv layer, so all of them have the bias for query, key and value. The key bias
// adds the same to all logits of a query and drops out of the softmax; the value bias goes through it unchanged and joins
// the projection's bias. What is left of a padded key is its relative position, and of all padded keys of a window one
// key whose logit is the logarithm of the sum of their exponentials, with value 0. Exact in real arithmetic.
func windowPad(w *Work) error {
	return rewriteAttention(w, "window-pad", func(a attention) bool { return a.cuts()*a.w > a.g })
}

// fuseAttention rewrites unpadded attention layers in the same terms: relative positions ride along as 2w more columns of the
// query-key product, scale and biases are folded into weights. Past 64 columns the product costs more than adding the terms.
func fuseAttention(w *Work) error {
	return rewriteAttention(w, "fuse-attention", func(a attention) bool { return a.cuts()*a.w == a.g && 2*a.w <= 64 })
}

func rewriteAttention(w *Work, rule string, wants func(attention) bool) error {
	shared := map[string]*ir.Value{}
	err := rewrite(w, rule, func(b *ir.Builder, v *ir.Value) (*ir.Value, error) {
		if !ir.WindowAttention.Is(v) {
			return nil, nil
		}
		a := attentionOf(v)
		switch {
		case !allConst(v.Args[1:]):
			w.Miss(v, "its weights are not constant")
		case !wants(a):
			w.Miss(v, "attention of %d x %d tokens in windows of %d is another pass's, or cheaper as it is", a.g, a.g, a.w)
		default:
			return a.rewrite(b, shared), nil
		}
		return nil, nil
	})
	w.Graph.Sweep()
	return err
}

// expandAttention leaves no attention whole: what no pass rewrote is spelled as SAM's code spells it, by nobody's rule.
func expandAttention(w *Work) error {
	err := rewrite(w, "", func(b *ir.Builder, v *ir.Value) (*ir.Value, error) {
		if !ir.WindowAttention.Is(v) && !ir.MultiHeadAttention.Is(v) {
			return nil, nil
		}
		return v.Op.Expand(b, v), nil
	})
	w.Graph.Sweep()
	return err
}

// rewrite builds the layer over real tokens only. Values in shared stand for all layers of the graph.
func (a attention) rewrite(b *ir.Builder, shared map[string]*ir.Value) *ir.Value {
	qkv, proj, bias := a.weights(b)
	fixed := tensor.Static
	b = b.As(a.v.Name)
	y := b.Reshape(b.MatMul(a.v.Args[0], qkv), a.n, fixed(a.g), fixed(a.g), fixed(3*a.h), fixed(a.hd()))
	if a.g*a.g <= 2*a.w*a.w {
		y = a.attend(b, y, a.wholeGrid(), shared)
	} else {
		y = a.byWindows(b, y, shared)
	}
	y = b.Reshape(y, a.n, fixed(a.g), fixed(a.g), fixed(a.d))
	return b.Add(b.MatMul(y, proj), bias)
}

// weights folds scale and biases: key columns times scale, the value bias through proj. Queries keep theirs, keys need none.
func (a attention) weights(b *ir.Builder) (qkv, proj, bias *ir.Value) {
	d, arg := int(a.d), a.v.Args
	w, old, p, pb := arg[qkvWeight].Const, arg[qkvBias].Const, arg[projWeight].Const, arg[projBias].Const
	lazy := func(of *ir.Value, f func() []float32) *ir.Value {
		t, err := tensor.MapFloat32(of.Const.Dims(), f)
		if err != nil {
			return b.Fail("%w", err)
		}
		return b.As(of.Name).Const(t)
	}
	qkv = lazy(arg[qkvWeight], func() []float32 {
		out := slices.Clone(w.Float32s())
		for row := range slices.Chunk(out, 3*d) {
			for j := d; j < 2*d; j++ {
				row[j] *= a.scale
			}
		}
		return out
	})
	bias = lazy(arg[projBias], func() []float32 {
		sum, rows := make([]float64, d), p.Float32s()
		for i, v := range old.Float32s()[2*d:] {
			for j, x := range rows[i*d : (i+1)*d] {
				sum[j] += float64(float64(v) * float64(x))
			}
		}
		for j, x := range pb.Float32s() {
			sum[j] += float64(x)
		}
		return narrow(sum)
	})
	return qkv, arg[projWeight], bias
}

// byWindows cuts a grid into at most four kinds of windows, whole ones and those that the edge cuts, and attends in each kind.
func (a attention) byWindows(b *ir.Builder, qkv *ir.Value, shared map[string]*ir.Value) *ir.Value {
	fixed := tensor.Static
	type span struct{ start, count, size int64 } // along one axis: count windows of size real tokens
	spans := []span{{0, a.g / a.w, a.w}}
	if rest := a.g % a.w; rest > 0 {
		spans = append(spans, span{a.g - rest, 1, rest})
	}
	var rows []*ir.Value
	for _, r := range spans {
		var cols []*ir.Value
		for _, c := range spans {
			y := b.Op(ir.Slice.With(ir.SliceAttrs{Axes: []int64{1, 2}, Starts: []int64{r.start, c.start}, Ends: []int64{r.start + r.count*r.size, c.start + c.count*c.size}}), qkv)
			y = b.Reshape(y, a.n, fixed(r.count), fixed(r.size), fixed(c.count), fixed(c.size), fixed(3*a.d))
			y = b.Reshape(b.Transpose(y, 0, 1, 3, 2, 4, 5), a.n.Times(r.count*c.count), fixed(r.size), fixed(c.size), fixed(3*a.h), fixed(a.hd()))
			y = a.attend(b, y, tile{rows: axis{r.size, a.w, []int64{r.size}}, cols: axis{c.size, a.w, []int64{c.size}}}, shared)
			y = b.Reshape(y, a.n, fixed(r.count), fixed(c.count), fixed(r.size), fixed(c.size), fixed(a.d))
			cols = append(cols, b.Reshape(b.Transpose(y, 0, 1, 3, 2, 4, 5), a.n, fixed(r.count*r.size), fixed(c.count*c.size), fixed(a.d)))
		}
		rows = append(rows, joined(b, 2, cols))
	}
	return joined(b, 1, rows)
}

func joined(b *ir.Builder, axis int64, x []*ir.Value) *ir.Value {
	if len(x) == 1 {
		return x[0]
	}
	return b.Concat(axis, x...)
}
