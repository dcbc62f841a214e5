package passes

import (
	"math"
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/ir/tensor"
)

const linearRule = "quantize-linear"

// linears writes DequantizeLinear(QuantizeLinear(x)) before the linear layers of the plan, and their weights as INT8 per output channel
// (axis 1, symmetric). Results, the residual stream, attention's products, LayerNorm and GELU stay in float. Where x is a
// LayerNorm's result, channels of large amplitude are scaled down there and up in the weights (SmoothQuant, exponent 1/2).
func (q *inserter) linears(g *ir.Graph) (int, error) {
	keys, n := quant.Keys(g), 0
	quantized := map[*ir.Value]*ir.Value{} // x -> its dequantized form
	uses := g.Uses()
	for _, v := range quant.FindLinears(g, q.modules) {
		key, x := keys[v], v.Args[0]
		macs := quant.LinearMultiplyAdds(v)
		q.done.All += macs
		why, float := q.plan.Float[key]
		r, known := q.plan.Values[keys[x]]
		if !float && !known {
			why, float = "the plan has no range for "+keys[x], true
		}
		if float {
			q.done.Float[key] = why
			continue
		}
		weights, mean := v.Args[1].Const, r.Mean
		b := g.Before(v, linearRule)
		if quantized[x] == nil {
			top := r.Max
			from := x
			if s := q.smooth(x, weights, r, uses); s != nil {
				norm := x
				from = b.As(norm.Name+equalized).Op(ir.LayerNormalization.With(ir.LayerNormalization.Of(norm)), norm.Args[0], scaledConst(b, norm.Args[1], s), scaledConst(b, norm.Args[2], s))
				q.scaled[x] = inverse(s)
				top = smoothedPeak(r, s)
			}
			quantized[x] = q.roundTrip(b, from, r, top, nil)
		}
		if up := q.scaled[x]; up != nil {
			plain := weights
			var err error
			if weights, err = tensor.MapFloat32(plain.Dims(), func() []float32 { return scaleRows(plain.Float32s(), widen(up)) }); err != nil {
				return 0, err
			}
			mean = divided(mean, up)
		}
		columns, err := tensor.Transpose(weights, 1, 0)
		if err != nil {
			return 0, err
		}
		columns = tensor.Dense(columns)
		scales := weightScales(columns.Float32s(), int(columns.Dims()[0]))
		y, err := q.linear(b, v, quantized[x], weights, scales)
		if err != nil {
			return 0, err
		}
		if err := q.correctLinear(g, v, uses, columns, scales, mean); err != nil {
			return 0, err
		}
		if err := g.Replace(linearRule, v, y); err != nil {
			return 0, err
		}
		q.done.Nodes = append(q.done.Nodes, key)
		q.done.Int8 += macs
		n++
	}
	return n, nil
}

// linear is the product with INT8 weights [K,N] under a scale per column. The integers stay lazy.
func (q *inserter) linear(b *ir.Builder, v, x *ir.Value, w *tensor.Tensor, scales []float32) (*ir.Value, error) {
	name, k, n := v.Args[1].Name, w.Dims()[0], w.Dims()[1]
	integers, err := tensor.NewLazy(tensor.Int8, w.Dims(), func() []byte {
		columns, out := make([]float32, k*n), make([]byte, k*n)
		tensor.TransposeFloat32(columns, w.Float32s(), []int64{k, n}, []int{1, 0})
		tensor.TransposeBytes(out, roundWeights(columns, scales), []int64{n, k}, []int{1, 0}, 1)
		return out
	})
	if err != nil {
		return nil, err
	}
	named := b.As(name)
	dq := named.Op(ir.DequantizeLinear.With(ir.QuantAttrs{Axis: 1}), named.Const(integers), b.As(name+".scale").Const(tensor.FromFloat32([]int64{n}, scales)), b.As(name+".zero_point").Const(tensor.FromInt8([]int64{n}, make([]int8, n))))
	y := b.As(v.Name).MatMul(x, dq)
	return y, b.Err()
}

// correctLinear adds to the bias behind v, where there is one, what rounding the weights, columns [N,K], takes from each column's mean.
func (q *inserter) correctLinear(g *ir.Graph, v *ir.Value, uses map[*ir.Value][]*ir.Value, columns *tensor.Tensor, scales, mean []float32) error {
	n, k := columns.Dims()[0], columns.Dims()[1]
	if len(uses[v]) != 1 || !ir.Add.Is(uses[v][0]) || int64(len(mean)) != k {
		return nil
	}
	add := uses[v][0]
	at := slices.IndexFunc(add.Args, func(a *ir.Value) bool { return a.IsConst() && a.Type.Rank() == 1 && a.Const.Len() == n })
	if at < 0 {
		return nil
	}
	asConv, err := tensor.Reshape(columns, n, k, 1, 1)
	if err != nil {
		return err
	}
	bias := slices.Clone(add.Args[at].Const.Float32s())
	correctBias(bias, asConv, scales, mean)
	b := g.Before(add, linearRule)
	args := slices.Clone(add.Args)
	args[at] = b.As(add.Args[at].Name).Const(tensor.FromFloat32([]int64{n}, bias))
	y := b.As(add.Name).Op(ir.Add, args...)
	if err := b.Err(); err != nil {
		return err
	}
	uses[y] = uses[add]
	return g.Replace(linearRule, add, y)
}

// smooth gives what a LayerNorm's channels are multiplied with before they are quantized: sqrt(largest weight of the row / largest
// amplitude of the channel), relative to the geometric mean; nil where x is not a LayerNorm of v's own.
func (q *inserter) smooth(x *ir.Value, w *tensor.Tensor, r quant.Range, uses map[*ir.Value][]*ir.Value) []float32 {
	if !ir.LayerNormalization.Is(x) || len(uses[x]) != 1 || !allConst(x.Args[1:]) || len(x.Args) < 3 || int64(len(r.Channels)) != w.Dims()[0] {
		return nil
	}
	n, values := int(w.Dims()[1]), w.Float32s()
	s, mean := make([]float32, len(r.Channels)), 0.0
	for i, peak := range r.Channels {
		top := float32(0)
		for _, v := range values[i*n : (i+1)*n] {
			top = max(top, v, -v)
		}
		if peak == 0 || top == 0 {
			s[i] = 1
			continue
		}
		s[i] = float32(math.Sqrt(float64(top / peak)))
		mean += math.Log(float64(s[i]))
	}
	unit := float32(math.Exp(mean / float64(len(s))))
	for i := range s {
		s[i] = min(max(s[i]/unit, 1.0/16), 16)
	}
	return s
}

// smoothedPeak is the largest amplitude after scaling channels by s, clipped by as much as the calibration method clipped the unscaled value.
func smoothedPeak(r quant.Range, s []float32) float32 {
	top := float32(0)
	for i, c := range r.Channels {
		top = max(top, c*s[i])
	}
	return top * r.Max / r.Peak()
}

func scaledConst(b *ir.Builder, c *ir.Value, s []float32) *ir.Value {
	x := slices.Clone(c.Const.Float32s())
	for i := range x {
		x[i] *= s[i]
	}
	return b.As(c.Name + equalized).Const(tensor.FromFloat32(c.Const.Dims(), x))
}

func widen(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}
