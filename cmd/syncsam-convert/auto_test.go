package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/front"
	"syncsam-convert/golden/stats"
)

// auto builds with a search over one group of convolutions, judged by golden results of a few items.
func auto(t *testing.T, golden string, flags ...string) (dir, log string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "artifact")
	args := []string{"build", tiny34, "-o", dir, "--precision", "auto", "--calib", calibration, "--golden", golden, "--quantize", "cnn", "--rounding", "nearest"}
	for _, module := range []string{"resnet.stage0", "resnet.stage1", "resnet.stage2", "resnet.stage3", "adapters_in", "adapters_bridge", "embedding_encoder"} {
		args = append(args, "--keep-float", module)
	}
	r := command(append(args, flags...)...)
	require.Equal(t, 0, r.code, r.err)
	return dir, r.err
}

func frontOf(t *testing.T, dir string) (*artifact.Manifest, *front.Front, *front.Point) {
	t.Helper()
	m, err := artifact.Read(dir)
	require.NoError(t, err)
	require.NoError(t, m.Verify(dir))
	f := &front.Front{}
	require.NoError(t, json.Unmarshal(m.Front, f))
	var chosen *front.Point
	for _, p := range f.Points {
		if p.Chosen {
			require.Nil(t, chosen)
			chosen = p
		}
	}
	require.NotNil(t, chosen)
	require.Equal(t, m.Precision, chosen.Precision)
	return m, f, chosen
}

// The search ends at a model that was tried and is equivalent, says what it saw, and its plan gives the same bytes again. Where the data do not show
// equivalence the model stays float, and a line says how much would.
func TestAuto(t *testing.T) {
	made, plan := fewGolden(t, 8), filepath.Join(t.TempDir(), "plan.txt")
	dir, log := auto(t, made, "--margin", "60", "--plan-out", plan)
	require.Contains(t, log, "auto: attempt 1: ")
	m, f, chosen := frontOf(t, dir)
	require.Equal(t, "equivalent", chosen.Decision)
	require.Equal(t, "auto", m.Build.Flags["precision"])
	require.Equal(t, &artifact.Criterion{MaxDrop: 60, Judge: "equivalence"}, m.Criterion)
	require.Contains(t, string(m.Verification), `"pass": true`)
	require.Equal(t, "fp32", f.Points[0].Precision)
	require.Equal(t, 1.0, f.Points[0].Ratio)
	for _, g := range f.Groups {
		require.Positive(t, g.Float, g.Name)
		require.Positive(t, g.Int8, g.Name)
		require.Greater(t, g.Noise, 20.0, g.Name)
	}
	require.Contains(t, must(t, "verify", dir, "--golden", made, "--html", filepath.Join(t.TempDir(), "page")), "margin 60 points (by which it was built)")
	if m.Precision == "int8" {
		again := filepath.Join(t.TempDir(), "again")
		must(t, "build", tiny34, "-o", again, "--precision", "int8", "--plan", plan, "--rounding", "nearest")
		other, err := artifact.Read(again)
		require.NoError(t, err)
		require.Equal(t, m.Files, other.Files)
	}

	dir, log = auto(t, made, "--margin", "0.0001", "--plan-out", plan)
	m, f, chosen = frontOf(t, dir)
	require.Equal(t, "fp32", m.Precision)
	require.Nil(t, m.Quantization)
	faster := slices.ContainsFunc(f.Points, func(p *front.Point) bool { // which of two is faster differs from run to run
		return !p.Predicted && p.Ratio < chosen.Ratio && p.Decision == string(stats.Undecided)
	})
	require.Equal(t, faster, strings.Contains(log, "what is faster could not be decided: not enough data"), log)
	text, err := os.ReadFile(plan)
	require.NoError(t, err)
	require.NotContains(t, string(text), "\n# float ")
	float := filepath.Join(t.TempDir(), "float")
	must(t, "build", tiny34, "-o", float)
	other, err := artifact.Read(float)
	require.NoError(t, err)
	require.Equal(t, m.Files, other.Files)
}

// A search that cannot judge or measure is refused before the work.
func TestAutoIsRefused(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	for want, flags := range map[string][]string{
		"--precision auto: needs --golden":         {"--precision", "auto", "--calib", calibration},
		"--precision auto: needs --calib":          {"--precision", "auto", "--golden", golden34, "--margin", "0.1"},
		"--margin: it would change nothing":        {"--precision", "int8", "--calib", calibration, "--margin", "0.1"},
		"--margin: have 0, want more than 0":       {"--precision", "auto", "--calib", calibration, "--golden", golden34, "--margin", "0"},
		"[margin max-dsc-drop]":                    {"--precision", "auto", "--calib", calibration, "--golden", golden34, "--margin", "1", "--max-dsc-drop", "1"},
		"--precision auto: not with --target tens": {"--precision", "auto", "--calib", calibration, "--golden", golden34, "--target", "tensorrt"},
	} {
		refused(t, want, append([]string{"build", tiny34, "-o", out}, flags...)...)
		require.NoDirExists(t, out)
	}
}
