package compile

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/backends/onnx"
	"syncsam-convert/backends/portable"
	"syncsam-convert/internal/families"
	"syncsam-convert/ir"
)

// family writes a small checkpoint of random weights from a list of its tensors' shapes.
func family(t *testing.T, list string) string {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	require.NoError(t, families.Write(list, path))
	return path
}

// twoPictures is a folder of two calibration pictures.
func twoPictures(t *testing.T) string {
	dir := t.TempDir()
	all, err := filepath.Glob("../golden/data/calibration/*.png")
	require.NoError(t, err)
	for _, path := range all[:2] {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(path)), b, 0o600))
	}
	return dir
}

// What the backend emits of every family, in every precision, dialect and opset, is in the vocabulary, and OpenVINO is not known to read
// it wrongly.
func TestFamiliesArePortable(t *testing.T) {
	lists, err := filepath.Glob("testdata/families/*.txt")
	require.NoError(t, err)
	require.Greater(t, len(lists), 5)
	calibration := twoPictures(t)
	for _, list := range lists {
		name, checkpoint := strings.TrimSuffix(filepath.Base(list), ".txt"), family(t, list)
		for _, o := range []Options{{Precision: FP32}, {Precision: FP16}, {Precision: INT8, Target: TensorRT, Calibration: calibration, Quantize: QuantizeAll, Rounding: RoundNearest}} {
			o.Checkpoint = checkpoint
			t.Run(name+"-"+o.Precision, func(t *testing.T) {
				ctx := context.Background()
				source, err := Open(o)
				require.NoError(t, err)
				defer source.Close()
				lowered, err := source.Lower(ctx)
				require.NoError(t, err)
				calibrated, err := lowered.Calibrate(ctx)
				require.NoError(t, err)
				targets := []string{ONNX}
				if o.Target == TensorRT {
					targets = append(targets, TensorRT)
				}
				for _, target := range targets {
					m, err := calibrated.Finish(ctx, target, calibrated.Plan)
					require.NoError(t, err)
					for _, g := range m.run.Module.Graphs {
						portableAtEveryOpset(t, g, target)
					}
				}
			})
		}
	}
}

func portableAtEveryOpset(t *testing.T, g *ir.Graph, target string) {
	for opset := int64(onnx.MinOpset); opset <= onnx.MaxOpset; opset++ {
		path := filepath.Join(t.TempDir(), "m.onnx")
		_, err := onnx.WriteFile(path, g, onnx.Options{Opset: opset})
		require.NoError(t, err)
		found, err := portable.Lint(path, []string{portable.Vocabulary})
		require.NoError(t, err)
		require.Empty(t, found, "%s, opset %d, %s", g.Name, opset, target)
		found, err = portable.Lint(path, []string{"openvino"})
		require.NoError(t, err)
		require.Zero(t, portable.Errors(found), "%s, opset %d, %s: %v", g.Name, opset, target, found)
	}
}
