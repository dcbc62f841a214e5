package main

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/dataset"
)

// edited is a copy of a JSON file that was changed.
func edited(t *testing.T, path string, change func(map[string]any)) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var v map[string]any
	require.NoError(t, json.Unmarshal(text, &v))
	change(v)
	text, err = json.Marshal(v)
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), filepath.Base(path))
	require.NoError(t, os.WriteFile(out, text, 0o600))
	return out
}

// fewData is a data set with n masks of ownData.
func fewData(t *testing.T, n int) string {
	t.Helper()
	dir, index := t.TempDir(), map[string]string{}
	for pair, err := range dataset.Items(ownData + "/label2image_test.json") {
		require.NoError(t, err)
		if len(index) < n {
			index[pair.Mask] = pair.Image
			for _, name := range []string{pair.Mask, pair.Image} {
				copied(t, filepath.Join(ownData, name), filepath.Join(dir, name))
			}
		}
	}
	text, err := json.Marshal(index)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, dataset.IndexName), text, 0o600))
	return dir
}

// fewGolden is what the float model of tiny34 gives for n masks of ownData, as a golden folder.
func fewGolden(t *testing.T, n int) string {
	t.Helper()
	made := filepath.Join(t.TempDir(), "made")
	must(t, "golden", "make", built(t, tiny34), "--data", fewData(t, n), "-o", made)
	return made
}

// better is a report whose first item was better by so much than it is.
func better(t *testing.T, path string, by float64) string {
	return edited(t, path, func(v map[string]any) {
		list := v["items"].([]any)
		it := list[0].(map[string]any)
		box := v["summary"].(map[string]any)["box"].(map[string]any)
		it["have"] = it["have"].(float64) + by
		box["have"] = box["have"].(float64) + by/float64(len(list))
	})
}

// A drop since an earlier report is found, item by item and in sum; reports of other data, prompts or golden sets, and what is no report, are refused by
// name.
func TestBaseline(t *testing.T) {
	dir, tmp := built(t, tiny34), t.TempDir()
	was, gold, data := filepath.Join(tmp, "was.json"), filepath.Join(tmp, "golden.json"), fewData(t, 12)
	must(t, "verify", dir, "--data", data, "--prompts", "box", "--json", was)
	verify := []string{"verify", dir, "--data", data, "--prompts", "box", "--baseline"}
	with := func(more ...string) result { return command(append(verify[:len(verify):len(verify)], more...)...) }

	out := with(was, "--json", filepath.Join(tmp, "now.json"))
	require.Zero(t, out.code, out.err)
	require.Contains(t, out.out, "(+0.000 points), 0 of 12 items dropped")
	b := report(t, filepath.Join(tmp, "now.json")).Baseline
	require.True(t, b.Pass)
	require.Len(t, b.SHA256, 64)
	require.Equal(t, 12, b.Modes["box"].Items)

	down := better(t, was, 0.02) // 2 points of one item are 0.17 of the mean
	first := report(t, was).Items[0].Mask
	out = with(down, "--format", "github", "--junit", filepath.Join(tmp, "j.xml"))
	require.Equal(t, 1, out.code)
	require.Contains(t, out.err, "the results dropped since "+down+": box: DSC ")
	require.Contains(t, out.out, "::error title="+first+" box::DSC ")
	require.Contains(t, out.out, "::error title=box since the earlier report::DSC")
	require.Contains(t, out.out, "::notice title=box::DSC ")
	for line := range strings.Lines(out.out) {
		require.Regexp(t, `^::(notice|warning|error) title=[^:,]+::`, line)
	}
	require.Zero(t, with(down, "--tolerance", "2.5").code)
	require.Zero(t, with(down, "--max-dsc-drop", "0.2").code)
	require.Equal(t, 1, with(down, "--max-dsc-drop", "0.1").code)
	require.Equal(t, 1, with(down, "--tolerance", "1.9").code)
	require.Zero(t, with(better(t, was, -0.005)).code, "what is better is no drop")

	text, err := os.ReadFile(filepath.Join(tmp, "j.xml"))
	require.NoError(t, err)
	var suites struct {
		Time   float64 `xml:"time,attr"`
		Suites []struct {
			Time       float64 `xml:"time,attr"`
			Host       string  `xml:"hostname,attr"`
			Properties []struct {
				Name  string `xml:"name,attr"`
				Value string `xml:"value,attr"`
			} `xml:"properties>property"`
			Cases []struct {
				Name    string  `xml:"name,attr"`
				Time    float64 `xml:"time,attr"`
				Failure *struct {
					Message string `xml:"message,attr"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	require.NoError(t, xml.Unmarshal(text, &suites))
	require.Positive(t, suites.Time)
	s := suites.Suites[0]
	require.Positive(t, s.Time)
	require.Contains(t, s.Cases[0].Failure.Message, "dropped by more than 0.05 points")
	require.Positive(t, s.Cases[1].Time)
	require.Nil(t, s.Cases[1].Failure)
	require.Equal(t, "baseline", s.Cases[len(s.Cases)-1].Name)
	properties := map[string]string{}
	for _, p := range s.Properties {
		properties[p.Name] = p.Value
	}
	for _, name := range []string{"tool_version", "engine", "engine_version", "artifact_sha256", "data_sha256", "source_sha256", "baseline_sha256", "judged_by", "arch"} {
		require.NotEmpty(t, properties[name], name)
	}

	// refusals
	must(t, "verify", dir, "--golden", golden34, "--prompts", "box", "--json", gold)
	for _, c := range []struct{ path, want string }{
		{gold, "it is of the golden set " + golden34},
		{edited(t, was, func(v map[string]any) { v["data"].(map[string]any)["sha256"] = strings.Repeat("0", 64) }), "data: have " + data},
		{edited(t, was, func(v map[string]any) {
			v["summary"].(map[string]any)["point1"] = v["summary"].(map[string]any)["box"]
			delete(v["summary"].(map[string]any), "box")
		}), "with DSC"},
		{edited(t, was, func(v map[string]any) { v["summary"].(map[string]any)["box"].(map[string]any)["have"] = 0.9 }), "summary.box: have 12 items with the mean 0.900000"},
		{edited(t, was, func(v map[string]any) { v["items"] = v["items"].([]any)[1:] }), "summary.box: have 12 items"},
		{edited(t, was, func(v map[string]any) { v["items"].([]any)[3].(map[string]any)["have"] = 1.5 }), "items: 3: have box with DSC 1.5"},
		{edited(t, was, func(v map[string]any) { v["items"].([]any)[3] = v["items"].([]any)[4] }), "is there twice"},
		{edited(t, was, func(v map[string]any) { v["items"].([]any)[0].(map[string]any)["mask"] = "masks/other.png" }), "it has no result for " + first},
		{edited(t, was, func(v map[string]any) { delete(v, "data") }), "does not say what it rests on"},
		{filepath.Join(dir, "manifest.json"), "does not say what it rests on"},
		{tiny34, "not a report of verify --json"},
		{filepath.Join(tmp, "none.json"), "no such file"},
	} {
		out := with(c.path)
		require.Equal(t, 2, out.code, "%s: %s", c.want, out.err)
		require.Contains(t, out.err, c.want)
		require.Contains(t, out.err, "--baseline: ")
	}
	refused(t, "it has no results with point1 prompts", "verify", dir, "--data", data, "--prompts", "box,point1", "--baseline", was)
	refused(t, "this run of the golden set", "verify", dir, "--golden", golden34, "--baseline", was)
	refused(t, "golden: have "+golden34, "verify", dir, "--golden", golden34, "--prompts", "box", "--baseline", edited(t, gold, func(v map[string]any) { v["golden"].(map[string]any)["sha256"] = strings.Repeat("1", 64) }))
	refused(t, "--baseline: only for one artifact", "verify", dir, dir, "--data", data, "--margin", "1", "--baseline", was)
	refused(t, `--format: have "xml"`, "verify", dir, "--data", data, "--format", "xml")

	// a golden run is judged by its golden results and by the earlier report
	out = command("verify", dir, "--golden", golden34, "--prompts", "box", "--baseline", better(t, gold, 0.02))
	require.Equal(t, 1, out.code)
	require.Contains(t, out.out, "117 of 117 items ok")
	require.Contains(t, out.err, "the results dropped since")
}

// --json alone prints, --json=FILE writes, for every command that has it; verify takes --json FILE, too.
func TestOneConventionForJSON(t *testing.T) {
	dir, tmp := built(t, tiny34), t.TempDir()
	for name, args := range map[string][]string{
		"inspect": {"inspect", "--json", tiny34}, "bench": {"bench", "--rounds", "1", "--json", dir}, "compare": {"compare", "--json", dir, dir}, "lint": {"lint", dir, "--target", "onnx", "--json"},
		"verify": {"verify", dir, "--data", fewData(t, 2), "--prompts", "box", "--json"},
	} {
		printed := must(t, args...)
		require.True(t, json.Valid([]byte(printed)), name)
		file := filepath.Join(tmp, name+".json")
		for i, a := range args {
			if a == "--json" {
				args[i] = "--json=" + file
			}
		}
		must(t, args...)
		text, err := os.ReadFile(file)
		require.NoError(t, err, name)
		require.True(t, json.Valid(text), name)
		refused(t, "does not exist", append(args, "--json="+filepath.Join(tmp, "none", "x.json"))...)
	}
}
