// Package project holds the tests that look at the whole repository.
package project

import (
	"go/ast"
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

// allowed says which of the project's own packages a package may import. Whoever needs another line changes the architecture. A package may have
// several lines.
const allowed = `
internal/mapfile         :
internal/early           :
internal/guard           : internal/mapfile
internal/output          :
internal/memory          :
internal/mutate          :
internal/plain           :
internal/inputs          : artifact dataset golden internal/mapfile internal/onnxpb internal/output pictures
internal/version         :
ir/tensor                : internal/mapfile ir/kernel
ir/kernel                : internal/guard
ir/kernel/gen            :
ir                       : internal/guard internal/memory ir/kernel ir/tensor
ir/quant                 :
safetensors              : internal/mapfile internal/output ir/tensor
internal/onnxpb          : ir/tensor internal/mapfile
internal/onnxgraph       : internal/onnxpb ir/tensor
artifact                 : internal/mapfile internal/output internal/plain internal/version ir
pictures/internal/dcm    :
pictures/internal/jpeg   :
pictures/internal/jpegls :
pictures                 : internal/memory internal/mapfile internal/output ir ir/tensor pictures/internal/dcm pictures/internal/jpeg pictures/internal/jpegls
dataset                  : internal/mapfile pictures
prompt                   : ir ir/tensor pictures
frontends/checkpoint/pickle :
frontends/checkpoint     : frontends/checkpoint/pickle internal/guard internal/mapfile ir/tensor safetensors
frontends/blocks         : ir ir/kernel ir/tensor
frontends/onnx           : ir ir/tensor internal/onnxpb
frontends                : frontends/blocks ir ir/tensor
quantizer                : internal/guard ir ir/kernel ir/quant ir/tensor
passes                   : internal/output ir ir/kernel ir/quant ir/tensor quantizer
internal/trthost         : internal/mapfile internal/output ir/tensor
backends/tensorrt        : internal/onnxgraph internal/onnxpb internal/trthost ir ir/tensor
backends/tensorrt/plans  : artifact backends/tensorrt internal/mapfile internal/trthost
backends/portable        : backends/tensorrt frontends/onnx internal/guard internal/onnxgraph internal/onnxpb internal/plain ir/tensor
backends/onnx            : internal/mapfile internal/onnxpb internal/output ir ir/tensor
clients                  : artifact backends/onnx ir ir/tensor
engine                   : artifact backends/onnx frontends/onnx internal/onnxpb internal/output internal/trthost internal/version ir ir/kernel ir/tensor passes safetensors
segment                  : artifact engine ir/tensor pictures prompt
bench                    : engine frontends/onnx internal/plain ir ir/kernel ir/tensor
calib/reconstruct        : ir ir/kernel ir/tensor quantizer
calib                    : dataset engine internal/guard ir ir/quant ir/tensor pictures prompt quantizer safetensors
golden/edt               :
golden/metrics           : golden/edt pictures
golden/clicks            : golden/edt golden/metrics pictures
golden/stats             :
golden/items             : internal/mapfile internal/output
golden/groups            : internal/mapfile
golden                   : artifact dataset engine golden/clicks golden/groups golden/items golden/metrics golden/stats internal/guard internal/mapfile internal/memory internal/output internal/plain internal/version pictures prompt segment
compile                  : artifact backends/onnx backends/tensorrt backends/tensorrt/plans calib calib/reconstruct engine frontends frontends/blocks frontends/checkpoint golden internal/guard internal/mapfile internal/onnxpb internal/output internal/plain internal/version ir ir/quant ir/tensor passes pictures quantizer segment
compare                  : artifact compile engine frontends/onnx internal/plain ir ir/tensor passes pictures segment
cmd/syncsam-convert      : artifact backends/portable backends/tensorrt backends/tensorrt/plans bench calib compare compile dataset engine frontends golden ir/tensor pictures prompt safetensors segment
golden                   : safetensors ir/tensor
golden/page              : golden golden/stats internal/mapfile internal/output internal/plain
cmd/syncsam-convert      : golden/page
shards                   :
golden                   : shards
calib                    : shards internal/version
compile                  : shards
cmd/syncsam-convert      : golden/items
cmd/syncsam-convert      : internal/early internal/guard internal/inputs internal/mapfile internal/memory internal/onnxpb internal/output internal/plain internal/trthost internal/version
pictures/dicomseg        : internal/output pictures pictures/internal/dcm
prompt/tokens            :
volumes                  : golden/clicks internal/memory internal/version pictures pictures/dicomseg prompt prompt/tokens segment
cmd/syncsam-convert      : volumes
internal/families        : ir/tensor safetensors
internal/keys            :
serve/page               :
serve                    : serve/page artifact engine internal/guard internal/memory internal/onnxpb internal/output internal/plain internal/version ir/tensor pictures prompt segment
backends/triton          : artifact backends/tensorrt backends/tensorrt/plans engine internal/mapfile internal/onnxpb internal/output internal/trthost internal/version ir ir/tensor
cmd/syncsam-convert      : backends/triton serve
compile                  : clients internal/memory
cmd/syncsam-convert      : internal/early internal/guard internal/inputs internal/mapfile internal/memory internal/onnxpb internal/output internal/plain internal/trthost internal/version
cmd/syncsam-convert      : clients
cmd/syncsam-convert      : registry signature provenance
signature                : artifact internal/mapfile internal/output
registry                 : artifact internal/mapfile internal/output provenance signature
provenance               : artifact
doctor                   : backends/onnx backends/tensorrt engine internal/memory internal/output internal/plain internal/version registry
cmd/syncsam-convert      : doctor backends/onnx
front                    : golden/stats
compile                  : bench front golden/stats
`

const module = "syncsam-convert/"

func TestImportDirection(t *testing.T) {
	may := map[string][]string{}
	for _, line := range strings.Split(strings.TrimSpace(allowed), "\n") {
		pkg, deps, ok := strings.Cut(line, ":")
		require.True(t, ok, line)
		may[strings.TrimSpace(pkg)] = append(may[strings.TrimSpace(pkg)], strings.Fields(deps)...)
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

// The command line is flags and printing: little of it, in short functions, above no pass, kernel or graph.
func TestTheCommandLineIsThin(t *testing.T) {
	lines, files := 0, 0
	eachGoFile(t, func(path string) {
		if !strings.HasPrefix(filepath.ToSlash(path), "cmd/") || strings.HasSuffix(path, "_test.go") {
			return
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		lines, files = lines+strings.Count(string(text), "\n"), files+1
		positions := token.NewFileSet()
		f, err := parser.ParseFile(positions, path, text, 0)
		require.NoError(t, err)
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				require.LessOrEqual(t, positions.Position(fn.End()).Line-positions.Position(fn.Pos()).Line+1, 60, "%s: %s", path, fn.Name)
			}
		}
		require.NotRegexp(t, `fmt\.(Fp|P)rint(f|ln)?\(|os\.Std(out|err)\.Write`, string(text), "%s: what is printed passes through internal/plain", path)
		for _, i := range f.Imports {
			require.NotRegexp(t, `"syncsam-convert/(passes|ir|ir/kernel|ir/quant)"`, i.Path.Value, path)
		}
	})
	require.LessOrEqual(t, lines, 120*files) // a file a command
}

func eachGoFile(t *testing.T, f func(path string)) {
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "build" || d.Name() == "bin" || d.Name() == "demo" || d.Name() == "examples" || d.Name() == "scale" || strings.HasPrefix(d.Name(), ".") && path != ".") {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".go") && filepath.Dir(path) != "." {
			f(path)
		}
		return nil
	}))
}
