package ir

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir/tensor"
)

// A program's buffers pass from dead values to new ones; views keep theirs alive, outputs keep theirs for good, and runs side by side
// share nothing.
func TestBuffersAreReused(t *testing.T) {
	const n = 1 << 14
	b := NewBuilder("g")
	x := b.Input("x", tensor.Float32, tensor.Static(n))
	y := b.Add(x, x) // dies at z, but its view lives on
	view := b.Reshape(y, tensor.Static(128), tensor.Static(n/128))
	z := b.Mul(y, y)
	for range 5 {
		z = b.Relu(b.Add(z, z))
	}
	b.Output("z", z)
	b.Output("sum", b.Add(view, b.Reshape(z, tensor.Static(128), tensor.Static(n/128))))
	b.Output("view", view)
	b.Output("minus", b.Op(Neg, b.Op(Abs, z)))
	g, err := b.Graph()
	require.NoError(t, err)
	p, err := Compile(g)
	require.NoError(t, err)
	in := func(v float32) map[string]*tensor.Tensor {
		x := make([]float32, n)
		for i := range x {
			x[i] = v
		}
		return map[string]*tensor.Tensor{"x": tensor.FromFloat32([]int64{n}, x)}
	}
	check := func(v float32, out map[string]*tensor.Tensor) {
		want := map[string]float32{"view": 2 * v, "z": 4 * v * v * 32}
		want["sum"], want["minus"] = want["view"]+want["z"], -want["z"]
		for name, w := range want {
			for _, have := range out[name].Float32s() {
				if have != w {
					require.Equal(t, w, have, "%s of %g", name, v)
				}
			}
		}
	}
	first, err := p.Run(context.Background(), in(1))
	require.NoError(t, err)
	kept := 0
	for _, b := range p.pool.free {
		kept += cap(b)
	}
	require.Positive(t, kept)
	require.LessOrEqual(t, kept, 2*4*n, "fifteen values pass, few are alive at once")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 10 {
				v := float32(1 + i + k)
				out, err := p.Run(context.Background(), in(v))
				if err != nil {
					t.Error(err)
					return
				}
				check(v, out)
			}
		})
	}
	wg.Wait()
	check(1, first)
}

// Every operator fills all of its result: the suite's cases give the same in memory that holds rubbish.
func TestResultsAreFilled(t *testing.T) {
	files, err := filepath.Glob("testdata/ops/*.ir")
	require.NoError(t, err)
	tried := 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		m, err := Parse(string(text), nil)
		require.NoError(t, err)
		for _, g := range m.Graphs {
			in, err := Probe(g, 1, map[string]int64{"N": 2, "B": 2, "P": 3})
			require.NoError(t, err, name)
			tried++
			p, err := Compile(g)
			require.NoError(t, err, name)
			want, err := p.Run(context.Background(), in)
			require.NoError(t, err, name)
			rubbish = 0xa5
			have, err := p.Run(context.Background(), in)
			rubbish = 0
			require.NoError(t, err, name)
			for out, w := range want {
				require.Equal(t, w.Bytes(), have[out].Bytes(), "%s: %s %s", name, g.Name, out)
			}
		}
	}
	require.Greater(t, tried, 60)
}
