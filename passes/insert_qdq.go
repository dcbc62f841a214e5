package passes

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"

	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/ir/tensor"
)

// Spelling is how a target wants integers written.
type Spelling struct {
	Activations tensor.DType // Uint8: zero point 128, or 0 and 256 steps where a value is never negative; Int8: zero point 0
	IntegerBias bool         // bias as int32 with scale scale(x)*scale(w), else in float
	FusedSum    bool         // a residual addition is part of the convolution before it, whose result is not quantized on its way there
}

// ONNXRuntime's integer convolutions are fast for UINT8 activations on x86, and take an int32 bias. TensorRT takes INT8 with
// zero point 0 and a float bias, and adds the shortcut, quantized, in the kernel of the block's last convolution.
var (
	ONNXRuntime = Spelling{tensor.Uint8, true, false}
	TensorRT    = Spelling{tensor.Int8, false, true}
)

// Quantized lists what insert-qdq did.
type Quantized struct {
	Nodes []string          // convolutions in int8, by key
	Float map[string]string // convolutions that stay in float, with the reason
	Int8  int64             // multiply-adds of Nodes for one image
	All   int64             // multiply-adds of the branch's convolutions

	Layers []quant.Layer // Nodes, for who chooses their integers anew
}

// insertQDQ writes the plan into the convolutions of the scope, quantizeLinear into its linear layers. Their reports are *Quantized.
func insertQDQ(w *Work) error      { return quantized(w, (*inserter).run) }
func quantizeLinear(w *Work) error { return quantized(w, (*inserter).linears) }

func quantized(w *Work, write func(q *inserter, g *ir.Graph) (int, error)) error {
	q := &inserter{plan: w.Plan, branch: w.Scope.Convolutions, modules: w.Scope.Linears, spell: w.Spelling, done: &Quantized{Nodes: []string{}, Float: map[string]string{}},
		scaled: map[*ir.Value][]float32{}}
	w.Report = q.done
	if q.plan == nil { // calibration is switched off
		return nil
	}
	var err error
	w.Changed, err = write(q, w.Graph)
	w.Graph.Sweep()
	return err
}

type inserter struct {
	plan    *quant.Plan
	branch  []string // modules whose convolutions, and modules whose linear layers, take part
	modules []string
	spell   Spelling
	done    *Quantized
	scaled  map[*ir.Value][]float32 // values whose channels are equalized: the factor that integers carry less
}

const qdqRule = "insert-qdq"

func (q *inserter) run(g *ir.Graph) (int, error) {
	keys, sites := quant.Keys(g), quant.FindSites(g, q.branch)
	inInt8 := map[*ir.Value]bool{}
	for _, c := range sites.Convs {
		key, why := keys[c], ""
		if reason, ok := q.plan.Float[key]; ok {
			why = reason
		} else if _, ok := q.plan.Values[keys[c.Args[0]]]; !ok && sites.Same[c.Args[0]] == nil {
			why = "the plan has no range for " + keys[c.Args[0]]
		}
		n := quant.MultiplyAdds(c)
		q.done.All += n
		if why != "" {
			q.done.Float[key] = why
			continue
		}
		inInt8[c] = true
		q.done.Int8 += n
		q.done.Nodes = append(q.done.Nodes, key)
	}
	if err := q.values(g, keys, sites, inInt8); err != nil {
		return 0, err
	}
	for _, c := range sites.Convs {
		if inInt8[c] {
			layer, err := q.conv(g, c, q.plan.Values[keys[source(c)]].Mean)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", c, err)
			}
			layer.Key = keys[c]
			keys[layer.Conv], q.scaled[layer.Conv] = keys[c], q.scaled[c] // a convolution may read it without anything between
			q.done.Layers = append(q.done.Layers, layer)
		}
	}
	return len(q.done.Nodes), nil
}

// source is the value whose statistics a convolution's input has; after values its argument is a DequantizeLinear.
func source(c *ir.Value) *ir.Value {
	x := c.Args[0]
	if ir.DequantizeLinear.Is(x) {
		x = x.Args[0].Args[0]
	}
	if x.From == qdqRule && ir.Mul.Is(x) {
		x = x.Args[0] // what the convolution's weights take out again
	}
	return x
}

// values puts QuantizeLinear and DequantizeLinear behind what the branch computes, and before what it reads.
func (q *inserter) values(g *ir.Graph, keys map[*ir.Value]string, sites *quant.Sites, inInt8 map[*ir.Value]bool) error {
	uses := g.Uses()
	taken := map[*ir.Value]bool{} // other integer work than convolutions: residual additions, max-pooling, and the ReLU before them
	for _, v := range sites.Values {
		taken[v] = true
		if ir.Relu.Is(v) {
			taken[v.Args[0]] = true
		}
	}
	pooled := map[*ir.Value]*ir.Value{} // max-pooling keeps the large values: its result decides the range that both share
	for pool, x := range sites.Same {
		pooled[x] = pool
	}
	fused := map[*ir.Value]bool{}
	if q.spell.FusedSum {
		fused = fusedSums(sites, uses, inInt8)
	}
	for _, v := range append(slices.Clone(sites.Inputs), sites.Values...) {
		if fused[v] {
			continue
		}
		decides := v
		if p := pooled[v]; p != nil {
			decides = p
		}
		r, ok := q.plan.Values[keys[decides]]
		if !ok || !q.worth(v, uses, inInt8) {
			continue
		}
		onlyConvs := slices.Contains(sites.Inputs, v)
		b := g.After(v, qdqRule)
		top, mul, div := r.Max, []float32(nil), []float32(nil) // per channel: before QuantizeLinear, after DequantizeLinear
		switch ratio := equalize(r, v); {
		case ratio == nil:
		case onlyConvs: // float puts it in, the convolutions' weights take it out
			q.scaled[v], top, mul = ratio, r.Peak(), inverse(ratio)
		case ir.Conv.Is(v) && inInt8[v] && !g.IsOutput(v) && !slices.ContainsFunc(uses[v], func(u *ir.Value) bool { return inInt8[u] || taken[u] }):
			q.scaled[v], top, div = ratio, r.Peak(), ratio // the weights put it in, float takes it out
		}
		if p := producer(v); inInt8[p] && !onlyConvs && q.scaled[p] == nil && allIn(uses[v], inInt8) && !g.IsOutput(v) {
			if ratio := equalize(r, v); ratio != nil { // one convolution's weights put it in, the next ones' take it out; ReLU commutes with it
				q.scaled[p], q.scaled[v] = ratio, ratio
				top = r.Peak()
				v.Name, v.Of = v.Name+equalized, ""
			}
		}
		x := perChannel(b, v, mul)
		back := q.roundTrip(b, x, r, top, mul)
		quantized := back.Args[0]
		if back = perChannel(b, back, div); div != nil {
			back.Of = v.Of
		}
		if err := b.Err(); err != nil {
			return err
		}
		err := g.ReplaceIn(qdqRule, v, back, func(u *ir.Value) bool { return u != quantized && u != x && (!onlyConvs || inInt8[u]) })
		if err != nil {
			return err
		}
	}
	return nil
}

// fusedSums gives, of each residual addition, the convolution whose kernel can add: the last one, when nothing else reads its result.
func fusedSums(sites *quant.Sites, uses map[*ir.Value][]*ir.Value, inInt8 map[*ir.Value]bool) map[*ir.Value]bool {
	fused := map[*ir.Value]bool{}
	for _, v := range sites.Values {
		sum := producer(v)
		if !ir.Add.Is(sum) {
			continue
		}
		for _, c := range slices.Backward(sites.Convs) {
			if slices.Contains(sum.Args, c) && inInt8[c] && len(uses[c]) == 1 {
				fused[c] = true
				break
			}
		}
	}
	return fused
}

// equalized ends the names of values that carry another scale than the float model's, so that nobody compares the two.
const equalized = ".equalized"

// producer is what computes v before its ReLU.
func producer(v *ir.Value) *ir.Value {
	if ir.Relu.Is(v) {
		return v.Args[0]
	}
	return v
}

func allIn(users []*ir.Value, set map[*ir.Value]bool) bool {
	return len(users) > 0 && !slices.ContainsFunc(users, func(u *ir.Value) bool { return !set[u] })
}

// worth reports whether v is the result of integer work or read by it; what only float touches stays as it is.
func (q *inserter) worth(v *ir.Value, uses map[*ir.Value][]*ir.Value, inInt8 map[*ir.Value]bool) bool {
	p := producer(v)
	if inInt8[p] || slices.ContainsFunc(uses[v], func(u *ir.Value) bool { return inInt8[u] }) {
		return true
	}
	return (ir.Add.Is(p) || ir.MaxPool.Is(p)) && slices.ContainsFunc(p.Args, func(a *ir.Value) bool {
		if ir.DequantizeLinear.Is(a) { // it was quantized just now
			a = a.Args[0].Args[0]
		}
		return inInt8[producer(a)]
	})
}

// geluFloor is the least value of GELU, at x = -0.7518.
const geluFloor = -0.17

// roundTrip is DequantizeLinear(QuantizeLinear(x)) with amplitudes up to top. UINT8 takes no steps for what cannot be: below 0 after
// ReLU, below GELU's least value (times the largest factor per channel, where there are any).
func (q *inserter) roundTrip(b *ir.Builder, x *ir.Value, r quant.Range, top float32, factors []float32) *ir.Value {
	low := -top
	switch producer := x; {
	case r.NonNegative:
		low = 0
	case x.From == qdqRule && ir.Mul.Is(x):
		producer = x.Args[0]
		fallthrough
	default:
		if ir.Gelu.Is(producer) {
			most := float32(1)
			for _, f := range factors {
				most = max(most, f)
			}
			low = max(low, geluFloor*most)
		}
	}
	scale, zero := top/127, tensor.FromInt8([]int64{}, []int8{0})
	if q.spell.Activations == tensor.Uint8 {
		point := uint8(128)
		if low > -top {
			scale = (top - low) / 255
			point = uint8(math.Round(float64(-low / scale)))
		}
		zero = tensor.FromUint8([]int64{}, []uint8{point})
	}
	base := x.Name
	if x.From == qdqRule && ir.Mul.Is(x) {
		base = x.Args[0].Name
	}
	b = b.As(base)
	s, z := b.As(base+".scale").Const(tensor.Scalar(scale)), b.As(base+".zero_point").Const(zero)
	return b.Op(ir.DequantizeLinear, b.Op(ir.QuantizeLinear, x, s, z), s, z)
}

// perChannel multiplies the channels of x (axis 1); without factors it is x. A Mul and one scale for all channels, because executors have
// fast conversions for that and slow ones, or none, for a scale per channel of an activation.
func perChannel(b *ir.Builder, x *ir.Value, factors []float32) *ir.Value {
	if factors == nil {
		return x
	}
	return b.Mul(x, b.As(x.Name+".channel_scale").Const(tensor.FromFloat32([]int64{int64(len(factors)), 1, 1}, factors)))
}

func inverse(x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = 1 / v
	}
	return y
}

// leastRatio bounds how much a quiet channel is amplified.
const leastRatio = 1.0 / 256

// equalize gives each channel's amplitude as a part of the largest; nil when the plan does not know them. Where only one side of a
// value is integer, its channels can have their own scales at no cost: the other factor goes into the convolution's weights
// (cross-layer equalization over a boundary between float and INT8).
func equalize(r quant.Range, v *ir.Value) []float32 {
	if len(v.Type.Shape) != 4 || !v.Type.Shape[1].Is(int64(len(r.Channels))) || len(r.Channels) == 0 {
		return nil
	}
	top := r.Peak()
	ratio := make([]float32, len(r.Channels))
	for i, c := range r.Channels {
		ratio[i] = max(c/top, leastRatio)
	}
	return ratio
}

// conv replaces a convolution by one over DequantizeLinear of INT8 weights (per channel, axis 0, symmetric). The bias makes up
// for the mean error that rounding the weights causes on inputs of the given channel means.
func (q *inserter) conv(g *ir.Graph, c *ir.Value, mean []float32) (layer quant.Layer, err error) {
	x := c.Args[0]
	if !ir.DequantizeLinear.Is(x) {
		return layer, fmt.Errorf("its input is not quantized")
	}
	w := c.Args[1].Const
	m := w.Dims()[0]
	in, out := q.scaled[source(c)], q.scaled[c]
	if in != nil || out != nil {
		plain := w
		if w, err = tensor.MapFloat32(plain.Dims(), func() []float32 { return scaleWeights(plain, in, out) }); err != nil {
			return layer, err
		}
		mean = divided(mean, in)
	}
	scales := weightScales(w.Float32s(), int(m))
	integers, err := tensor.NewLazy(tensor.Int8, w.Dims(), func() []byte { return roundWeights(w.Float32s(), scales) })
	if err != nil {
		return layer, err
	}
	bias := make([]float32, m)
	if len(c.Args) > 2 {
		copy(bias, c.Args[2].Const.Float32s())
	}
	layer = quant.Layer{Weights: w, Bias: divided(bias, out), In: in}
	bias = slices.Clone(layer.Bias)
	correctBias(bias, w, scales, mean)
	b := g.Before(c, qdqRule)
	named := b.As(c.Args[1].Name)
	dq := named.Op(ir.DequantizeLinear.With(ir.QuantAttrs{}), named.Const(integers), b.As(c.Args[1].Name+".scale").Const(tensor.FromFloat32([]int64{m}, scales)), b.As(c.Args[1].Name+".zero_point").Const(tensor.FromInt8([]int64{m}, make([]int8, m))))
	name := c.Name
	if out != nil {
		name += equalized
	}
	qc := b.As(name).Op(ir.Conv.With(ir.Conv.Of(c)), x, dq, q.bias(b.As(c.Name+".bias"), bias, x.Args[1].Const.Float32s()[0], scales))
	if err := b.Err(); err != nil {
		return layer, err
	}
	layer.Conv = qc
	if err := g.Replace(qdqRule, c, qc); err != nil || out == nil {
		return layer, err
	}
	qc.Of = "" // it is the float value in another scale
	return layer, nil
}

func (q *inserter) bias(b *ir.Builder, bias []float32, scaleX float32, scaleW []float32) *ir.Value {
	dims := []int64{int64(len(bias))}
	if !q.spell.IntegerBias {
		return b.Const(tensor.FromFloat32(dims, bias))
	}
	scales := make([]float32, len(bias))
	for i := range bias {
		scales[i] = scaleX * scaleW[i]
	}
	path := b.Path()
	return b.Op(ir.DequantizeLinear.With(ir.QuantAttrs{}), b.Const(tensor.FromInt32(dims, quant.IntegerBias(bias, scales))), b.As(path+".scale").Const(tensor.FromFloat32(dims, scales)), b.As(path+".zero_point").Const(tensor.FromInt32(dims, make([]int32, len(bias)))))
}

// firstInput is the first channel, of so many, that weights [M,C/groups,kH,kW] of output channel o read.
func firstInput(dims []int64, channels, o int) int {
	perGroup := int(dims[1])
	return o * (channels / perGroup) / int(dims[0]) * perGroup
}

// scaleWeights multiplies weights [M,C,...] by in (per input channel) and divides them by out (per output channel); nil is ones.
func scaleWeights(w *tensor.Tensor, in, out []float32) []float32 {
	d := w.Dims()
	taps, row := int(d[2]*d[3]), int(d[1]*d[2]*d[3])
	x := slices.Clone(w.Float32s())
	for o := range int(d[0]) {
		first := firstInput(d, len(in), o)
		for i := range row {
			if in != nil {
				x[o*row+i] *= in[first+i/taps]
			}
			if out != nil {
				x[o*row+i] /= out[o]
			}
		}
	}
	return x
}

// divided is x / by, element for element; by nil is ones.
func divided(x, by []float32) []float32 {
	if by == nil || len(x) != len(by) {
		return x
	}
	y := make([]float32, len(x))
	for i := range x {
		y[i] = x[i] / by[i]
	}
	return y
}

// deadScale replaces the scale of a channel whose weights are all 0.
const deadScale = 1.0 / (1 << 20)

// weightScales chooses each output channel's scale: of some fractions of the largest weight / 127 the one with the least squared error.
func weightScales(w []float32, channels int) []float32 {
	scales, row := make([]float32, channels), len(w)/channels
	var wg sync.WaitGroup
	const parts = 8
	for p := range parts {
		wg.Go(func() {
			for c := channels * p / parts; c < channels*(p+1)/parts; c++ {
				scales[c] = bestScale(w[c*row : (c+1)*row])
			}
		})
	}
	wg.Wait()
	return scales
}

func bestScale(w []float32) float32 {
	top := float32(0)
	for _, v := range w {
		top = max(top, v, -v)
	}
	if top == 0 {
		return deadScale
	}
	best, at := float32(math.Inf(1)), float32(1)
	try := func(fraction float32) {
		s := top / 127 * fraction
		inv, err := 1/s, float32(0)
		for _, v := range w {
			d := v - s*roundClip(v*inv)
			if err += d * d; err >= best {
				return
			}
		}
		best, at = err, fraction
	}
	for i := range 10 { // coarse, then fine around the best
		try(1 - float32(i)*0.05)
	}
	for _, d := range []float32{-0.03, -0.02, -0.01, 0.01, 0.02, 0.03} {
		if f := at + d; f <= 1 {
			try(f)
		}
	}
	return top / 127 * at
}

// roundClip rounds half to even, by the float32 format itself, and clips to [-127, 127].
func roundClip(x float32) float32 {
	const magic = 3 << 22                                // 1.5 * 2^23: adding it leaves no fraction bits
	return min(max((float32(x)+magic)-magic, -127), 127) // the conversion forbids fusing with the caller's product
}

func roundWeights(w, scales []float32) []byte {
	out, row := make([]byte, len(w)), len(w)/len(scales)
	for i, v := range w {
		out[i] = byte(int8(roundClip(v * (1 / scales[i/row]))))
	}
	return out
}

// correctBias adds what rounding takes from each output channel's mean: sum over inputs of (w - rounded w) * mean(input).
func correctBias(bias []float32, weights *tensor.Tensor, scales, mean []float32) {
	d := weights.Dims()
	if len(mean) == 0 || int64(len(mean))%d[1] != 0 {
		return
	}
	w, row, taps := weights.Float32s(), int(d[1]*d[2]*d[3]), int(d[2]*d[3])
	for o := range bias {
		sum, s, first := 0.0, scales[o], firstInput(d, len(mean), o)
		for i, v := range w[o*row : (o+1)*row] {
			sum += float64(v-s*roundClip(v*(1/s))) * float64(mean[first+i/taps])
		}
		bias[o] += float32(sum)
	}
}

// Add joins what another pass did.
func (q *Quantized) Add(o *Quantized) {
	q.Nodes, q.Layers = append(q.Nodes, o.Nodes...), append(q.Layers, o.Layers...)
	maps.Copy(q.Float, o.Float)
	q.Int8, q.All = q.Int8+o.Int8, q.All+o.All
}
