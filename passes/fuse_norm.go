package passes

import "syncsam-convert/ir"

// fuseNorm makes LayerNorm2d of a layer normalization behind a transposition to channels last.
func fuseNorm(w *Work) error {
	err := rewrite(w, "fuse-norm", func(b *ir.Builder, v *ir.Value) (*ir.Value, error) {
		if !ir.LayerNormalization.Is(v) || len(v.Args) < 3 || v.Args[2] == nil || !transposes(v.Args[0], 0, 2, 3, 1) {
			return nil, nil
		}
		a := ir.LayerNormalization.Of(v)
		if a.Axis != -1 && a.Axis != 3 {
			return nil, nil
		}
		y := b.Op(ir.LayerNorm2d.With(ir.EpsilonAttrs{Epsilon: a.Epsilon}), v.Args[0].Args[0], v.Args[1], v.Args[2])
		return b.Transpose(y, 0, 2, 3, 1), nil
	})
	w.Graph.Sweep()
	return err
}
