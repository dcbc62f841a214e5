package registry

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	fake "github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/ir"
)

// server is a registry in this process; change may alter what it answers.
func server(t *testing.T, change func(w http.ResponseWriter, r *http.Request, next http.Handler)) string {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	h := fake.New(fake.Logger(log.New(io.Discard, "", 0)), fake.WithReferrersSupport(true))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if change != nil {
			change(w, r, h)
		} else {
			h.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://") + "/models/tiny"
}

func made(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	m := &artifact.Manifest{Meta: ir.Meta{Family: "f", Preprocess: ir.Preprocess{Size: 8, Std: [3]float64{1, 1, 1}}}, Precision: "int8"}
	for _, name := range []string{"encoder.onnx", "decoder.onnx"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat(name, 1000)), 0o644))
		f, err := artifact.Describe(dir, name)
		require.NoError(t, err)
		m.Files = append(m.Files, f)
	}
	m.Verification = json.RawMessage(`{"engine":"go","judged_by":"item","pass":true,"summary":{"box":{"items":1,"have":0.9,"pass":true}}}`)
	require.NoError(t, m.Write(dir))
	return dir
}

func opened(t *testing.T, ref string) *Repository {
	t.Helper()
	r, err := Open(ref, true)
	require.NoError(t, err)
	return r
}

// An artifact comes back as it went, by tag and by digest, through the cache, too; a second push has the same digest and sends no byte of a layer.
func TestRoundTrip(t *testing.T) {
	ctx, dir, at := context.Background(), made(t), server(t, nil)
	first, err := opened(t, at+":1").PushAll(ctx, dir, "", false)
	require.NoError(t, err)
	require.Positive(t, first.Sent)
	require.Len(t, first.Referrers, 3)
	again, err := opened(t, "oci://"+at+":2").PushAll(ctx, dir, "", false)
	require.NoError(t, err)
	require.Equal(t, first.Digest, again.Digest)
	require.Zero(t, again.Sent)
	require.Equal(t, first.Sent, again.There)
	for _, ref := range []string{at + ":1", at + "@" + first.Digest} {
		to := filepath.Join(t.TempDir(), "b")
		d, err := opened(t, ref).Pull(ctx, to, false)
		require.NoError(t, err)
		require.Equal(t, first.Digest, d.Digest.String())
		names, err := artifact.Check(to, false)
		require.NoError(t, err)
		require.Equal(t, []string{"decoder.onnx", "encoder.onnx", "manifest.json"}, names)
	}
	cached, err := opened(t, at+":1").Cached(ctx)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(cached, "encoder.onnx"), []byte("changed"), 0o644))
	same, err := opened(t, at+"@"+first.Digest).Cached(ctx)
	require.NoError(t, err)
	require.Equal(t, cached, same)
	_, err = artifact.Check(same, false) // it was pulled again
	require.NoError(t, err)
	offline, err := Open("localhost:1/models/tiny@"+first.Digest, true) // nobody listens there
	require.NoError(t, err)
	_, err = offline.Cached(ctx)
	require.NoError(t, err)
}

// The registry sees ModelPack's media types.
func TestMediaTypes(t *testing.T) {
	ctx, dir, at := context.Background(), made(t), server(t, nil)
	_, err := opened(t, at).PushAll(ctx, dir, "", false)
	require.NoError(t, err)
	_, m, _, err := opened(t, at).manifest(ctx)
	require.NoError(t, err)
	require.Equal(t, "application/vnd.oci.image.manifest.v1+json", m.MediaType)
	require.Equal(t, "application/vnd.cncf.model.manifest.v1+json", m.ArtifactType)
	require.Equal(t, "application/vnd.cncf.model.config.v1+json", m.Config.MediaType)
	require.Equal(t, "application/vnd.cncf.model.weight.v1.raw", m.Layers[0].MediaType)
	require.Equal(t, "decoder.onnx", m.Layers[0].Annotations["org.cncf.model.filepath"])
	require.Equal(t, "application/vnd.cncf.model.weight.config.v1.raw", m.Layers[2].MediaType)
}

// What is cut, changed, or of a name outside the folder leaves nothing, wherever it happens; so does a push of files that are not as the manifest says.
func TestFaults(t *testing.T) {
	ctx, dir := context.Background(), made(t)
	var fault atomic.Value
	fault.Store("")
	at := server(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		kind := fault.Load().(string)
		if kind == "" || r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") && kind != "manifest" {
			next.ServeHTTP(w, r)
			return
		}
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		body := rec.Body.Bytes()
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(rec.Code)
		switch kind {
		case "cut":
			body = body[:len(body)/2]
		default:
			body[len(body)/2] ^= 1
		}
		w.Write(body)
		if kind == "cut" {
			panic(http.ErrAbortHandler)
		}
	})
	done, err := opened(t, at+":1").PushAll(ctx, dir, "", false)
	require.NoError(t, err)
	for _, kind := range []string{"cut", "changed", "manifest"} {
		fault.Store(kind)
		to := filepath.Join(t.TempDir(), "b")
		_, err := opened(t, at+"@"+done.Digest).Pull(ctx, to, false)
		require.Error(t, err, kind)
		entries, _ := os.ReadDir(filepath.Dir(to))
		require.Empty(t, entries, kind)
		_, err = opened(t, at+"@"+done.Digest).Cached(ctx)
		require.Error(t, err, kind)
	}
	fault.Store("")
	for _, name := range []string{"../x", "/x", "", `a\b`, "c:x", "encoder.onnx"} { // the last is there twice
		_, m, _, err := opened(t, at+":1").manifest(ctx)
		require.NoError(t, err)
		m.Layers[0].Annotations = map[string]string{fileKey: name}
		text, err := json.Marshal(m)
		require.NoError(t, err)
		_, err = parse(text)
		require.Error(t, err, name)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "patient.png"), []byte("x"), 0o644))
	_, err = opened(t, at+":2").PushAll(ctx, dir, "", false)
	require.ErrorIs(t, err, artifact.ErrUnlisted)
	require.NoError(t, os.Remove(filepath.Join(dir, "patient.png")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "encoder.onnx"), []byte("x"), 0o644))
	_, err = opened(t, at+":2").PushAll(ctx, dir, "", false)
	require.ErrorContains(t, err, "as in the manifest")
	_, err = opened(t, at+":2").Pull(ctx, filepath.Join(t.TempDir(), "c"), false)
	require.Error(t, err, "nothing was tagged")
	_, err = Open("not a reference", true)
	require.ErrorContains(t, err, "REGISTRY/NAME")
}
