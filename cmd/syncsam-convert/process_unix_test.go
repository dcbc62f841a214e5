//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"syncsam-convert/engine"
	"syncsam-convert/internal/guard"
	"syncsam-convert/ir/tensor"

	"github.com/stretchr/testify/require"
)

// asProgram makes the test's own file the program.
const asProgram = "SYNCSAM_TEST_IS_THE_PROGRAM"

// tellsPeak names a file for the process's own status: what the system says of a child's memory counts its parent's before it began.
const tellsPeak = "SYNCSAM_TEST_PEAK"

func TestMain(m *testing.M) {
	if path := os.Getenv(tellsPeak); path != "" {
		code := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)
		status, _ := os.ReadFile("/proc/self/status")
		if os.WriteFile(path, status, 0o600) != nil {
			code = 99
		}
		os.Exit(code)
	}
	if os.Getenv(asProgram) != "" {
		main()
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // also under nohup: what is ignored is ignored in children
	os.Exit(m.Run())
}

func program(args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), asProgram+"=1")
	return c
}

// ended runs a process to its end, which must come within a time.
func ended(t *testing.T, c *exec.Cmd, within time.Duration) result {
	t.Helper()
	var out, problems bytes.Buffer
	if c.Stdout == nil {
		c.Stdout = &out
	}
	c.Stderr = &problems
	require.NoError(t, c.Start())
	timer := time.AfterFunc(within, func() { c.Process.Kill() })
	err := c.Wait()
	require.True(t, timer.Stop(), "%v: it did not end", c.Args)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return result{c.ProcessState.ExitCode(), out.String(), problems.String()}
}

func oneLine(t *testing.T, want string, r result) {
	t.Helper()
	require.Equal(t, 2, r.code, r.err)
	require.Regexp(t, `^syncsam-convert: [^\n]+\n$`, r.err)
	require.Contains(t, r.err, want)
}

// A result that did not arrive is an error, not success and not a signal.
func TestStandardOutputThatFails(t *testing.T) {
	for _, args := range [][]string{{"--version"}, {"--help"}, {"inspect", tiny34}, {"inspect", tiny34, "--json"}, {"dataset", "../../golden/data/dataset"}, {"build", tiny34, "-o", filepath.Join(t.TempDir(), "a")}} {
		if full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0); err == nil {
			c := program(args...)
			c.Stdout = full
			oneLine(t, "no space left on device", ended(t, c, time.Minute))
			full.Close()
		}
		args[len(args)-1] = strings.Replace(args[len(args)-1], "/a", "/b", 1)
		r, w, err := os.Pipe()
		require.NoError(t, err)
		r.Close()
		c := program(args...)
		c.Stdout = w
		oneLine(t, "broken pipe", ended(t, c, time.Minute))
		w.Close()
	}
}

// Inputs that have no end, or block: refused at once by every command, wherever an input is named.
func TestPipesAsInputs(t *testing.T) {
	dir := t.TempDir()
	pipe, out := filepath.Join(dir, "pipe"), filepath.Join(dir, "out")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	folder := filepath.Join(dir, "folder")
	require.NoError(t, os.Mkdir(folder, 0o755))
	for _, name := range []string{"golden.json", "manifest.json", "label2image_test.json", "config.json", "recipe.json", "model.safetensors", "dataset.json"} {
		require.NoError(t, syscall.Mkfifo(filepath.Join(folder, name), 0o600))
	}
	zero := "/dev/zero"
	for _, p := range []string{pipe, folder, zero} {
		for _, args := range [][]string{
			{"inspect", p}, {"build", p, "-o", out}, {"build", tiny34, "-o", out, "--golden", p}, {"build", tiny34, "-o", out, "--precision", "int8", "--calib", p},
			{"build", tiny34, "-o", out, "--precision", "int8", "--plan", p}, {"calibrate", tiny34, "--calib", p, "-o", out}, {"exec", p, "--inputs", p, "--outputs", out},
			{"run", p, "--image", picture, "--box", "1,1,9,9", "-o", out}, {"run", p, "--image", p, "--box", "1,1,9,9", "-o", out}, {"picture", p, "-o", out}, {"picture", p, "--mask", "-o", out},
			{"verify", p, "--golden", golden34}, {"verify", folder, "--golden", p}, {"verify", p, "--golden", "paper:2/SyncSAM-SAMed-50", "--data", p},
			{"compare", p, p}, {"bench", p}, {"plan", "lint", p}, {"lint", p}, {"plan", "info", p}, {"plan", "check", p}, {"dataset", p},
		} {
			r := ended(t, program(args...), 20*time.Second)
			require.Equal(t, 2, r.code, "%v: %s%s", args, r.out, r.err)
			require.Regexp(t, `^syncsam-convert: [^\n]+\n$`, r.err)
		}
	}
	require.NoFileExists(t, out)
}

// slow is a build that takes seconds.
func slow(out string) *exec.Cmd {
	return program("build", tiny34, "-o", out, "--precision", "int8", "--rounding", "adaptive", "--calib", "../../golden/data/dataset/images", "--golden", golden34)
}

// staging waits until a build has begun.
func staging(t *testing.T, dir string) {
	require.Eventually(t, func() bool { list, _ := filepath.Glob(filepath.Join(dir, ".*")); return len(list) > 0 }, 30*time.Second, time.Millisecond)
}

// Whatever asks a build to end, it leaves nothing; what is killed is removed by the next run, which it does not hinder.
func TestInterrupts(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGKILL} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			out := filepath.Join(dir, "artifact")
			c := slow(out)
			go func() {
				staging(t, dir)
				time.Sleep(300 * time.Millisecond)
				c.Process.Signal(s)
			}()
			r := ended(t, c, time.Minute)
			if s != syscall.SIGKILL {
				oneLine(t, "interrupted", r)
				require.Empty(t, names(t, dir))
				return
			}
			require.Equal(t, -1, r.code)
			require.Len(t, names(t, dir), 1, "what a killed build leaves")
			must(t, "build", tiny34, "-o", filepath.Join(dir, "other"))
			require.Equal(t, []string{"other"}, names(t, dir), "the next run beside it removes it")
		})
	}
}

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// A hangup that is ignored, as nohup asks for, stays ignored.
func TestNoHangup(t *testing.T) {
	dir := t.TempDir()
	c := exec.Command("sh", "-c", `trap "" HUP; exec "$0" build "$1" -o "$2"`, os.Args[0], tiny34, filepath.Join(dir, "a"))
	c.Env = append(os.Environ(), asProgram+"=1")
	go func() {
		for range 20 {
			time.Sleep(10 * time.Millisecond)
			if c.Process != nil {
				c.Process.Signal(syscall.SIGHUP)
			}
		}
	}()
	r := ended(t, c, time.Minute)
	require.Equal(t, 0, r.code, r.err)
}

// The umask decides who may read what is written: masks are patients' data.
func TestUmask(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	dir := t.TempDir()
	a := filepath.Join(dir, "artifact")
	must(t, "build", tiny34, "-o", a, "--target", "tensorrt", "--dump", filepath.Join(dir, "dump"))
	must(t, "run", a, "--image", picture, "--box", "40,40,90,90", "-o", filepath.Join(dir, "mask.png"))
	must(t, "verify", a, "--golden", golden34, "--prompts", "box", "--json", filepath.Join(dir, "r.json"), "--html", filepath.Join(dir, "page"))
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		require.Zero(t, info.Mode().Perm()&0o077, "%s: %s", path, info.Mode())
		return err
	}))
}

// Limits of memory that Go's runtime cannot work under end in a line, where cgo lets the program look first.
func TestLimitsOfMemory(t *testing.T) {
	c := program("--version")
	c.Env = append(c.Env, "GOMEMLIMIT=2GB")
	r := ended(t, c, time.Minute)
	if strings.Contains(r.err, "goroutine") || strings.Contains(r.err, "runtime.throw") {
		t.Skip("without cgo it is the runtime that speaks")
	}
	oneLine(t, `GOMEMLIMIT: have "2GB"`, r)
	for _, limit := range []int{64 << 10, 512 << 10, 1 << 20, 1<<21 - 1} {
		c := exec.Command("sh", "-c", fmt.Sprintf(`ulimit -v %d && exec "$0" inspect "$1"`, limit), os.Args[0], tiny34)
		c.Env = append(os.Environ(), asProgram+"=1")
		oneLine(t, "RLIMIT_AS", ended(t, c, time.Minute))
	}
}

// A model that is cut while it is mapped is an error of the run that reads it, in the kernels' goroutines, too.
func TestModelsThatAreCut(t *testing.T) {
	model := filepath.Join(built(t, tiny34), "encoder.onnx")
	s, err := engine.Load(engine.Embedded, model, engine.Options{})
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, os.Truncate(model, 5000))
	dims := []int64{1, 3, 256, 256}
	err = guard.Do(func() error {
		_, err := s.Run(context.Background(), map[string]*tensor.Tensor{"image": tensor.FromFloat32(dims, make([]float32, 3*256*256))})
		return err
	})
	require.ErrorContains(t, err, model+": it became shorter while it was read")
	require.NotContains(t, err.Error(), "goroutine")
}
