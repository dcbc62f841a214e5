package trthost

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir/tensor"
)

func TestVersionText(t *testing.T) {
	for n, want := range map[int]string{8601: "8.6.1", 8205: "8.2.5", 100001: "10.0.1", 101303: "10.13.3", 110401: "11.4.1"} {
		require.Equal(t, want, versionText(n))
	}
}

// trtexec is a stand-in that does what the body says; it runs in the working directory that it is given, as the real one does.
func trtexec(t *testing.T, body string) *Host {
	path := filepath.Join(t.TempDir(), "trtexec")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o755))
	return &Host{trtexec: path}
}

func TestBuild(t *testing.T) {
	dir := t.TempDir()
	var lines bytes.Buffer
	h := trtexec(t, `for a; do case $a in --saveEngine=*) printf plan >"${a#*=}";; esac; done; echo built`)
	require.NoError(t, h.Build(t.Context(), dir, "m.plan", []string{"--onnx=m.onnx", "--saveEngine=m.plan"}, &lines))
	require.Equal(t, "built\n", lines.String())
	text, err := os.ReadFile(filepath.Join(dir, "m.plan"))
	require.NoError(t, err)
	require.Equal(t, "plan", string(text))

	h = trtexec(t, `printf half >m.plan; echo '[11/24/2026-04:00:00] [E] Error[3]: out of memory'; exit 1`)
	err = h.Build(t.Context(), dir, "m.plan", nil, &lines)
	require.ErrorContains(t, err, "Error[3]: out of memory")
	require.NoFileExists(t, filepath.Join(dir, "m.plan"), "half a plan does not stay")
	require.ErrorContains(t, trtexec(t, "true").Build(t.Context(), dir, "m.plan", nil, &lines), "left no plan")
}

func TestInfer(t *testing.T) {
	h := trtexec(t, `echo "$@" >>"`+filepath.Join(t.TempDir(), "args")+`"
for a; do case $a in
--loadInputs=a:*,b:*) [ "$(wc -c <input0.bin)" = 8 ] && [ "$(wc -c <input1.bin)" = 4 ] || exit 3;;
--shapes=a:1x2,b:1) shapes=ok;;
--exportOutput=*) out=${a#*=};;
esac; done
[ "$shapes" = ok ] || exit 4
echo '[ { "name" : "y", "dimensions" : "1x2", "values" : [ 0.5, -2e-3 ] } , { "name" : "z", "dimensions" : "1", "values" : [ 7 ] } ]' >"$out"`)
	got, err := h.Infer(t.Context(), "m.plan", map[string]*tensor.Tensor{"b": tensor.FromFloat32([]int64{1}, []float32{3}), "a": tensor.FromFloat32([]int64{1, 2}, []float32{1, 2})})
	require.NoError(t, err)
	require.Equal(t, []int64{1, 2}, got["y"].Dims())
	require.Equal(t, []float32{0.5, -2e-3}, got["y"].Float32s())
	require.Equal(t, []float32{7}, got["z"].Float32s())
	for text, want := range map[string]string{"": "unexpected end", `[{"name":"y","dimensions":"2","values":[1]}]`: "have 1 values, want 2", `[{"name":"y","dimensions":"ax2","values":[1]}]`: `have "ax2"`} {
		_, err := parseOutputs([]byte(text))
		require.ErrorContains(t, err, want)
	}
}

func TestSidecar(t *testing.T) {
	plan := filepath.Join(t.TempDir(), "m.plan")
	_, err := ReadSidecar(plan)
	require.ErrorContains(t, err, "without its sidecar")
	s := Sidecar{TensorRT: "10.13.3", GPU: "NVIDIA A100", ComputeCapability: "8.0", Driver: "12.4", ONNX: "a", Plan: "b", Bytes: 4}
	require.NoError(t, s.Write(plan))
	back, err := ReadSidecar(plan)
	require.NoError(t, err)
	require.Equal(t, s, back)
	a100 := GPU{"NVIDIA A100", "8.0", "12.4"}
	require.NoError(t, s.Suits(Library{Version: "10.13.3"}, a100))
	require.ErrorContains(t, s.Suits(Library{Version: "10.14.0"}, a100), "built by TensorRT 10.13.3, here is 10.14.0")
	require.ErrorContains(t, s.Suits(Library{Version: "10.13.3"}, GPU{"NVIDIA H200", "9.0", "12.4"}), "compute capability 8.0")
	require.NoError(t, os.WriteFile(SidecarOf(plan), []byte("{}"), 0o644))
	_, err = ReadSidecar(plan)
	require.ErrorContains(t, err, "missing")
}

// What is missing is named, and where a plan can be built. TENSORRT_LIB names a real libnvinfer where make test-tensorrt has brought one.
func TestFind(t *testing.T) {
	if given := os.Getenv(LibraryVariable); given != "" {
		l, err := FindLibrary("")
		require.NoError(t, err)
		require.Equal(t, given, l.Path)
		require.Equal(t, os.Getenv("TENSORRT_VERSION"), l.Version)
		if _, err := FindGPU(); err != nil {
			_, err := Find("")
			require.ErrorContains(t, err, "TensorRT "+l.Version)
			require.ErrorContains(t, err, "CUDA driver")
			require.ErrorContains(t, err, "build-plan.sh")
		}
		return
	}
	_, err := Find(filepath.Join(t.TempDir(), "libnvinfer.so"))
	require.ErrorContains(t, err, "no such file")
	fake := filepath.Join(t.TempDir(), "libnvinfer.so")
	require.NoError(t, os.WriteFile(fake, []byte("not a library"), 0o644))
	_, err = FindLibrary(fake)
	require.ErrorContains(t, err, "TensorRT: ")
	require.False(t, strings.Contains(err.Error(), "\n"))
}
