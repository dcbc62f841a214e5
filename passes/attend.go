package passes

import (
	"fmt"
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// An axis of a tile: size tokens in consecutive windows of w, of which the i-th holds real[i] tokens and padding for the rest.
type axis struct {
	size, w int64
	real    []int64
}

func (a axis) window(i int64) int64 { return i / a.w } // of token i
func (a axis) place(i int64) int64  { return i % a.w } // of token i in its window

// A tile is a rectangle of real tokens that attend in one product; keys of other windows are masked.
type tile struct{ rows, cols axis }

func (a attention) wholeGrid() tile {
	real := make([]int64, a.cuts())
	for i := range real {
		real[i] = min(a.w, a.g-int64(i)*a.w)
	}
	return tile{axis{a.g, a.w, real}, axis{a.g, a.w, real}}
}

func (t tile) tokens() int64  { return t.rows.size * t.cols.size }
func (t tile) windows() int64 { return int64(len(t.rows.real) * len(t.cols.real)) }
func (t tile) padded() bool {
	short := func(a axis) bool { return slices.ContainsFunc(a.real, func(n int64) bool { return n < a.w }) }
	return short(t.rows) || short(t.cols)
}

// window is the number of the window that holds token y, x.
func (t tile) window(y, x int64) int64 {
	return t.rows.window(y)*int64(len(t.cols.real)) + t.cols.window(x)
}

// attend attends within qkv [B,rows,cols,3h,hd]: [B,rows*cols,h*hd]. The product of queries and keys has more columns
// than hd: the query's relative positions times where the key stands (one-hot), the query's window (one-hot) times the
// mask of the key's, and the logit of the padding.
func (a attention) attend(b *ir.Builder, qkv *ir.Value, t tile, shared map[string]*ir.Value) *ir.Value {
	fixed := tensor.Static
	batch, rows, cols, tokens, h, hd, w := qkv.Type.Shape[0], t.rows.size, t.cols.size, t.tokens(), a.h, a.hd(), a.w
	q := b.Add(b.Slice(qkv, 3, 0, h), a.queryBias(b))
	relative := b.Concat(-1, b.MatMul(q, a.table(b, a.v.Args[relRows], t.rows, rows, 1)), b.MatMul(q, a.table(b, a.v.Args[relCols], t.cols, cols)))
	columns := []*ir.Value{q, relative}
	if t.windows() > 1 {
		columns = append(columns, t.share(shared, fmt.Sprint("windows", batch), func() *ir.Value { return spread(b, t.queryWindows(b), qkv, h) }))
	}
	if t.padded() {
		columns = append(columns, t.paddingLogit(b, relative, shared))
	}
	query := b.Concat(-1, columns...)
	width := side(query, 4)
	query = b.Transpose(b.Reshape(query, batch, fixed(tokens), fixed(h), fixed(width)), 0, 2, 1, 3)

	split := b.Reshape(qkv, batch, fixed(tokens), fixed(3*h), fixed(hd))
	key := b.Concat(-1, b.Slice(split, 2, h, 2*h), t.share(shared, fmt.Sprint("keys", batch), func() *ir.Value { return spread(b, t.keyColumns(b, width-hd, w), split, h) }))
	value := b.Slice(split, 2, 2*h, 3*h)
	if t.padded() { // one key that stands for padding: 1 where queries have its logit, with value 0
		one := make([]float32, width)
		one[width-1] = 1
		key = b.Concat(1, key, t.share(shared, fmt.Sprint("padding", batch, width), func() *ir.Value {
			return spread(b, b.As("padding").Const(tensor.FromFloat32([]int64{1, 1, 1, width}, one)), split, h)
		}))
		value = b.Op(ir.Pad.With(ir.PadAttrs{Pads: []int64{0, 0, 0, 0, 0, 1, 0, 0}}), value)
	}
	y := b.MatMul(b.Softmax(b.MatMul(query, b.Transpose(key, 0, 2, 3, 1)), -1), b.Transpose(value, 0, 2, 1, 3))
	return b.Reshape(b.Transpose(y, 0, 2, 1, 3), batch, fixed(tokens), fixed(h*hd))
}

// spread repeats a constant [1,...,1,width] for all prompts and heads of a value [B,...,3h,hd]. It asks the value where it is less than
// itself, which it is nowhere, and not for its shape: that would be a second use of some value, and executors that see it leave
// a convolution's bias or activation unfused, or worse.
func spread(b *ir.Builder, constant, like *ir.Value, h int64) *ir.Value {
	last := like.Type.Rank() - 1
	var axes, starts, ends []int64
	for axis := 1; axis <= last; axis++ {
		axes, starts, ends = append(axes, int64(axis)), append(starts, 0), append(ends, 1)
	}
	ends[last-2] = h
	one := b.Op(ir.Slice.With(ir.SliceAttrs{Axes: axes, Starts: starts, Ends: ends}), like)
	return b.Op(ir.Where, b.Op(ir.Less, one, one), b.Scalar(0), constant)
}

// share makes a value once per kind of tile.
func (t tile) share(shared map[string]*ir.Value, what string, make func() *ir.Value) *ir.Value {
	key := fmt.Sprint(what, t)
	if shared[key] == nil {
		shared[key] = make()
	}
	return shared[key]
}

// table is the relative positions [size,(1,)hd,w] of an axis: for each token the columns that its query is multiplied with.
func (a attention) table(b *ir.Builder, positions *ir.Value, x axis, dims ...int64) *ir.Value {
	rel, row := positions.Const, int(a.hd()*a.w)
	t, err := tensor.MapFloat32(append(dims, a.hd(), a.w), func() []float32 {
		all, out := rel.Float32s(), make([]float32, 0, int(x.size)*row)
		for i := range x.size {
			out = append(out, all[int(x.place(i))*row:][:row]...)
		}
		return out
	})
	if err != nil {
		return b.Fail("%w", err)
	}
	return b.As(positions.Name).Const(t)
}

// queryWindows is [1,rows,cols,1,windows]: 1 at each token's own window.
func (t tile) queryWindows(b *ir.Builder) *ir.Value {
	v := make([]float32, t.tokens()*t.windows())
	for y := range t.rows.size {
		for x := range t.cols.size {
			v[(y*t.cols.size+x)*t.windows()+t.window(y, x)] = 1
		}
	}
	return b.As("window").Const(tensor.FromFloat32([]int64{1, t.rows.size, t.cols.size, 1, t.windows()}, v))
}

// queryBias is the query's part of the qkv bias, [h,hd].
func (a attention) queryBias(b *ir.Builder) *ir.Value {
	bias := a.v.Args[qkvBias]
	return b.As(bias.Name).Const(tensor.FromFloat32([]int64{a.h, a.hd()}, bias.Const.Float32s()[:a.d]))
}

// keyColumns is [1,tokens,1,width]: each key's place in its window, the mask of every window but its own, and 0 where queries
// have the logit of the padding.
func (t tile) keyColumns(b *ir.Builder, width, w int64) *ir.Value {
	v, i := make([]float32, t.tokens()*width), int64(0)
	for y := range t.rows.size {
		for x := range t.cols.size {
			row := v[i*width:][:width]
			row[t.rows.place(y)], row[w+t.cols.place(x)] = 1, 1
			for k := range t.windows() {
				if t.windows() > 1 && k != t.window(y, x) {
					row[2*w+k] = masked
				}
			}
			i++
		}
	}
	return b.As("place").Const(tensor.FromFloat32([]int64{1, t.tokens(), 1, width}, v))
}

// paddingLogit is [B,rows,cols,h,1], the logarithm of the sum of exp(relative position) over a window's padded keys: those right
// of the real columns in any row, and those below the real rows in a real column. Both are products of a sum over rows and
// one over columns, each taken relative to its axis' largest term. No sum passes 2w, and of an axis' terms one is 1: one of the two
// products is above absent / 2 whatever the terms are, so that their sum has a logarithm.
func (t tile) paddingLogit(b *ir.Builder, relative *ir.Value, shared map[string]*ir.Value) *ir.Value {
	last := ir.ReduceAttrs{Axes: []int64{-1}, KeepDims: 1}
	shape, two, w := relative.Type.Shape, tensor.Static(2), tensor.Static(t.rows.w)
	axes := b.Reshape(relative, append(slices.Clone(shape[:4]), two, w)...)
	most := b.Op(ir.ReduceMax.With(last), axes)
	terms := b.Reshape(b.Op(ir.Exp, b.Sub(axes, most)), shape...)
	sums := b.MatMul(terms, t.share(shared, "sums", func() *ir.Value { return t.paddingSums(b) }))
	products := b.Mul(b.Slice(sums, 4, 0, 2), b.Slice(sums, 4, 2, 4))
	return b.Add(b.Op(ir.Log, b.Op(ir.ReduceSum.With(last), products)), b.Op(ir.ReduceSum.With(ir.ReduceAttrs{Axes: []int64{-2}}), most))
}

// absent stands for 0 in the sums of padded keys, so that empty ones have a logarithm. It is far below what float32 can tell from 0 beside 1.
const absent = 1e-30

// paddingSums is [rows,cols,2w,4]: which relative positions each of four sums takes: all rows; padded rows; padded columns; real columns.
func (t tile) paddingSums(b *ir.Builder) *ir.Value {
	w := t.rows.w
	v := make([]float32, 0, t.tokens()*8*w)
	for y := range t.rows.size {
		for x := range t.cols.size {
			rows, cols := t.rows.real[t.rows.window(y)], t.cols.real[t.cols.window(x)]
			for i := range 2 * w {
				for _, takes := range [4]bool{i < w, i >= rows && i < w, i >= w+cols, i >= w && i < w+cols} {
					if takes {
						v = append(v, 1)
					} else {
						v = append(v, absent)
					}
				}
			}
		}
	}
	return b.As("padding").Const(tensor.FromFloat32([]int64{t.rows.size, t.cols.size, 2 * w, 4}, v))
}

// side is v's static size along an axis, 0 for none.
func side(v *ir.Value, axis int) int64 {
	if v == nil || axis >= len(v.Type.Shape) || !v.Type.Shape[axis].IsStatic() {
		return 0
	}
	return v.Type.Shape[axis].B
}
