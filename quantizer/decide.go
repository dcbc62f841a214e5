package quantizer

import (
	"fmt"
	"math"
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/quant"
)

// Decide makes of a plan the table for a graph: it changes nothing. A plan that is held to the model (Resolve) has a range for all that
// it quantizes; what lacks one stays in float with that reason. A range with numbers that no value can have is an error.
func Decide(g *ir.Graph, plan *quant.Plan, scope quant.Scope, spell Spelling) (*Table, error) {
	if plan == nil {
		plan = &quant.Plan{}
	}
	for key, r := range plan.Values {
		if err := r.Check(); err != nil {
			return nil, fmt.Errorf("plan: value %q: %w", key, err)
		}
	}
	d := &decider{g: g, plan: plan, spell: spell, keys: ir.Keys(g), uses: g.Uses(), sites: FindSites(g, scope),
		table: &Table{Graph: g.Name, Spelling: spell, inInt8: map[*ir.Value]bool{}}, factors: map[*ir.Value][]float32{}, values: map[*ir.Value]*Value{}}
	d.convolutions()
	d.linears()
	return d.table, nil
}

type decider struct {
	g       *ir.Graph
	plan    *quant.Plan
	spell   Spelling
	keys    map[*ir.Value]string
	uses    map[*ir.Value][]*ir.Value
	sites   *Sites
	table   *Table
	factors map[*ir.Value][]float32 // values whose channels are equalized: the factor that integers carry less
	values  map[*ir.Value]*Value    // those of the table
}

// layer adds a row, in float where the plan or the numbers say so. from are the values whose ranges it needs.
func (d *decider) layer(v *ir.Value, from ...*ir.Value) *Layer {
	l := &Layer{Key: d.keys[v], MultiplyAdds: MultiplyAdds(v), v: v}
	d.table.Layers = append(d.table.Layers, l)
	if reason, float := d.plan.Float[l.Key]; float {
		if l.Float = reason; reason == "" {
			l.Float = "the plan says so"
		}
		return l
	}
	for _, x := range from {
		if _, ok := d.plan.Values[d.keys[x]]; !ok {
			l.Float = "the plan has no range for " + d.keys[x]
			return l
		}
	}
	r := d.plan.Values[d.keys[from[len(from)-1]]]
	l.Float = d.unfit(v, r)
	d.table.inInt8[v] = l.Float == ""
	return l
}

// unfit says why a layer's numbers are none for INT8; "" where they are.
func (d *decider) unfit(v *ir.Value, r quant.Range) string {
	w := kernel.Amplitude(v.Args[1].Const.Float32s())
	v.Args[1].Const.Release()
	x := max(r.Max, r.Peak())
	switch {
	case w != w || math.IsInf(float64(w), 1):
		return "it has weights that are not finite"
	case w > mostAmplitude:
		return fmt.Sprintf("its weights reach %.2g: integers need less than %.2g", w, mostAmplitude)
	case x > mostAmplitude:
		return fmt.Sprintf("what it reads reaches %.2g: integers need less than %.2g", x, mostAmplitude)
	case float64(w)*float64(x) > mostAmplitude:
		return fmt.Sprintf("its products reach %.2g: integers need less than %.2g", float64(w)*float64(x), mostAmplitude)
	}
	if ir.Conv.Is(v) && len(v.Args) > 2 {
		b := kernel.Amplitude(v.Args[2].Const.Float32s())
		step := max(min(r.Max, x), leastAmplitude) / 255 // the least scale of what it reads
		switch {
		case !(b <= mostAmplitude):
			return fmt.Sprintf("its bias reaches %.2g: integers need less than %.2g", b, mostAmplitude)
		case d.spell.IntegerBias && float64(b)/leastRatio/float64(step)/biasSteps > mostAmplitude:
			return fmt.Sprintf("its bias reaches %.2g beside inputs of at most %.2g: no scale of its weights holds both", b, x)
		}
	}
	return ""
}

// convolutions decides the branch's layers, then the values between them.
func (d *decider) convolutions() {
	pooled := map[*ir.Value]*ir.Value{} // max-pooling keeps the large values: its result decides the range that both share
	for pool, x := range d.sites.Same {
		pooled[x] = pool
	}
	decides := func(v *ir.Value) *ir.Value {
		if p := pooled[v]; p != nil {
			return p
		}
		return v
	}
	for _, c := range d.sites.Convs {
		l := d.layer(c, c.Args[0], decides(c.Args[0]))
		l.bias = d.spell.IntegerBias
	}
	taken := map[*ir.Value]bool{} // other integer work than convolutions: residual additions, max-pooling, and the ReLU before them
	for _, v := range d.sites.Values {
		taken[v] = true
		if ir.Relu.Is(v) {
			taken[v.Args[0]] = true
		}
	}
	fused := map[*ir.Value]bool{}
	if d.spell.FusedSum {
		fused = d.sites.fusedSums(d.uses, d.table.inInt8)
	}
	for _, v := range slices.Concat(d.sites.Inputs, d.sites.Values) {
		if r, ok := d.plan.Values[d.keys[decides(v)]]; ok && !fused[v] && d.worth(v) {
			d.value(v, r, taken)
		}
	}
	for _, l := range d.table.Layers {
		if x := d.values[l.v.Args[0]]; l.Float == "" {
			l.from, l.scale, l.In, l.Out = x, x.Scale, d.factors[x.v], d.factors[l.v]
			l.Mean = divided(d.plan.Values[x.Key].Mean, l.In)
		}
	}
}

// value decides one that convolutions read or give.
func (d *decider) value(v *ir.Value, r quant.Range, taken map[*ir.Value]bool) {
	inInt8 := d.table.inInt8
	x := &Value{Key: d.keys[v], Reason: r.Reason, Top: r.Max, v: v}
	d.table.Values, d.values[v] = append(d.table.Values, x), x
	if top := max(r.Max, r.Peak()); top > mostAmplitude {
		x.Float = fmt.Sprintf("reaches %.2g: integers need less than %.2g", top, mostAmplitude)
		return
	}
	forConvs := slices.Contains(d.sites.Inputs, v)
	if forConvs {
		x.Place = BehindForConvs
	}
	ratio := equalize(r, v)
	p := producer(v)
	switch {
	case ratio == nil:
	case forConvs: // float puts it in, the convolutions' weights take it out
		x.Before, x.Top, d.factors[v] = inverse(ratio), r.Peak(), ratio
	case ir.Conv.Is(v) && inInt8[v] && !d.g.IsOutput(v) && !slices.ContainsFunc(d.uses[v], func(u *ir.Value) bool { return inInt8[u] || taken[u] }):
		x.After, x.Top, d.factors[v] = ratio, r.Peak(), ratio // the weights put it in, float takes it out
	case inInt8[p] && d.factors[p] == nil && allIn(d.uses[v], inInt8) && !d.g.IsOutput(v):
		x.Inside, x.Top = true, r.Peak() // one convolution's weights put it in, the next ones' take it out; ReLU commutes with it
		d.factors[p], d.factors[v] = ratio, ratio
	}
	x.Scale, x.Zero = d.spell.grid(v, r, x.Top, x.Before)
}

func allIn(users []*ir.Value, set map[*ir.Value]bool) bool {
	return len(users) > 0 && !slices.ContainsFunc(users, func(u *ir.Value) bool { return !set[u] })
}

// worth reports whether v is the result of integer work or read by it; what only float touches stays as it is.
func (d *decider) worth(v *ir.Value) bool {
	p, inInt8 := producer(v), d.table.inInt8
	if inInt8[p] || slices.ContainsFunc(d.uses[v], func(u *ir.Value) bool { return inInt8[u] }) {
		return true
	}
	return (ir.Add.Is(p) || ir.MaxPool.Is(p)) && slices.ContainsFunc(p.Args, func(a *ir.Value) bool { return inInt8[producer(a)] })
}

// leastRatio bounds how much a quiet channel is amplified.
const leastRatio = 1.0 / 256

// equalize gives each channel's amplitude as a part of the largest; nil when the plan does not know them, or saw nothing but 0. Where only
// one side of a value is integer, its channels can have their own scales at no cost: the other factor goes into the convolution's weights
// (cross-layer equalization over a boundary between float and INT8).
func equalize(r quant.Range, v *ir.Value) []float32 {
	if len(v.Type.Shape) != 4 || !v.Type.Shape[1].Is(int64(len(r.Channels))) || len(r.Channels) == 0 || r.Dead() {
		return nil
	}
	top := r.Peak()
	ratio := make([]float32, len(r.Channels))
	for i, c := range r.Channels {
		ratio[i] = max(c/top, leastRatio)
	}
	return ratio
}

// linears decides the linear layers and what they read. Results, the residual stream, attention's products, LayerNorm and GELU stay in
// float. Where a layer reads a LayerNorm, channels of large amplitude are scaled down there and up in the weights (SmoothQuant, exponent 1/2).
func (d *decider) linears() {
	for _, v := range d.sites.Linears {
		x := v.Args[0]
		l := d.layer(v, x)
		if l.Float != "" {
			continue
		}
		r := d.plan.Values[d.keys[x]]
		if l.from = d.values[x]; l.from != nil && l.from.After != nil {
			l.Float, d.table.inInt8[v] = "it reads a convolution whose channels float scales", false
			continue
		}
		if l.from == nil {
			at := &Value{Key: d.keys[x], Reason: r.Reason, Top: r.Max, Place: AtLinears, v: x}
			if at.Before = d.smooth(x, v.Args[1].Const.Float32s(), r); at.Before != nil {
				at.Top, d.factors[x] = smoothedPeak(r, at.Before), inverse(at.Before)
			}
			at.Scale, at.Zero = d.spell.grid(x, r, at.Top, nil)
			d.table.Values, d.values[x], l.from = append(d.table.Values, at), at, at
		}
		l.scale, l.In = l.from.Scale, d.factors[x]
		l.Mean = divided(r.Mean, l.In)
	}
}

// smooth gives what a LayerNorm's channels are multiplied with before they are quantized: sqrt(largest weight of the row / largest
// amplitude of the channel), relative to the geometric mean; nil where x is not a LayerNorm of one layer's own. Dead rows and channels have
// no part in it.
func (d *decider) smooth(x *ir.Value, w []float32, r quant.Range) []float32 {
	if !ir.LayerNormalization.Is(x) || len(d.uses[x]) != 1 || len(x.Args) < 3 || !x.Args[1].IsConst() || !x.Args[2].IsConst() ||
		len(r.Channels) == 0 || len(w)%len(r.Channels) != 0 || r.Dead() {
		return nil
	}
	n := len(w) / len(r.Channels)
	s, mean := make([]float32, len(r.Channels)), 0.0
	for i, peak := range r.Channels {
		top := kernel.Amplitude(w[i*n : (i+1)*n])
		if s[i] = 1; peak == 0 || top == 0 {
			continue
		}
		if q := top / peak; q > 0 && q <= math.MaxFloat32 {
			s[i] = float32(math.Sqrt(float64(q)))
			mean += math.Log(float64(s[i]))
		}
	}
	unit := float32(math.Exp(mean / float64(len(s))))
	for i := range s {
		s[i] = min(max(s[i]/unit, 1.0/16), 16)
	}
	if a := max(kernel.Amplitude(x.Args[1].Const.Float32s()), kernel.Amplitude(x.Args[2].Const.Float32s())); !(a <= mostAmplitude) {
		return nil // its own constants would not stay finite
	}
	return s
}

// smoothedPeak is the largest amplitude after scaling channels by s, clipped by as much as the calibration method clipped the unscaled value.
func smoothedPeak(r quant.Range, s []float32) float32 {
	top := float32(0)
	for i, c := range r.Channels {
		top = max(top, c*s[i])
	}
	if clipped := top * r.Max / r.Peak(); clipped <= math.MaxFloat32 {
		return clipped
	}
	return top * (r.Max / r.Peak())
}
