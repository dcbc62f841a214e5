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
