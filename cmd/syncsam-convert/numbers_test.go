package main

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/frontends/checkpoint"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/safetensors"
)

// changed writes the tiny checkpoint with changed numbers, and says how many tensors were changed.
func changed(t *testing.T, change func(name string, x []float32) bool) string {
	ck, err := checkpoint.Open(tiny34)
	require.NoError(t, err)
	defer ck.Close()
	var all []safetensors.Named
	count := 0
	for _, n := range ck.Names() {
		w := ck.Get(n)
		if w.DType() == tensor.Float32 {
			x := append([]float32{}, w.Float32s()...)
			if change(n, x) {
				w = tensor.FromFloat32(w.Dims(), x)
				count++
			}
		}
		all = append(all, safetensors.Named{Name: n, Tensor: w})
	}
	require.NotZero(t, count)
	path := filepath.Join(t.TempDir(), "m.safetensors")
	require.NoError(t, safetensors.WriteFile(path, all, nil))
	return path
}

func fill(x []float32, v float32) bool {
	for i := range x {
		x[i] = v
	}
	return true
}

// sound checks that no constant of an emitted model is NaN or infinite, and that every scale is above 0.
func sound(t *testing.T, dir, what string) {
	for _, name := range []string{"encoder.onnx", "decoder.onnx", "plan/encoder.onnx", "plan/decoder.onnx"} {
		path := filepath.Join(dir, name)
		f, err := onnxpb.Open(path)
		if err != nil {
			continue
		}
		defer f.Close()
		scales := map[string]bool{}
		for _, n := range f.Model.Graph.Node {
			if n.GetOpType() == "QuantizeLinear" || n.GetOpType() == "DequantizeLinear" {
				scales[n.Input[1]] = true
			}
		}
		for _, init := range f.Initializers {
			if !init.Tensor.DType().IsFloat() {
				continue
			}
			for i, v := range tensor.Cast(init.Tensor, tensor.Float32).Float32s() {
				bad := v-v != 0 && !math.IsInf(float64(v), -1) // a mask's -Inf stays
				if bad || scales[init.Name] && !(v > 0) {
					require.FailNow(t, "a number that is none", "%s: %s: %q: element %d is %v", what, name, init.Name, i, v)
				}
			}
		}
	}
}

// Whatever finite numbers a checkpoint holds: what is built has finite constants and scales above 0 in every precision, or is refused by the name of
// the tensor.
func TestOddNumbers(t *testing.T) {
	for name, c := range map[string]struct {
		change func(name string, x []float32) bool
		want   string // in the error of every precision; "": some may build it
	}{
		"variance below 0": {func(n string, x []float32) bool { return strings.HasSuffix(n, "running_var") && fill(x[:1], -1) }, `_var": element 0: have -1`},
		"variance 0":       {func(n string, x []float32) bool { return strings.HasSuffix(n, "running_var") && fill(x, 0) }, ""},
		"norms of 0": {func(n string, x []float32) bool {
			return (strings.Contains(n, "norm") || strings.Contains(n, "bn")) && (strings.HasSuffix(n, "weight") || strings.HasSuffix(n, "bias")) && fill(x, 0)
		}, ""},
		"weights of 1e-42": {func(n string, x []float32) bool {
			return strings.HasSuffix(n, "weight") && len(x) > 64 && fill(x, 1e-42)
		}, ""},
		"weights of 0": {func(n string, x []float32) bool { return strings.HasSuffix(n, "weight") && len(x) > 64 && fill(x, 0) }, ""},
		"past float16": {func(n string, x []float32) bool { return strings.HasSuffix(n, "bias") && fill(x[:1], 7e4) }, ""},
		"weights past float16": {func(n string, x []float32) bool {
			return strings.HasSuffix(n, "weight") && len(x) > 64 && fill(x[:1], 1e6)
		}, ""},
		"largest numbers": {func(n string, x []float32) bool {
			return strings.HasSuffix(n, "weight") && len(x) > 64 && fill(x[:2], math.MaxFloat32)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := changed(t, c.change)
			few := t.TempDir()
			require.NoError(t, os.CopyFS(few, os.DirFS(filepath.Dir(picture))))
			pictures, err := filepath.Glob(few + "/*.png")
			require.NoError(t, err)
			for _, p := range pictures[2:] {
				require.NoError(t, os.Remove(p))
			}
			for _, precision := range [][]string{{"--precision", "fp32"}, {"--precision", "fp16"}, {"--precision", "int8", "--quantize", "all", "--rounding", "nearest", "--calib", few}, {"--target", "tensorrt", "--precision", "fp16"}} {
				dir := filepath.Join(t.TempDir(), "out")
				r := command(append([]string{"build", path, "-o", dir}, precision...)...)
				code, problems := r.code, r.err
				what := strings.Join(precision, " ")
				if code == 0 {
					require.Empty(t, c.want, what)
					sound(t, dir, what)
					continue
				}
				require.Equal(t, 2, code, what)
				require.Contains(t, problems, c.want, what)
				require.Regexp(t, `(value|variance|initializer|constant) "[a-z_.0-9/A-Z]+"`, problems, what)
				require.NoDirExists(t, dir, what)
			}
		})
	}
}
