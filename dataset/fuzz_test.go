package dataset

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever an index holds: items with names, or an error, which ends it.
func FuzzIndex(f *testing.F) {
	for _, s := range []string{`{"a_mask.png": "a.png"}`, `{"a_mask.png": ["a.png"]}`, `{"a.png": ["a_mask.png", "b_mask.png"]}`, `{"../x": "/etc/passwd"}`, `{"a": {"b": [1, null]}}`, `{}`, `[]`, "\xef\xbb\xbf{}", `{"a": "b"`, `{"a": "b"}{"c": "d"}`} {
		f.Add([]byte(s))
	}
	path := filepath.Join(f.TempDir(), "index.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(path, data, 0o600))
		failed := false
		for item, err := range Items(path) {
			require.False(t, failed, "an item after an error")
			failed = err != nil
			if err == nil {
				require.NotEmpty(t, item.Mask)
			}
		}
	})
}
