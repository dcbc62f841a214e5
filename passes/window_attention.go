package passes

import (
	"fmt"
	"maps"
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// attention is a SAM attention layer found in a graph: tokens x [N,g,g,D] attend in windows of w x w with decomposed
// relative positions, the grid zero-padded to whole windows (reference: SAM's image encoder; w = g is global attention).
type attention struct {
	n          tensor.Dim
	g, w, d, h int64
	vars       map[string]*ir.Value // x, qkv, qkv_bias, scale, rel_h, rel_w, proj, proj_bias
	root       *ir.Value
}

func (a attention) cuts() int64 { return (a.g + a.w - 1) / a.w } // windows a side
func (a attention) hd() int64   { return a.d / a.h }

// findAttention recognises the result of an attention layer as blocks.ViT spells it. Sizes are read off the chain behind
// v; then everything is compared with the layer built from them. Its root is nil for anything else; the reason is what a value that
// looks like attention from its end differs in.
func findAttention(v *ir.Value) (attention, string) {
	merged := v // [N,padded,padded,D]
	if ir.Slice.Is(v) {
		merged = v.Args[0]
	}
	if !ir.Reshape.Is(merged) || v.Type.Rank() != 4 {
		return attention{}, ""
	}
	a := attention{n: v.Type.Shape[0], g: side(v, 1), d: side(v, 3), root: v}
	a.w = a.g
	out := merged.Args[0] // proj's result
	if split := back(out, ir.Transpose.Op, ir.Reshape.Op); split != nil && split.Type.Rank() == 6 {
		a.w, out = side(split, 3), split.Args[0]
	}
	heads := back(out, ir.Add.Op, ir.MatMul.Op, ir.Reshape.Op, ir.Transpose.Op, ir.MatMul.Op)
	if a.g == 0 || a.w == 0 || a.d == 0 || heads == nil || heads.Type.Rank() != 4 {
		return attention{}, ""
	}
	if a.h = side(heads, 1); a.h == 0 || a.d%a.h != 0 {
		return attention{}, ""
	}
	g, err := a.reference()
	if err != nil {
		return attention{}, err.Error()
	}
	var ok bool
	if a.vars, ok = newPattern(g).match(v); !ok {
		return attention{}, fmt.Sprintf("it is no attention of %d x %d tokens in windows of %d with %d heads as SAM has it", a.g, a.g, a.w, a.h)
	}
	for _, name := range slices.Sorted(maps.Keys(a.vars)) {
		if name != "x" && !a.vars[name].IsConst() {
			return attention{}, name + " is not constant"
		}
	}
	return a, ""
}

// reference is the layer as the frontends spell it, with variables for the tokens and the weights.
func (a attention) reference() (*ir.Graph, error) {
	b, fixed := ir.NewBuilder("attention"), tensor.Static
	variable := func(name string, dims ...int64) *ir.Value {
		return b.Input(name, tensor.Float32, tensor.Dims(dims...)...)
	}
	n, g, w, d, h, hd, cuts := a.n, a.g, a.w, a.d, a.h, a.hd(), a.cuts()
	x := b.Input("x", tensor.Float32, n, fixed(g), fixed(g), fixed(d))
	if pad := cuts*w - g; pad > 0 {
		x = b.Op(ir.Pad.With(ir.PadAttrs{Pads: []int64{0, 0, 0, 0, 0, pad, pad, 0}}), x)
	}
	if cuts > 1 {
		x = b.Transpose(b.Reshape(x, n, fixed(cuts), fixed(w), fixed(cuts), fixed(w), fixed(d)), 0, 1, 3, 2, 4, 5)
	}
	batch := n.Times(cuts * cuts)
	x = b.Reshape(x, batch, fixed(w*w), fixed(d))
	qkv := b.Add(b.MatMul(x, variable("qkv", d, 3*d)), variable("qkv_bias", 3*d))
	qkv = b.Transpose(b.Reshape(qkv, batch, fixed(w*w), fixed(3), fixed(h), fixed(hd)), 2, 0, 3, 1, 4)
	part := func(i int64) *ir.Value {
		return b.Op(ir.Squeeze.With(ir.AxesAttrs{Axes: []int64{0}}), b.Slice(qkv, 0, i, i+1))
	}
	q, k, value := part(0), part(1), part(2)
	logits := b.MatMul(b.Mul(q, variable("scale")), b.Transpose(k, 0, 1, 3, 2))
	grid := b.Reshape(q, batch, fixed(h), fixed(w), fixed(w), fixed(hd))
	relH := b.MatMul(grid, variable("rel_h", w, hd, w))
	relW := b.Transpose(b.MatMul(b.Transpose(grid, 0, 1, 3, 2, 4), variable("rel_w", w, hd, w)), 0, 1, 3, 2, 4)
	logits = b.Reshape(logits, batch, fixed(h), fixed(w), fixed(w), fixed(w), fixed(w))
	logits = b.Add(b.Add(logits, b.Unsqueeze(relH, -1)), b.Unsqueeze(relW, -2))
	y := b.MatMul(b.Softmax(b.Reshape(logits, batch, fixed(h), fixed(w*w), fixed(w*w)), -1), value)
	y = b.Reshape(b.Transpose(y, 0, 2, 1, 3), batch, fixed(w*w), fixed(d))
	y = b.Add(b.MatMul(y, variable("proj", d, d)), variable("proj_bias", d))
	if cuts > 1 {
		y = b.Transpose(b.Reshape(y, n, fixed(cuts), fixed(cuts), fixed(w), fixed(w), fixed(d)), 0, 1, 3, 2, 4, 5)
	}
	y = b.Reshape(y, n, fixed(cuts*w), fixed(cuts*w), fixed(d))
	if cuts*w > g {
		y = b.Op(ir.Slice.With(ir.SliceAttrs{Axes: []int64{1, 2}, Starts: []int64{0, 0}, Ends: []int64{g, g}}), y)
	}
	b.Output("y", y)
	return b.Graph()
}

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
	g := w.Graph
	shared, uses := map[string]*ir.Value{}, g.Uses()
	err := rewrite(w, rule, func(b *ir.Builder, v *ir.Value) (*ir.Value, error) {
		a, reason := findAttention(v)
		switch {
		case reason != "":
			w.Miss(v, "%s", reason)
		case a.root != nil && wants(a):
			return a.rewrite(b, shared), nil
		case a.root != nil && len(uses[v]) == 1 && ir.Slice.Is(uses[v][0]): // the layer ends there
		case a.root != nil:
			w.Miss(v, "attention of %d x %d tokens in windows of %d is another pass's, or cheaper as it is", a.g, a.g, a.w)
		}
		return nil, nil
	})
	g.Sweep() // the layers replaced contain layers
	return err
}

// rewrite builds the layer over real tokens only. Values in shared stand for all layers of the graph.
func (a attention) rewrite(b *ir.Builder, shared map[string]*ir.Value) *ir.Value {
	qkv, proj, projBias := a.weights(b)
	fixed := tensor.Static
	b = b.As(a.root.Name)
	y := b.Reshape(b.MatMul(a.vars["x"], qkv), a.n, fixed(a.g), fixed(a.g), fixed(3*a.h), fixed(a.hd()))
	if a.g*a.g <= 2*a.w*a.w {
		y = a.attend(b, y, a.wholeGrid(), shared)
	} else {
		y = a.byWindows(b, y, shared)
	}
	y = b.Reshape(y, a.n, fixed(a.g), fixed(a.g), fixed(a.d))
	return b.Add(b.MatMul(y, proj), projBias)
}

// weights folds scale and biases: key columns times scale, the value bias through proj. Queries keep theirs, keys need none.
func (a attention) weights(b *ir.Builder) (qkv, proj, projBias *ir.Value) {
	d, scale := int(a.d), a.vars["scale"].Const.Float32s()[0]
	w, bias := a.vars["qkv"].Const, a.vars["qkv_bias"].Const
	p, pb := a.vars["proj"].Const, a.vars["proj_bias"].Const
	lazy := func(name string, dims []int64, f func() []float32) *ir.Value {
		t, err := tensor.MapFloat32(dims, f)
		if err != nil {
			return b.Fail("%w", err)
		}
		return b.As(a.vars[name].Name).Const(t)
	}
	qkv = lazy("qkv", w.Dims(), func() []float32 {
		out := slices.Clone(w.Float32s())
		for row := range slices.Chunk(out, 3*d) {
			for j := d; j < 2*d; j++ {
				row[j] *= scale
			}
		}
		return out
	})
	projBias = lazy("proj_bias", pb.Dims(), func() []float32 {
		sum, rows := make([]float64, d), p.Float32s()
		for i, v := range bias.Float32s()[2*d:] {
			for j, x := range rows[i*d : (i+1)*d] {
				sum[j] += float64(v) * float64(x)
			}
		}
		for j, x := range pb.Float32s() {
			sum[j] += float64(x)
		}
		return narrow(sum)
	})
	return qkv, a.vars["proj"], projBias
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
