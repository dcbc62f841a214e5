package jpegls

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// streams reads the test streams and, for each, its width, height, bits, components and the sum of its samples.
func streams(t testing.TB) (content map[string][]byte, sums map[string][]any) {
	z, err := zip.OpenReader("testdata/streams.zip")
	require.NoError(t, err)
	defer z.Close()
	content = map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		require.NoError(t, err)
		b, err := io.ReadAll(r)
		require.NoError(t, err)
		content[f.Name] = b
	}
	require.NoError(t, json.Unmarshal(content["sums.json"], &sums))
	delete(content, "sums.json")
	require.Greater(t, len(content), 100)
	return content, sums
}

// TestDecode: samples are those of other decoders, to the bit (../../testdata/make_streams.py).
func TestDecode(t *testing.T) {
	content, sums := streams(t)
	for name, b := range content {
		m, err := Decode(b)
		require.NoError(t, err, name)
		h := sha256.New()
		for i := range m.W * m.H {
			for _, p := range m.Planes {
				require.NoError(t, binary.Write(h, binary.LittleEndian, p[i]))
			}
		}
		require.Equal(t, sums[name], []any{float64(m.W), float64(m.H), float64(m.Bits), float64(len(m.Planes)), hex.EncodeToString(h.Sum(nil))}, name)
	}
}

// TestCut: a stream that ends early is refused, wherever it ends.
func TestCut(t *testing.T) {
	content, _ := streams(t)
	for name, b := range content {
		for n := 0; n < len(b); n += 1 + len(b)/50 {
			_, err := Decode(b[:n])
			require.Error(t, err, "%s at %d of %d", name, n, len(b))
		}
	}
}

// FuzzDecode: whatever the bytes, there is no panic, and planes have the size that is told.
func FuzzDecode(f *testing.F) {
	content, _ := streams(f)
	for _, b := range content {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		for _, p := range m.Planes {
			if len(p) != m.W*m.H {
				t.Fatal("sizes")
			}
		}
	})
}
