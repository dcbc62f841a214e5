// Package reconstruct chooses a quantized graph's integer weights and biases anew, convolution by convolution, so that each gives what the
// float graph's gives on calibration inputs. Products to which something is added are converted: Go fuses the two on some processors, and
// integers would differ.
package reconstruct

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/quantizer"
)

// Run rewrites the constants of the layers of a quantized graph, in graph order: what a layer reads has the errors of all layers before
// it, rounded anew. float is the graph before insert-qdq; inputs are both graphs' inputs, one map per calibration image. Grouped
// convolutions and those of dynamic size keep what they have. known are results of the float graph by key, one for each of the inputs, that
// need not be computed again. seen, if any, is told of each layer.
//
// Per layer it minimises the mean of |W x - Q x'|^2 over pixels and images (x what the float layer reads, x' what the integer one reads,
// W and Q the two layers' weights), for the integers by coordinate descent with fixed scales; the bias makes up for the means exactly.
func Run(ctx context.Context, float, quantized *ir.Graph, layers []quantizer.Convolution, inputs []map[string]*tensor.Tensor,
	known map[string][]*tensor.Tensor, seen func()) error {
	plain, results := map[string]*ir.Value{}, map[*ir.Value][]*tensor.Tensor{}
	for v, key := range ir.Keys(float) {
		plain[key] = v
		if known[key] != nil {
			results[v] = known[key]
		}
	}
	ref := &reference{waiting: map[*ir.Value]int{}, known: map[*ir.Value][]*tensor.Tensor{}}
	for _, l := range layers {
		if plain[l.Key] == nil {
			return fmt.Errorf("internal error: the float graph has no %s", l.Key)
		}
		ref.waiting[plain[l.Key].Args[0]]++
	}
	wanted := slices.Collect(maps.Keys(ref.waiting))
	next, stop := iter.Pull2(ir.StepsFrom(ctx, float, inputs, results, wanted))
	defer stop()
	ref.next = next
	return run(ctx, quantized, layers, inputs, nil, func(l quantizer.Convolution) ([]*tensor.Tensor, error) { return ref.take(plain[l.Key].Args[0]) }, seen)
}

// run goes through a quantized graph, from where its results are known on, and fits each layer when what it reads has been computed;
// want gives what the float layer reads.
func run(ctx context.Context, quantized *ir.Graph, layers []quantizer.Convolution, inputs []map[string]*tensor.Tensor, known map[*ir.Value][]*tensor.Tensor,
	want func(quantizer.Convolution) ([]*tensor.Tensor, error), seen func()) error {
	readers := map[*ir.Value][]quantizer.Convolution{}
	var wanted []*ir.Value
	for _, l := range layers {
		readers[l.Conv.Args[0]] = append(readers[l.Conv.Args[0]], l)
		wanted = append(wanted, l.Conv.Args[0])
	}
	for step, err := range ir.StepsFrom(ctx, quantized, inputs, known, wanted) {
		if err != nil {
			return err
		}
		for _, l := range readers[step.Value] {
			x, err := want(l)
			if err != nil {
				return err
			}
			if err := fit(l, step.Results, x); err != nil {
				return fmt.Errorf("%s: %w", l.Conv, err)
			}
			if seen != nil {
				seen()
			}
		}
	}
	return nil
}

// A reference runs the float graph just as far as it is asked.
type reference struct {
	next    func() (ir.Step, error, bool)
	waiting map[*ir.Value]int // how often a value will be taken
	known   map[*ir.Value][]*tensor.Tensor
}

func (r *reference) take(v *ir.Value) ([]*tensor.Tensor, error) {
	for r.known[v] == nil {
		step, err, ok := r.next()
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("internal error: the float graph ends before %s", v)
		}
		if r.waiting[step.Value] > 0 {
			r.known[step.Value] = step.Results
		}
	}
	x := r.known[v]
	if r.waiting[v]--; r.waiting[v] == 0 {
		delete(r.known, v)
	}
	return x, nil
}

// fit chooses the constants of one layer; have and want are what it and its float counterpart read.
func fit(l quantizer.Convolution, have, want []*tensor.Tensor) error {
	attrs := l.Conv.Attrs.(ir.ConvAttrs)
	shape := l.Conv.Type.Shape
	if attrs.Group > 1 || !shape[2].IsStatic() || !shape[3].IsStatic() {
		return nil
	}
	p, err := read(l, attrs, have, want)
	if err != nil {
		return err
	}
	w := l.Weights.Float32s()
	s := p.sums(w)
	dequantize := l.Conv.Args[1]
	scales := dequantize.Args[1].Const.Float32s()
	integers := descend(w, scales, dequantize.Args[0].Const.Int8s(), s)
	bias := make([]float64, len(scales))
	for o := range bias {
		bias[o] = float64(l.Bias[o])
		for i := range s.k {
			bias[o] += float64(float64(w[o*s.k+i])*s.meanWant[i]) - float64(float64(scales[o])*float64(integers[o*s.k+i])*s.meanHave[i])
		}
	}
	if err := dequantize.Args[0].SetConst(tensor.FromInt8(l.Weights.Dims(), integers)); err != nil {
		return err
	}
	return setBias(l.Conv.Args[2], bias)
}

// setBias replaces a bias: a float constant, or DequantizeLinear of int32.
func setBias(v *ir.Value, bias []float64) error {
	dims := []int64{int64(len(bias))}
	if v.IsConst() {
		x := make([]float32, len(bias))
		for i, b := range bias {
			x[i] = float32(b)
		}
		return v.SetConst(tensor.FromFloat32(dims, x))
	}
	return v.Args[0].SetConst(tensor.FromInt32(dims, quantizer.IntegerBias(bias, v.Args[1].Const.Float32s())))
}

// pixels are n samples of what a layer's k inputs are: x' is what the integer layer reads, x what the float one does.
type pixels struct {
	k, n          int
	x, difference []float32 // [k,n]: x' and x - x'
}

// samples is how many pixels of all images together are looked at, for a layer of k inputs: twice as many as what they determine.
func samples(k int) int { return max(4096, 2*k) }

// spread chooses at most count of n pixels evenly, by multiples of an irrational part.
func spread(n, count int) []int {
	at := make([]int, min(n, count))
	for i := range at {
		at[i] = i
		if n > count {
			_, part := math.Modf(float64(i) * (math.Sqrt(5) - 1) / 2)
			at[i] = int(part * float64(n))
		}
	}
	return at
}

// read takes as many pixels from each image: have and want [N,C,H,W].
func read(l quantizer.Convolution, attrs ir.ConvAttrs, have, want []*tensor.Tensor) (*pixels, error) {
	m, out := l.Weights.Dims()[0], l.Conv.Type.Shape
	k := int(l.Weights.Len() / m)
	items := 0
	for _, t := range have {
		items += int(t.Dims()[0])
	}
	at := spread(int(out[2].B*out[3].B), (samples(k)+items-1)/items)
	p := &pixels{k: k, n: items * len(at)}
	p.x, p.difference = make([]float32, k*p.n), make([]float32, k*p.n)
	from := 0
	a, b := make([]float32, k*len(at)), make([]float32, k*len(at))
	for i := range have {
		d := have[i].Dims()
		c, err := attrs.Geometry(d, l.Weights.Dims(), []int64{d[0], out[1].B, out[2].B, out[3].B})
		if err != nil {
			return nil, err
		}
		size := c.C * c.H * c.W
		for item := range c.N {
			kernel.Columns(c, have[i].Float32s()[item*size:][:size], at, a)
			kernel.Columns(c, want[i].Float32s()[item*size:][:size], at, b)
			kernel.Parallel(k, 16, func(lo, hi int) {
				for r := lo; r < hi; r++ {
					factor := float32(1)
					if l.In != nil {
						factor = 1 / l.In[r/(c.KH*c.KW)]
					}
					x, difference := p.x[r*p.n+from:], p.difference[r*p.n+from:]
					for j, v := range a[r*len(at):][:len(at)] {
						x[j], difference[j] = v, float32(b[r*len(at)+j]*factor)-v
					}
				}
			})
			from += len(at)
		}
	}
	return p, nil
}

// sums are what a layer of m outputs is fitted to.
type sums struct {
	m, k               int
	gram               []float32 // [k,k]: the covariance of x', damped
	pull               []float32 // [m,k]: the covariance of W (x - x') and x', as far as it is trusted
	meanHave, meanWant []float64 // [k]: of x' and x
}

const (
	// damping, a part of the mean variance, is added to every input's: what the images do not tell stays near the weights.
	damping = 1e-3
	// doubt is how many samples an input must have until half of what they say of the errors before the layer is believed: few images
	// agree by chance in much that others do not show.
	doubt = 4
	// stripe is how many rows of a symmetric matrix are computed at once, from the diagonal on.
	stripe = 256
)

// sums takes moments; w are the layer's weights [m,k].
func (p *pixels) sums(w []float32) *sums {
	k, n, m := p.k, p.n, len(w)/p.k
	s := &sums{m: m, k: k, gram: make([]float32, k*k), pull: make([]float32, m*k), meanHave: make([]float64, k), meanWant: make([]float64, k)}
	kernel.Parallel(k, 16, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			have, off := 0.0, 0.0
			for j, v := range p.x[r*n:][:n] {
				have, off = have+float64(v), off+float64(p.difference[r*n+j])
			}
			s.meanHave[r], s.meanWant[r] = have/float64(n), (have+off)/float64(n)
			for j := range n { // the bias takes what is constant
				p.x[r*n+j] -= float32(s.meanHave[r])
				p.difference[r*n+j] -= float32(s.meanWant[r] - s.meanHave[r])
			}
		}
	})
	each := 1 / float32(n)
	for lo := 0; lo < k; lo += stripe {
		kernel.Gemm(false, true, min(stripe, k-lo), k-lo, n, each, p.x[lo*n:], n, p.x[lo*n:], n, 0, s.gram[lo*k+lo:], k)
	}
	total := 0.0
	for i := range k {
		total += float64(s.gram[i*k+i])
	}
	kernel.Parallel(k, 16, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			for j := i + 1; j < k; j++ {
				s.gram[j*k+i] = s.gram[i*k+j]
			}
			s.gram[i*k+i] += float32(damping*total/float64(k)) + math.SmallestNonzeroFloat32
		}
	})
	moved := make([]float32, m*n)
	kernel.Gemm(false, false, m, n, k, 1, w, k, p.difference, n, 0, moved, n)
	kernel.Gemm(false, true, m, k, n, each*float32(n)/float32(n+doubt*k), moved, n, p.x, n, 0, s.pull, k)
	return s
}

// block is how many inputs are gone through between two products with all of the gram.
const block = 128

// descend makes d G d^T + 2 p d^T smaller, per output channel, over integers q in [-127,127], where d = w - scale q, G is the sums' gram
// and p their pull: from the given integers on it takes one after the other, once, to its best value, the others held.
func descend(w, scales []float32, start []int8, s *sums) []int8 {
	m, k := s.m, s.k
	q, d, gradient := slices.Clone(start), make([]float32, m*k), make([]float32, m*block)
	for i, v := range q {
		d[i] = w[i] - float32(scales[i/k]*float32(v))
	}
	for lo := 0; lo < k; lo += block {
		width := min(block, k-lo)
		for o := range m {
			copy(gradient[o*width:][:width], s.pull[o*k+lo:])
		}
		kernel.Gemm(false, false, m, width, k, 1, d, k, s.gram[lo:], k, 1, gradient, width)
		kernel.Parallel(m, 1, func(first, last int) {
			for o := first; o < last; o++ {
				here := gradient[o*width:][:width]
				for i, g := range here {
					at, row := o*k+lo+i, s.gram[(lo+i)*k+lo:][:width]
					old := float32(q[at])
					best := min(max(float32(math.RoundToEven(float64(old+g/(scales[o]*row[i])))), -127), 127)
					if best == old || best != best {
						continue
					}
					move := float32(scales[o] * (best - old))
					q[at], d[at] = int8(best), d[at]-move
					for j := i + 1; j < width; j++ {
						here[j] -= float32(move * row[j])
					}
				}
			}
		})
	}
	return q
}
