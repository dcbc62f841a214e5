package passes

import (
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// maxFolded is the largest constant that folding materialises, in bytes. Larger ones would grow the file and the compiler's memory.
const maxFolded = 4 << 20

// foldConstants evaluates values that depend on constants alone.
func foldConstants(g *ir.Graph) (int, error) {
	n := 0
	for _, v := range slices.Clone(g.Values) {
		if len(v.Args) == 0 || slices.ContainsFunc(v.Args, func(a *ir.Value) bool { return a != nil && !a.IsConst() }) {
			continue
		}
		dims, ok := v.Type.Static()
		if !ok {
			continue
		}
		if size, err := tensor.Elements(dims); err != nil || size*v.Type.DType.Size() > maxFolded {
			continue
		}
		t, err := ir.EvalConst(v)
		if err != nil {
			return 0, err
		}
		b := g.Before(v, "fold-constants")
		folded := b.Const(t)
		if err := b.Err(); err != nil {
			return 0, err
		}
		if err := g.Replace("fold-constants", v, folded); err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}
