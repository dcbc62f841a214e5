package engine

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/frontends/onnx"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// BenchmarkEncoder runs one encoder by each engine that is there, on the artifact that ARTIFACT names, with GOMAXPROCS threads.
func BenchmarkEncoder(b *testing.B) {
	dir := os.Getenv("ARTIFACT")
	if dir == "" {
		b.Skip("ARTIFACT names no artifact folder")
	}
	path := filepath.Join(dir, "encoder.onnx")
	m, err := onnx.Open(path)
	require.NoError(b, err)
	defer m.Close()
	in, err := ir.Probe(m.Graph, 1, map[string]int64{"N": 1})
	require.NoError(b, err)
	in["image"] = tensor.Dense(in["image"])
	for _, name := range Names() {
		b.Run(name, func(b *testing.B) {
			s, err := Load(name, path, Options{})
			if err != nil {
				b.Skip(err)
			}
			defer s.Close()
			_, err = s.Run(context.Background(), in)
			require.NoError(b, err)
			for b.Loop() {
				_, err := s.Run(context.Background(), in)
				require.NoError(b, err)
			}
		})
	}
}
