package engine

import (
	"context"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	backend "syncsam-convert/backends/onnx"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// softmax is a file with one operator, and an input for it.
func softmax(t *testing.T) (string, map[string]*tensor.Tensor) {
	b := ir.NewBuilder("g")
	b.Output("y", b.Softmax(b.Input("x", tensor.Float32, tensor.Symbol("N"), tensor.Static(4)), -1))
	g, err := b.Graph()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "g.onnx")
	_, err = backend.WriteFile(path, g, backend.Options{})
	require.NoError(t, err)
	return path, map[string]*tensor.Tensor{"x": tensor.FromFloat32([]int64{1, 4}, []float32{1, 2, 3, 4})}
}

// A session's number of threads is its own: the process keeps what it has.
func TestThreads(t *testing.T) {
	path, in := softmax(t)
	before := runtime.GOMAXPROCS(0)
	for _, threads := range []int{1, 3, 0} {
		s, err := Load(Embedded, path, Options{Threads: threads})
		require.NoError(t, err)
		require.Equal(t, threads, s.(*goSession).program.Threads)
		_, err = s.Run(context.Background(), in)
		require.NoError(t, err)
		require.Equal(t, before, runtime.GOMAXPROCS(0))
		require.NoError(t, s.Close())
	}
}

// Each engine profiles by itself or says that it does not.
func TestProfile(t *testing.T) {
	path, in := softmax(t)
	for _, name := range Names() {
		times, err := Profile(context.Background(), name, path, in, Options{})
		switch _, missing := FindLibrary(""); {
		case name == TensorRT:
			require.EqualError(t, err, "engine tensorrt: it does not tell times by operator")
		case name == ONNXRuntime && missing != nil:
			require.ErrorContains(t, err, "onnxruntime")
		default:
			require.NoError(t, err)
			require.Len(t, times, 1)
			require.Equal(t, "Softmax", times[0].Name)
			require.Equal(t, 1, times[0].Count)
		}
	}
	_, err := Profile(context.Background(), "ort", path, in, Options{})
	require.EqualError(t, err, `engine: have "ort", want one of go, onnxruntime, tensorrt`)
	s, err := Load(Embedded, path+"x", Options{})
	require.Error(t, err)
	require.Nil(t, s)
}

// What lives at a time is told with sizes, largest first, and at no place more than the peak.
func TestMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.onnx")
	in := map[string]*tensor.Tensor{"x": tensor.FromFloat32([]int64{3, 4}, make([]float32, 12))}
	g, err := ir.ParseGraph("graph g {\n  %0 = Input : float32[N,4] \"x\"\n  %1 = Relu(%0) : float32[N,4] \"a\"\n  %2 = Reshape(%1) {shape=[N,2,2]} : float32[N,2,2] \"view\"\n  %3 = Exp(%2) : float32[N,2,2] \"b\"\n  return \"y\" %3\n}\n")
	require.NoError(t, err)
	_, err = backend.WriteFile(path, g, backend.Options{})
	require.NoError(t, err)
	m, err := Memory(path, in)
	require.NoError(t, err)
	require.Equal(t, int64(2*3*4*4), m.Peak)
	require.Len(t, m.Living, 2)
	require.Equal(t, int64(48), m.Living[0].Bytes)
}
