package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/clients"
)

// A build for a client is proved with the model's own inputs, says so in its manifest, is the same twice, and is not what run takes; one that takes pictures
// as they are is run and verified like any other.
func TestClient(t *testing.T) {
	help := must(t, "build", "--help")
	for _, name := range clients.Names() {
		require.Contains(t, help, name)
	}
	refused(t, `--client: have "nobody", want one of official, samexporter,`, "build", tiny34, "-o", filepath.Join(t.TempDir(), "a"), "--client", "nobody")
	dir := built(t, tiny34, "--client", "transformers-js", "--golden", fewGolden(t, 8))
	man, err := artifact.Read(dir)
	require.NoError(t, err)
	require.Equal(t, "transformers-js", man.Client)
	require.NotEmpty(t, man.Verification)
	require.Len(t, man.Interface.Graphs, 2)
	require.Equal(t, "onnx/vision_encoder.onnx", man.Interface.Graphs[0].File)
	require.NoError(t, man.Verify(dir))
	refused(t, "its graphs have the inputs of --client transformers-js", "run", dir, "--image", picture, "--box", "1,2,30,40", "-o", filepath.Join(t.TempDir(), "m.png"))
	one, two := built(t, tiny34, "--client", "transformers-js"), built(t, tiny34, "--client", "transformers-js")
	for _, name := range []string{artifact.ManifestName, "onnx/vision_encoder.onnx", "preprocessor_config.json"} {
		a, err := os.ReadFile(filepath.Join(one, name))
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(two, name))
		require.NoError(t, err)
		require.Equal(t, a, b, name)
	}
	plain, raw := built(t, tiny34), built(t, tiny34, "--image-input", "uint8-hwc", "--one-mask")
	for _, engine := range engines() {
		var masks [][]byte
		for _, dir := range []string{plain, raw} {
			out := filepath.Join(t.TempDir(), "m.png")
			must(t, "run", dir, "--image", picture, "--point", "80,90", "--engine", engine, "-o", out)
			b, err := os.ReadFile(out)
			require.NoError(t, err)
			masks = append(masks, b)
		}
		require.Equal(t, masks[0], masks[1], engine)
	}
}

// The manifest alone says how the graphs are called: every input and output has its name, sizes, element type and meaning.
func TestInterface(t *testing.T) {
	for _, flags := range [][]string{nil, {"--decoder-postprocess"}, {"--client", "samexporter"}, {"--client", "cvat"}, {"--client", "osam"}, {"--client", "cornerstone"}, {"--client", "transformers-js"}, {"--image-input", "float-chw"}} {
		text, err := os.ReadFile(filepath.Join(built(t, tiny34, flags...), artifact.ManifestName))
		require.NoError(t, err)
		var man artifact.Manifest
		require.NoError(t, json.Unmarshal(text, &man))
		for _, g := range man.Interface.Graphs {
			for _, p := range append(append([]artifact.Port{}, g.Inputs...), g.Outputs...) {
				require.NotEmpty(t, p.Meaning, "%v %s %s", flags, g.File, p.Name)
				require.NotEmpty(t, p.Dims, "%v %s %s", flags, g.File, p.Name)
				require.NotEqual(t, "invalid", p.DType)
			}
		}
		require.Contains(t, man.Interface.Labels, "-1")
	}
}
