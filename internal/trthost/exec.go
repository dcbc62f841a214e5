package trthost

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"syncsam-convert/internal/output"
	"syncsam-convert/ir/tensor"
)

// Infer runs a plan once: inputs by name, float32 results by name. It goes through trtexec and files, which is slow and exact enough to
// compare masks; services load the plan themselves.
func (h *Host) Infer(ctx context.Context, plan string, inputs map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	dir, remove, err := output.Scratch()
	if err != nil {
		return nil, err
	}
	defer remove()
	if plan, err = filepath.Abs(plan); err != nil {
		return nil, err
	}
	var shapes, files []string
	names := make([]string, 0, len(inputs))
	for name := range inputs {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		file := fmt.Sprintf("input%d.bin", i)
		if err := os.WriteFile(filepath.Join(dir, file), inputs[name].Bytes(), 0o600); err != nil {
			return nil, err
		}
		files = append(files, name+":"+file)
		shapes = append(shapes, name+":"+Shape(inputs[name].Dims()))
	}
	out := "output.json"
	args := []string{"--loadEngine=" + plan, "--shapes=" + strings.Join(shapes, ","), "--loadInputs=" + strings.Join(files, ","), "--exportOutput=" + out,
		"--iterations=1", "--warmUp=0", "--duration=0"}
	if err := h.run(ctx, dir, args, io.Discard); err != nil {
		return nil, fmt.Errorf("%s: %w", plan, err)
	}
	text, err := os.ReadFile(filepath.Join(dir, out))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", plan, err)
	}
	results, err := parseOutputs(text)
	if err != nil {
		return nil, fmt.Errorf("%s: trtexec's output: %w", plan, err)
	}
	return results, nil
}

// parseOutputs reads what --exportOutput writes: a list of name, dimensions ("1x4x64x64") and values.
func parseOutputs(text []byte) (map[string]*tensor.Tensor, error) {
	var list []struct {
		Name       string
		Dimensions string
		Values     []float32
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	out := map[string]*tensor.Tensor{}
	for _, o := range list {
		n, dims := int64(1), []int64{}
		for _, part := range strings.Split(o.Dimensions, "x") {
			d, err := strconv.ParseInt(part, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("output %s: dimensions: have %q", o.Name, o.Dimensions)
			}
			dims = append(dims, d)
			n *= d
		}
		if n != int64(len(o.Values)) {
			return nil, fmt.Errorf("output %s: have %d values, want %d", o.Name, len(o.Values), n)
		}
		out[o.Name] = tensor.FromFloat32(dims, o.Values)
	}
	return out, nil
}

// Shape spells a shape as trtexec reads it: 1x3x256x256.
func Shape(dims []int64) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(dims), " ", "x"), "[]")
}
