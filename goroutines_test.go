package project

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever runs in a goroutine runs under internal/guard: a panic there is the error of its job, not the end of the process.
func TestGoroutinesAreGuarded(t *testing.T) {
	count := 0
	eachGoFile(t, func(path string) {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "internal/guard") {
			return
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		files := token.NewFileSet()
		f, err := parser.ParseFile(files, path, text, 0)
		require.NoError(t, err)
		source := func(n ast.Node) string {
			return string(text[files.Position(n.Pos()).Offset:files.Position(n.End()).Offset])
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				guarded := false
				switch n := n.(type) {
				case *ast.GoStmt:
					guarded = strings.Contains(source(n), "guard.Do(")
				case *ast.CallExpr:
					on, ok := n.Fun.(*ast.SelectorExpr)
					if !ok || on.Sel.Name != "Go" {
						return true
					}
					guarded = strings.Contains(source(fn), source(on.X)+" guard.Group") || strings.Contains(source(n), "guard.Do(") || strings.Contains(source(n), "guard.Func(")
				default:
					return true
				}
				count++
				require.True(t, guarded, "%s: a goroutine without guard.Do, guard.Func or a guard.Group", files.Position(n.Pos()))
				return true
			})
		}
	})
	require.Greater(t, count, 5)
}
