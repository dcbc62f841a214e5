package doctor

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/engine"
)

// What is not there, or may not be written, is named with the way out, and only what is needed makes the machine unusable.
func TestLook(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the folders' variables are Linux's")
	}
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("no library"), 0o600))
	o := engine.Options{Library: file, TensorRT: file}
	t.Setenv("TMPDIR", filepath.Join(file, "none"))
	t.Setenv("XDG_CACHE_HOME", file)
	r, err := Look([]string{engine.Embedded}, o)
	require.NoError(t, err)
	require.True(t, r.Usable)
	require.NoError(t, r.Err())
	require.Contains(t, r.Processor.Kernels, "generic")
	require.Contains(t, r.Processor.Kernels, r.Processor.Picked)
	for _, e := range r.Engines {
		require.Equal(t, e.Name == engine.Embedded, e.Problem == "", "%+v", e)
		require.Equal(t, e.Name == engine.Embedded, e.Version != "", "%+v", e)
		require.Empty(t, e.Library)
	}
	require.Contains(t, r.Folders[0].Problem, "set TMPDIR")
	require.Contains(t, r.Folders[1].Problem, "set XDG_CACHE_HOME")
	var text bytes.Buffer
	r.Print(&text)
	require.Regexp(t, `engine tensorrt +not usable: `, text.String())

	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "is", "made"))
	r, err = Look([]string{engine.Embedded, engine.ONNXRuntime}, o)
	require.NoError(t, err)
	require.False(t, r.Usable)
	require.ErrorContains(t, r.Err(), "engine onnxruntime: ")
	for _, f := range r.Folders {
		require.Empty(t, f.Problem)
		require.Contains(t, f.Path, dir)
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "it only looks")

	_, err = Look([]string{"tflite"}, o)
	require.EqualError(t, err, `engine: have "tflite", want one of go, onnxruntime, tensorrt`)
}
