package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/require"

	"syncsam-convert/ir/kernel"
)

// inRegistry is a name in a registry of the test's own.
func inRegistry(t *testing.T) string {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://") + "/models/tiny"
}

// An artifact goes to a registry and is used from there under its reference, wherever a folder can stand; commands that write into a folder, and outputs,
// refuse it.
func TestRegistry(t *testing.T) {
	name, dir := inRegistry(t), built(t, tiny34)
	digest := strings.TrimSpace(must(t, "push", dir, name+":1", "--plain-http", "--quiet"))
	require.Regexp(t, `^sha256:[0-9a-f]{64}$`, digest)
	ref := "oci://" + name + "@" + digest
	must(t, "manifest", "check", ref, "--plain-http")
	require.Equal(t, must(t, "manifest", "bom", dir), must(t, "manifest", "bom", ref, "--plain-http"))
	for _, what := range []string{"provenance", "bom"} {
		require.True(t, json.Valid([]byte(must(t, "manifest", what, dir))), what)
	}
	must(t, "compare", "oci://"+name+":1", dir, "--plain-http")
	must(t, "run", ref, "--plain-http", "--image", picture, "--box", "10,10,60,60", "-o", filepath.Join(t.TempDir(), "mask.png"))
	for want, args := range map[string][]string{
		"pull it into one first":     {"sign", ref, "--key", "key.pem", "--plain-http"},
		"want a path":                {"build", tiny34, "-o", ref, "--plain-http"},
		"want REGISTRY":              {"verify", "oci://", "--golden", golden34},
		"not found":                  {"verify", "oci://" + name + ":none", "--plain-http", "--golden", golden34},
		"the digest comes of what":   {"push", dir, name + "@" + digest, "--plain-http"},
		"-o: it is needed":           {"pull", name + ":1", "--plain-http"},
		"have 1 arguments, want DIR": {"push", dir},
		"--key: it is needed":        {"sign", dir},
	} {
		r := command(args...)
		require.Equal(t, 2, r.code, "%v: %s", args, r.err)
		require.Contains(t, r.err, want, args)
		require.Equal(t, 1, strings.Count(r.err, "\n"), r.err)
	}
}

// verify --key and manifest check refuse what is not as signed with exit 1, before anything is run; a key's text is no path, and is not told.
func TestSigned(t *testing.T) {
	dir, keys := built(t, tiny34), t.TempDir()
	public := map[string]string{}
	for _, who := range []string{"ours", "theirs"} {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		private, err := x509.MarshalECPrivateKey(k)
		require.NoError(t, err)
		pub, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
		require.NoError(t, err)
		public[who] = filepath.Join(keys, who+".pub.pem")
		require.NoError(t, os.WriteFile(filepath.Join(keys, who+".pem"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}), 0o600))
		require.NoError(t, os.WriteFile(public[who], pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}), 0o600))
	}
	verify := []string{"verify", dir, "--golden", golden34, "--prompts", "box", "--key"}
	require.Equal(t, 1, command(append(verify, public["ours"])...).code, "not signed yet")
	must(t, "sign", dir, "--key", filepath.Join(keys, "ours.pem"))
	must(t, "manifest", "check", dir, "--key", public["ours"])
	must(t, append(verify, public["ours"])...)
	for _, args := range [][]string{append(verify, public["theirs"]), {"manifest", "check", dir, "--key", public["theirs"]}} {
		r := command(args...)
		require.Equal(t, 1, r.code, r.err)
		require.Contains(t, r.err, "another key")
		require.Empty(t, r.out)
	}
	text, err := os.ReadFile(filepath.Join(keys, "ours.pem"))
	require.NoError(t, err)
	for _, args := range [][]string{append(verify, string(text)), {"manifest", "check", dir, "--key", string(text)}, {"sign", dir, "--key", string(text)},
		{"push", dir, "localhost:1/x", "--plain-http", "--key", string(text)}, {"pull", "localhost:1/x", "--plain-http", "-o", filepath.Join(keys, "a"), "--key", string(text)}} {
		r := command(args...)
		require.Equal(t, 2, r.code, r.err)
		require.Contains(t, r.err, "want the path of its file")
		require.NotContains(t, r.err, strings.Split(string(text), "\n")[1])
	}
}

// An INT8 artifact has the same bytes with every set of vector instructions and number of threads; make test-same-bytes has none, float16 and arm64, too.
func TestSameBytes(t *testing.T) {
	widest, err := kernel.CPU()
	require.NoError(t, err)
	want := ""
	for _, cpu := range []string{"avx2", widest} {
		for _, threads := range []string{"1", "2"} {
			t.Setenv("GOMAXPROCS", threads)
			dir := filepath.Join(t.TempDir(), "a")
			code, text := child(cpu, "build", tiny34, "-o", dir, "--precision", "int8", "--rounding", "nearest", "--calib", "../../golden/data/calibration")
			if code == 2 && strings.Contains(text, "SYNCSAM_CPU: have") {
				require.NotEqual(t, widest, cpu)
				continue
			}
			require.Equal(t, 0, code, text)
			manifest, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
			require.NoError(t, err)
			if want == "" {
				want = string(manifest)
			}
			require.Equal(t, want, string(manifest), "%s, %s threads", cpu, threads) // it has the other files' hashes
		}
	}
}
