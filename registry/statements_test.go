package registry

import (
	"context"
	"crypto/elliptic"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/internal/keys"
	"syncsam-convert/provenance"
	"syncsam-convert/signature"
)

// pairOfKeys are the files of a new pair.
func pairOfKeys(t *testing.T) (private, public string) {
	t.Helper()
	private, public, err := keys.Write(t.TempDir(), elliptic.P256())
	require.NoError(t, err)
	return private, public
}

// Statements are believed from the key that is asked for, and about this artifact alone; without signatures there are none.
func TestStatements(t *testing.T) {
	ctx, dir, at := context.Background(), made(t), server(t, nil)
	private, public := pairOfKeys(t)
	_, other := pairOfKeys(t)
	_, err := opened(t, at+":1").PushAll(ctx, dir, "", false)
	require.NoError(t, err)
	_, err = opened(t, at+":1").CheckStatements(ctx, public)
	require.ErrorIs(t, err, signature.ErrInvalid, "nothing is signed")
	_, err = opened(t, at+":1").CheckStatements(ctx, private)
	require.ErrorContains(t, err, "want a public key")
	require.NotErrorIs(t, err, signature.ErrInvalid, "the caller's fault")
	_, err = opened(t, at+":1").PushAll(ctx, dir, private, false)
	require.NoError(t, err)
	kinds, err := opened(t, at+":1").CheckStatements(ctx, public)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{provenance.BuildType, provenance.ResultType}, kinds)
	second, again := pairOfKeys(t)
	_, err = opened(t, at+":1").PushAll(ctx, dir, second, false) // somebody else signs it, too
	require.NoError(t, err)
	for _, key := range []string{public, again} {
		kinds, err = opened(t, at+":1").CheckStatements(ctx, key)
		require.NoError(t, err)
		require.Len(t, kinds, 2)
	}
	_, err = opened(t, at+":1").CheckStatements(ctx, other)
	require.ErrorIs(t, err, signature.ErrInvalid)

	r := opened(t, at+":1")
	checked, _, _, err := r.manifest(ctx)
	require.NoError(t, err)
	_, err = r.CheckStatements(ctx, public)
	require.NoError(t, err)
	m, err := artifact.Read(dir)
	require.NoError(t, err)
	m.Precision = "fp32"
	require.NoError(t, m.Write(dir))
	moved, err := opened(t, at+":1").PushAll(ctx, dir, "", false)
	require.NoError(t, err)
	require.NotEqual(t, checked.Digest.String(), moved.Digest)
	pulled, err := r.Pull(ctx, filepath.Join(t.TempDir(), "b"), false)
	require.NoError(t, err)
	require.Equal(t, checked.Digest, pulled.Digest, "what was checked is pulled, wherever the tag is now")
	_, err = opened(t, at+":1").CheckStatements(ctx, public)
	require.ErrorIs(t, err, signature.ErrInvalid, "the statements of the artifact before")
}

// Credentials are those of Docker's configuration; no error tells them.
func TestCredentials(t *testing.T) {
	ctx, dir := context.Background(), made(t)
	at := server(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if user, password, _ := r.BasicAuth(); user != "nurse" || password != "right-password" {
			w.Header().Set("WWW-Authenticate", `Basic realm="models"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
	host := opened(t, at).Reference.Registry
	for _, password := range []string{"", "wrong-password", "right-password"} {
		text := "{}"
		if password != "" {
			text = fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, host, base64.StdEncoding.EncodeToString([]byte("nurse:"+password)))
		}
		require.NoError(t, os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(text), 0o600))
		_, err := opened(t, at+":1").PushAll(ctx, dir, "", false)
		to := filepath.Join(t.TempDir(), "b")
		_, pullErr := opened(t, at+":1").Pull(ctx, to, false)
		if password == "right-password" {
			require.NoError(t, err)
			require.NoError(t, pullErr)
			continue
		}
		for _, err := range []error{err, pullErr} {
			require.Error(t, err)
			require.NotContains(t, err.Error(), "password")
		}
		require.NoDirExists(t, to)
	}
}
