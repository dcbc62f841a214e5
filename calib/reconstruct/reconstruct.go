// Package reconstruct chooses a quantized graph's integer weights and biases anew, convolution by convolution, so that each gives what the
// float graph's gives on calibration inputs.
package reconstruct

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/quantizer"
)

// Run rewrites the constants of the layers of a quantized graph, in graph order: what a layer reads has the errors of all layers before
// it, rounded anew. float is the graph before insert-qdq; inputs are both graphs' inputs, one map per calibration image. Grouped
// convolutions and those of dynamic size keep what they have. seen, if any, is told of each layer.
//
// Per layer it minimises the mean of |W x - Q x'|^2 over pixels and images (x what the float layer reads, x' what the integer one reads,
// W and Q the two layers' weights), for the integers by coordinate descent with fixed scales; the bias makes up for the means exactly.
func Run(ctx context.Context, float, quantized *ir.Graph, layers []quantizer.Convolution, inputs []map[string]*tensor.Tensor, seen func()) error {
	plain := map[string]*ir.Value{}
	for v, key := range ir.Keys(float) {
		plain[key] = v
	}
	ref := &reference{waiting: map[*ir.Value]int{}, known: map[*ir.Value][]*tensor.Tensor{}}
	for _, l := range layers {
		if plain[l.Key] == nil {
			return fmt.Errorf("internal error: the float graph has no %s", l.Key)
		}
		ref.waiting[plain[l.Key].Args[0]]++
	}
	next, stop := iter.Pull2(ir.Steps(ctx, float, inputs))
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
	m := int(l.Weights.Dims()[0])
	s := newSums(m, int(l.Weights.Len())/m)
	for i := range have {
		if err := s.add(l, attrs, have[i], want[i]); err != nil {
			return err
		}
	}
	w := l.Weights.Float32s()
	s.centre(w)
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

// sums are moments over pixels of a layer's k inputs and m outputs: x' is what the integer layer reads (have), x what the float one does (want).
type sums struct {
	m, k               int
	n                  float64
	gram               []float32 // [k,k]: of x' x'^T; of sums the upper triangle alone
	pull               []float32 // [m,k]: of W (x - x') x'^T
	meanHave, meanWant []float64
}

func newSums(m, k int) *sums {
	return &sums{m: m, k: k, gram: make([]float32, k*k), pull: make([]float32, m*k), meanHave: make([]float64, k), meanWant: make([]float64, k)}
}

// pixels bounds how many output pixels of an image count; they are spread evenly, by multiples of an irrational part.
const pixels = 1024

func sample(n int) []int {
	count := min(n, pixels)
	at := make([]int, count)
	for i := range at {
		at[i] = i
		if n > pixels {
			_, part := math.Modf(float64(i) * (math.Sqrt(5) - 1) / 2)
			at[i] = int(part * float64(n))
		}
	}
	return at
}

// stripe is how many rows of a symmetric matrix are computed at once, from the diagonal on.
const stripe = 256

// add counts one image: have and want [N,C,H,W].
func (s *sums) add(l quantizer.Convolution, attrs ir.ConvAttrs, have, want *tensor.Tensor) error {
	d := have.Dims()
	out := l.Conv.Type.Shape
	p, err := attrs.Geometry(d, l.Weights.Dims(), []int64{d[0], out[1].B, out[2].B, out[3].B})
	if err != nil {
		return err
	}
	size := p.C * p.H * p.W
	at := sample(p.OutH * p.OutW)
	n := len(at)
	x, difference, moved := make([]float32, s.k*n), make([]float32, s.k*n), make([]float32, s.m*n)
	for i := range p.N {
		kernel.Columns(p, have.Float32s()[i*size:][:size], at, x)
		kernel.Columns(p, want.Float32s()[i*size:][:size], at, difference)
		kernel.Parallel(s.k, 16, func(lo, hi int) {
			for r := lo; r < hi; r++ {
				factor := float32(1)
				if l.In != nil {
					factor = 1 / l.In[r/(p.KH*p.KW)]
				}
				row := x[r*n:][:n]
				for j, v := range difference[r*n:][:n] {
					v = float32(v * factor) // no part of the difference below
					s.meanHave[r] += float64(row[j])
					s.meanWant[r] += float64(v)
					difference[r*n+j] = v - row[j]
				}
			}
		})
		for lo := 0; lo < s.k; lo += stripe {
			kernel.Gemm(false, true, min(stripe, s.k-lo), s.k-lo, n, 1, x[lo*n:], n, x[lo*n:], n, 1, s.gram[lo*s.k+lo:], s.k)
		}
		kernel.Gemm(false, false, s.m, n, s.k, 1, l.Weights.Float32s(), s.k, difference, n, 0, moved, n)
		kernel.Gemm(false, true, s.m, s.k, n, 1, moved, n, x, n, 1, s.pull, s.k)
		s.n += float64(n)
	}
	return nil
}

// damping, a part of the mean variance, is added to every input's: what the images do not tell stays near the weights.
const damping = 1e-3

// centre makes means of the sums, and covariances of the products: the bias takes what is constant. w are the weights [m,k].
func (s *sums) centre(w []float32) {
	total := 0.0
	for i := range s.k {
		s.meanHave[i] /= s.n
		s.meanWant[i] /= s.n
	}
	kernel.Parallel(s.k, 16, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			for j := i; j < s.k; j++ {
				v := float32(float64(s.gram[i*s.k+j])/s.n - float64(s.meanHave[i]*s.meanHave[j]))
				s.gram[i*s.k+j], s.gram[j*s.k+i] = v, v
			}
		}
	})
	for o := range s.m {
		mean := 0.0
		for i := range s.k {
			mean += float64(float64(w[o*s.k+i]) * (s.meanWant[i] - s.meanHave[i]))
		}
		for j := range s.k {
			s.pull[o*s.k+j] = float32(float64(s.pull[o*s.k+j])/s.n - float64(mean*s.meanHave[j]))
		}
	}
	for i := range s.k {
		total += float64(s.gram[i*s.k+i])
	}
	for i := range s.k {
		s.gram[i*s.k+i] += float32(damping*total/float64(s.k)) + math.SmallestNonzeroFloat32
	}
}

const (
	sweeps = 4
	block  = 128 // coordinates between two updates of all gradients
)

// descend minimises, per output channel, d G d^T + 2 p d^T over integers q in [-127,127], where d = w - scale q, G is the sums' gram and p their pull, from the given integers on: each step takes one integer to its best value, the others held.
func descend(w, scales []float32, from []int8, s *sums) []int8 {
	m, k := len(scales), s.k
	q, d, gradient := make([]float32, m*k), make([]float32, m*k), make([]float32, m*k)
	for i, v := range from {
		q[i] = float32(v)
		d[i] = w[i] - float32(scales[i/k]*q[i])
	}
	copy(gradient, s.pull)
	kernel.Gemm(false, false, m, k, k, 1, d, k, s.gram, k, 1, gradient, k)
	moved := make([]float32, m*block)
	for range sweeps {
		changed := make([]bool, m)
		for lo := 0; lo < k; lo += block {
			width := min(block, k-lo)
			kernel.Parallel(m, 1, func(first, last int) {
				here := make([]float32, width)
				for o := first; o < last; o++ {
					copy(here, gradient[o*k+lo:])
					move := moved[o*width:][:width]
					for i := range move {
						move[i] = 0
						row := s.gram[(lo+i)*k+lo:][:width]
						old := q[o*k+lo+i]
						best := float32(math.RoundToEven(float64(old + here[i]/(scales[o]*row[i]))))
						best = min(max(best, -127), 127)
						if best == old || best != best {
							continue
						}
						q[o*k+lo+i], changed[o] = best, true
						move[i] = scales[o] * (best - old)
						for j, g := range row {
							here[j] -= float32(move[i] * g)
						}
					}
				}
			})
			kernel.Gemm(false, false, m, k, width, -1, moved, width, s.gram[lo*k:], k, 1, gradient, k)
		}
		if !slices.Contains(changed, true) {
			break
		}
	}
	out := make([]int8, m*k)
	for i, v := range q {
		out[i] = int8(v)
	}
	return out
}
