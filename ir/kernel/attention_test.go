package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// Attention by blocks has the bits of its operators one after another, on all that the machine has, whatever is left of the last block.
func TestAttention(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, a := range []Attention{{2, 33, 42, 8, 5, 0, 0}, {3, 70, 4096 + 64, 16, 16, 65, 64}, {1, 1, 1, 1, 1, 1, 1}, {2, 300, 600, 64, 64, 20, 30}, {0, 5, 5, 5, 5, 0, 0}} {
		q, k, v := random(rng, a.Batch*a.T*a.D), random(rng, a.Batch*a.D*a.U), random(rng, a.Batch*a.U*a.E)
		rows, cols := random(rng, a.Batch*a.T*a.Rows), random(rng, a.Batch*a.T*a.Cols)
		n := a.Batch * a.T * a.E
		want := make([]float32, n)
		logits := make([]float32, a.Batch*a.T*a.U)
		MatMul([]int{a.Batch, a.T, a.U}, q, []int{a.Batch, a.T, a.D}, k, []int{a.Batch, a.D, a.U}, logits)
		if grid := []int{a.Batch * a.T, a.Rows, a.Cols}; a.Rows > 0 {
			Binary("Add", grid, logits, grid, rows, []int{a.Batch * a.T, a.Rows, 1}, logits)
			Binary("Add", grid, logits, grid, cols, []int{a.Batch * a.T, 1, a.Cols}, logits)
		}
		Softmax(a.Batch*a.T, a.U, logits, logits)
		MatMul([]int{a.Batch, a.T, a.E}, logits, []int{a.Batch, a.T, a.U}, v, []int{a.Batch, a.U, a.E}, want)
		sameBits(t, fmt.Sprint(a), n, func(y []float32) { a.Run(q, k, v, rows, cols, y) })
		have := make([]float32, n)
		a.Run(q, k, v, rows, cols, have)
		for i, w := range want {
			if have[i] != w {
				t.Fatalf("%v: element %d: have %v, want %v", a, i, have[i], w)
			}
		}
	}
}
