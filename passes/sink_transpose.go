package passes

import (
	"slices"

	"syncsam-convert/ir"
)

// sinkTranspose moves transpositions behind functions of single elements, where they meet their inverse and both go, or turn a product
// that is transposed as well: (A B)' = B' A'.
func sinkTranspose(w *Work) error {
	g := w.Graph
	err := rewrite(w, "sink-transpose", func(b *ir.Builder, v *ir.Value) (*ir.Value, error) {
		switch {
		case len(v.Args) == 1 && v.Op.Class == ir.Pointwise && ir.Transpose.Is(v.Args[0]) && len(g.UsesOf(v.Args[0])) == 1:
			t := v.Args[0]
			return b.Op(t.Applied(), b.Op(v.Applied(), t.Args[0])), nil
		case ir.Transpose.Is(v) && ir.Transpose.Is(v.Args[0]) && inverse(v, v.Args[0]):
			return v.Args[0].Args[0], nil
		case transposes(v, 0, 2, 1) && ir.MatMul.Is(v.Args[0]) && len(g.UsesOf(v.Args[0])) == 1:
			return turned(b, v), nil
		}
		return nil, nil
	})
	g.Sweep()
	return err
}

func transposes(v *ir.Value, perm ...int64) bool {
	return ir.Transpose.Is(v) && slices.Equal(ir.Transpose.Of(v).Perm, perm)
}

// inverse reports whether two transpositions leave everything where it was.
func inverse(v, u *ir.Value) bool {
	p, q := ir.Transpose.Of(v).Perm, ir.Transpose.Of(u).Perm
	if len(p) != len(q) {
		return false
	}
	for i := range p {
		if q[p[i]] != int64(i) {
			return false
		}
	}
	return true
}

// turned is a transposed product of pixels [N,HW,C], which are a transposed image, as a product of the image [N,C,HW]; nil for others.
func turned(b *ir.Builder, v *ir.Value) *ir.Value {
	pixels, k := v.Args[0].Args[0], v.Args[0].Args[1]
	if !ir.Reshape.Is(pixels) || !transposes(pixels.Args[0], 0, 2, 3, 1) || pixels.Type.Rank() != 3 || k.Type.Rank() != 3 {
		return nil
	}
	x := pixels.Args[0].Args[0]
	s, c := x.Type.Shape, side(x, 1)
	if c == 0 || side(x, 2) == 0 || side(x, 3) == 0 || pixels.Type.Shape[0] != s[0] || !pixels.Type.Shape[1].Is(side(x, 2)*side(x, 3)) {
		return nil
	}
	return b.MatMul(b.Transpose(k, 0, 2, 1), b.Reshape(x, s[0], s[1], pixels.Type.Shape[1]))
}
