package passes

import (
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// blockAttention joins the products of an attention with its softmax and relative positions, where the logits are many.
func blockAttention(w *Work) error {
	g := w.Graph
	only := func(v *ir.Value) bool { return len(g.UsesOf(v)) == 1 && !g.IsOutput(v) }
	err := rewrite(w, "block-attention", func(b *ir.Builder, v *ir.Value) (*ir.Value, error) {
		if !ir.MatMul.Is(v) || !ir.Softmax.Is(v.Args[0]) || !only(v.Args[0]) {
			return nil, nil
		}
		softmax, rank := v.Args[0], v.Type.Rank()
		logits := softmax.Args[0]
		var bias []*ir.Value
		if product, rows, cols := related(logits); product != nil && only(logits) && only(logits.Args[0]) && only(logits.Args[0].Args[0]) && only(product.Args[0]) {
			q := product.Type.Shape
			logits = product.Args[0]
			t := logits.Type.Shape
			if len(t) < 2 || len(t) != rank {
				return nil, nil
			}
			for i, r := range []*ir.Value{rows, cols} {
				bias = append(bias, b.Reshape(r, append(slices.Clone(t[:rank-1]), q[len(q)-2+i])...))
			}
		}
		const least = 32 // rows of a factor from which laying out the other one pays
		if a := ir.Softmax.Of(softmax).Axis; !ir.MatMul.Is(logits) || !only(logits) || a != -1 && a != int64(rank-1) {
			return nil, nil
		}
		args := append([]*ir.Value{logits.Args[0], logits.Args[1], v.Args[1]}, bias...)
		for _, x := range args[:3] {
			if x.Type.Rank() != rank || !slices.Equal(x.Type.Shape[:rank-2], v.Type.Shape[:rank-2]) || side(x, rank-2) < least || side(x, rank-1) < least {
				w.Miss(v, "its factors are small, or of several batches")
				return nil, nil
			}
		}
		return b.Op(ir.BlockAttention, args...), nil
	})
	g.Sweep()
	return err
}

// related takes logits apart that are a product on the grid of its keys, plus terms of rows and of columns: the product as that grid; nil
// for others.
func related(v *ir.Value) (product, rows, cols *ir.Value) {
	if !ir.Reshape.Is(v) || !ir.Add.Is(v.Args[0]) || !ir.Add.Is(v.Args[0].Args[0]) {
		return nil, nil, nil
	}
	outer, inner := v.Args[0], v.Args[0].Args[0]
	product, rows, cols = inner.Args[0], inner.Args[1], outer.Args[1]
	if !ir.Reshape.Is(product) || !ir.Unsqueeze.Is(rows) || !ir.Unsqueeze.Is(cols) || !product.Type.Equal(outer.Type) {
		return nil, nil, nil
	}
	grid := product.Type.Shape
	n := len(grid)
	if n < 3 || !rows.Type.Shape[n-1].Is(1) || !cols.Type.Shape[n-2].Is(1) || !grid[n-2].IsStatic() || v.Type.Shape[v.Type.Rank()-1] != grid[n-1].Times(grid[n-2].B) {
		return nil, nil, nil
	}
	for i, x := range []*ir.Value{rows, cols} {
		full := slices.Clone(grid)
		full[n-1-i] = tensor.Static(1)
		if len(x.Args[0].Type.Shape) != n-1 || !slices.Equal(x.Type.Shape, full) {
			return nil, nil, nil
		}
	}
	return product, rows.Args[0], cols.Args[0]
}
