package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/compile"
	"syncsam-convert/frontends/checkpoint"
	"syncsam-convert/safetensors"
)

// A folder of transformers is inspected, built (the same twice) and compared like a file.
func TestTransformersFolder(t *testing.T) {
	const folder = "../../frontends/testdata/sam-hf"
	var x compile.Inspection
	require.NoError(t, json.Unmarshal([]byte(must(t, "inspect", folder, "--json", "--family", "sam")), &x))
	require.Equal(t, "transformers", x.Layout)
	require.Equal(t, 3, x.Files)
	require.Contains(t, must(t, "inspect", folder+"/model.safetensors.index.json", "--family", "sam"), "layout      transformers")
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		must(t, "build", folder, "-o", filepath.Join(dir, name), "--family", "sam")
	}
	first, err := os.ReadFile(filepath.Join(dir, "a", artifact.ManifestName))
	require.NoError(t, err)
	second, err := os.ReadFile(filepath.Join(dir, "b", artifact.ManifestName))
	require.NoError(t, err)
	require.Equal(t, string(first), string(second))
	man, err := artifact.Read(filepath.Join(dir, "a"))
	require.NoError(t, err)
	require.Equal(t, "transformers", man.Config["layout"])
	require.InDelta(t, 1e-3, man.Config["layer_norm_eps"], 1e-9)
	must(t, "compare", filepath.Join(dir, "a"), folder)
}

// Of two state dicts that differ the user chooses; the manifest tells which it was.
func TestWeightsFlag(t *testing.T) {
	ck, err := checkpoint.Open(tiny34)
	require.NoError(t, err)
	defer ck.Close()
	var all []safetensors.Named
	for _, prefix := range []string{"student.", "teacher."} {
		for _, n := range ck.Names() {
			if prefix == "student." || n != "mask_decoder.med_token.weight" {
				all = append(all, safetensors.Named{Name: prefix + n, Tensor: ck.Get(n)})
			}
		}
	}
	path := filepath.Join(t.TempDir(), "two.safetensors")
	require.NoError(t, safetensors.WriteFile(path, all, nil))
	refused(t, "several state dicts fit and differ: student (syncsam), teacher (syncsam); --weights KEY chooses one", "inspect", path)
	refused(t, `have no tensors under "model"`, "inspect", path, "--weights", "model")
	dir := filepath.Join(t.TempDir(), "out")
	must(t, "build", path, "-o", dir, "--weights", "student")
	man, err := artifact.Read(dir)
	require.NoError(t, err)
	require.Equal(t, "student", man.Source.Weights)
	require.Equal(t, len(ck.Names()), man.Source.Tensors)
}
