package passes

import (
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// foldAddends moves constants that are added before a product behind it, (x + c) W = x W + c W, and joins what is added twice,
// (x + a) + b = x + (a + b). SAM's decoder adds the dense positional encoding before three projections in every layer.
func foldAddends(w *Work) error {
	g := w.Graph
	return rewrite(w, "fold-addends", func(b *ir.Builder, v *ir.Value) (*ir.Value, error) {
		switch {
		case ir.MatMul.Is(v) && v.Args[1].IsConst():
			x, c := addend(v.Args[0])
			switch {
			case c == nil:
			case !x.Type.Equal(v.Args[0].Type):
				w.Miss(v, "adding the constant widens what is multiplied")
			case c.Type.Rank() < 2:
				w.Miss(v, "the constant is a bias: its product would be no matrix")
			case !onlyProducts(g, v.Args[0]) || g.IsOutput(v.Args[0]):
				w.Miss(v, "the sum has other uses than products with constants")
			default:
				return b.Add(b.MatMul(x, v.Args[1]), evaluated(b.As(c.Name), b.As(c.Name).MatMul(c, v.Args[1]))), nil
			}
		case ir.Add.Is(v):
			outer, b1 := addend(v)
			if b1 == nil || !ir.Add.Is(outer) || len(g.UsesOf(outer)) > 1 || g.IsOutput(outer) {
				break
			}
			if x, a := addend(outer); a != nil && x.Type.Equal(v.Type) {
				return b.Add(x, evaluated(b.As(b1.Name), b.As(b1.Name).Add(a, b1))), nil
			}
		}
		return nil, nil
	})
}

// onlyProducts reports whether all that v is used for are products with constants, so that nothing is left of v behind them.
func onlyProducts(g *ir.Graph, v *ir.Value) bool {
	return !slices.ContainsFunc(g.UsesOf(v), func(u *ir.Value) bool { return !ir.MatMul.Is(u) || u.Args[0] != v || !u.Args[1].IsConst() })
}

// addend splits x + c with a constant c of at most maxFolded bytes; nil when v is not that.
func addend(v *ir.Value) (x, c *ir.Value) {
	if !ir.Add.Is(v) {
		return nil, nil
	}
	x, c = v.Args[0], v.Args[1]
	if x.IsConst() {
		x, c = c, x
	}
	if x.IsConst() || !c.IsConst() || c.Const.NumBytes() > maxFolded {
		return nil, nil
	}
	return x, c
}

// evaluated is v, whose arguments are constants, as a constant.
func evaluated(b *ir.Builder, v *ir.Value) *ir.Value {
	if b.Err() != nil {
		return v
	}
	t, err := ir.EvalConst(v)
	if err != nil {
		return b.Fail("%w", err)
	}
	return b.Const(tensor.Dense(t))
}
