//go:build unix

package guard

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/internal/mapfile"
)

func TestDo(t *testing.T) {
	own := errors.New("own")
	require.NoError(t, Do(func() error { return nil }))
	require.Equal(t, own, Do(func() error { return own }))
	require.EqualError(t, Do(func() error { panic("x") }), "internal error: x")
	var none []int
	require.ErrorContains(t, Do(func() error { _ = none[len(none)]; return nil }), "internal error: runtime error: index out of range")
}

// A file that is cut while it is mapped: read in the goroutine itself and in those that it waits for.
func TestCutFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weights")
	require.NoError(t, os.WriteFile(path, make([]byte, 1<<20), 0o644))
	f, err := mapfile.Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Unchanged())
	require.NoError(t, os.Truncate(path, 100))
	require.EqualError(t, f.Unchanged(), path+": it changed while it was read: have 100 bytes, want 1048576 of before")
	last := func() { _ = make([]byte, f.Data[len(f.Data)-1]) }
	want := path + ": it became shorter while it was read"
	require.EqualError(t, Do(func() error { last(); return nil }), want)
	require.EqualError(t, Do(func() error {
		var g Group
		for range 4 {
			g.Go(last)
		}
		g.Go(func() {})
		g.Wait()
		return nil
	}), want)
}
