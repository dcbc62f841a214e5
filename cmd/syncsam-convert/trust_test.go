package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/bench"
)

// unlisted takes files out of a manifest.
func unlisted(t *testing.T, dir string, names ...string) {
	t.Helper()
	m, err := artifact.Read(dir)
	require.NoError(t, err)
	var kept []artifact.File
	for _, f := range m.Files {
		if f.Name != names[0] {
			kept = append(kept, f)
		}
	}
	require.Less(t, len(kept), len(m.Files))
	m.Files = kept
	require.NoError(t, m.Write(dir))
}

// What a manifest does not list with a matching hash is not run by any command that runs models of an artifact.
func TestUnlistedFilesAreNotRun(t *testing.T) {
	for name, file := range map[string]string{"decoder.onnx": "decoder.onnx", "encoder.onnx": "encoder.onnx", "external data": "encoder.onnx.data"} {
		t.Run(name, func(t *testing.T) {
			dir := built(t, tiny34, "--external-data")
			unlisted(t, dir, file)
			refused(t, "the manifest does not list it", "verify", dir, "--golden", golden34)
			refused(t, "the manifest does not list it", "run", dir, "--image", picture, "--box", "1,1,9,9", "-o", filepath.Join(t.TempDir(), "m.png"))
			model := filepath.Join(dir, file)
			if file == "encoder.onnx.data" {
				model = filepath.Join(dir, "encoder.onnx")
			}
			refused(t, "the manifest does not list it", "bench", model)
			refused(t, "the manifest does not list it", "exec", model, "--inputs", golden34+"/reference.safetensors", "--outputs", filepath.Join(t.TempDir(), "o"))
			if file != "decoder.onnx" {
				refused(t, "the manifest does not list it", "compare", dir, dir)
			}
		})
	}
	dir := built(t, tiny34)
	model := filepath.Join(dir, "decoder.onnx")
	data, err := os.ReadFile(model)
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(model, data, 0o644))
	refused(t, "--unverified runs it", "bench", dir)
	refused(t, "--unverified runs it", "bench", model)
	must(t, "bench", model, "--unverified", "--rounds", "1")
	require.NoError(t, os.Remove(filepath.Join(dir, artifact.ManifestName)))
	var report bench.Report
	require.NoError(t, json.Unmarshal([]byte(must(t, "bench", model, "--rounds", "1", "--json", "--memory", "--engine", "go,go")), &report))
	require.Positive(t, report.Peak.Float32)
	require.Positive(t, report.Graphs[0].Ours.Share)
	require.Positive(t, report.Graphs[0].Ours.Memory.Peak)
	require.Positive(t, report.Graphs[0].Ratio.Median)
	refused(t, "want one, or two and no --vs", "bench", model, "--engine", "go,onnxruntime", "--vs", model)
}
