package main

import (
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir/tensor"
	"syncsam-convert/pictures"
	"syncsam-convert/safetensors"
	"syncsam-convert/volumes"
)

// imisNet builds a small IMIS-Net of random weights, of the shapes in testdata/imis.json (golden/reference/states.py makes such), whose text model takes 21 tokens.
func imisNet(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/imis.json")
	require.NoError(t, err)
	var shapes map[string][]int64
	require.NoError(t, json.Unmarshal(text, &shapes))
	random := rand.New(rand.NewPCG(1, 2))
	var weights []safetensors.Named
	for _, name := range slices.Sorted(maps.Keys(shapes)) {
		n, fan := int64(1), 1.0
		for i, d := range shapes[name] {
			if n *= d; i > 0 {
				fan *= float64(d)
			}
		}
		x := make([]float32, n)
		for i := range x {
			u := 2*random.Float64() - 1
			switch norm := len(shapes[name]) == 1; {
			case norm && strings.HasSuffix(name, "weight"):
				u = 1 + 0.2*u
			case norm:
				u *= 0.1
			case strings.Contains(name, "embedding"), strings.Contains(name, "token"):
				u *= 0.5
			default:
				u *= math.Sqrt(3 / fan)
			}
			x[i] = float32(u)
		}
		weights = append(weights, safetensors.Named{Name: name, Tensor: tensor.FromFloat32(shapes[name], x)})
	}
	path, dir := filepath.Join(t.TempDir(), "imis.safetensors"), filepath.Join(t.TempDir(), "imis")
	require.NoError(t, safetensors.WriteFile(path, weights, nil))
	must(t, "build", path, "-o", dir, "--image-size", "160")
	return dir
}

// A text is a prompt: alone, with a box, as token numbers, on every slice that a box carries to.
func TestRunText(t *testing.T) {
	dir, tmp := imisNet(t), t.TempDir()
	mask := func(args ...string) *pictures.Mask {
		out := filepath.Join(tmp, "m.png")
		must(t, append([]string{"run", dir, "--image", picture, "-o", out}, args...)...)
		m, err := pictures.ReadMask(out)
		require.NoError(t, err)
		return m
	}
	liver := mask("--text", "liver")
	require.Equal(t, liver, mask("--text", " A segmentation area of a liver. "))
	require.Equal(t, liver, mask("--text-ids", "49406,320,10551,9512,2445,539,320,12639,269,49407"))
	require.Equal(t, liver, mask("--prompt", "text=liver"))
	require.NotEqual(t, liver, mask("--text", "spleen"))
	require.NotEqual(t, liver, mask("--text", "liver", "--box", "40,40,90,90"))
	require.NotEqual(t, mask("--box", "40,40,90,90"), mask("--text", "liver", "--box", "40,40,90,90"))
	var r volumes.Report
	require.NoError(t, json.Unmarshal([]byte(must(t, "run", dir, "--image", picture, "--text", "liver", "--text", "left kidney", "--json", "-o", filepath.Join(tmp, "two.png"))), &r))
	require.Equal(t, "A segmentation area of a left kidney.", r.Objects[1].Text)
	require.Len(t, r.Masks, 2)
	require.NotNil(t, r.Masks[0].IoU, "the model has a head for it")
	require.Equal(t, liver.Count(), r.Objects[0].Pixels)
	must(t, "run", dir, "--image", phantom(t), "--text", "liver", "--slices", "0:3", "--propagate", "-o", filepath.Join(tmp, "m.nii"))
	base := []string{"run", dir, "--image", picture, "-o", filepath.Join(tmp, "m.png"), "--text"}
	refused(t, "have 29 tokens, want at most the 21 of the model", append(base, strings.Repeat("liver ", 20))...)
	refused(t, "want English in ASCII", append(base, "foie gras\u00e9")...)
}
