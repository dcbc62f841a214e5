package signature

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/internal/keys"
	"syncsam-convert/ir"
)

// pairOfKeys are the files of a new pair.
func pairOfKeys(t *testing.T, curve elliptic.Curve) (private, public string) {
	t.Helper()
	private, public, err := keys.Write(t.TempDir(), curve)
	require.NoError(t, err)
	return private, public
}

func made(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "encoder.onnx"), []byte("model"), 0o644))
	f, err := artifact.Describe(dir, "encoder.onnx")
	require.NoError(t, err)
	m := &artifact.Manifest{Meta: ir.Meta{Family: "f", Preprocess: ir.Preprocess{Size: 8, Std: [3]float64{1, 1, 1}}}, Files: []artifact.File{f}}
	require.NoError(t, m.Write(dir))
	return dir
}

// Every byte of every file counts, those of the signature among them; so does a file more or less, a link, and another key.
func TestEveryByteCounts(t *testing.T) {
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		dir := made(t)
		private, public := pairOfKeys(t, curve)
		_, err := Sign(dir, private)
		require.NoError(t, err)
		_, signed, err := Check(dir, public, false)
		require.NoError(t, err)
		require.Equal(t, "by the key", signed)
		first, err := os.ReadFile(filepath.Join(dir, artifact.Signature))
		require.NoError(t, err)
		for _, name := range []string{"encoder.onnx", artifact.ManifestName, artifact.Signature} {
			at := filepath.Join(dir, name)
			text, err := os.ReadFile(at)
			require.NoError(t, err)
			step := 1
			if curve != elliptic.P256() {
				step = 97
			}
			for i := 0; i < len(text); i += step {
				for _, bits := range []byte{1, 0x20}[i%2 : i%2+1] {
					text[i] ^= bits
					require.NoError(t, os.WriteFile(at, text, 0o644))
					_, _, err := Check(dir, public, false)
					require.ErrorIs(t, err, ErrInvalid, "%s: byte %d ^ %#x", name, i, bits)
					text[i] ^= bits
				}
			}
			require.NoError(t, os.WriteFile(at, text, 0o644))
		}
		_, other := pairOfKeys(t, curve)
		_, _, err = Check(dir, other, false)
		require.ErrorIs(t, err, ErrInvalid)
		_, err = Sign(dir, private)
		require.NoError(t, err)
		again, err := os.ReadFile(filepath.Join(dir, artifact.Signature))
		require.NoError(t, err)
		require.Equal(t, first, again, "the same key signs the same folder in the same bytes")
	}
}

func TestOtherFiles(t *testing.T) {
	private, public := pairOfKeys(t, elliptic.P256())
	for what, change := range map[string]func(dir string) error{
		"more":   func(dir string) error { return os.WriteFile(filepath.Join(dir, "x"), nil, 0o644) },
		"less":   func(dir string) error { return os.Remove(filepath.Join(dir, "encoder.onnx")) },
		"link":   func(dir string) error { return os.Symlink("encoder.onnx", filepath.Join(dir, "x")) },
		"no sig": func(dir string) error { return os.Remove(filepath.Join(dir, artifact.Signature)) },
	} {
		dir := made(t)
		_, err := Sign(dir, private)
		require.NoError(t, err)
		require.NoError(t, change(dir))
		_, _, err = Check(dir, public, false)
		require.ErrorIs(t, err, ErrInvalid, what)
	}
	dir := made(t) // without a signature the manifest alone is checked
	_, signed, err := Check(dir, "", false)
	require.NoError(t, err)
	require.Equal(t, "none", signed)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), nil, 0o644))
	_, _, err = Check(dir, "", false)
	require.ErrorIs(t, err, ErrInvalid)
	_, _, err = Check(dir, "", true)
	require.NoError(t, err)
}

// Faults of keys are the caller's, and say nothing of what a key file holds.
func TestKeys(t *testing.T) {
	private, public := pairOfKeys(t, elliptic.P256())
	small, _ := pairOfKeys(t, elliptic.P224())
	k, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		k, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	other := filepath.Join(t.TempDir(), "rsa.pem")
	require.NoError(t, os.WriteFile(other, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	for file, want := range map[string]string{public: `have a "PUBLIC KEY", want a private key`, small: "curve P-224", other: "want an elliptic key", "nothing": "no such file"} {
		_, err := Sign(made(t), file)
		require.ErrorContains(t, err, want)
		require.NotErrorIs(t, err, ErrInvalid)
		text, _ := os.ReadFile(file)
		for _, line := range strings.Split(string(text), "\n") {
			if len(line) > 40 {
				require.NotContains(t, err.Error(), line)
			}
		}
	}
	dir := made(t)
	_, err = Sign(dir, private)
	require.NoError(t, err)
	_, _, err = Check(dir, private, false)
	require.ErrorContains(t, err, `have a "PRIVATE KEY", want a public key`)
	require.NotErrorIs(t, err, ErrInvalid)
	text, err := os.ReadFile(private) // in the place of its path
	require.NoError(t, err)
	for _, key := range []string{string(text), strings.Split(string(text), "\n")[0], strings.TrimPrefix(string(text), "-----BEGIN PRIVATE KEY-----")} {
		_, signing := Sign(dir, key)
		_, _, checking := Check(dir, key, false)
		_, other := NewSigner(key)
		for _, err := range []error{signing, checking, Verify(dir, key), CheckPublic(key), other} {
			require.ErrorContains(t, err, "want the path of its file")
			require.NotErrorIs(t, err, ErrInvalid)
			require.NotContains(t, err.Error(), strings.Split(string(text), "\n")[1])
		}
	}
}
