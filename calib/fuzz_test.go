package calib

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir/tensor"
	"syncsam-convert/safetensors"
)

// Whatever a file of statistics holds: an error, or statistics of which every method makes a plan whose numbers are ones, or says why not.
func FuzzStatistics(f *testing.F) {
	s := NewStats("source")
	require.NoError(f, s.add(map[string]*tensor.Tensor{"layer": tensor.FromFloat32([]int64{1, 2, 1, 2}, []float32{0, 1, -2, 3})}))
	s.Images = 1
	path := filepath.Join(f.TempDir(), "s")
	require.NoError(f, s.WriteFile(path))
	whole, err := os.ReadFile(path)
	require.NoError(f, err)
	f.Add(whole)
	file, err := safetensors.Parse(whole)
	require.NoError(f, err)
	for i := range file.Tensors { // each number of each tensor out of range
		for _, bad := range []byte{0, 0x7f, 0xff} {
			changed := bytes.Clone(whole)
			other, err := safetensors.Parse(changed)
			require.NoError(f, err)
			b := other.Tensors[i].Tensor.Bytes()
			for k := range b[:min(len(b), 8)] {
				b[k] = bad
			}
			f.Add(changed)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(path, data, 0o600))
		s, err := ReadFile(path)
		if err != nil {
			return
		}
		for _, method := range []string{"minmax", "percentile"} {
			p, err := s.Plan(method)
			if err != nil {
				continue
			}
			for key, v := range p.Values {
				require.NoError(t, v.Check(), fmt.Sprint(method, " ", key))
			}
		}
	})
}
