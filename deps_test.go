// Package project holds the tests that look at the whole repository.
package project

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// allowed says which of the project's own packages a package may import. Whoever needs another line changes the architecture.
const allowed = `
ir/tensor                : ir/kernel internal/mapfile
safetensors    : ir/tensor internal/mapfile
ir/kernel                :
ir/kernel/gen            :
ir                       : ir/tensor ir/kernel
internal/mapfile         :
internal/onnxpb          : ir/tensor internal/mapfile
artifact        : ir internal/mapfile
frontends/checkpoint     : ir/tensor safetensors internal/mapfile
frontends/blocks         : ir ir/kernel ir/tensor
frontends/onnx           : ir ir/tensor internal/onnxpb
frontends                : frontends/blocks ir ir/tensor
ir/quant                 : ir ir/tensor
calib/reconstruct        : ir ir/kernel ir/quant ir/tensor
passes                   : ir ir/quant ir/tensor
calib                    : ir/quant ir/tensor safetensors
internal/trthost         : internal/mapfile ir/tensor
backends/tensorrt        : internal/onnxpb internal/trthost ir ir/tensor
backends/onnx            : ir ir/tensor internal/onnxpb internal/mapfile
pictures           : ir ir/tensor internal/mapfile
golden/clicks            : pictures
dataset           : pictures
engine            : frontends/onnx artifact internal/trthost ir ir/tensor passes
compare           : ir ir/tensor
bench             : frontends/onnx engine ir ir/kernel ir/tensor
golden                   : dataset engine pictures golden/clicks artifact internal/mapfile ir/tensor
cmd/syncsam-convert      : backends/onnx backends/tensorrt calib calib/reconstruct frontends frontends/checkpoint frontends/onnx golden bench compare dataset engine pictures artifact internal/mapfile internal/onnxpb internal/trthost ir ir/kernel ir/quant ir/tensor safetensors passes
`

const module = "syncsam-convert/"

func TestImportDirection(t *testing.T) {
	may := map[string][]string{}
	for _, line := range strings.Split(strings.TrimSpace(allowed), "\n") {
		pkg, deps, ok := strings.Cut(line, ":")
		require.True(t, ok, line)
		may[strings.TrimSpace(pkg)] = strings.Fields(deps)
	}
	seen := map[string]bool{}
	eachGoFile(t, func(path string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		deps, ok := may[pkg]
		require.True(t, ok, "%s is not in the table", pkg)
		seen[pkg] = true
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			require.NoError(t, err)
			if own, ok := strings.CutPrefix(name, module); ok {
				require.Contains(t, deps, own, "%s imports it", path)
			}
		}
	})
	require.Len(t, seen, len(may), "the table has packages that do not exist")
}

// tables are files that are longer because they are tables, or generated.
var tables = map[string]bool{"internal/onnxpb/onnx.pb.go": true}

func TestFilesStaySmall(t *testing.T) {
	eachGoFile(t, func(path string) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		if !tables[filepath.ToSlash(path)] {
			require.LessOrEqual(t, strings.Count(string(text), "\n"), 610, path)
		}
	})
}

func eachGoFile(t *testing.T, f func(path string)) {
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "build" || d.Name() == "bin" || d.Name() == "demo" || strings.HasPrefix(d.Name(), ".") && path != ".") {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".go") && filepath.Dir(path) != "." {
			f(path)
		}
		return nil
	}))
}
