package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/safetensors"
)

// TestChild is the program in a process of its own, for tests that set what it reads when it starts.
func TestChild(t *testing.T) {
	if args := os.Getenv("SYNCSAM_TEST_ARGS"); args != "" {
		os.Exit(run(context.Background(), strings.Split(args, "\n"), os.Stdout, os.Stderr))
	}
}

func child(cpu string, args ...string) (code int, output string) {
	cmd := exec.Command(os.Args[0], "-test.run", "^TestChild$")
	cmd.Env = append(os.Environ(), "SYNCSAM_CPU="+cpu, "SYNCSAM_TEST_ARGS="+strings.Join(args, "\n"))
	text, _ := cmd.CombinedOutput()
	return cmd.ProcessState.ExitCode(), string(text)
}

// An encoder has the same bits with every set of instructions that the machine has; others are refused in one line.
func TestCPU(t *testing.T) {
	widest, err := kernel.CPU()
	require.NoError(t, err)
	dir, model := t.TempDir(), filepath.Join(built(t, tiny34), "encoder.onnx")
	in, x := filepath.Join(dir, "in.safetensors"), make([]float32, 3*256*256)
	for i := range x {
		x[i] = float32(i*7919%1000)/250 - 2
	}
	require.NoError(t, safetensors.WriteFile(in, []safetensors.Named{{Name: "image", Tensor: tensor.FromFloat32([]int64{1, 3, 256, 256}, x)}}, nil))
	var want []byte
	ran := map[string]bool{}
	for _, cpu := range []string{"generic", "avx2", "avx512", "neon"} {
		out := filepath.Join(dir, cpu)
		code, text := child(cpu, "exec", model, "--inputs", in, "--outputs", out)
		if code == 2 && strings.Contains(text, "SYNCSAM_CPU: have") {
			require.NotEqual(t, widest, cpu)
			continue
		}
		require.Equal(t, 0, code, text)
		have, err := os.ReadFile(out)
		require.NoError(t, err)
		if want == nil {
			want = have
		}
		require.Equal(t, want, have, "%s", cpu)
		ran[cpu] = true
	}
	require.True(t, ran["generic"] && ran[widest])
	code, text := child("mmx", "--version")
	require.Equal(t, 2, code)
	require.Contains(t, text, `syncsam-convert: SYNCSAM_CPU: have "mmx", want one of generic`)
	require.Equal(t, 1, strings.Count(text, "\n"))
}
