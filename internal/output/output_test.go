//go:build unix

package output

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

// names are what lies in a folder, hidden files too.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	old := syscall.Umask(0o027)
	defer syscall.Umask(old)
	require.NoError(t, File(path, text("one")))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode(), "the umask is honoured")

	require.NoError(t, os.Chmod(path, 0o600))
	require.NoError(t, File(path, text("two")))
	info, err = os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode(), "a file that nobody else may read stays so")

	fails := errors.New("fails")
	require.ErrorIs(t, File(path, func(w io.Writer) error { w.Write([]byte("half")); return fails }), fails)
	require.Equal(t, "two", read(t, path))
	require.Equal(t, []string{"out"}, names(t, dir), "nothing is left")
	require.ErrorContains(t, File(dir, text("x")), "it is a folder")
	require.ErrorContains(t, File(filepath.Join(dir, "no", "out"), text("x")), filepath.Join(dir, "no", "out"))
}

// Links are followed, wherever they lead; devices and pipes stay what they are.
func TestFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, os.Mkdir(at("sub"), 0o755))
	require.NoError(t, os.WriteFile(at("sub/file"), []byte("old"), 0o644))
	require.NoError(t, os.Symlink("sub/file", at("link")))
	require.NoError(t, os.Symlink("sub/new", at("dangling")))
	require.NoError(t, os.Symlink("loop", at("loop")))
	for link, file := range map[string]string{"link": "sub/file", "dangling": "sub/new"} {
		require.NoError(t, File(at(link), text(link)))
		require.Equal(t, link, read(t, at(file)))
		info, err := os.Lstat(at(link))
		require.NoError(t, err)
		require.NotZero(t, info.Mode()&os.ModeSymlink, "the link stays")
	}
	require.ErrorContains(t, File(at("loop"), text("x")), "links")

	require.NoError(t, syscall.Mkfifo(at("pipe"), 0o600))
	require.ErrorContains(t, File(at("pipe"), text("x")), "nobody reads")
	r, err := os.OpenFile(at("pipe"), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	require.NoError(t, err)
	require.NoError(t, File(at("pipe"), text("piped")))
	b := make([]byte, 5)
	_, err = io.ReadFull(r, b) // from the pipe's buffer
	require.NoError(t, err)
	require.Equal(t, "piped", string(b))
	info, err := os.Lstat(at("pipe"))
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeNamedPipe)

	require.NoError(t, File(os.DevNull, text("x")))
	info, err = os.Lstat(os.DevNull)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeCharDevice, "the device is there still")

	if os.Geteuid() == 0 {
		require.NoError(t, syscall.Mknod(at("null"), syscall.S_IFCHR|0o666, 1<<8|3))
		require.NoError(t, File(at("null"), text("x")))
		info, err = os.Lstat(at("null"))
		require.NoError(t, err)
		require.NotZero(t, info.Mode()&os.ModeCharDevice)

		require.NoError(t, os.Mkdir(at("tmp"), 0o755))
		require.NoError(t, os.Chmod(at("tmp"), 0o777|os.ModeSticky))
		require.NoError(t, os.Symlink("../sub/file", at("tmp/trap")))
		require.NoError(t, os.Lchown(at("tmp/trap"), 12345, 12345))
		require.ErrorContains(t, File(at("tmp/trap"), text("x")), "another user")
	}
}

// dead leaves what a killed process leaves: a name, and nobody that holds it.
func dead(t *testing.T, dir, name, kind string) string {
	f, err := create(dir, name, kind, 0o777)
	require.NoError(t, err)
	if kind != writing {
		require.NoError(t, os.WriteFile(filepath.Join(f.Name(), "model"), []byte("big"), 0o644))
	}
	require.NoError(t, f.Close())
	return f.Name()
}

func TestDeadAreRemovedAndLivingAreNot(t *testing.T) {
	dir := t.TempDir()
	dead(t, dir, "a", building)
	dead(t, dir, "b", building)
	dead(t, dir, "c", writing)
	living, err := create(dir, "b", building, 0o777)
	require.NoError(t, err)
	defer living.Close()
	half, err := create(dir, "c", writing, 0o666)
	require.NoError(t, err)
	defer half.Close()
	mine := filepath.Join(dir, ".x.building-1")
	require.NoError(t, os.Mkdir(mine, 0o755))
	f, err := NewFolder(filepath.Join(dir, "a"), nil)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{filepath.Base(living.Name()), filepath.Base(half.Name()), filepath.Base(mine), filepath.Base(f.Dir)}, names(t, dir))
	f.Discard()
	_, err = NewFolder(filepath.Join(dir, "b"), nil)
	require.ErrorContains(t, err, "another run is building it")

	// A run that was killed between the two steps, where names cannot be exchanged.
	gone := dead(t, dir, "d", replaced)
	f, err = NewFolder(filepath.Join(dir, "d"), ours("model"))
	require.NoError(t, err)
	require.NoDirExists(t, gone)
	require.Equal(t, "big", read(t, filepath.Join(dir, "d", "model")), "the old one is back")
	f.Discard()

	long := filepath.Join(dir, string(make([]byte, 0, 250))+fmt.Sprintf("%0250d", 7))
	f, err = NewFolder(long, nil)
	require.NoError(t, err, "a name of any length")
	require.NoError(t, f.Publish())
	require.DirExists(t, long)
}

func ours(names ...string) Listing {
	return func(dir string) (map[string]bool, error) {
		if _, err := os.Stat(filepath.Join(dir, "model")); err != nil {
			return nil, errors.New("it has no model")
		}
		m := map[string]bool{}
		for _, n := range names {
			m[n] = true
		}
		return m, nil
	}
}

func put(t *testing.T, dir string, files ...string) {
	t.Helper()
	for _, f := range files {
		path := filepath.Join(dir, f)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(filepath.Base(dir)+f), 0o644))
	}
}

func publish(t *testing.T, target string, l Listing, files ...string) error {
	t.Helper()
	f, err := NewFolder(target, l)
	if err != nil {
		return err
	}
	defer f.Discard()
	for _, name := range files {
		path := filepath.Join(f.Dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte("new"), 0o644))
	}
	return f.Publish()
}

func TestFolder(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	dir := t.TempDir()
	target := filepath.Join(dir, "x", "y", "out")
	f, err := NewFolder(target, nil)
	require.NoError(t, err)
	f.Discard()
	require.Empty(t, names(t, dir), "folders that were made for it are gone, too")
	require.NoError(t, publish(t, target, nil, "model"))
	info, err := os.Stat(target)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm(), "the umask is honoured")
	require.ErrorContains(t, publish(t, target, nil, "model"), "exists; --force replaces it")
	require.Equal(t, []string{"out"}, names(t, filepath.Dir(target)))

	require.NoError(t, os.Chmod(target, 0o750))
	require.NoError(t, os.Symlink("x/y/out", filepath.Join(dir, "current")))
	require.NoError(t, publish(t, filepath.Join(dir, "current"), ours("model"), "model", "more"))
	require.Equal(t, []string{"model", "more"}, names(t, target), "a link is followed")
	info, err = os.Stat(target)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o750), info.Mode().Perm(), "the mode is passed on")
	require.Equal(t, []string{"out"}, names(t, filepath.Dir(target)))

	require.NoError(t, os.Mkdir(filepath.Join(dir, "theirs"), 0o755))
	put(t, filepath.Join(dir, "theirs"), "index.html")
	require.ErrorContains(t, publish(t, filepath.Join(dir, "theirs"), ours("model"), "model"), "does not replace it: it has no model")
	require.Equal(t, []string{"index.html"}, names(t, filepath.Join(dir, "theirs")))
}

// What is not listed is kept with all that it is, whether names are exchanged in one step or in two.
func TestFilesOfTheUserAreKept(t *testing.T) {
	t.Run("one step", kept1)
	swap = func(string, string) (bool, error) { return false, nil }
	defer func() { swap = exchange }()
	t.Run("two steps", kept1)
}

func kept1(t *testing.T) {
	target := filepath.Join(t.TempDir(), "out")
	fill := func() {
		require.NoError(t, os.RemoveAll(target))
		put(t, target, "model", "plan/listed", "plan/hours.plan", "notes/a/b.txt", "gone/listed")
		require.NoError(t, os.Symlink("notes/a", filepath.Join(target, "link")))
		require.NoError(t, os.Mkdir(filepath.Join(target, "empty"), 0o755))
	}
	l := ours("model", "plan/listed", "gone/listed")
	fill()
	require.NoError(t, publish(t, target, l, "model", "plan/listed", "plan/more"))
	require.Equal(t, "new", read(t, filepath.Join(target, "model")))
	require.Equal(t, "new", read(t, filepath.Join(target, "plan/listed")))
	require.Equal(t, "outplan/hours.plan", read(t, filepath.Join(target, "plan/hours.plan")))
	require.Equal(t, "outnotes/a/b.txt", read(t, filepath.Join(target, "link/b.txt")))
	require.Equal(t, []string{"empty", "link", "model", "notes", "plan"}, names(t, target), "what was listed and is not made any more is gone")
	require.Len(t, names(t, filepath.Dir(target)), 1)

	fill()
	err := publish(t, target, l, "model", "plan/hours.plan")
	require.ErrorContains(t, err, "plan/hours.plan: not the program's file")
	require.Equal(t, "outmodel", read(t, filepath.Join(target, "model")), "all is as it was")
	require.Len(t, names(t, filepath.Dir(target)), 1)

	require.NoError(t, syscall.Mkfifo(filepath.Join(target, "pipe"), 0o600))
	require.ErrorContains(t, publish(t, target, l, "model"), "pipe: not the program's file, and it cannot be kept")
}

// Of runs that begin at the same time one wins, and the others say so at once; nothing of them is left.
func TestTwoIntoOne(t *testing.T) {
	for _, force := range []bool{false, true} {
		dir := t.TempDir()
		target := filepath.Join(dir, "out")
		var l Listing
		if force {
			l = ours("model")
			put(t, target, "model")
		}
		var wg sync.WaitGroup
		errs := make([]error, 20)
		begun := make(chan struct{}, len(errs))
		for i := range errs {
			wg.Go(func() {
				f, err := NewFolder(target, l)
				begun <- struct{}{}
				if errs[i] = err; err != nil {
					return
				}
				defer f.Discard()
				for range len(errs) { // publishes when all have tried
					<-begun
				}
				put(t, f.Dir, "model")
				errs[i] = f.Publish()
			})
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else {
				require.ErrorContains(t, err, "another run is building it")
			}
		}
		require.Equal(t, 1, won)
		require.Equal(t, []string{"out"}, names(t, dir))

		// Without locks the later one sees that the folder is not the one that it began with.
		a, err := NewFolder(target, ours("model"))
		require.NoError(t, err)
		require.NoError(t, os.Rename(target, target+"2"))
		put(t, target, "model")
		require.ErrorContains(t, a.Publish(), "another run published it")
		a.Discard()
		require.Equal(t, "outmodel", read(t, filepath.Join(target, "model")))
	}
}

func TestScratch(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dead(t, os.TempDir(), "convert", scratch)
	dir, remove, err := Scratch()
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Base(dir)}, names(t, os.TempDir()))
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	remove()
	require.Empty(t, names(t, os.TempDir()))
}

// Runs that begin at the same time remove dead folders of each other's, and none that somebody begins to work in.
func TestScratchOfMany(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var runs errgroup.Group
	for range 8 {
		runs.Go(func() error {
			for range 50 {
				dir, remove, err := Scratch()
				if err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o644); err != nil {
					return err
				}
				remove()
			}
			return nil
		})
	}
	require.NoError(t, runs.Wait())
}
