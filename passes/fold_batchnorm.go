package passes

import (
	"math"
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// foldBatchNorm replaces BatchNormalization(Conv(x, W, b)) by Conv(x, W*s, (b-mean)*s + beta) with
// s = gamma / sqrt(var + epsilon) per output channel, computed in float64. The weights stay lazy. The convolution must
// have no other use.
func foldBatchNorm(w *Work) error {
	g := w.Graph
	return rewrite(w, "fold-batchnorm", func(b *ir.Builder, bn *ir.Value) (*ir.Value, error) {
		if !ir.BatchNormalization.Is(bn) {
			return nil, nil
		}
		conv := bn.Args[0]
		switch {
		case !ir.Conv.Is(conv):
			w.Miss(bn, "it reads a %s, not a Conv", conv.Op.Name)
			return nil, nil
		case len(g.UsesOf(conv)) != 1 || g.IsOutput(conv):
			w.Miss(bn, "%s is used elsewhere, too", conv)
			return nil, nil
		case !allConst(bn.Args[1:]) || !allConst(conv.Args[1:]):
			w.Miss(bn, "weights or statistics are not constant")
			return nil, nil
		}
		s, shift := affine(bn)
		if len(conv.Args) > 2 && conv.Args[2] != nil {
			for i, x := range conv.Args[2].Const.Float32s() {
				shift[i] += float64(float64(x) * s[i])
			}
		}
		weight := conv.Args[1].Const
		scaled, err := tensor.MapFloat32(weight.Dims(), func() []float32 { return scaleRows(weight.Float32s(), s) })
		if err != nil {
			return nil, err
		}
		return b.As(conv.Name).Op(ir.Conv.With(ir.Conv.Of(conv)), conv.Args[0], b.As(conv.Args[1].Name).Const(scaled), b.As(conv.Name+".bias").Const(tensor.FromFloat32([]int64{int64(len(shift))}, narrow(shift)))), nil
	})
}

// affine is what a batch normalization does to each channel: x*s + shift.
func affine(bn *ir.Value) (s, shift []float64) {
	gamma, beta := bn.Args[1].Const.Float32s(), bn.Args[2].Const.Float32s()
	mean, variance := bn.Args[3].Const.Float32s(), bn.Args[4].Const.Float32s()
	eps := float64(ir.BatchNormalization.Of(bn).Epsilon)
	for i := range gamma {
		s = append(s, float64(gamma[i])/math.Sqrt(float64(variance[i])+eps))
		shift = append(shift, float64(beta[i])-float64(float64(mean[i])*s[i]))
	}
	return s, shift
}

// scaleRows multiplies the i-th of len(s) equal parts of w by s[i].
func scaleRows(w []float32, s []float64) []float32 {
	out, row := make([]float32, len(w)), len(w)/len(s)
	for i, x := range w {
		out[i] = float32(float64(x) * s[i/row])
	}
	return out
}

func narrow(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

func allConst(args []*ir.Value) bool {
	return !slices.ContainsFunc(args, func(a *ir.Value) bool { return a != nil && !a.IsConst() })
}
