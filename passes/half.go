package passes

import (
	"fmt"
	"math"
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
)

// The limits of float16. Calibration sees a sample, so a recorded amplitude may be exceeded twofold; squares and exponentials of what
// is below their limits stay below maxFloat16.
const (
	maxFloat16  = 65504.0
	rangeLimit  = maxFloat16 / 2
	leastNormal = 1.0 / (1 << 14)
)

var (
	squareLimit = float32(math.Sqrt(maxFloat16)) // 255.9
	expLimit    = float32(math.Log(rangeLimit))  // 10.4
)

// Halved says what cast-half did.
type Halved struct {
	Values  int       // results in float16
	Float32 []Float32 // results that stay in float32, but for those between integers
}

// Float32 is a value that stays in float32, the rule that keeps it there, and its recorded amplitude (0: none recorded).
type Float32 struct {
	Graph, Value, Rule, Reason string
	Peak                       float32
}

// castHalf moves a graph to float16 but for what needs float32: strongly typed, precision in the graph alone. The plan's peaks are
// recorded amplitudes by value key; nothing is known where there is none. Inputs and outputs stay float32. Its report is a *Halved.
func castHalf(w *Work) error {
	g, done := w.Graph, &Halved{Float32: []Float32{}}
	h := &halver{g: g, keys: ir.Keys(g), uses: g.Uses(), wide: map[*ir.Value]bool{}, integers: map[*ir.Value]bool{},
		phase: leading(g, []*ir.Op{ir.Sin.Op, ir.Cos.Op}, nil), log: leading(g, []*ir.Op{ir.Log.Op}, ir.Exp.Op)}
	if w.Plan != nil {
		h.peaks = w.Plan.Peaks
	}
	var err error
	w.Changed, err = h.cast(done)
	w.Report = done
	return err
}

// A halver decides for the values of one graph, in order.
type halver struct {
	g        *ir.Graph
	keys     map[*ir.Value]string
	uses     map[*ir.Value][]*ir.Value
	peaks    map[string]float32
	wide     map[*ir.Value]bool // stays in float32
	integers map[*ir.Value]bool // stands between integers
	phase    map[*ir.Value]bool // leads to a sine
	log      map[*ir.Value]bool // leads from an exponential to its logarithm
}

// peak is the recorded amplitude; false where there is none.
func (h *halver) peak(v *ir.Value) (float32, bool) {
	p, ok := h.peaks[h.keys[v]]
	return p, ok
}

// rules say what stays in float32, and why; the first that applies counts.
var rules = []struct {
	Name, Why string
	applies   func(h *halver, v *ir.Value) bool
}{
	{"integers", "stands between integers: their kernels take float32 at no cost, and opsets below 19 have no other scales", (*halver).betweenIntegers},
	{"phase", "leads to a sine or cosine, whose argument needs its absolute precision", func(h *halver, v *ir.Value) bool { return h.phase[v] }},
	{"logarithm", "leads from an exponential to its logarithm: what is lost below float16's least number comes back as infinity", func(h *halver, v *ir.Value) bool { return h.log[v] }},
	{"range", "reaches more than half of float16's largest number", (*halver).outOfRange},
	{"unknown", "nobody has seen how large it is, or what it reads", (*halver).unknown},
	{"constant", "has a constant that float16 cannot hold", func(_ *halver, v *ir.Value) bool { return slices.ContainsFunc(v.Args, unholdable) }},
	{"square", "squares an input that is not known to stay below 255", (*halver).squares},
	{"exponential", "raises to the power of an input that is not known to stay below 10", func(h *halver, v *ir.Value) bool {
		return (ir.Exp.Is(v) || ir.ReduceLogSumExp.Is(v)) && !h.below(v.Args[0], expLimit)
	}},
}

// below reports whether a value is known to stay within a limit.
func (h *halver) below(v *ir.Value, limit float32) bool {
	p, ok := h.peak(v)
	return ok && p <= limit
}

func (h *halver) betweenIntegers(v *ir.Value) bool {
	isInteger := func(a *ir.Value) bool { return a != nil && h.integers[a] }
	switch {
	case ir.QuantizeLinear.Is(v), ir.DequantizeLinear.Is(v):
		return true
	case len(v.Args) > 1 && v.Args[1].IsConst() && !ir.Mul.Is(v): // a product with float weights
		return false
	case slices.ContainsFunc(v.Args, func(a *ir.Value) bool { return a != nil && ir.DequantizeLinear.Is(a) }):
		return true
	}
	return slices.ContainsFunc(v.Args, isInteger) && slices.ContainsFunc(h.uses[v], func(u *ir.Value) bool { return ir.QuantizeLinear.Is(u) })
}

func (h *halver) outOfRange(v *ir.Value) bool {
	for _, x := range append([]*ir.Value{v}, v.Args...) {
		if x == nil || x.IsConst() {
			continue
		}
		if p, ok := h.peak(x); ok && p > rangeLimit {
			return true
		}
	}
	return false
}

// unknown is never safe: where amplitudes were recorded, a value that has none, or reads one that has none, may be of any size.
func (h *halver) unknown(v *ir.Value) bool {
	return h.peaks != nil && slices.ContainsFunc(append([]*ir.Value{v}, v.Args...), func(x *ir.Value) bool {
		if x == nil || x.IsConst() || x.IsInput() || x.Type.DType != tensor.Float32 {
			return false
		}
		_, known := h.peak(x)
		return !known
	})
}

func (h *halver) squares(v *ir.Value) bool {
	switch v.Op {
	case ir.LayerNormalization.Op, ir.Pow.Op:
	case ir.Mul.Op:
		if v.Args[0] != v.Args[1] {
			return false
		}
	default:
		return false
	}
	return !h.below(v.Args[0], squareLimit)
}

// unholdable reports whether a constant has an element past float16's range, or none above its normal numbers but 0.
func unholdable(v *ir.Value) bool {
	if !v.IsConst() || v.Type.DType != tensor.Float32 {
		return false
	}
	top := kernel.Amplitude(v.Const.Float32s())
	v.Const.Release()
	return top > maxFloat16 || top != 0 && top < leastNormal
}

// leading marks the values of some ops and everything that leads to them, back to the values of the op from (nil: to the inputs).
func leading(g *ir.Graph, to []*ir.Op, from *ir.Op) map[*ir.Value]bool {
	marked := map[*ir.Value]bool{}
	for _, v := range slices.Backward(g.Values) {
		if slices.Contains(to, v.Op) {
			marked[v] = true
		}
		if marked[v] && v.Op != from {
			for _, a := range v.Args {
				if a != nil && a.Type.DType == tensor.Float32 {
					marked[a] = true
				}
			}
		}
	}
	return marked
}

// softMask is masked in float16: sums of two stay in range, its exponential is 0, and no logit that a softmax can tell from others is
// near it.
const softMask = -8192

func softenMasks(w *Work) error {
	err := rewrite(w, "soften-masks", func(b *ir.Builder, v *ir.Value) (*ir.Value, error) {
		if !v.IsConst() || v.Type.DType != tensor.Float32 || v.Const.Len() > maxFolded/4 || !slices.Contains(v.Const.Float32s(), masked) {
			return nil, nil
		}
		x := slices.Clone(v.Const.Float32s())
		for i := range x {
			x[i] = max(x[i], softMask)
		}
		return b.Const(tensor.FromFloat32(v.Const.Dims(), x)), nil
	})
	w.Graph.Sweep()
	return err
}

// cast builds the graph anew with the types that the rules decide, and casts where they meet.
func (h *halver) cast(done *Halved) (int, error) {
	b := ir.NewBuilder(h.g.Name)
	made := map[*ir.Value]*ir.Value{}
	type typed struct {
		v *ir.Value
		d tensor.DType
	}
	cast := map[typed]*ir.Value{}
	// as gives a value's new form as an element type; other types than float32 and float16 stay.
	as := func(v *ir.Value, d tensor.DType) *ir.Value {
		if v == nil || v.Type.DType != tensor.Float32 {
			return made[v]
		}
		have := made[v]
		if v.IsConst() {
			if have = cast[typed{v, d}]; have == nil {
				have = b.As(v.Name).Const(tensor.Cast(v.Const, d))
				cast[typed{v, d}] = have
			}
			return have
		}
		if have.Type.DType == d {
			return have
		}
		if cast[typed{v, d}] == nil {
			c := b.As(v.Name).Op(ir.Cast.With(ir.CastAttrs{To: d}), have)
			c.From = "cast-half"
			cast[typed{v, d}] = c
		}
		return cast[typed{v, d}]
	}
	n := 0
	for _, v := range h.g.Values {
		switch {
		case v.IsInput():
			made[v] = b.Input(v.Name, v.Type.DType, v.Type.Shape...)
			h.wide[v] = true
			continue
		case v.IsConst():
			if v.Type.DType != tensor.Float32 {
				made[v] = b.As(v.Name).Const(v.Const)
			}
			continue
		}
		d := tensor.Float16
		if h.staysWide(v, done) {
			d = tensor.Float32
			h.wide[v] = true
		} else if v.Type.DType == tensor.Float32 {
			n++
		}
		args := make([]*ir.Value, len(v.Args))
		for i, a := range v.Args {
			args[i] = as(a, d)
		}
		made[v] = b.As(v.Name).Op(v.Applied(), args...)
		if err := b.Err(); err != nil {
			return 0, fmt.Errorf("cast-half: %w", err)
		}
		made[v].From, made[v].Of = v.From, v.Of
	}
	for _, o := range h.g.Outputs {
		v := made[o.Value]
		if o.Value.Type.DType == tensor.Float32 {
			v = as(o.Value, tensor.Float32)
		}
		b.Output(o.Name, v)
	}
	g, err := b.Graph()
	if err != nil {
		return 0, err
	}
	h.g.Become(g)
	done.Values += n
	return n, nil
}

// staysWide decides a value. What gives no float32 itself (a comparison) takes its arguments as they come.
func (h *halver) staysWide(v *ir.Value, done *Halved) bool {
	for _, r := range rules {
		if !r.applies(h, v) {
			continue
		}
		if r.Name == "integers" {
			h.integers[v] = true
		} else if v.Type.DType == tensor.Float32 {
			p, _ := h.peak(v)
			done.Float32 = append(done.Float32, Float32{h.g.Name, h.keys[v], r.Name, r.Why, p})
		}
		return true
	}
	return v.Type.DType != tensor.Float32 && !slices.ContainsFunc(v.Args, func(a *ir.Value) bool {
		return a != nil && a.Type.DType == tensor.Float32 && !a.IsConst() && !h.wide[a]
	})
}
