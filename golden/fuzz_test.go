package golden

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever a golden.json holds: an error that ends in a line, or items whose numbers are in range.
func FuzzGolden(f *testing.F) {
	whole, err := os.ReadFile("data/syncsam-tiny-34/golden.json")
	require.NoError(f, err)
	var doc map[string]json.RawMessage
	require.NoError(f, json.Unmarshal(whole, &doc))
	var items []json.RawMessage
	require.NoError(f, json.Unmarshal(doc["items"], &items))
	doc["items"], err = json.Marshal(items[:1])
	require.NoError(f, err)
	small, err := json.Marshal(doc)
	require.NoError(f, err)
	f.Add(small)
	for _, s := range []string{`{}`, `{"items": []}`, `{"items": [{}], "items": [{}]}`, `{"dataset": "../../etc", "items": [{"dsc": {"box": 1e999}}]}`, `{"items": [{"dsc": {"box": -1}}]}`, `{"items": null}`, `[`, `{"a": [[[[[[[[]]]]]]]]}`} {
		f.Add([]byte(s))
	}
	path := filepath.Join(f.TempDir(), FileName)
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(path, data, 0o600))
		g, err := parse(path)
		if err != nil {
			return
		}
		for _, it := range g.Items {
			require.NoError(t, it.check())
		}
	})
}

// Whatever an earlier report holds: an error that names the file, or results whose numbers are in range.
func FuzzBaseline(f *testing.F) {
	const whole = `{"tool":{"version":"1","commit":""},"artifact":{"path":"a","sha256":"0"},"data":{"path":"d","items":1,"sha256":"0"},"finished":"2026-01-02T03:04:05Z","family":"sam","precision":"fp32","summary":{"box":{"items":1,"have":0.5,"want":null}},"items":[{"image":"i","mask":"m","mode":"box","have":0.5,"want":null}]}`
	f.Add([]byte(whole))
	for _, s := range []string{`{}`, `{"artifact":null}`, `{"summary":null,"items":[{}]}`, `[`, `{"items_left_out":1,"artifact":{},"data":{"sha256":"0"},"summary":{"box":{"have":0.1}},"items":[{"mode":"box","have":1e-9}]}`} {
		f.Add([]byte(s))
	}
	path := filepath.Join(f.TempDir(), "report.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(path, data, 0o600))
		b, r, err := readBaseline(path)
		if err != nil {
			require.ErrorContains(t, err, path)
			return
		}
		require.NotEmpty(t, b.have)
		for _, dsc := range b.have {
			require.True(t, dsc >= 0 && dsc <= 1)
		}
		for _, m := range r.Modes {
			require.True(t, m.Have >= 0 && m.Have <= 1)
		}
	})
}
