package groups

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever a table of groups holds: a table or an error.
func FuzzCSV(f *testing.F) {
	for _, s := range []string{"mask,patient,site\na.png,1,x\n", "mask\n", "a,a\n1,2\n", "mask,patient\na.png\n", "\xef\xbb\xbfmask;patient\n", "mask,\"patient\nx\n"} {
		f.Add([]byte(s))
	}
	path := filepath.Join(f.TempDir(), "groups.csv")
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(path, data, 0o600))
		_, err := ReadCSV(path)
		_ = err
	})
}
