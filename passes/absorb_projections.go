package passes

import (
	"math"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// absorbProjections attends between n prompt tokens and the U tokens of an image, n far less than U, without projecting the image: with
// heads' columns of the projections as Qi, Ki, Vi, Oi,
//
//	(x Qi + qi) (y Ki + ki)' = ((x Qi + qi) Ki') y' + what is the same for all keys and drops out of the softmax
//	softmax(S) (z V + v) = (softmax(S) z) V + v, because the rows of a softmax sum to 1
//
// and the same with the image as queries. What a projection of the image costs, U C I, becomes U C h n. All heads are one product: the
// tokens are repeated per head, with the other heads' channels zero. Exact in real arithmetic.
func absorbProjections(w *Work) error {
	err := rewrite(w, "absorb-projections", func(b *ir.Builder, v *ir.Value) (*ir.Value, error) {
		if !ir.MultiHeadAttention.Is(v) {
			return nil, nil
		}
		if !allConst(v.Args[3:]) {
			w.Miss(v, "its weights are not constant")
			return nil, nil
		}
		a := crossing{v, ir.MultiHeadAttention.Of(v).Heads, v.Args[crossQ].Type.Shape[1].B}
		switch {
		case a.few(0) && a.many(1):
			return a.tokensToImage(b), nil
		case a.many(0) && a.few(1):
			return a.imageToTokens(b), nil
		}
		w.Miss(v, "both sides are as large, or the number of tokens is known and past what a projection costs")
		return nil, nil
	})
	w.Graph.Sweep()
	return err
}

// The arguments of a MultiHeadAttention behind its three inputs; each is followed by its bias.
const (
	crossQ = 3 + 2*iota
	crossK
	crossV
	crossO
)

// crossing is a MultiHeadAttention with constant weights that is rewritten.
type crossing struct {
	v        *ir.Value
	h, inner int64
}

// many tells an image: its tokens are a fixed number.
func (a crossing) many(i int) bool { return side(a.v.Args[i], 1) >= 4*a.inner/a.h }

// few tells prompts: any number, in practice less than a head has channels.
func (a crossing) few(i int) bool { return side(a.v.Args[i], 1) < a.inner/a.h }

func (a crossing) weight(b *ir.Builder, i int) *ir.Value {
	return b.As(a.v.Args[i].Name).Const(a.v.Args[i].Const)
}

// turned is a weight [rows,cols] as [cols,rows].
func (a crossing) turned(b *ir.Builder, i int) *ir.Value {
	t, err := tensor.Transpose(a.v.Args[i].Const, 1, 0)
	if err != nil {
		return b.Fail("%w", err)
	}
	return b.As(a.v.Args[i].Name).Const(t)
}

// own is [h,1,I] with scale at each head's own channels and 0 at the others.
func (a crossing) own(b *ir.Builder, scale float64) *ir.Value {
	x := make([]float32, a.h*a.inner)
	for i := range a.inner {
		x[i/(a.inner/a.h)*a.inner+i] = float32(scale)
	}
	return b.As("heads").Const(tensor.FromFloat32([]int64{a.h, 1, a.inner}, x))
}

// apart is x [B,n,I] once per head: [B,hn,I].
func (a crossing) apart(b *ir.Builder, x *ir.Value, scale float64) *ir.Value {
	y := b.Mul(b.Unsqueeze(x, 1), a.own(b, scale))
	return b.Reshape(y, x.Type.Shape[0], x.Type.Shape[1].Times(a.h), tensor.Static(a.inner))
}

func (a crossing) scale() float64 { return 1 / math.Sqrt(float64(a.inner/a.h)) }

// out is the layer's last product, of x [B,T,I] or of what O is in already, with the values' bias, which comes through attention as it is.
func (a crossing) out(b *ir.Builder, product *ir.Value) *ir.Value {
	o := a.v.Args[crossO]
	bias, values, old := make([]float64, o.Type.Shape[1].B), a.v.Args[crossV+1].Const.Float32s(), a.v.Args[crossO+1].Const.Float32s()
	weights := tensor.Dense(o.Const).Float32s()
	for i, x := range values {
		for j := range bias {
			bias[j] += float64(float64(x) * float64(weights[i*len(bias)+j]))
		}
	}
	sum := make([]float32, len(bias))
	for j := range bias {
		sum[j] = float32(bias[j] + float64(old[j]))
	}
	return b.Add(product, b.As(a.v.Args[crossO+1].Name).Const(tensor.FromFloat32([]int64{int64(len(sum))}, sum)))
}

// tokensToImage gives [B,n,D].
func (a crossing) tokensToImage(b *ir.Builder) *ir.Value {
	b = b.As(a.v.Name)
	tokens, keys, values := a.v.Args[0], a.v.Args[1], a.v.Args[2]
	q := b.Add(b.MatMul(tokens, a.weight(b, crossQ)), a.weight(b, crossQ+1))
	q = b.MatMul(a.apart(b, q, a.scale()), a.turned(b, crossK))
	y := b.MatMul(b.Softmax(b.MatMul(q, b.Transpose(keys, 0, 2, 1)), -1), values)
	y = b.MatMul(y, a.weight(b, crossV)) // [B,hn,I]
	n := tokens.Type.Shape
	y = b.Mul(b.Reshape(y, y.Type.Shape[0], tensor.Static(a.h), n[1], tensor.Static(a.inner)), a.own(b, 1))
	y = b.Op(ir.ReduceSum.With(ir.ReduceAttrs{Axes: []int64{1}}), y)
	return a.out(b, b.MatMul(y, a.weight(b, crossO)))
}

// imageToTokens gives [B,U,D].
func (a crossing) imageToTokens(b *ir.Builder) *ir.Value {
	b = b.As(a.v.Name)
	image, keys, values := a.v.Args[0], a.v.Args[1], a.v.Args[2]
	k := a.apart(b, b.MatMul(keys, a.weight(b, crossK)), a.scale())
	logits := b.MatMul(image, b.Transpose(b.MatMul(k, a.turned(b, crossQ)), 0, 2, 1)) // [B,U,hn]
	bias, err := tensor.Reshape(a.v.Args[crossQ+1].Const, a.inner, 1)
	if err != nil {
		return b.Fail("%w", err)
	}
	batch, n, h := k.Type.Shape[0], keys.Type.Shape[1], tensor.Static(a.h)
	logits = b.Add(logits, b.Transpose(b.MatMul(k, b.As(a.v.Args[crossQ+1].Name).Const(bias)), 0, 2, 1))
	p := b.Softmax(b.Reshape(logits, batch, logits.Type.Shape[1], h, n), -1)
	p = b.Reshape(p, logits.Type.Shape...)
	v := a.apart(b, b.MatMul(values, a.weight(b, crossV)), 1)
	return a.out(b, b.MatMul(p, b.MatMul(v, a.weight(b, crossO))))
}
