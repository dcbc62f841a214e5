package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A flag that would change nothing is refused, whatever the command.
func TestFlagsWithoutEffect(t *testing.T) {
	dir, tmp, data := built(t, tiny34), t.TempDir(), fewData(t, 1)
	out, encoder := filepath.Join(tmp, "out"), filepath.Join(dir, "encoder.onnx")
	plain := filepath.Join(tmp, "plain") // without an index
	copied(t, picture, filepath.Join(plain, "images", "a.png"))
	copied(t, picture, filepath.Join(plain, "masks", "a.png"))
	for want, args := range map[string][]string{
		"--onnxruntime-lib: ":                {"verify", dir, "--golden", golden34, "--onnxruntime-lib", "x.so"},
		"--tensorrt-lib: ":                   {"exec", encoder, "--inputs", "a", "--outputs", out, "--tensorrt-lib", "x.so"},
		"--engine: it would change nothing":  {"build", tiny34, "-o", out, "--engine", "go"},
		"--calib-method: it would":           {"build", tiny34, "-o", out, "--calib-method", "mse"},
		"--rounding: it would":               {"build", tiny34, "-o", out, "--rounding", "nearest"},
		"--margin: it would":                 {"build", tiny34, "-o", out, "--margin", "1"},
		"it needs build":                     {"calibrate", tiny34, "--calib", calibration, "-o", out, "--calib-method", "mse"},
		"--rows: it would":                   {"compare", dir, dir, "--json", "--rows", "3"},
		"--groups: it would":                 {"verify", dir, dir, "--golden", golden34, "--table", "2", "--groups", "x.csv"},
		"split: ":                            {"dataset", plain, "--split", "train"},
		"--layers: have an artifact in fp32": {"verify", dir, "--data", data, "--prompts", "box", "--layers"},
		"--judge: only with --golden":        {"verify", dir, "--data", data, "--baseline", "x", "--max-dsc-drop", "1", "--judge", "equivalence"},
		"--junit, --html, --items, --basel":  {"verify", dir, dir, "--golden", golden34, "--format", "github"},
		"--points: ":                         {"bench", encoder, "--points", "4"},
		"--batch: ":                          {"bench", filepath.Join(dir, "decoder.onnx"), "--batch", "2"},
	} {
		refused(t, want, args...)
		require.NoDirExists(t, out)
	}
	must(t, "bench", dir, "--rounds", "1", "--batch", "2", "--points", "3", "--prompts", "2")
}
