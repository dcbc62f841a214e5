package artifact

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever a manifest holds: an error, or files of which each lies within the folder.
func FuzzManifest(f *testing.F) {
	const hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, files := range []string{`{"name":"encoder.onnx","bytes":0,"sha256":"` + hash + `"}`, `{"name":"../x","bytes":0,"sha256":"` + hash + `"}`, `{"name":"a\\b","bytes":-1,"sha256":""}`,
		`{"name":"a","bytes":0,"sha256":"` + hash + `"},{"name":"A","bytes":0,"sha256":"` + hash + `"}`, `{}`} {
		f.Add([]byte(`{"family":"sam","files":[` + files + `],"preprocess":{"size":64}}`))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, ManifestName), text, 0o600))
		m, err := Read(dir)
		if err != nil {
			return
		}
		for _, file := range m.Files {
			require.True(t, filepath.IsLocal(filepath.FromSlash(file.Name)), file.Name)
		}
		_ = m.Verify(dir) // an error at most
	})
}
