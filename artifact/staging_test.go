package artifact

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// --force replaces what a manifest of this program lists, and nothing else: a folder of others is left alone whatever it calls its files.
func TestForceReplacesArtifactsAlone(t *testing.T) {
	for what, theirs := range map[string]func(dir string) error{
		"an empty manifest.json": func(dir string) error { return os.WriteFile(filepath.Join(dir, ManifestName), nil, 0o644) },
		"a folder of that name":  func(dir string) error { return os.Mkdir(filepath.Join(dir, ManifestName), 0o755) },
		"a web application's": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, ManifestName), []byte(`{"name":"app","icons":[],"start_url":"."}`), 0o644)
		},
		"a list": func(dir string) error { return os.WriteFile(filepath.Join(dir, ManifestName), []byte(`[]`), 0o644) },
		"one that lists files": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, ManifestName), []byte(`{"files":[{"name":"precious"}]}`), 0o644)
		},
		"a link to another one": func(dir string) error { return os.Symlink("nowhere", filepath.Join(dir, ManifestName)) },
		"an artifact's that was cut short": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, ManifestName), []byte(`{"family":"f","files":[`), 0o644)
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a")
			require.NoError(t, os.Mkdir(dir, 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "precious"), []byte("x"), 0o644))
			require.NoError(t, theirs(dir))
			_, err := Stage(dir, true)
			require.ErrorContains(t, err, "exists and is not an artifact; --force does not replace it")
			require.FileExists(t, filepath.Join(dir, "precious"))
		})
	}
}

// Plans that took hours outlive a new build, the signature of the old one does not.
func TestForceKeepsPlans(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	made(t, filepath.Join(dir, "plan"), "recipe.json", "encoder.onnx")
	made(t, dir, "encoder.onnx")
	m, err := Read(dir)
	require.NoError(t, err)
	pin, err := Describe(dir, "plan/"+ManifestName)
	require.NoError(t, err)
	m.Files = append(m.Files, pin)
	require.NoError(t, m.Write(dir))
	for _, name := range []string{"plan/encoder.plan", "plan/timing.cache", "notes.txt", Signature} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644))
	}
	s, err := Stage(dir, true)
	require.NoError(t, err)
	defer s.Discard()
	made(t, s.Dir, "model.onnx")
	require.NoError(t, s.Publish())
	var have []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			have = append(have, rel)
		}
		return err
	}))
	require.Equal(t, []string{"manifest.json", "model.onnx", "notes.txt", "plan/encoder.plan", "plan/timing.cache"}, have)
}
