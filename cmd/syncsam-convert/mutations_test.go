//go:build mutate && linux

package main

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/internal/mutate"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/safetensors"
)

// A kind is a kind of input: good files, how they are damaged, and the command lines that read them. In a command line FILE is the damaged file, DIR its
// folder (with the files that lie beside it), OUT, OUT.nii and OUT.dcm a name for what is written.
type kind struct {
	name     string
	good     [][]byte
	damage   []mutate.Func // beside mutate.Bytes
	at       string        // in the folder
	beside   string        // a folder whose other files lie beside it
	hashed   bool          // the manifests' hashes of it are made true
	commands [][]string
}

// make writes a damaged input into a folder, and gives a command line and the input's size.
func (k kind) make(dir string, r *rand.Rand) (args []string, size int64) {
	damage := mutate.Bytes
	if len(k.damage) > 0 && r.IntN(4) > 0 {
		damage = k.damage[r.IntN(len(k.damage))]
	}
	b := damage(r, k.good[r.IntN(len(k.good))])
	file := filepath.Join(dir, k.at)
	os.MkdirAll(filepath.Dir(file), 0o755)
	if k.beside != "" {
		filepath.WalkDir(k.beside, func(path string, d os.DirEntry, err error) error {
			rel, _ := filepath.Rel(k.beside, path)
			if d.IsDir() {
				return os.MkdirAll(filepath.Join(dir, rel), 0o755)
			}
			if filepath.Ext(rel) == ".json" { // some are written anew
				text, _ := os.ReadFile(path)
				return os.WriteFile(filepath.Join(dir, rel), text, 0o644)
			}
			return os.Link(path, filepath.Join(dir, rel))
		})
		os.Remove(file)
	}
	os.WriteFile(file, b, 0o644)
	if k.hashed && r.IntN(4) > 0 {
		hashes(filepath.Dir(file), filepath.Base(file))
		hashes(dir, filepath.ToSlash(k.at))
		hashes(dir, "plan/manifest.json")
	}
	for _, a := range k.commands[r.IntN(len(k.commands))] {
		switch a {
		case "FILE":
			a = file
		case "FILE#slice=0":
			a = file + "#slice=0"
		case "DIR":
			a = dir
		case "OUT", "OUT.nii", "OUT.dcm":
			a = filepath.Join(dir, "out"+filepath.Ext(a))
		}
		args = append(args, a)
	}
	return args, int64(len(b))
}

// hashes makes a manifest's entry of a file true, where there are both.
func hashes(dir, name string) {
	m, err := artifact.Read(dir)
	if err != nil {
		return
	}
	for i, f := range m.Files {
		if f.Name == name {
			if now, err := artifact.Describe(dir, name); err == nil {
				m.Files[i] = now
			}
		}
	}
	_ = m.Write(dir) // what does not hold is an input, too
}

// mutations are the kinds of inputs that the program reads.
func mutations(t *testing.T) []kind {
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	ck, err := filepath.Abs(tiny34)
	require.NoError(t, err)
	image, err := filepath.Abs(picture)
	require.NoError(t, err)
	in := func(name string) string { return filepath.Join(dir, name) }
	read := func(patterns ...string) (out [][]byte) {
		for _, p := range patterns {
			names, err := filepath.Glob(filepath.Join(root, p))
			require.NoError(t, err)
			require.NotEmpty(t, names, p)
			for _, name := range names {
				b, err := os.ReadFile(name)
				require.NoError(t, err)
				out = append(out, b)
			}
		}
		return out
	}
	made := func(name string) [][]byte {
		b, err := os.ReadFile(in(name))
		require.NoError(t, err)
		return [][]byte{b}
	}
	pictures := root + "/golden/data/calibration"
	must(t, "build", ck, "-o", in("artifact"), "--target", "tensorrt")
	must(t, "calibrate", ck, "--calib", pictures, "-o", in("stats.safetensors"))
	must(t, "build", ck, "-o", in("int8"), "--precision", "int8", "--rounding", "nearest", "--calib", in("stats.safetensors"), "--plan-out", in("plan.json"))
	small(t, in("golden"))
	must(t, "verify", in("artifact"), "--golden", in("golden"), "--json="+in("report.json"))
	tensors, err := safetensors.Open(golden34 + "/reference.safetensors")
	require.NoError(t, err)
	defer tensors.Close()
	logits, mask := []safetensors.Named{}, "masks/amos_0004_75_aorta_000.png/box"
	require.NotNil(t, tensors.Get(mask))
	require.NoError(t, safetensors.WriteFile(in("logits.safetensors"), append(logits, safetensors.Named{Name: mask, Tensor: tensors.Get(mask)}), nil))
	side := make([]float32, 3*256*256)
	require.NoError(t, safetensors.WriteFile(in("image.safetensors"), []safetensors.Named{{Name: "image", Tensor: tensor.FromFloat32([]int64{1, 3, 256, 256}, side)}}, nil))
	require.NoError(t, safetensors.WriteFile(in("m.safetensors"), weightsOf(t, ck), nil))
	old, err := mutate.AsLegacy(read("golden/data/syncsam-tiny-34/*.pth")[0], read("frontends/checkpoint/testdata/legacy.pth")[0], map[string]int{"FloatStorage": 4, "LongStorage": 8, "DoubleStorage": 8, "IntStorage": 4})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(in("old.pth"), old, 0o644))
	must(t, "build", in("old.pth"), "-o", in("old"))
	models := append(read("frontends/onnx/testdata/others/*.onnx"), made("artifact/decoder.onnx")...)

	points := []string{"--point", "5,5"}
	prompted := func(args ...string) []string { return append(args, points...) }
	seen := [][]string{{"picture", "FILE#slice=0", "-o", "OUT"}, {"picture", "FILE", "-o", "OUT", "--json"}, prompted("run", in("artifact"), "--image", "FILE#slice=0", "-o", "OUT"), {"picture", "FILE#slice=0", "--mask", "-o", "OUT"}}
	volume := append(slices.Clone(seen), prompted("run", in("artifact"), "--image", "FILE", "--slices", "0:1", "-o", "OUT.nii"), prompted("run", in("artifact"), "--image", "FILE", "--slices", "0:1", "-o", "OUT.dcm"))
	loads := [][]string{{"inspect", "FILE"}, {"inspect", "FILE", "--json"}, {"build", "FILE", "-o", "OUT"}}
	runs := [][]string{{"inspect", "FILE"}, {"bench", "FILE", "--rounds", "1"}, {"plan", "lint", "FILE"}, {"compare", "FILE", "FILE"}, {"exec", "FILE", "--inputs", in("image.safetensors"), "--outputs", "OUT"}}
	judged := [][]string{{"verify", "DIR", "--golden", in("golden"), "--prompts", "box"}, prompted("run", "DIR", "--image", image, "-o", "OUT"), {"bench", "DIR", "--rounds", "1"}, {"plan", "info", "DIR"}, {"plan", "check", "DIR"}, {"plan", "build", "DIR"}}
	message := mutate.Message(&onnxpb.ModelProto{})
	return []kind{
		{name: "zip", good: often(read("golden/data/*/*.pth"), read("frontends/checkpoint/testdata/*.pth")), damage: []mutate.Func{mutate.Zip}, at: "m.pth", commands: loads},
		{name: "legacy", good: often(made("old.pth"), read("frontends/checkpoint/testdata/*legacy*.pth")), damage: []mutate.Func{mutate.Legacy}, at: "m.pth", commands: loads},
		{name: "safetensors", good: often(made("m.safetensors"), read("frontends/checkpoint/testdata/*.safetensors")), damage: []mutate.Func{mutate.Safetensors}, at: "m.safetensors", commands: loads},
		{name: "shards", good: read("frontends/checkpoint/testdata/shards/*.json"), damage: []mutate.Func{mutate.JSON}, at: "model.safetensors.index.json", beside: root + "/frontends/checkpoint/testdata/shards", commands: [][]string{{"inspect", "FILE"}, {"inspect", "DIR"}}},
		{name: "onnx", good: models, damage: []mutate.Func{message}, at: "m.onnx", commands: runs},
		{name: "inputs", good: made("image.safetensors"), damage: []mutate.Func{mutate.Safetensors}, at: "i.safetensors", commands: [][]string{{"exec", in("artifact/encoder.onnx"), "--inputs", "FILE", "--outputs", "OUT"}}},
		{name: "png", good: read("pictures/testdata/*.png", "pictures/testdata/kinds/*.png"), damage: []mutate.Func{mutate.PNG}, at: "p.png", commands: seen},
		{name: "tiff", good: read("pictures/testdata/*.tiff", "pictures/testdata/kinds/*.tif"), damage: []mutate.Func{mutate.TIFF}, at: "p.tif", commands: seen},
		{name: "jpeg", good: read("pictures/testdata/kinds/*.jpg"), damage: []mutate.Func{mutate.JPEG}, at: "p.jpg", commands: seen},
		{name: "other-pictures", good: read("pictures/testdata/*.gif", "pictures/testdata/*.bmp", "pictures/testdata/kinds/*.gif", "pictures/testdata/kinds/*.webp"), damage: []mutate.Func{mutate.Records(64)}, at: "p", commands: seen},
		{name: "nifti", good: read("pictures/testdata/kinds/*.nii*", "pictures/testdata/volumes/*.nii*"), damage: []mutate.Func{mutate.Gzip(mutate.Records(352)), mutate.Gzip(mutate.Bytes)}, at: "v.nii", commands: volume},
		{name: "dicom", good: read("pictures/testdata/dicom/*.dcm", "pictures/testdata/volumes/*.dcm"), damage: []mutate.Func{mutate.DICOM}, at: "d.dcm", commands: volume},
		{name: "npz", good: read("pictures/testdata/volumes/*.npz"), damage: []mutate.Func{mutate.Zip}, at: "mask.(3, 6, 5, 1).npz", commands: [][]string{{"picture", "FILE#slice=0", "--mask", "-o", "OUT"}, {"dataset", "DIR"}}},
		{name: "index", good: read("golden/data/dataset/*.json"), damage: []mutate.Func{mutate.JSON}, at: "label2image_test.json", commands: [][]string{{"dataset", "DIR"}, {"dataset", "FILE"}, {"build", ck, "-o", "OUT", "--precision", "int8", "--rounding", "nearest", "--calib", "FILE"}}},
		{name: "golden", good: made("golden/golden.json"), damage: []mutate.Func{mutate.JSON}, at: "golden.json", beside: in("golden"), commands: [][]string{{"verify", in("artifact"), "--golden", "DIR"}, {"verify", in("artifact"), "--golden", "DIR", "--closed-loop", "--junit", "OUT"}, {"build", ck, "-o", "OUT", "--golden", "DIR"}}},
		{name: "report", good: made("report.json"), damage: []mutate.Func{mutate.JSON}, at: "report.json", commands: [][]string{{"verify", in("artifact"), "--golden", in("golden"), "--prompts", "box", "--baseline", "FILE"}}},
		{name: "logits", good: made("logits.safetensors"), damage: []mutate.Func{mutate.Safetensors}, at: "reference.safetensors", beside: in("golden"), commands: [][]string{{"verify", in("artifact"), "--golden", "DIR", "--prompts", "box", "--html", "OUT"}}},
		{name: "masks", good: read("golden/data/dataset/masks/amos*.png"), damage: []mutate.Func{mutate.PNG}, at: "masks/amos_0004_75_aorta_000.png", beside: in("golden"), commands: [][]string{{"verify", in("artifact"), "--golden", "DIR", "--prompts", "box"}}},
		{name: "manifest", good: made("artifact/manifest.json"), damage: []mutate.Func{mutate.JSON}, at: "manifest.json", beside: in("artifact"), commands: judged},
		{name: "plan-manifest", good: made("artifact/plan/manifest.json"), damage: []mutate.Func{mutate.JSON}, at: "plan/manifest.json", beside: in("artifact"), hashed: true, commands: judged},
		{name: "recipe", good: made("artifact/plan/recipe.json"), damage: []mutate.Func{mutate.JSON}, at: "plan/recipe.json", beside: in("artifact"), hashed: true, commands: [][]string{{"plan", "info", "DIR"}, {"plan", "check", "DIR"}, {"plan", "build", "DIR"}}},
		{name: "model", good: made("artifact/decoder.onnx"), damage: []mutate.Func{message}, at: "decoder.onnx", beside: in("artifact"), hashed: true, commands: judged[:3]},
		{name: "int8-plan", good: made("plan.json"), damage: []mutate.Func{mutate.JSON, mutate.Text}, at: "plan.json", commands: [][]string{{"build", ck, "-o", "OUT", "--precision", "int8", "--plan", "FILE"}, {"build", ck, "-o", "OUT", "--precision", "fp16", "--plan", "FILE"}}},
		{name: "statistics", good: made("stats.safetensors"), damage: []mutate.Func{mutate.Safetensors}, at: "s.safetensors", commands: [][]string{{"build", ck, "-o", "OUT", "--precision", "int8", "--rounding", "nearest", "--calib", "FILE"}, {"build", ck, "-o", "OUT", "--precision", "fp16", "--calib", "FILE"}}},
	}
}

// often gives models as many places as other files together: what is no model ends early.
func often(models, others [][]byte) [][]byte {
	for range max(len(others)/len(models), 1) {
		others = append(others, models...)
	}
	return others
}

// small makes a golden folder of three items.
func small(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(golden34, "golden.json"))
	require.NoError(t, err)
	var g map[string]any
	require.NoError(t, json.Unmarshal(text, &g))
	items := g["items"].([]any)[:3]
	sums, index := map[string]any{}, map[string]any{}
	for _, it := range items {
		item := it.(map[string]any)
		for _, k := range []string{"image", "mask"} {
			name := item[k].(string)
			require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
			b, err := os.ReadFile(filepath.Join("../../golden/data/dataset", name))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o644))
		}
		index[item["mask"].(string)] = item["image"]
		for _, mode := range []string{"box", "point1", "points5"} {
			sum, _ := sums[mode].(float64)
			sums[mode] = sum + item[mode].(map[string]any)["dsc"].(float64)/float64(len(items))
		}
	}
	g["items"], g["dataset"], g["summary"] = items, "index.json", sums
	for name, v := range map[string]any{"golden.json": g, "index.json": index} {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o644))
	}
}
