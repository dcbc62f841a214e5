package quantizer

import (
	"fmt"
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// The rules that stamp what Write makes.
const (
	convRule   = "insert-qdq"
	linearRule = "quantize-linear"
)

// equalized ends the names of values that carry another scale than the float model's, so that nobody compares the two.
const equalized = ".equalized"

// Written is what Write made.
type Written struct {
	Convolutions []Convolution           // for who chooses their integers anew
	Peaks        map[*ir.Value]float32   // amplitude of new floating-point values, where the table knows it
	Same         map[*ir.Value]*ir.Value // new value -> the one whose place it takes, amplitude included
}

// A Convolution is one in INT8.
type Convolution struct {
	Key     string         // of the float convolution
	Conv    *ir.Value      // Conv(DequantizeLinear(x), DequantizeLinear(weights), bias)
	Weights *tensor.Tensor // [M,C,kH,kW]: what the integers stand for
	Bias    []float32      // [M], in the scale of Conv's results
	In      []float32      // [C]: Conv reads what the float convolution reads, divided by this; nil for ones
}

// Write does to a graph what its table says.
func Write(g *ir.Graph, t *Table) (*Written, error) {
	w := &writer{g: g, t: t, made: map[*Value]*ir.Value{}, done: &Written{Peaks: map[*ir.Value]float32{}, Same: map[*ir.Value]*ir.Value{}}}
	for _, v := range t.Values {
		if v.Float == "" && v.Place != AtLinears {
			if err := w.behind(v); err != nil {
				return nil, fmt.Errorf("%s: %w", v.Key, err)
			}
		}
	}
	for _, l := range t.Layers {
		if l.Float == "" {
			if err := w.layer(l); err != nil {
				return nil, fmt.Errorf("%s: %w", l.Key, err)
			}
		}
	}
	return w.done, nil
}

type writer struct {
	g    *ir.Graph
	t    *Table
	made map[*Value]*ir.Value // dequantized forms of values that linear layers read
	done *Written
}

// behind puts QuantizeLinear and DequantizeLinear behind a value, and gives their result to those that take it.
func (w *writer) behind(v *Value) error {
	b := w.g.After(v.v, convRule)
	if v.Inside {
		v.v.Name, v.v.Of = v.v.Name+equalized, ""
		w.done.Peaks[v.v] = v.Top
	}
	x := w.perChannel(b, v.v, v.Before, v.Top)
	dq := w.roundTrip(b, x, v.v.Name, v)
	integers := dq.Args[0]
	back := w.perChannel(b, dq, v.After, v.Top)
	if v.After != nil {
		back.Of = v.v.Of
	}
	if err := b.Err(); err != nil {
		return err
	}
	return w.g.ReplaceIn(convRule, v.v, back, func(u *ir.Value) bool {
		return u != integers && u != x && (v.Place != BehindForConvs || w.t.inInt8[u])
	})
}

// roundTrip is DequantizeLinear(QuantizeLinear(x)); its values have the name.
func (w *writer) roundTrip(b *ir.Builder, x *ir.Value, name string, v *Value) *ir.Value {
	b = b.As(name)
	s, z := b.As(name+".scale").Const(tensor.Scalar(v.Scale)), b.As(name+".zero_point").Const(w.t.Spelling.point(v.Zero))
	y := b.Op(ir.DequantizeLinear, b.Op(ir.QuantizeLinear, x, s, z), s, z)
	w.done.Peaks[y] = v.Top
	return y
}

// perChannel multiplies the channels of x (axis 1); without factors it is x. A Mul and one scale for all channels, because executors have
// fast conversions for that and slow ones, or none, for a scale per channel of an activation.
func (w *writer) perChannel(b *ir.Builder, x *ir.Value, factors []float32, top float32) *ir.Value {
	if factors == nil {
		return x
	}
	y := b.Mul(x, b.As(x.Name+".channel_scale").Const(tensor.FromFloat32([]int64{int64(len(factors)), 1, 1}, factors)))
	w.done.Peaks[y] = top
	return y
}

// layer replaces a layer by one over DequantizeLinear of INT8 weights (per output channel, symmetric). The bias makes up for the mean error
// that rounding the weights causes.
func (w *writer) layer(l *Layer) error {
	lazy, dense, scales, err := l.weights()
	if err != nil {
		return err
	}
	if l.Linear() {
		return w.linear(l, lazy, dense, scales)
	}
	return w.conv(l, lazy, dense, scales)
}

// integers is DequantizeLinear of a layer's weights, under the name of the float ones. They are computed when they are written.
func integers(b *ir.Builder, l *Layer, dims []int64, axis int64, scales []float32, compute func() []byte) (*ir.Value, error) {
	t, err := tensor.NewLazy(tensor.Int8, dims, compute)
	if err != nil {
		return nil, err
	}
	name, m := l.v.Args[1].Name, int64(len(scales))
	named := b.As(name)
	return named.Op(ir.DequantizeLinear.With(ir.QuantAttrs{Axis: axis}), named.Const(t), b.As(name+".scale").Const(tensor.FromFloat32([]int64{m}, scales)),
		b.As(name+".zero_point").Const(tensor.FromInt8([]int64{m}, make([]int8, m)))), nil
}

func (w *writer) conv(l *Layer, lazy, dense *tensor.Tensor, scales []float32) error {
	c := l.v
	x := c.Args[0]
	if !ir.DequantizeLinear.Is(x) {
		return fmt.Errorf("internal error: %s reads what is not quantized", c)
	}
	plain := l.plainBias()
	bias := slices.Clone(plain)
	correctBias(bias, dense, scales, l.Mean)
	b := w.g.Before(c, convRule)
	dq, err := integers(b, l, lazy.Dims(), 0, scales, func() []byte { return roundWeights(lazy.Float32s(), scales) })
	if err != nil {
		return err
	}
	name := c.Name
	if l.Out != nil {
		name += equalized
	}
	y := b.As(name).Op(ir.Conv.With(ir.Conv.Of(c)), x, dq, w.bias(b.As(c.Name+".bias"), bias, x.Args[1].Const.Float32s()[0], scales))
	if err := b.Err(); err != nil {
		return err
	}
	w.done.Same[y] = c
	w.done.Convolutions = append(w.done.Convolutions, Convolution{Key: l.Key, Conv: y, Weights: lazy, Bias: plain, In: l.In})
	if err := w.g.Replace(convRule, c, y); err != nil || l.Out == nil {
		return err
	}
	y.Of = "" // it is the float value in another scale
	return nil
}

// bias is a convolution's: int32 of the products' scales, or float.
func (w *writer) bias(b *ir.Builder, bias []float32, scaleX float32, scaleW []float32) *ir.Value {
	dims := []int64{int64(len(bias))}
	if !w.t.Spelling.IntegerBias {
		return b.Const(tensor.FromFloat32(dims, bias))
	}
	scales := make([]float32, len(bias))
	for i := range bias {
		scales[i] = scaleX * scaleW[i]
	}
	path := b.Path()
	return b.Op(ir.DequantizeLinear.With(ir.QuantAttrs{}), b.Const(tensor.FromInt32(dims, IntegerBias(bias, scales))), b.As(path+".scale").Const(tensor.FromFloat32(dims, scales)), b.As(path+".zero_point").Const(tensor.FromInt32(dims, make([]int32, len(bias)))))
}

func (w *writer) linear(l *Layer, lazy, dense *tensor.Tensor, scales []float32) error {
	v := l.v
	b := w.g.Before(v, linearRule)
	x := v.Args[0]
	if !ir.DequantizeLinear.Is(x) {
		if w.made[l.from] == nil {
			w.made[l.from] = w.roundTrip(b, w.smoothed(b, x, l.from), x.Name+suffix(l.from), l.from)
		}
		x = w.made[l.from]
	}
	n := int64(len(scales))
	dq, err := integers(b, l, v.Args[1].Const.Dims(), 1, scales, func() []byte {
		out := make([]byte, lazy.Len())
		tensor.TransposeBytes(out, roundWeights(lazy.Float32s(), scales), []int64{n, lazy.Len() / n}, []int{1, 0}, 1)
		return out
	})
	if err != nil {
		return err
	}
	y := b.As(v.Name).MatMul(x, dq)
	if err := b.Err(); err != nil {
		return err
	}
	w.done.Same[y] = v
	if err := w.correct(l, dense, scales); err != nil {
		return err
	}
	return w.g.Replace(linearRule, v, y)
}

func suffix(v *Value) string {
	if v.Before != nil {
		return equalized
	}
	return ""
}

// smoothed is the LayerNorm x with factors in its gain and bias; without factors it is x.
func (w *writer) smoothed(b *ir.Builder, x *ir.Value, v *Value) *ir.Value {
	if v.Before == nil {
		return x
	}
	times := func(c *ir.Value) *ir.Value {
		y := slices.Clone(c.Const.Float32s())
		for i := range y {
			y[i] *= v.Before[i]
		}
		return b.As(c.Name + equalized).Const(tensor.FromFloat32(c.Const.Dims(), y))
	}
	y := b.As(x.Name+equalized).Op(ir.LayerNormalization.With(ir.LayerNormalization.Of(x)), x.Args[0], times(x.Args[1]), times(x.Args[2]))
	w.done.Peaks[y] = v.Top
	return y
}

// correct adds to the bias behind a linear layer, where there is one, what rounding the weights takes from each column's mean.
func (w *writer) correct(l *Layer, dense *tensor.Tensor, scales []float32) error {
	n, k := dense.Dims()[0], dense.Dims()[1]
	users := w.g.UsesOf(l.v)
	if len(users) != 1 || !ir.Add.Is(users[0]) || int64(len(l.Mean)) != k {
		return nil
	}
	add := users[0]
	at := slices.IndexFunc(add.Args, func(a *ir.Value) bool { return a.IsConst() && a.Type.Rank() == 1 && a.Const.Len() == n })
	if at < 0 {
		return nil
	}
	bias := slices.Clone(add.Args[at].Const.Float32s())
	correctBias(bias, dense, scales, l.Mean)
	b := w.g.Before(add, linearRule)
	args := slices.Clone(add.Args)
	args[at] = b.As(add.Args[at].Name).Const(tensor.FromFloat32([]int64{n}, bias))
	y := b.As(add.Name).Op(ir.Add, args...)
	if err := b.Err(); err != nil {
		return err
	}
	w.done.Same[y] = add
	return w.g.Replace(linearRule, add, y)
}
