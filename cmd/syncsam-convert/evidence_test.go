package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/golden"
	"syncsam-convert/golden/items"
	"syncsam-convert/golden/stats"
)

const ownData = "../../golden/data/dataset"

func report(t *testing.T, path string) *golden.Report {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	r := &golden.Report{}
	require.NoError(t, json.Unmarshal(text, r))
	return r
}

func rowsOf(t *testing.T, path string) (rows []items.Row) {
	t.Helper()
	for row, err := range items.Read(path) {
		require.NoError(t, err)
		rows = append(rows, row)
	}
	return rows
}

// Own data are measured without golden results, and judged only where a minimum is asked for; a run that broke goes on.
func TestOwnData(t *testing.T) {
	dir, tmp := built(t, tiny34), t.TempDir()
	file, out := filepath.Join(tmp, "items.csv"), filepath.Join(tmp, "r.json")
	text := must(t, "verify", dir, "--data", ownData, "--prompts", "box,point1", "--items", file, "--json", out, "--html", filepath.Join(tmp, "page"), "--junit", filepath.Join(tmp, "j.xml"))
	require.Contains(t, text, "judged by nothing: measured only")
	require.NotContains(t, text, "items ok")
	r := report(t, out)
	require.True(t, r.Pass)
	require.Equal(t, golden.ByNothing, r.Judged)
	require.Len(t, r.Items, 234)
	require.NotEmpty(t, r.Tool.Version)
	require.NotEmpty(t, r.EngineVersion)
	require.NotEmpty(t, r.Host.Arch)
	require.Len(t, r.Artifact.SHA256, 64)
	require.Equal(t, 117, r.Data.Items)
	require.False(t, r.Finished.Before(r.Started))

	rows := rowsOf(t, file)
	require.Len(t, rows, 234)
	sum := 0.0
	for _, row := range rows {
		if row.Mode == "box" {
			sum += row.Scores[0].DSC
		}
	}
	require.InDelta(t, sum/117, r.Modes["box"].Have, 1e-12)

	all, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, all[:len(all)*2/3], 0o600)) // a run that broke in a line
	must(t, "verify", dir, "--data", ownData, "--prompts", "box,point1", "--items", file, "--resume", "--json", out)
	again, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(all), string(again))
	for mode, m := range report(t, out).Modes {
		require.Equal(t, [3]float64{r.Modes[mode].Have, r.Modes[mode].IoU, float64(r.Modes[mode].HD95)}, [3]float64{m.Have, m.IoU, float64(m.HD95)}, mode)
	}
	refused(t, "it is of another run", "verify", dir, "--data", ownData, "--prompts", "box", "--items", file, "--resume")

	few := fewData(t, 9)
	must(t, "verify", dir, "--data", few, "--prompts", "box", "--min-dsc", "93")
	low := command("verify", dir, "--data", few, "--prompts", "box", "--min-dsc", "0.94")
	require.Equal(t, 1, low.code)
	require.Contains(t, low.err, "does not reach DSC 0.94: box: DSC 0.93")
}

// The comparison's numbers are those of the rows that it writes, its decision is the exit status, and it does not depend on who runs it.
func TestComparison(t *testing.T) {
	a, b, tmp := built(t, tiny34), built(t, tiny34, "--precision", "int8", "--calib", calibration), t.TempDir()
	file, out, table := filepath.Join(tmp, "items.jsonl"), filepath.Join(tmp, "r.json"), filepath.Join(tmp, "groups.csv")
	require.NoError(t, os.WriteFile(table, []byte("image,modality\nimages/amos_0004_75.png,CT\nimages/amos_0006_90.png,CT\n"), 0o600))
	text := must(t, "verify", a, b, "--golden", golden34, "--prompts", "box", "--margin", "2", "--moved-by", "0.5", "--items", file, "--json", out, "--groups", table)
	require.Contains(t, text, "equivalent: ok")
	r := report(t, out)
	p := r.Paired["box"]
	var d []float64
	var images []string
	moved := 0
	for _, row := range rowsOf(t, file) {
		d, images = append(d, row.Scores[1].DSC-row.Scores[0].DSC), append(images, row.Image)
		if math.Abs(100*d[len(d)-1]) > 0.5 {
			moved++
		}
	}
	want, err := stats.Compare(d, images, stats.Options{Margin: 2, MovedBy: 0.5, Seed: 20})
	require.NoError(t, err)
	require.Equal(t, want, p.Paired)
	require.Equal(t, stats.Equivalent, p.Decision)
	require.Len(t, p.Moved, moved)
	require.Equal(t, 7, p.Groups["modality"]["CT"].Items)
	require.Equal(t, 110, p.Groups["modality"]["unknown"].Items)
	require.NotEmpty(t, p.Groups["size"])
	require.Equal(t, "fp32", r.First.Precision)
	require.Equal(t, "int8", r.Artifact.Precision)

	narrow := command("verify", a, b, "--data", fewData(t, 12), "--prompts", "box", "--margin", "0.01")
	require.Equal(t, 1, narrow.code)
	require.Contains(t, narrow.err, "not enough data (needs about")
	refused(t, "--margin: only with two artifacts", "verify", a, "--data", ownData, "--margin", "1")
	refused(t, "--margin: have 3 artifacts", "verify", a, b, a, "--data", ownData, "--margin", "1")
	refused(t, "published means have no items", "verify", a, b, "--golden", "paper:2/SyncSAM-SAMed-34", "--data", ownData, "--margin", "1")
}

// What a build accepts, verify accepts; a golden folder that was made says the same as the one that it was made like.
func TestOneMeaningOfMeets(t *testing.T) {
	int8 := built(t, tiny34, "--precision", "int8", "--calib", calibration, "--golden", golden34, "--max-dsc-drop", "0.4", "--judge", "equivalence")
	text := must(t, "verify", int8, "--golden", golden34, "--prompts", "box")
	require.Contains(t, text, "margin 0.4 points (by which it was built)")
	require.NotContains(t, text, "items ok")
	require.Equal(t, 1, command("verify", int8, "--golden", golden34, "--tolerance", "0.05", "--prompts", "box").code)

	float, made := built(t, tiny34), filepath.Join(t.TempDir(), "made")
	must(t, "golden", "make", float, "--data", ownData, "--prompts", "box,point1", "-o", made)
	refused(t, "exists", "golden", "make", float, "--data", ownData, "-o", made)
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(made, link))
	require.Contains(t, must(t, "verify", float, "--golden", link, "--prompts", "box,point1"), "117 of 117 items ok")
	want, err := golden.Read(golden34)
	require.NoError(t, err)
	have, err := golden.Read(made)
	require.NoError(t, err)
	require.InDelta(t, want.Summary["point1"], have.Summary["point1"], 1e-6)
	require.Equal(t, want.Items[0].Point1.Coords, have.Items[0].Point1.Coords)

	other := command("verify", float, "--golden", golden50)
	require.Equal(t, 1, other.code)
	require.Contains(t, other.err, "the golden set is of a syncsam-50, the model is a syncsam-34")
	require.Equal(t, 1, command("build", tiny34, "-o", filepath.Join(t.TempDir(), "a"), "--golden", golden50).code)
	several := command("verify", float, built(t, tiny50), "--golden", golden34, "--prompts", "box")
	require.Equal(t, 1, several.code)
	require.Regexp(t, `1 of 2 systems .*syncsam-50, fp32\): box -[0-9.]+ points`, several.err)
}

// The README's line: an artifact in INT8 with its plan folder, without a word about tolerance.
func TestThreeWayPasses(t *testing.T) {
	dir := built(t, tiny34, "--target", "tensorrt", "--precision", "int8", "--calib", calibration)
	require.Contains(t, must(t, "verify", dir, "--golden", golden34, "--three-way", "--prompts", "box"), "the default for int8")
}

// What cannot be written is said before anything is measured.
func TestOutputsAreCheckedFirst(t *testing.T) {
	tmp := t.TempDir()
	nowhere := filepath.Join(tmp, "none", "x.json")
	for _, args := range [][]string{
		{"verify", "none", "--golden", golden34, "--json", nowhere}, {"verify", "none", "--golden", golden34, "--junit", nowhere},
		{"verify", "none", "--golden", golden34, "--items", filepath.Join(tmp, "none", "x.csv")}, {"calibrate", "none", "--calib", calibration, "-o", nowhere},
		{"compare", "none", "none", "--svg", nowhere}, {"build", tiny34, "-o", filepath.Join(tmp, "a"), "--precision", "int8", "--calib", calibration, "--plan-out", nowhere},
		{"exec", "none", "--inputs", "none", "--outputs", nowhere}, {"run", "none", "--image", picture, "--box", "1,1,9,9", "-o", nowhere},
	} {
		refused(t, "none does not exist", args...)
	}
	refused(t, "it is a folder", "verify", "none", "--golden", golden34, "--json", tmp)
	refused(t, "no plan folder", "verify", tmp, "--golden", golden34, "--three-way")
	for flag, want := range map[string]string{"--resume": "needs --items", "--judge=equivalence": "needs --max-dsc-drop", "--moved-by=2": "only with two artifacts", "--min-dsc=3": "only with --data"} {
		refused(t, want, "verify", "none", "--golden", golden34, flag)
	}
	require.True(t, strings.HasPrefix(must(t, "verify", built(t, tiny34), "--golden", golden34, "--prompts", "box", "--json"), "{"))
}
