package main

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"syncsam-convert/compile"
	"syncsam-convert/golden"
	"syncsam-convert/golden/stats"
)

// A schemaMaker makes JSON Schemas of Go types: a field's comment is its description, a field without omitempty is required, an embedded pointer's
// fields are those of the whole.
type schemaMaker struct {
	t    *testing.T
	defs map[string]any
	// comments are those of a package's types and fields, by "Type" and "Type.Field".
	comments map[string]map[string]string
}

func (m *schemaMaker) schema(of reflect.Type) map[string]any {
	switch of {
	case reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return map[string]any{}
	case reflect.TypeFor[stats.Number]():
		return map[string]any{"type": []string{"number", "null"}}
	}
	switch of.Kind() {
	case reflect.Pointer:
		return m.schema(of.Elem())
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint8:
		return map[string]any{"type": "integer"}
	case reflect.Interface:
		return map[string]any{}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": m.schema(of.Elem())}
	case reflect.Array:
		return map[string]any{"type": "array", "items": m.schema(of.Elem()), "minItems": of.Len(), "maxItems": of.Len()}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": m.schema(of.Elem())}
	case reflect.Struct:
		return m.object(of)
	}
	m.t.Fatalf("%v: no schema for its kind", of)
	return nil
}

// object is a reference to a struct's schema, which stands among the definitions.
func (m *schemaMaker) object(of reflect.Type) map[string]any {
	name := strings.ReplaceAll(strings.TrimPrefix(of.PkgPath(), module), "/", ".") + "." + of.Name()
	ref := map[string]any{"$ref": "#/$defs/" + name}
	if m.defs[name] != nil {
		return ref
	}
	self := map[string]any{"type": "object"}
	m.defs[name] = self
	if text := m.comment(of, ""); text != "" {
		self["description"] = text
	}
	properties, required := map[string]any{}, []string{}
	m.fields(of, properties, &required)
	self["properties"] = properties
	if len(required) > 0 {
		self["required"] = required
	}
	return ref
}

// enums are the fields, by type and name, that have one of a few words.
var enums = map[string][]string{
	"golden.Report.Judged":        {golden.ByNothing, golden.ByItem, golden.BySummary, golden.ByEquivalence, golden.ByPublished, golden.ByMinimum, golden.ByComparison, golden.ByBaseline},
	"golden.Baseline.Judged":      {golden.ByItem, golden.BySummary},
	"golden.Distribution.Of":      {golden.OfPoints, golden.OfDSC},
	"golden.Result.Mode":          golden.Modes,
	"golden.Moved.Mode":           golden.Modes,
	"stats.Paired.Decision":       {string(stats.Equivalent), string(stats.NotInferior), string(stats.Inferior), string(stats.Undecided)},
	"artifact.Manifest.Precision": {compile.FP32, compile.FP16, compile.INT8},
	"portable.Finding.Severity":   {"error", "warning"},
}

const module = "syncsam-convert/"

func (m *schemaMaker) fields(of reflect.Type, properties map[string]any, required *[]string) {
	for i := range of.NumField() {
		f := of.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			m.fields(inner, properties, required)
			continue
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		require.NotEmpty(m.t, name, "%v.%s has no name in JSON", of, f.Name)
		s := m.schema(f.Type)
		if f.Type.Kind() == reflect.Pointer && !strings.Contains(options, "omitempty") {
			s = map[string]any{"anyOf": []any{s, map[string]any{"type": "null"}}}
		}
		if text := m.comment(of, f.Name); text != "" {
			s["description"] = text
		}
		if words := enums[of.String()+"."+f.Name]; words != nil {
			s["enum"] = words
		}
		properties[name] = s
		if !strings.Contains(options, "omitempty") {
			*required = append(*required, name)
		}
	}
}

// comment is what the source says of a type or its field.
func (m *schemaMaker) comment(of reflect.Type, field string) string {
	pkg := of.PkgPath()
	if m.comments[pkg] == nil {
		m.comments[pkg] = comments(m.t, filepath.Join("../..", strings.TrimPrefix(pkg, module)))
	}
	return m.comments[pkg][of.Name()+"."+field]
}

func comments(t *testing.T, dir string) map[string]string {
	out := map[string]string{}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		require.NoError(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			d, ok := n.(*ast.GenDecl)
			if !ok || d.Tok != token.TYPE {
				return true
			}
			for _, s := range d.Specs {
				spec := s.(*ast.TypeSpec)
				out[spec.Name.Name+"."] = sentence(d.Doc, nil)
				if st, ok := spec.Type.(*ast.StructType); ok {
					for _, field := range st.Fields.List {
						for _, name := range field.Names {
							out[spec.Name.Name+"."+name.Name] = sentence(field.Doc, field.Comment)
						}
					}
				}
			}
			return true
		})
	}
	return out
}

func sentence(above, beside *ast.CommentGroup) string {
	return strings.Join(strings.Fields(above.Text()+" "+beside.Text()), " ")
}

// text is the schema of a type as a file.
func (m *schemaMaker) text(name, title string, of reflect.Type) []byte {
	root := m.schema(of)
	root["$schema"], root["$id"], root["title"] = "https://json-schema.org/draft/2020-12/schema", name, title
	if len(m.defs) > 0 {
		root["$defs"] = m.defs
	}
	out, err := json.MarshalIndent(root, "", " ")
	require.NoError(m.t, err)
	return append(out, '\n')
}

func makeSchema(t *testing.T, file, title string, of reflect.Type) []byte {
	m := &schemaMaker{t, map[string]any{}, map[string]map[string]string{}}
	return m.text(file, title, of)
}

// written compares a schema with the file of that name, or writes it.
func written(t *testing.T, file string, text []byte, update bool) {
	path := filepath.Join("../../schemas", file)
	if update {
		require.NoError(t, os.WriteFile(path, text, 0o644))
	}
	have, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(text), string(have), "%s: the types changed: go test ./cmd/syncsam-convert -run TestSchemas -update writes it anew", file)
}
