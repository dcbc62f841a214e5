package registry

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A registry that says nothing more, wherever it stops, ends the transfer with a reason and leaves nothing; one that is slow does not.
func TestSilence(t *testing.T) {
	defer func(was time.Duration) { silence = was }(silence)
	silence = 300 * time.Millisecond
	ctx, dir := context.Background(), made(t)
	var mode atomic.Value
	mode.Store("")
	stopped := make(chan struct{})
	at := server(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		blob := r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/")
		switch how := mode.Load().(string); {
		case how == "answer", how == "upload" && (r.Method == http.MethodPut || r.Method == http.MethodPatch):
			<-stopped // not even its body is read
		case blob && (how == "body" || how == "slow"):
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			for k, v := range rec.Header() {
				w.Header()[k] = v
			}
			body := rec.Body.Bytes()
			for i := range 10 {
				w.Write(body[i*len(body)/10 : (i+1)*len(body)/10])
				w.(http.Flusher).Flush()
				if how == "body" && i == 4 {
					<-stopped
				}
				time.Sleep(60 * time.Millisecond) // all of it takes longer than may be silent
			}
		default:
			next.ServeHTTP(w, r)
		}
	})
	t.Cleanup(func() { close(stopped) }) // before the server closes
	done, err := opened(t, at+":1").PushAll(ctx, dir, "", false)
	require.NoError(t, err)
	for _, how := range []string{"answer", "body"} {
		mode.Store(how)
		to := filepath.Join(t.TempDir(), "b")
		_, err := opened(t, at+"@"+done.Digest).Pull(ctx, to, false)
		require.ErrorContains(t, err, "nothing was sent or taken for 300ms", how)
		entries, _ := os.ReadDir(filepath.Dir(to))
		require.Empty(t, entries, how)
		_, err = opened(t, at+"@"+done.Digest).Cached(ctx)
		require.ErrorContains(t, err, "try again", how)
	}
	mode.Store("upload")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "decoder.onnx"), make([]byte, 32<<20), 0o600)) // more than sockets hold
	r := opened(t, at+":2")
	d, err := describe(dir, "decoder.onnx")
	require.NoError(t, err)
	_, err = r.send(ctx, d, func() (io.ReadCloser, error) { return os.Open(filepath.Join(dir, "decoder.onnx")) })
	require.ErrorContains(t, err, "nothing was sent or taken")
	mode.Store("slow")
	_, err = opened(t, at+"@"+done.Digest).Pull(ctx, filepath.Join(t.TempDir(), "b"), false)
	require.NoError(t, err)
}

// A listener that never answers, not even an encryption's greeting.
func TestSilentListener(t *testing.T) {
	defer func(was time.Duration) { silence = was }(silence)
	silence = 200 * time.Millisecond
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	for _, plain := range []bool{true, false} {
		r, err := Open(l.Addr().String()+"/x:1", plain)
		require.NoError(t, err)
		_, err = r.Pull(context.Background(), filepath.Join(t.TempDir(), "b"), false)
		require.ErrorContains(t, err, "nothing was sent or taken for 200ms")
	}
}
