//go:build mutate && linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"syncsam-convert/internal/plain"
)

// What any input may cost: processor time (a machine that others share has no other), memory beyond the file's size, characters of an error. A worker
// that runs for longer than hopeless, or holds more than tooMuch, is killed.
const (
	mostTime   = 2 * time.Second
	mostMemory = 300 << 20
	mostError  = 2000
	hopeless   = 60 * time.Second
	tooMuch    = 2 << 30
)

// asWorker makes the test's own file run command lines that it reads, one after the other, in one process.
const asWorker = "SYNCSAM_TEST_RUNS_COMMANDS"

func init() {
	if os.Getenv(asWorker) == "" {
		return
	}
	debug.SetGCPercent(100)
	answers := json.NewEncoder(os.Stdout)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var args []string
		if json.Unmarshal(in.Bytes(), &args) != nil {
			os.Exit(3)
		}
		debug.FreeOSMemory()
		_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // the peak begins anew
		before := spent()
		var out, problems bytes.Buffer
		a := answer{Code: run(context.Background(), args, plain.NewWriter(&out), &problems)}
		a.Out, a.Err, a.CPU, a.Peak = out.String(), problems.String(), spent()-before, peakOf("self")
		if answers.Encode(a) != nil {
			os.Exit(3)
		}
	}
	os.Exit(0)
}

// An answer is what a command line did and cost.
type answer struct {
	Code     int
	Out, Err string
	CPU      time.Duration
	Peak     int64
	Died     string // why there is none
}

func spent() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

var peakLine = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

func peakOf(process string) int64 {
	text, _ := os.ReadFile("/proc/" + process + "/status")
	if m := peakLine.FindSubmatch(text); m != nil {
		n, _ := strconv.ParseInt(string(m[1]), 10, 64)
		return n << 10
	}
	return 0
}

// A worker is a process that runs command lines. It is started anew when it died.
type worker struct {
	c    *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	runs int
}

func (w *worker) stop() {
	if w.c != nil {
		w.in.Close()
		w.c.Process.Kill()
		w.c.Wait()
		w.c = nil
	}
}

func (w *worker) do(args []string) answer {
	if w.runs++; w.runs%500 == 0 {
		w.stop()
	}
	if w.c == nil {
		w.c = exec.Command(os.Args[0])
		w.c.Env = append(os.Environ(), asWorker+"=1", "GOMAXPROCS=2")
		w.in, _ = w.c.StdinPipe()
		out, _ := w.c.StdoutPipe()
		w.out = bufio.NewReaderSize(out, 1<<20)
		w.c.Stderr = &bytes.Buffer{}
		if err := w.c.Start(); err != nil {
			return answer{Died: err.Error()}
		}
	}
	line, _ := json.Marshal(args)
	w.in.Write(append(line, '\n'))
	killed := make(chan string, 1)
	done := make(chan struct{})
	process := w.c.Process
	go func() {
		start := time.Now()
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
			why := ""
			if time.Since(start) > hopeless {
				why = "it did not end"
			} else if peakOf(strconv.Itoa(process.Pid)) > tooMuch {
				why = fmt.Sprintf("it held more than %d MB", tooMuch>>20)
			}
			if why != "" {
				killed <- why
				process.Kill()
				return
			}
		}
	}()
	text, err := w.out.ReadBytes('\n')
	close(done)
	var a answer
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	if err != nil {
		a.Died = "it died: " + err.Error()
		select {
		case a.Died = <-killed:
		default:
		}
		w.c.Process.Kill()
		w.c.Wait()
		trace := w.c.Stderr.(*bytes.Buffer).String()
		a.Died += ": " + trace[:min(len(trace), 300)]
		w.c = nil
	}
	return a
}

// alone runs a command line as a process of its own.
func alone(args []string) answer {
	c := program(args...)
	var out, problems bytes.Buffer
	c.Stdout, c.Stderr = &out, &problems
	if err := c.Start(); err != nil {
		return answer{Died: err.Error()}
	}
	ended, peak := make(chan struct{}), make(chan int64, 1)
	go func() { // what the system says of a child's memory counts its parent's before it began
		for most := int64(0); ; {
			most = max(most, peakOf(strconv.Itoa(c.Process.Pid)))
			select {
			case <-ended:
				peak <- most
				return
			case <-time.After(3 * time.Millisecond):
			}
		}
	}()
	timer := time.AfterFunc(hopeless, func() { c.Process.Kill() })
	c.Wait()
	close(ended)
	if !timer.Stop() {
		return answer{Died: "it did not end"}
	}
	return answer{Code: c.ProcessState.ExitCode(), Out: out.String(), Err: problems.String(), CPU: c.ProcessState.UserTime() + c.ProcessState.SystemTime(), Peak: <-peak}
}

// fall says what is wrong with an answer, "" where nothing is. size is that of the input.
func (a answer) fall(size int64) string {
	said := a.Out + a.Err
	switch {
	case a.Died != "":
		return a.Died
	case a.Code < 0 || a.Code > 2:
		return fmt.Sprintf("status %d: %.300s", a.Code, a.Err)
	case a.CPU > mostTime:
		return fmt.Sprintf("%.1f s", a.CPU.Seconds())
	case a.Peak > size+mostMemory:
		return fmt.Sprintf("%d MB for %d bytes", a.Peak>>20, size)
	case !utf8.ValidString(said) || raw.MatchString(said):
		return fmt.Sprintf("raw bytes: %.300q", said)
	case trace.MatchString(said):
		return fmt.Sprintf("a panic: %.400s", a.Err)
	case a.Code != 0 && !strings.HasSuffix(a.Err, "\n"):
		return "an error without a line"
	}
	for line := range strings.Lines(a.Err) {
		if !strings.HasPrefix(line, "syncsam-convert: ") || utf8.RuneCountInString(line) > mostError {
			return fmt.Sprintf("a line of %d characters: %.300s", utf8.RuneCountInString(line), line)
		}
	}
	return ""
}

var (
	raw   = regexp.MustCompile(`[\x00-\x08\x0b-\x1f\x7f-\x{9f}\x{200b}-\x{200f}\x{202a}-\x{202e}\x{2066}-\x{2069}]`)
	trace = regexp.MustCompile(`goroutine \d|runtime error|internal error|panic:|reflect: call`)
)

// TestMutations runs the program on damaged inputs of all kinds. INPUTS=N is how many, SEED=N takes others, KIND=name one kind alone, ONE=N the Nth alone.
// Most run many to a process; each fiftieth, and each that seems to fall, in one of its own, which decides. What falls is kept in build/mutate with its
// command line.
func TestMutations(t *testing.T) {
	kinds := mutations(t)
	n, seed, one := number(t, "INPUTS", 30000), number(t, "SEED", 1), number(t, "ONE", -1)
	if want := os.Getenv("KIND"); want != "" {
		kinds = slices.DeleteFunc(kinds, func(k kind) bool { return k.name != want })
		require.NotEmpty(t, kinds, "KIND: no such kind")
	}
	kept, err := filepath.Abs("../../build/mutate")
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(kept, 0o755))
	var mutex sync.Mutex
	counts, falls := map[string]*[4]int{}, map[string][]string{}
	for _, k := range kinds {
		counts[k.name] = new([4]int)
	}
	next, start := 0, time.Now()
	var workers sync.WaitGroup
	for range min(2, runtime.NumCPU()) {
		workers.Go(func() {
			var w worker
			defer w.stop()
			base := t.TempDir()
			for {
				mutex.Lock()
				i := next
				next++
				mutex.Unlock()
				if i >= n {
					return
				}
				if one >= 0 && i != one {
					continue
				}
				k := kinds[i%len(kinds)]
				dir := filepath.Join(base, strconv.Itoa(i))
				args, size := k.make(dir, rand.New(rand.NewPCG(uint64(seed), uint64(i))))
				var a answer
				if i/len(kinds)%50 == 0 {
					a = alone(args)
				} else if a = w.do(args); a.fall(size) != "" {
					a = alone(args)
				}
				why := a.fall(size)
				mutex.Lock()
				if counts[k.name][3]++; a.Died == "" && a.Code >= 0 && a.Code <= 2 {
					counts[k.name][a.Code]++
				}
				if why != "" {
					falls[k.name] = append(falls[k.name], fmt.Sprintf("%d: %s", i, why))
					to := filepath.Join(kept, fmt.Sprintf("%s-%d-%d", k.name, seed, i))
					os.RemoveAll(to)
					if os.Rename(dir, to) != nil {
						exec.Command("cp", "-r", dir, to).Run()
					}
					os.WriteFile(to+".txt", []byte(strings.ReplaceAll(strings.Join(args, "\n"), dir, to)+"\n\n"+why+"\n"), 0o644)
				}
				mutex.Unlock()
				os.RemoveAll(dir)
			}
		})
	}
	workers.Wait()
	total, fell := [4]int{}, 0
	for _, k := range kinds {
		c := *counts[k.name]
		for i := range c {
			total[i] += c[i]
		}
		fell += len(falls[k.name])
		t.Logf("%-14s %6d inputs: status 0 %6d, 1 %6d, 2 %6d; %d fell", k.name, c[3], c[0], c[1], c[2], len(falls[k.name]))
		for _, line := range falls[k.name] {
			t.Errorf("%s %s", k.name, line)
		}
	}
	t.Logf("seed %d: %d inputs, status 0 %d, 1 %d, 2 %d; %d fell; %.0f s", seed, total[3], total[0], total[1], total[2], fell, time.Since(start).Seconds())
}
