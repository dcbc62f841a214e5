package provenance

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/internal/version"
	"syncsam-convert/ir"
)

func manifest(verification string) *artifact.Manifest {
	return &artifact.Manifest{Tool: version.Tool{Version: "9.8.7", Commit: "c0ffee"}, Meta: ir.Meta{Family: "family"}, Precision: "int8", Target: "onnx", Opset: 17,
		Source: artifact.Source{SHA256: "aa"}, Build: &artifact.Build{Flags: map[string]string{"calib-method": "mse"}, Calibration: "bb", Plan: "cc", Golden: "dd", Engine: "go", EngineVersion: "9.8.7"},
		Passes: []artifact.Pass{{Name: "cse", Changed: 3}}, Quantization: &artifact.Quantization{Method: "mse", Images: 8}, Files: []artifact.File{{Name: "encoder.onnx", SHA256: "ee", Bytes: 1}},
		Verification: json.RawMessage(verification)}
}

// at follows fields and places through JSON.
func at(t *testing.T, text []byte, path ...any) any {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal(text, &v))
	for _, p := range path {
		switch p := p.(type) {
		case string:
			require.IsType(t, map[string]any{}, v, path)
			v = v.(map[string]any)[p]
		case int:
			require.IsType(t, []any{}, v, path)
			v = v.([]any)[p]
		}
	}
	return v
}

// The provenance has every fact of the build: checkpoint, settings, passes, calibration, plan, golden set, tool and engine.
func TestBuild(t *testing.T) {
	text, err := Build(Subject{"name", "ff"}, manifest(""))
	require.NoError(t, err)
	require.Equal(t, "https://slsa.dev/provenance/v1", at(t, text, "predicateType"))
	require.Equal(t, "ff", at(t, text, "subject", 0, "digest", "sha256"))
	for i, want := range []string{"aa", "bb", "cc", "dd"} {
		require.Equal(t, want, at(t, text, "predicate", "buildDefinition", "resolvedDependencies", i, "digest", "sha256"))
	}
	inside := []any{"predicate", "buildDefinition", "internalParameters"}
	require.Equal(t, "int8", at(t, text, append(inside, "precision")...))
	require.Equal(t, "cse", at(t, text, append(inside, "passes", 0, "name")...))
	require.EqualValues(t, 3, at(t, text, append(inside, "passes", 0, "changed")...))
	require.Equal(t, "mse", at(t, text, append(inside, "quantization", "method")...))
	require.EqualValues(t, 8, at(t, text, append(inside, "quantization", "images")...))
	require.Equal(t, "mse", at(t, text, "predicate", "buildDefinition", "externalParameters", "flags", "calib-method"))
	require.Equal(t, map[string]any{"syncsam-convert": "9.8.7", "commit": "c0ffee", "engine go": "9.8.7"}, at(t, text, "predicate", "runDetails", "builder", "version"))
	plain := manifest("")
	plain.Build, plain.Quantization = nil, nil // of an earlier version of the program
	text, err = Build(Subject{"name", "ff"}, plain)
	require.NoError(t, err)
	require.Nil(t, at(t, text, append(inside, "quantization")...))
}

// A result says what failed, and figures that were not measured are left out of the bill of materials, not zero.
func TestFigures(t *testing.T) {
	m := manifest(`{"engine":"go","judged_by":"item","pass":false,"summary":{"box":{"items":2,"want":0.91,"have":0.9,"iou":0.8,"hd95":2.5,"pass":true},"point1":{"items":2,"have":0.5,"pass":false}}}`)
	text, err := Result(Subject{"name", "ff"}, m)
	require.NoError(t, err)
	require.Equal(t, "FAILED", at(t, text, "predicate", "result"))
	require.Equal(t, []any{"box"}, at(t, text, "predicate", "passedTests"))
	require.Equal(t, []any{"point1"}, at(t, text, "predicate", "failedTests"))
	require.Equal(t, "dd", at(t, text, "predicate", "configuration", 1, "digest", "sha256"))
	bom, err := BOM(Subject{"name", "ff"}, m)
	require.NoError(t, err)
	found := map[string]any{}
	for _, f := range at(t, bom, "metadata", "component", "modelCard", "quantitativeAnalysis", "performanceMetrics").([]any) {
		f := f.(map[string]any)
		found[f["slice"].(string)+": "+f["type"].(string)] = f["value"]
	}
	require.Equal(t, map[string]any{"box: Dice similarity coefficient": "0.900000", "box: Dice similarity coefficient of the reference": "0.910000", "box: intersection over union": "0.800000",
		"box: 95th percentile of the Hausdorff distance (pixels)": "2.500000", "point1: Dice similarity coefficient": "0.500000"}, found)
	_, err = Result(Subject{"name", "ff"}, manifest(""))
	require.ErrorIs(t, err, ErrUnverified)
	bom, err = BOM(Subject{"name", "ff"}, manifest(""))
	require.NoError(t, err)
	require.Nil(t, at(t, bom, "metadata", "component", "modelCard", "quantitativeAnalysis"))
	_, err = BOM(Subject{"name", "ff"}, manifest(`[]`))
	require.ErrorContains(t, err, "verification")
}
