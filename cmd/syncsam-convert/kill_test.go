//go:build kill && unix

package main

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
)

func sum(t *testing.T, path string) string {
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

// state is what stands at an output: absent, or the artifact of a checkpoint with one of the hashes, whole by its own manifest. All else fails.
func state(t *testing.T, out string, hashes map[string]string) string {
	t.Helper()
	if _, err := os.Lstat(out); os.IsNotExist(err) {
		return "absent"
	}
	m, err := artifact.Read(out)
	require.NoError(t, err)
	require.NoError(t, m.Verify(out))
	is, ok := hashes[m.Source.SHA256]
	require.True(t, ok, "a hash of no checkpoint: %s", m.Source.SHA256)
	return is
}

// killed runs a build and sends it a signal after some part of the time that it takes undisturbed.
func killed(t *testing.T, c *exec.Cmd, after time.Duration, s os.Signal) result {
	timer := time.AfterFunc(after, func() {
		if c.Process != nil {
			c.Process.Signal(s)
		}
	})
	defer timer.Stop()
	r := ended(t, c, 5*time.Minute)
	require.NotContains(t, r.err, "goroutine ")
	require.LessOrEqual(t, strings.Count(r.err, "\n"), 1, r.err)
	return r
}

// Builds of several kinds are ended by signals at random moments, over nothing and over an artifact with a file of the user's. What stands there is
// always old, absent or complete, and after the next run beside it nothing else is left, in the temporary folder neither.
func TestKills(t *testing.T) {
	seed := number(t, "SEED", 1)
	rng := rand.New(rand.NewPCG(uint64(seed), 1))
	hashes := map[string]string{sum(t, tiny34): "new", sum(t, tiny50): "old"}
	images := "../../golden/data/dataset/images"
	kinds := [][]string{{}, {"--external-data"}, {"--target", "tensorrt"}, {"--precision", "int8", "--rounding", "nearest", "--calib", images}, {"--golden", golden34}}
	times := make([]time.Duration, len(kinds))
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	for i, flags := range kinds {
		start := time.Now()
		require.Equal(t, 0, ended(t, program(append([]string{"build", tiny34, "-o", filepath.Join(t.TempDir(), "a")}, flags...)...), 5*time.Minute).code)
		times[i] = time.Since(start)
	}
	old := built(t, tiny50)
	counts := map[string]int{}
	dir := t.TempDir()
	left := 0
	for range number(t, "KILLS", 200) {
		out := filepath.Join(dir, "out")
		require.NoError(t, os.RemoveAll(out))
		kind, force := rng.IntN(len(kinds)), rng.IntN(2) == 1
		args := append([]string{"build", tiny34, "-o", out}, kinds[kind]...)
		if force {
			require.NoError(t, os.CopyFS(out, os.DirFS(old)))
			require.NoError(t, os.WriteFile(filepath.Join(out, "notes.txt"), []byte("mine"), 0o644))
			args = append(args, "--force")
		}
		s := []syscall.Signal{syscall.SIGKILL, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}[rng.IntN(4)]
		r := killed(t, program(args...), time.Duration(rng.Float64()*1.1*float64(times[kind])), s)
		is := state(t, out, hashes)
		if force {
			require.NotEqual(t, "absent", is)
			text, err := os.ReadFile(filepath.Join(out, "notes.txt"))
			require.NoError(t, err)
			require.Equal(t, "mine", string(text))
		} else {
			require.NotEqual(t, "old", is)
		}
		if r.code == 0 {
			require.Equal(t, "new", is)
		}
		counts[s.String()+": "+is]++
		if len(names(t, dir)) > 1 || is == "absent" && len(names(t, dir)) > 0 {
			left++
			require.Equal(t, syscall.SIGKILL, s, "only what nothing can be done against leaves anything: %v", names(t, dir))
		}
		require.NoError(t, os.RemoveAll(out))
		require.Equal(t, 0, ended(t, program("build", tiny34, "-o", out), time.Minute).code)
		require.Equal(t, []string{"out"}, names(t, dir), "the next run removes what was left")
	}
	require.Equal(t, 0, ended(t, program(append([]string{"build", tiny34, "-o", filepath.Join(dir, "last")}, kinds[3]...)...), time.Minute).code)
	require.Empty(t, names(t, tmp))
	t.Logf("seed %d: %v; %d left their folder, until the next run", seed, counts, left)
}

// Checkpoints are cut and appended to while they are compiled, at random moments.
func TestChanges(t *testing.T) {
	seed := number(t, "SEED", 1)
	rng := rand.New(rand.NewPCG(uint64(seed), 2))
	original, err := os.ReadFile(tiny34)
	require.NoError(t, err)
	start := time.Now()
	require.Equal(t, 0, ended(t, program("build", tiny34, "-o", filepath.Join(t.TempDir(), "a")), time.Minute).code)
	whole := time.Since(start)
	for what, change := range map[string]func(path string) error{
		"truncations": func(path string) error { return os.Truncate(path, int64(rng.IntN(len(original)))) },
		"appends": func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.Write(make([]byte, 1+rng.IntN(1<<20)))
			return err
		},
	} {
		counts := map[string]int{}
		for range number(t, "CHANGES", 50) {
			dir := t.TempDir()
			path, out := filepath.Join(dir, "tiny.pth"), filepath.Join(dir, "out")
			require.NoError(t, os.WriteFile(path, original, 0o644))
			done := make(chan error)
			after := time.Duration(rng.Float64() * float64(whole))
			go func() {
				time.Sleep(after)
				done <- change(path)
			}()
			r := ended(t, program("build", path, "-o", out), time.Minute)
			require.NoError(t, <-done)
			is := state(t, out, map[string]string{sum(t, tiny34): "complete, of what it was", sum(t, path): "complete, of what it is"})
			counts[is]++
			if r.code != 0 {
				oneLine(t, path, r)
				require.Equal(t, "absent", is)
				require.Equal(t, []string{"tiny.pth"}, names(t, dir))
			}
		}
		t.Logf("seed %d: %s: %v", seed, what, counts)
	}
}

// Models are cut while they are verified.
func TestCuts(t *testing.T) {
	rng := rand.New(rand.NewPCG(uint64(number(t, "SEED", 1)), 3))
	source := built(t, tiny34)
	start := time.Now()
	require.Equal(t, 0, ended(t, program("verify", source, "--golden", golden34, "--prompts", "box"), 5*time.Minute).code)
	whole := time.Since(start)
	counts := map[int]int{}
	for range number(t, "CUTS", 20) {
		dir := filepath.Join(t.TempDir(), "a")
		require.NoError(t, os.CopyFS(dir, os.DirFS(source)))
		file := filepath.Join(dir, []string{"encoder.onnx", "decoder.onnx"}[rng.IntN(2)])
		timer := time.AfterFunc(time.Duration(rng.Float64()*float64(whole)), func() { os.Truncate(file, int64(rng.IntN(100_000))) })
		r := ended(t, program("verify", dir, "--golden", golden34, "--prompts", "box"), 5*time.Minute)
		timer.Stop()
		if counts[r.code]++; r.code != 0 {
			oneLine(t, file, r)
		}
	}
	t.Logf("exit statuses: %v", counts)
}

// Twenty builds into one output at once: one wins, the others say so.
func TestSimultaneous(t *testing.T) {
	for _, force := range []bool{false, true} {
		dir := t.TempDir()
		out := filepath.Join(dir, "out")
		args := []string{"build", tiny34, "-o", out, "--precision", "int8", "--rounding", "nearest", "--calib", "../../golden/data/dataset/images"}
		if force {
			must(t, "build", tiny50, "-o", out)
			args = append(args, "--force")
		}
		results := make([]result, number(t, "BUILDS", 20))
		var wg sync.WaitGroup
		for i := range results {
			wg.Go(func() { results[i] = ended(t, program(args...), 5*time.Minute) })
		}
		wg.Wait()
		won := 0
		for _, r := range results {
			if r.code == 0 {
				won++
				continue
			}
			oneLine(t, out, r)
			require.Regexp(t, "another run|exists; --force", r.err)
		}
		require.Equal(t, 1, won)
		require.Equal(t, "new", state(t, out, map[string]string{sum(t, tiny34): "new"}))
		require.Equal(t, []string{"out"}, names(t, dir))
		t.Logf("force %v: %d won, %d said that another did", force, won, len(results)-won)
	}
}
