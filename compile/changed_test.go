package compile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A checkpoint that is cut, grows or is written over at any moment of a build: the build fails in one line that names it and leaves nothing, or
// it was past the point where that matters, and the hash is that of the bytes that were compiled. One that is replaced by another file under
// its name stays what it was.
func TestCheckpointsThatChange(t *testing.T) {
	original, err := os.ReadFile("../golden/data/syncsam-tiny-34/syncsam-tiny-34.pth")
	require.NoError(t, err)
	hash := sha256.Sum256(original)
	const few = 3
	golden := "../golden/data/syncsam-tiny-34"
	for what, change := range map[string]func(path string) error{
		"cut to nothing": func(path string) error { return os.Truncate(path, 0) },
		"cut in half":    func(path string) error { return os.Truncate(path, int64(len(original)/2)) },
		"grown": func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(t, err)
			defer f.Close()
			_, err = f.Write(make([]byte, 1<<16))
			return err
		},
		"written over": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			require.NoError(t, err)
			defer f.Close()
			_, err = f.WriteAt([]byte{1, 2, 3}, int64(len(original)/2))
			return err
		},
		"replaced": func(path string) error {
			require.NoError(t, os.WriteFile(path+".new", []byte("other"), 0o644))
			return os.Rename(path+".new", path)
		},
	} {
		t.Run(what, func(t *testing.T) {
			failed := 0
			for at := 1; ; at++ { // the first event is before the file is opened
				dir := t.TempDir()
				path, out := filepath.Join(dir, "tiny.pth"), filepath.Join(dir, "out")
				require.NoError(t, os.WriteFile(path, original, 0o644))
				seen, stage := 0, ""
				o := Options{Checkpoint: path, Output: out}
				if at == few { // one build that calibrates
					o.Precision, o.Calibration, o.Rounding = INT8, golden+"/../dataset/images", RoundNearest
				}
				o.Progress = func(e Event) {
					if seen == at {
						stage = e.Stage
						require.NoError(t, change(path))
					}
					seen++
				}
				man, err := Compile(context.Background(), o)
				if seen <= at { // nothing was changed any more
					require.NoError(t, err)
					require.Greater(t, at, few)
					break
				}
				if err == nil {
					require.Equal(t, hex.EncodeToString(hash[:]), man.Source.SHA256, stage)
					require.True(t, what == "replaced" || stage == "publish", "%s passed at %s", what, stage)
					continue
				}
				failed++
				require.ErrorContains(t, err, path, stage)
				require.NoDirExists(t, out)
				left, err := filepath.Glob(filepath.Join(dir, ".*"))
				require.NoError(t, err)
				require.Empty(t, left)
			}
			require.True(t, failed >= few-1 || what == "replaced", "%d builds failed", failed)
		})
	}
}
