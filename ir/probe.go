package ir

import (
	"fmt"
	"math/rand/v2"

	"syncsam-convert/internal/memory"
	"syncsam-convert/ir/tensor"
)

// probeSize is the size of a symbol that sizes does not name: more than one, so that a batch is told from its elements.
const probeSize = 2

// Probe makes reproducible inputs for a graph: the same seed and sizes (symbol -> size) give the same tensors. Floats are
// standard normal, every other one rounded to an integer so that labels and flags take part; other types are 0 or 1.
func Probe(g *Graph, seed uint64, sizes map[string]int64) (map[string]*tensor.Tensor, error) {
	bound := map[string]int64{}
	for _, in := range g.Inputs() {
		for _, d := range in.Type.Shape {
			bound[d.Sym] = probeSize
		}
	}
	for s, n := range sizes {
		bound[s] = n
	}
	out := map[string]*tensor.Tensor{}
	for i, in := range g.Inputs() {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		dims := make([]int64, len(in.Type.Shape))
		for k, d := range in.Type.Shape {
			n, err := d.Eval(bound)
			if err != nil {
				return nil, fmt.Errorf("graph %s: input %q: %w", g.Name, in.Name, err)
			}
			dims[k] = n
		}
		n, err := tensor.Elements(dims)
		if err != nil {
			return nil, fmt.Errorf("graph %s: input %q: %w", g.Name, in.Name, err)
		}
		if err := memory.Fits(fmt.Sprintf("graph %s: input %q", g.Name, in.Name), 8*n, 1); err != nil {
			return nil, err
		}
		x := make([]float32, n)
		for k := range x {
			x[k] = float32(rng.NormFloat64())
			if !in.Type.DType.IsFloat() {
				x[k] = float32(rng.IntN(2))
			} else if k%2 == 1 {
				x[k] = float32(int(x[k]))
			}
		}
		out[in.Name] = tensor.Dense(tensor.Cast(tensor.FromFloat32(dims, x), in.Type.DType))
	}
	return out, nil
}
