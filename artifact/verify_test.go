package artifact

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir"
)

// made writes an artifact of one file.
func made(t *testing.T, dir string, names ...string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	m := &Manifest{Meta: ir.Meta{Family: "f", Preprocess: ir.Preprocess{Size: 8, Std: [3]float64{1, 1, 1}}}}
	for _, name := range names {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644))
		file, err := Describe(dir, name)
		require.NoError(t, err)
		m.Files = append(m.Files, file)
	}
	require.NoError(t, m.Write(dir))
}

// What a manifest lists is a plain file of its folder, with its hash; names and hashes that are none are refused before any file is read.
func TestVerify(t *testing.T) {
	for want, change := range map[string]func(t *testing.T, dir, file string){
		"":             func(*testing.T, string, string) {},
		"no such file": func(t *testing.T, _, file string) { require.NoError(t, os.Remove(file)) },
		"have 1 bytes": func(t *testing.T, _, file string) { require.NoError(t, os.WriteFile(file, []byte("x"), 0o644)) },
		"have sha256":  func(t *testing.T, _, file string) { require.NoError(t, os.WriteFile(file, []byte("sub/ONNX"), 0o644)) },
		"it is a link": func(t *testing.T, dir, file string) {
			require.NoError(t, os.Rename(file, filepath.Join(dir, "moved")))
			require.NoError(t, os.Symlink("../moved", file))
		},
		"sub is not a folder of the artifact": func(t *testing.T, dir, _ string) {
			away := filepath.Join(t.TempDir(), "away")
			require.NoError(t, os.Rename(filepath.Join(dir, "sub"), away))
			require.NoError(t, os.Symlink(away, filepath.Join(dir, "sub")))
		},
		"not a regular file": func(t *testing.T, _, file string) {
			require.NoError(t, os.Remove(file))
			require.NoError(t, syscall.Mkfifo(file, 0o600))
		},
	} {
		t.Run(want, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a")
			made(t, dir, "sub/onnx")
			m, err := Read(dir)
			require.NoError(t, err)
			change(t, dir, filepath.Join(dir, "sub", "onnx"))
			if err = m.Verify(dir); want == "" {
				require.NoError(t, err)
				require.NoError(t, m.VerifyFiles(dir, "sub/onnx"))
				require.ErrorIs(t, m.VerifyFiles(dir, "decoder.onnx"), ErrUnlisted)
			} else {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

func TestManifestsOfStrangers(t *testing.T) {
	zero := strings.Repeat("0", 64)
	entry := func(name string) string { return fmt.Sprintf(`{"name":%q,"sha256":%q,"bytes":1}`, name, zero) }
	many := make([]string, maxFiles+1)
	for i := range many {
		many[i] = entry(fmt.Sprint(i))
	}
	dir := t.TempDir()
	for files, want := range map[string]string{
		entry("../x"):                 "not a name inside",
		entry("/etc/passwd"):          "not a name inside",
		entry(`a\\..\\b`):             "not a name inside",
		entry("c:x"):                  "not a name inside",
		entry("."):                    "not a name inside",
		entry("a//b"):                 "not a name inside",
		entry("a") + "," + entry("A"): `"A" is there twice`,
		strings.Join(many, ","):       "at most 256",
		`{"name":"a","sha256":"zz"}`:  "64 hexadecimal digits",
		strings.Replace(entry("a"), "1}", "-1}", 1): "have -1 bytes",
	} {
		text := `{"family":"f","preprocess":{"size":8,"std":[1,1,1]},"files":[` + files + `]}`
		require.True(t, json.Valid([]byte(text)), text)
		require.NoError(t, os.WriteFile(filepath.Join(dir, ManifestName), []byte(text), 0o644))
		_, err := Read(dir)
		require.ErrorContains(t, err, want, files[:min(len(files), 80)])
	}
	require.NoError(t, os.Truncate(filepath.Join(dir, ManifestName), 4<<30))
	_, err := Read(dir)
	require.ErrorContains(t, err, "have 4294967296 bytes")
}
