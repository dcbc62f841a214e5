//go:build soak && linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// use is what a process holds.
type use struct{ memory, mappings, files, goroutines int }

func (u use) String() string {
	return fmt.Sprintf("%d MB, %d mappings, %d files, %d goroutines", u.memory>>20, u.mappings, u.files, u.goroutines)
}

func used(t *testing.T) use {
	runtime.GC()
	debug.FreeOSMemory()
	statm, err := os.ReadFile("/proc/self/statm")
	require.NoError(t, err)
	var size, resident int
	_, err = fmt.Sscan(string(statm), &size, &resident)
	require.NoError(t, err)
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	files, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return use{resident * os.Getpagesize(), strings.Count(string(maps), "\n"), len(files), runtime.NumGoroutine()}
}

// A process that builds and verifies a hundred times holds in the end what it held after ten.
func TestSoakBuilds(t *testing.T) {
	dir := t.TempDir()
	images := "../../golden/data/dataset/images"
	kinds := [][]string{{}, {"--target", "tensorrt"}, {"--precision", "int8", "--rounding", "nearest", "--calib", images}, {"--precision", "fp16"}, {"--external-data"}}
	var early use
	for i := range 100 {
		ck, gold := tiny34, golden34
		if i%2 == 1 {
			ck, gold = tiny50, golden50
		}
		out := filepath.Join(dir, "out")
		r := command(append([]string{"build", ck, "-o", out, "--force"}, kinds[i%len(kinds)]...)...)
		require.Equal(t, 0, r.code, r.err)
		r = command("verify", out, "--golden", gold, "--prompts", "box", "--tolerance", "100", "--json", filepath.Join(dir, "r.json"))
		require.Equal(t, 0, r.code, r.err)
		require.Equal(t, 2, command("build", "../../go.mod", "-o", out, "--force").code) // errors hold nothing, too
		if i == 9 {
			early = used(t)
		}
	}
	late := used(t)
	t.Logf("after 10: %v; after 100: %v", early, late)
	require.LessOrEqual(t, late.memory, early.memory+early.memory/10+16<<20)
	require.LessOrEqual(t, late.files, early.files)
	require.LessOrEqual(t, late.goroutines, early.goroutines+1)
	require.LessOrEqual(t, late.mappings, early.mappings+50)
	require.ElementsMatch(t, []string{"out", "r.json"}, names(t, dir))
}

// peak runs the program and gives the largest memory that it held, in bytes (the kernel's figure for children begins with their parent's, so it is looked
// at while it runs), and the time that it computed.
func peak(t *testing.T, args ...string) (most int64, took time.Duration) {
	c := program(args...)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if c.Process == nil {
				continue
			}
			text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Process.Pid))
			if _, after, ok := strings.Cut(string(text), "VmHWM:"); ok {
				var kb int64
				if fmt.Sscan(after, &kb); kb > most {
					most = kb
				}
			}
		}
	}()
	r := ended(t, c, 20*time.Minute)
	close(stop)
	<-stopped
	require.Equal(t, 0, r.code, r.err)
	require.NotZero(t, most)
	return most << 10, c.ProcessState.UserTime() + c.ProcessState.SystemTime()
}

// goldenOf makes a golden folder with so many items, each of its own image and mask, and an index with so many more entries.
func goldenOf(t *testing.T, items, more int) string {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join(golden34, "golden.json"))
	require.NoError(t, err)
	var g map[string]any
	require.NoError(t, json.Unmarshal(text, &g))
	source := filepath.Dir(index1(t))
	index, list, sum := map[string]string{}, []any{}, 0.0
	first := g["items"].([]any)
	for i := range items {
		text, err := json.Marshal(first[i%len(first)])
		require.NoError(t, err)
		var item map[string]any
		require.NoError(t, json.Unmarshal(text, &item))
		for _, kind := range []string{"image", "mask"} {
			name := item[kind].(string)
			item[kind] = filepath.ToSlash(filepath.Join(filepath.Dir(name), fmt.Sprintf("%d_%s", i, filepath.Base(name))))
			copied(t, filepath.Join(source, name), filepath.Join(dir, item[kind].(string)))
		}
		sum += item["box"].(map[string]any)["dsc"].(float64)
		index[item["mask"].(string)] = item["image"].(string)
		list = append(list, item)
	}
	for i := range more {
		index[fmt.Sprintf("masks/ct_00--a_data_set--organ_%07d--x_0001--2.png", i)] = fmt.Sprintf("images/ct_00--a_data_set--organ_%07d--x.png", i/3)
	}
	g["items"], g["dataset"], g["summary"] = list, "index.json", map[string]any{"box": sum / float64(items)}
	for name, v := range map[string]any{"golden.json": g, "index.json": index} {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o644))
	}
	return dir
}

// Memory does not grow with the items.
func TestSoakItems(t *testing.T) {
	a := built(t, tiny34)
	few, _ := peak(t, "verify", a, "--golden", goldenOf(t, 300, 0), "--prompts", "box")
	many, took := peak(t, "verify", a, "--golden", goldenOf(t, 3000, 0), "--prompts", "box")
	t.Logf("300 items: %d MB; 3000 items: %d MB, %.0f s", few>>20, many>>20, took.Seconds())
	require.LessOrEqual(t, many, few+few/10+16<<20)
}

// An index of a million entries costs time to read and no memory.
func TestSoakIndex(t *testing.T) {
	a := built(t, tiny34)
	few, before := peak(t, "verify", a, "--golden", goldenOf(t, 1, 0), "--prompts", "box")
	many, took := peak(t, "verify", a, "--golden", goldenOf(t, 1, 1_000_000), "--prompts", "box")
	t.Logf("an index of 1 entry: %d MB, %.2f s; of 1,000,001: %d MB, %.2f s", few>>20, before.Seconds(), many>>20, took.Seconds())
	require.LessOrEqual(t, many-few, int64(50<<20))
	require.LessOrEqual(t, took-before, 2*time.Second)
}
