package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/pictures"
)

func bytesOf(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// timeless is a JSON report without the times of the run.
func timeless(t *testing.T, path string) string {
	t.Helper()
	var r map[string]any
	require.NoError(t, json.Unmarshal([]byte(bytesOf(t, path)), &r))
	require.NotEmpty(t, r["started"])
	delete(r, "started")
	delete(r, "finished")
	delete(r, "seconds")
	text, err := json.Marshal(r)
	require.NoError(t, err)
	return string(text)
}

// Whatever is verified, in whatever shards that come in any order and twice: the merged file, the report from it and the verdict are those of one run.
func TestVerifyShards(t *testing.T) {
	float, int8 := built(t, tiny34), built(t, tiny34, "--precision", "int8", "--calib", calibration)
	masks := t.TempDir() // one image, an empty mask
	copied(t, ownData+"/images/amos_0004_75.png", filepath.Join(masks, "images", "a.png"))
	copied(t, ownData+"/masks/amos_0004_75_aorta_000.png", filepath.Join(masks, "masks", "a_aorta.png"))
	require.NoError(t, pictures.WriteMask(filepath.Join(masks, "masks", "a_none.png"), pictures.NewMask(512, 512)))
	for name, c := range map[string]struct {
		n, code int
		ending  string
		args    []string
	}{
		"golden": {7, 0, ".csv", []string{float, "--golden", golden34, "--prompts", "box"}},
		"data":   {3, 0, ".jsonl", []string{float, "--data", ownData, "--prompts", "box"}},
		"volume": {5, 0, ".csv", []string{float, "--data", volumeSet(t)}},
		"paired": {2, 0, ".csv", []string{float, int8, "--golden", golden34, "--prompts", "box", "--margin", "2"}},
		"bad":    {2, 1, ".csv", []string{int8, "--golden", golden34, "--prompts", "box"}},
		"few":    {3, 0, ".csv", []string{float, "--data", masks, "--prompts", "point1"}},
		"closed": {2, 0, ".csv", []string{float, "--golden", golden34, "--prompts", "point1", "--closed-loop"}},
	} {
		t.Run(name, func(t *testing.T) {
			tmp := t.TempDir()
			at := func(name string) string { return filepath.Join(tmp, name+c.ending) }
			judge := []string{}
			if name == "bad" {
				judge = []string{"--tolerance", "0.05"}
			}
			verify := func(more ...string) result {
				return command(append(append([]string{"verify"}, c.args...), more...)...)
			}
			r := verify(append(judge, "--items", at("plain"), "--json", filepath.Join(tmp, "plain.json"))...)
			require.Equal(t, c.code, r.code, r.err)
			var files []string
			for i := 1; i <= c.n; i++ {
				file := at(fmt.Sprint("part", i))
				r := verify("--shard", fmt.Sprintf("%d/%d", i, c.n), "--items", file, "--json", filepath.Join(tmp, "part.json"))
				require.Equal(t, 0, r.code, "a shard is not judged: %s", r.err)
				require.Contains(t, bytesOf(t, filepath.Join(tmp, "part.json")), fmt.Sprintf(`"shard": "%d/%d"`, i, c.n))
				files = append(files, file)
			}
			files = append(files, files[0])
			rand.New(rand.NewPCG(1, uint64(c.n))).Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
			must(t, append([]string{"merge", "-o", at("merged")}, files...)...)
			for _, end := range []string{"", ".run", ".measured"} {
				require.Equal(t, bytesOf(t, at("plain")+end), bytesOf(t, at("merged")+end))
			}
			again := verify(append(judge, "--items", at("merged"), "--resume", "--json", filepath.Join(tmp, "merged.json"))...)
			require.Equal(t, r, again, "the same words, the same exit status")
			require.Equal(t, timeless(t, filepath.Join(tmp, "plain.json")), timeless(t, filepath.Join(tmp, "merged.json")))
			require.Equal(t, bytesOf(t, at("plain")), bytesOf(t, at("merged")), "nothing was added")
		})
	}
}

// What merge cannot vouch for it names, and writes nothing.
func TestMergeRefuses(t *testing.T) {
	dir, other, tmp := built(t, tiny34), built(t, tiny34, "--precision", "fp16", "--calib", calibration), t.TempDir()
	at := func(name string) string { return filepath.Join(tmp, name) }
	shard := func(file string, more ...string) string {
		must(t, append([]string{"verify", "--golden", golden34, "--items", at(file)}, more...)...)
		return at(file)
	}
	one, two := shard("1.csv", dir, "--prompts", "box", "--shard", "1/2"), shard("2.csv", dir, "--prompts", "box", "--shard", "2/2")
	out := at("out.csv")
	merge := func(want string, files ...string) {
		t.Helper()
		refused(t, want, append([]string{"merge", "-o", out}, files...)...)
		require.NoFileExists(t, out)
		require.NoFileExists(t, out+".measured")
	}
	merge("shards are missing: 2/2", one, one)
	merge("3.csv: it is of another run than "+one+": modes: have", one, shard("3.csv", dir, "--prompts", "point1", "--shard", "2/2"))
	merge("4.csv: it is of another run than "+one+": artifact: have", one, shard("4.csv", other, "--prompts", "box", "--shard", "2/2"))
	merge("5.csv: have shard 2/3, want a shard of 2", one, shard("5.csv", dir, "--prompts", "box", "--shard", "2/3"))
	merge("want a shard of 2 as", one, shard("6.csv", dir, "--prompts", "box"))
	merge("nobody.csv: no such file", one, at("nobody.csv"))
	merge(picture+": have neither a file of items", one, picture)
	refused(t, "want .csv or .jsonl", "merge", one, two, "-o", at("out.txt"))
	refused(t, "-o: missing", "merge", one, two)
	refused(t, "--shard: needs --items", "verify", dir, "--data", ownData, "--shard", "1/2")
	refused(t, "--shard: have \"3/2\"", "verify", dir, "--data", ownData, "--shard", "3/2", "--items", out)
	refused(t, "not with --shard", "verify", dir, "--data", ownData, "--shard", "1/2", "--items", out, "--min-dsc", "0.5")

	copied(t, two, at("copy.csv"))
	must(t, "merge", one, two, at("copy.csv"), "-o", at("with-copy.csv")) // the same bytes
	copied(t, one, at("bare.csv"))
	merge("there is no bare.csv.run beside it", at("bare.csv"), two)

	good, beside := bytesOf(t, two), bytesOf(t, two+".measured")
	lines := strings.SplitAfter(good, "\n")
	lines[1] = strings.Replace(lines[1], ",box,0.", ",box,0.1", 1)
	require.NoError(t, os.WriteFile(two, []byte(strings.Join(lines, "")), 0o600))
	merge("is not as it was written", one, two)
	refused(t, "the row is not as it was measured", "verify", dir, "--golden", golden34, "--prompts", "box", "--shard", "2/2", "--items", two, "--resume")
	require.NoError(t, os.WriteFile(two, []byte(good[:len(good)/2]), 0o600))
	merge("2.csv", one, two)
	require.NoError(t, os.WriteFile(two, []byte(good), 0o600))
	require.NoError(t, os.WriteFile(two+".measured", []byte(beside[:len(beside)*3/4]), 0o600))
	merge("2.csv.measured: line", one, two)
	cut := beside[:strings.LastIndex(strings.TrimSuffix(beside, "\n"), "\n")+1]
	require.NoError(t, os.WriteFile(two+".measured", []byte(cut), 0o600))
	merge("its run did not end", one, two)

	must(t, "verify", dir, "--golden", golden34, "--prompts", "box", "--shard", "2/2", "--items", two, "--resume")
	must(t, "merge", one, two, "-o", out)
	require.Equal(t, bytesOf(t, at("6.csv")), bytesOf(t, out))
}

// A shard that was killed anywhere goes on to the same files; data that changed meanwhile are named.
func TestShardsGoOn(t *testing.T) {
	dir, data, tmp := built(t, tiny34), volumeSet(t), t.TempDir()
	file := filepath.Join(tmp, "a.csv")
	args := []string{"verify", dir, "--data", data, "--prompts", "box", "--items", file}
	must(t, args...)
	rows, records := bytesOf(t, file), bytesOf(t, file+".measured")
	rng := rand.New(rand.NewPCG(3, 4))
	for range 6 {
		a, b := rng.IntN(len(rows)+1), rng.IntN(len(records)+1)
		require.NoError(t, os.WriteFile(file, []byte(rows[:a]), 0o600))
		require.NoError(t, os.WriteFile(file+".measured", []byte(records[:b]), 0o600))
		must(t, append(args, "--resume")...)
		require.Equal(t, rows, bytesOf(t, file))
		require.Equal(t, records, bytesOf(t, file+".measured"))
	}
	volume := filepath.Join(data, "labelsTs", "case.nii.gz")
	text := bytesOf(t, volume)
	require.NoError(t, os.WriteFile(volume, []byte(text), 0o600))
	must(t, append(args, "--resume")...) // another time, the same bytes
	copied(t, filepath.Join(data, "imagesTs", "case_0000.nii.gz"), volume)
	refused(t, "case.nii.gz: it has changed since it was measured", append(args, "--resume")...)
}

// Calibration in any shards gives the file of one run; a shard that is given twice counts once, to merge and to build.
func TestCalibrationShards(t *testing.T) {
	tmp := t.TempDir()
	at := func(name string) string { return filepath.Join(tmp, name+".safetensors") }
	must(t, "calibrate", tiny34, "--calib", calibration, "-o", at("plain"))
	for _, n := range []int{3, 11} { // 8 images
		var files []string
		for i := 1; i <= n; i++ {
			file := at(fmt.Sprintf("%d-%d", n, i))
			must(t, "calibrate", tiny34, "--calib", calibration, "--shard", fmt.Sprintf("%d/%d", i, n), "-o", file)
			files = append(files, file)
		}
		files = append(files, files[n-1], files[0])
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
		must(t, append([]string{"merge", "-o", at("merged")}, files...)...)
		require.Equal(t, bytesOf(t, at("plain")), bytesOf(t, at("merged")))
	}
	int8 := func(calib ...string) string {
		dir := filepath.Join(t.TempDir(), "a")
		r := command("build", tiny34, "-o", dir, "--precision", "int8", "--rounding", "nearest", "--calib", strings.Join(calib, ","))
		require.Equal(t, 0, r.code, r.err)
		return r.err + bytesOf(t, filepath.Join(dir, "encoder.onnx"))
	}
	whole := int8(at("plain"))
	require.Equal(t, whole, int8(at("3-2"), at("3-1"), at("3-3"), at("3-1")))
	require.Contains(t, int8(at("3-2"), at("3-3")), "warning: "+at("3-2")+": shards are missing: 1/3")

	out := at("out")
	refused(t, "shards are missing: 1/3, 3/3", "merge", at("3-2"), "-o", out)
	refused(t, "have shard 1/11, want a shard of 3", "merge", at("3-2"), at("11-1"), "-o", out)
	must(t, "calibrate", tiny34, "--calib", calibration, "--shard", "1/3", "--quantize", "linear", "-o", at("linear"))
	refused(t, "quantize: have \"linear\", want", "merge", at("3-2"), at("linear"), "-o", out)
	must(t, "calibrate", tiny50, "--calib", calibration, "--shard", "1/3", "-o", at("other"))
	refused(t, "checkpoint: have", "merge", at("3-2"), at("other"), "-o", out)
	file := filepath.Join(tmp, "i.csv")
	must(t, "verify", built(t, tiny34), "--golden", golden34, "--prompts", "box", "--items", file, "--shard", "1/7")
	refused(t, "have another kind of file", "merge", file, at("3-2"), "-o", out)
	refused(t, "have statistics of no images", "build", tiny34, "-o", filepath.Join(tmp, "a"), "--precision", "int8", "--calib", at("11-11"))
	refused(t, "have shard 1/3, want a whole run", "build", tiny34, "-o", filepath.Join(tmp, "a"), "--precision", "int8", "--calib", at("plain")+","+at("3-1"))
	require.NoFileExists(t, out)
}
