package serve

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/internal/memory"
)

// counted is a model that takes its time and tells how many run.
type counted struct {
	mutex     sync.Mutex
	now, most int
	release   chan struct{}
}

func (c *counted) Platform() string              { return "test" }
func (c *counted) Inputs() []Spec                { return nil }
func (c *counted) Outputs() []Spec               { return nil }
func (c *counted) Check(map[string]*Value) error { return nil }
func (c *counted) Infer(ctx context.Context, _ map[string]*Value, _ []string) (map[string]*Value, map[string]any, error) {
	c.mutex.Lock()
	c.now++
	c.most = max(c.most, c.now)
	c.mutex.Unlock()
	select {
	case <-c.release:
	case <-ctx.Done():
	}
	c.mutex.Lock()
	c.now--
	c.mutex.Unlock()
	return nil, nil, ctx.Err()
}

const anything = `{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[1]}]}`

// So many inferences run at a time as Options say; what waits ends with its client, and past a number is refused.
func TestTurns(t *testing.T) {
	s, h := opened(t, Options{Parallel: 3}, artifactOf(t))
	slow := &counted{release: make(chan struct{})}
	s.models["slow"] = slow
	var all sync.WaitGroup
	codes := make(chan int, mostWaiting+64)
	for range mostWaiting + 10 {
		all.Go(func() { codes <- call(h, "POST", "/v2/models/slow/infer", []byte(anything)).Code })
	}
	refused := 0
	require.Eventually(t, func() bool {
		for len(codes) > 0 {
			require.Equal(t, http.StatusServiceUnavailable, <-codes)
			refused++
		}
		return refused == 7 && s.measures.waiting.Load() == mostWaiting
	}, 30*time.Second, 10*time.Millisecond)
	close(slow.release)
	all.Wait()
	close(codes)
	for code := range codes {
		require.Equal(t, http.StatusOK, code)
	}
	require.Equal(t, 3, slow.most)
	require.Zero(t, s.measures.waiting.Load())
}

// panics is a model that breaks down.
type panics struct{ counted }

func (p *panics) Infer(context.Context, map[string]*Value, []string) (map[string]*Value, map[string]any, error) {
	panic("broken")
}

// A model that breaks down costs its request, and no turn.
func TestBreakdown(t *testing.T) {
	s, h := opened(t, Options{Parallel: 1}, artifactOf(t))
	s.models["broken"] = &panics{}
	for range 3 {
		w := call(h, "POST", "/v2/models/broken/infer", []byte(anything))
		require.Equal(t, http.StatusInternalServerError, w.Code)
		require.Equal(t, "internal error: broken", reason(t, w))
	}
	require.Equal(t, http.StatusOK, call(h, "GET", "/v2/health/ready", nil).Code)
}

// The end: what runs is answered, what comes later is not taken, uploaded files are removed.
func TestEnd(t *testing.T) {
	s, err := Open([]string{artifactOf(t)}, Options{})
	require.NoError(t, err)
	slow := &counted{release: make(chan struct{})}
	s.models["slow"] = slow
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	url := "http://" + l.Addr().String()
	w, err := http.Post(url+"/page/picture", "", strings.NewReader("no picture"))
	require.NoError(t, err)
	require.Equal(t, http.StatusBadRequest, w.StatusCode)
	w.Body.Close()
	status := make(chan int, 1)
	go func() {
		w, err := http.Post(url+"/v2/models/slow/infer", "application/json", strings.NewReader(anything))
		if err != nil {
			status <- 0
			return
		}
		w.Body.Close()
		status <- w.StatusCode
	}()
	require.Eventually(t, func() bool { return s.measures.running.Load() == 1 }, 10*time.Second, time.Millisecond)
	end()
	require.Eventually(t, func() bool {
		_, err := net.Dial("tcp", l.Addr().String())
		return err != nil
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, http.StatusServiceUnavailable, call(s.Handler(), "GET", "/v2/health/ready", nil).Code)
	close(slow.release)
	require.Equal(t, http.StatusOK, <-status)
	require.NoError(t, <-ended)
	dir := s.files.dir
	require.NoError(t, s.Close())
	require.NoDirExists(t, dir)
}

// Who sends too much reads why, whether it says how much beforehand or not; who goes away costs nothing.
func TestTooLarge(t *testing.T) {
	s, err := Open([]string{artifactOf(t)}, Options{MaxRequest: 1 << 20})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	for _, body := range []io.Reader{bytes.NewReader(make([]byte, 7<<20)), io.LimitReader(zeros{}, 7<<20)} {
		w, err := http.Post("http://"+l.Addr().String()+"/v2/models/segment/infer", "", body)
		require.NoError(t, err)
		text, err := io.ReadAll(w.Body)
		require.NoError(t, err)
		w.Body.Close()
		require.Equal(t, http.StatusRequestEntityTooLarge, w.StatusCode)
		require.Contains(t, string(text), "--max-request allows more")
	}
	w, err := http.Post("http://"+l.Addr().String()+"/v2/models/nope/infer", "", bytes.NewReader(make([]byte, 7<<20)))
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, w.StatusCode)
	w.Body.Close()
	for _, size := range []int64{2 << 20, 1 << 40} { // it says that it will send, and does not
		c, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		_, err = fmt.Fprintf(c, "POST /v2/models/segment/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n{", size)
		require.NoError(t, err)
		require.NoError(t, c.SetDeadline(time.Now().Add(30*time.Second)))
		w, err := http.ReadResponse(bufio.NewReader(c), nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusRequestEntityTooLarge, w.StatusCode)
		w.Body.Close()
		c.Close()
	}
	for range 20 {
		c, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		_, err = fmt.Fprintf(c, "POST /v2/models/segment/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n{", 1<<20)
		require.NoError(t, err)
		require.NoError(t, c.Close())
	}
	end()
	require.NoError(t, <-ended)
	require.True(t, s.bodies.TryAcquire(max(memory.Limit()/2, 1<<20)), "all memory was given back")
	require.NoError(t, s.Close())
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// A server of this machine alone answers no page of another host that leads here by a name of its own.
func TestHost(t *testing.T) {
	s, h := opened(t, Options{}, artifactOf(t))
	s.local = true
	for host, want := range map[string]int{"localhost:8000": 200, "127.0.0.1:8000": 200, "[::1]:8000": 200, "LOCALHOST": 200, "evil.example:8000": 403, "10.0.0.1": 403, "localhost.evil.example": 403} {
		r := httptest.NewRequest("GET", "/v2", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, want, w.Code, host)
	}
	for origin, want := range map[string]int{"": 200, "http://localhost": 200, "https://evil.example": 403, "null": 403} {
		headers := []string{"Origin", origin}[:2*min(len(origin), 1)]
		require.Equal(t, want, call(h, "POST", "/v2/repository/index", nil, headers...).Code, origin)
	}
	require.Equal(t, 403, call(h, "POST", "/v2/repository/index", nil, "Sec-Fetch-Site", "cross-site").Code)
}

// What is no artifact, or damaged, is refused before anything is served.
func TestOpen(t *testing.T) {
	for want, open := range map[string]func() (*Server, error){
		"not an artifact":    func() (*Server, error) { return Open([]string{t.TempDir()}, Options{}) },
		"have 0 artifacts":   func() (*Server, error) { return Open(nil, Options{}) },
		"engine: have":       func() (*Server, error) { return Open([]string{artifactOf(t)}, Options{Engine: "x"}) },
		"parallel: have -1":  func() (*Server, error) { return Open([]string{artifactOf(t)}, Options{Parallel: -1}) },
		"request size: have": func() (*Server, error) { return Open([]string{artifactOf(t)}, Options{MaxRequest: -1}) },
		"as in the manifest": func() (*Server, error) {
			dir := t.TempDir()
			require.NoError(t, os.CopyFS(dir, os.DirFS(artifactOf(t))))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "decoder.onnx"), []byte("x"), 0o644))
			_, err := artifact.Read(dir)
			require.NoError(t, err)
			return Open([]string{dir}, Options{})
		},
	} {
		_, err := open()
		require.ErrorContains(t, err, want)
	}
}
