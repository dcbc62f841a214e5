// Package families makes small checkpoints of every family for tests: the tensors of a list, with random values.
package families

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"syncsam-convert/ir/tensor"
	"syncsam-convert/safetensors"
)

// Write writes a checkpoint of the tensors of a list, whose lines are a name and sizes such as 64x3x7x7, and - for none; always the same values.
func Write(list, path string) error {
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(1, 2))
	var all []safetensors.Named
	for line := range strings.Lines(string(text)) {
		name, sizes, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			return fmt.Errorf("%s: have %q, want a name and sizes", list, line)
		}
		dims, n, fan := []int64{}, 1, 1
		for i, s := range strings.Split(strings.Trim(sizes, "-"), "x") {
			if s == "" {
				continue
			}
			d, err := strconv.Atoi(s)
			if err != nil {
				return fmt.Errorf("%s: %w", list, err)
			}
			dims, n = append(dims, int64(d)), n*d
			if i > 0 {
				fan *= d
			}
		}
		x := make([]float32, n)
		for i := range x {
			switch {
			case strings.HasSuffix(name, "running_var") || strings.HasSuffix(name, "weight") && len(dims) == 1:
				x[i] = 1 + 0.1*r.Float32()
			default:
				x[i] = float32(r.NormFloat64() / math.Sqrt(float64(fan)))
			}
		}
		all = append(all, safetensors.Named{Name: name, Tensor: tensor.FromFloat32(dims, x)})
	}
	return safetensors.WriteFile(path, all, nil)
}
