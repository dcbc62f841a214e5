package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"syncsam-convert/artifact"
	"syncsam-convert/frontends/checkpoint"
	"syncsam-convert/golden"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/safetensors"
)

// evil is a name that colours a terminal, clears it, turns text around, forges lines, and is no UTF-8; legal is as much of it as a string of JSON, protobuf
// or a path may hold.
const (
	evil  = "\x1b[31m\x9b2J\r\nsyncsam-convert: forged\u202e\u2066\u200b\x07\x7f\u0085\xff<script>&"
	legal = "\x1b[31m\u009b2J\r\nsyncsam-convert: forged\u202e\u2066\u200b\x07\x7f\u0085<script>&"
)

var long = strings.Repeat("long", 1<<14)

// harmless holds what a command printed to what a terminal may see.
func harmless(t *testing.T, what string, r result) {
	t.Helper()
	for _, text := range []string{r.out, r.err} {
		require.True(t, utf8.ValidString(text), "%s: %q", what, text)
		for _, c := range text {
			require.True(t, strconv.IsPrint(c) || c == '\n' || c == '\t', "%s: %q in %.3000q", what, c, text)
		}
		for line := range strings.Lines(text) {
			require.False(t, r.code >= 0 && strings.HasPrefix(line, "syncsam-convert: forged"), what)
		}
	}
	require.LessOrEqual(t, r.code, 2, what)
	for line := range strings.Lines(r.err) {
		require.LessOrEqual(t, utf8.RuneCountInString(line), 2000, what)
	}
	require.NotContains(t, r.err, "goroutine ", what)
	if r.code == 2 {
		require.Equal(t, 1, strings.Count(r.err, "\n"), "%s: %s", what, r.err)
	}
}

// evilModel is a model whose nodes, values and operators have evil names.
func evilModel(t *testing.T, from, to, name string) {
	t.Helper()
	m, err := onnxpb.Open(from)
	require.NoError(t, err)
	defer m.Close()
	g := m.Model.GetGraph()
	for i, n := range g.Node {
		n.Name = proto.String(name + strconv.Itoa(i))
	}
	for _, o := range g.Output {
		for _, n := range g.Node {
			for k := range n.Output {
				if n.Output[k] == o.GetName() {
					n.Output[k] += name
				}
			}
			for k := range n.Input {
				if n.Input[k] == o.GetName() {
					n.Input[k] += name
				}
			}
		}
		o.Name = proto.String(o.GetName() + name)
	}
	w, err := os.Create(to)
	require.NoError(t, err)
	require.NoError(t, onnxpb.Write(w, m.Model, m.Initializers, nil, nil))
	require.NoError(t, w.Close())
}

// weightsOf are a checkpoint's tensors, for a file of them; they can be read while the test runs.
func weightsOf(t *testing.T, path string) (named []safetensors.Named) {
	ck, err := checkpoint.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { ck.Close() })
	for _, n := range ck.Names() {
		named = append(named, safetensors.Named{Name: n, Tensor: ck.Get(n)})
	}
	return named
}

// Names in checkpoints, models, manifests, golden files, data sets and paths reach nobody's terminal, page or chart as they are.
func TestWhatFilesSayIsHarmless(t *testing.T) {
	x := newInbox(t)
	at := func(name string) string { return filepath.Join(x.dir, name) }
	named := weightsOf(t, tiny34)
	weights := func(file string, more ...string) string {
		all := named
		for _, n := range more {
			all = append(all, safetensors.Named{Name: n, Tensor: tensor.FromFloat32([]int64{1}, []float32{0})})
		}
		require.NoError(t, safetensors.WriteFile(at(file), all, nil))
		return at(file)
	}
	evilKeys, evilDir := weights("keys.safetensors", legal, "image_encoder."+legal+long, "other."+legal), at(strings.ReplaceAll(evil, "/", ""))
	evilPath := weights(filepath.Base(evilDir) + ".safetensors")
	onlyEvil := at("only.safetensors")
	require.NoError(t, safetensors.WriteFile(onlyEvil, []safetensors.Named{{Name: legal, Tensor: tensor.Scalar(1)}, {Name: long, Tensor: tensor.Scalar(1)}}, nil))

	model := at("evil.onnx")
	evilModel(t, filepath.Join(built(t, tiny34), "encoder.onnx"), model, legal)
	odd := at("odd.onnx")
	func() {
		m, err := onnxpb.Open(model)
		require.NoError(t, err)
		defer m.Close()
		m.Model.Graph.Node[3].OpType, m.Model.Graph.Node[4].Domain = proto.String(legal+long), proto.String(legal)
		w, err := os.Create(odd)
		require.NoError(t, err)
		require.NoError(t, onnxpb.Write(w, m.Model, m.Initializers, nil, nil))
		require.NoError(t, w.Close())
	}()

	edit := func(from, to string, change func(m map[string]any)) {
		text, err := os.ReadFile(from)
		require.NoError(t, err)
		var m map[string]any
		require.NoError(t, json.Unmarshal(text, &m))
		change(m)
		text, err = json.Marshal(m)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
		require.NoError(t, os.WriteFile(to, text, 0o644))
	}
	manifest := func(dir string, change func(m map[string]any)) string {
		require.NoError(t, os.CopyFS(at(dir), os.DirFS(built(t, tiny34))))
		edit(filepath.Join(x.artifact, artifact.ManifestName), filepath.Join(at(dir), artifact.ManifestName), change)
		return at(dir)
	}
	family := manifest("family", func(m map[string]any) { m["family"], m["precision"] = legal, legal })
	files := manifest("files", func(m map[string]any) { m["files"].([]any)[0].(map[string]any)["name"] = legal + long })
	steps := manifest("steps", func(m map[string]any) { m["preprocess"].(map[string]any)["resize"] = legal + long })
	results := func(dir string, change func(m map[string]any)) string {
		edit(filepath.Join(golden34, golden.FileName), filepath.Join(at(dir), golden.FileName), change)
		return at(dir)
	}
	reference := results("reference", func(m map[string]any) { m["reference"] = legal + long })
	mask := results("mask", func(m map[string]any) { m["items"].([]any)[0].(map[string]any)["mask"] = legal + long })
	index := results("index", func(m map[string]any) { m["dataset"] = legal })
	copied(t, "../../golden/data/dataset/"+filepath.Base(index1(t)), at("dataset/"+filepath.Base(index1(t))))

	evilPicture := evilDir + ".png"
	copied(t, picture, evilPicture)
	folder := evilDir + "-set"
	for _, kind := range []string{"images", "masks"} {
		copied(t, picture, filepath.Join(folder, kind, filepath.Base(evilPicture)))
	}
	truncated := evilDir + ".dcm"
	require.NoError(t, os.WriteFile(truncated, append(make([]byte, 128), "DICM\x02\x00\x10\x00UI\xff\xff"+evil+evil...), 0o644))

	out, n := at("out"), 0
	for _, args := range [][]string{
		{"inspect", evilKeys}, {"inspect", evilPath}, {"inspect", evilPath, "--json"}, {"inspect", onlyEvil}, {"inspect", onlyEvil, "--json"}, {"inspect", evilDir},
		{"build", evilKeys, "-o", out}, {"build", evilPath, "-o", evilDir + "-out"}, {"build", onlyEvil, "-o", out}, {"build", evilPath, "-o", out, "--force", "--json"},
		{"build", evilPath, "-o", out, "--family", evil}, {"build", evilPath, "-o", out, "--force", "--golden", evilDir}, {"build", evilPath, "-o", evilPath},
		{"build", evilPath, "-o", out, "--force", "-d", evil}, {"build", evilPath, "-o", out, "--" + evil}, {evil}, {"build", evilPath, "-o", out, "--force", "--weights", evil},
		{"calibrate", evilPath, "--calib", folder, "-o", evilDir + ".stats"}, {"calibrate", onlyEvil, "--calib", evilPicture, "-o", out + "2"},
		{"exec", model, "--inputs", onlyEvil, "--outputs", out + "3"}, {"exec", odd, "--inputs", onlyEvil, "--outputs", out + "3"}, {"exec", evilDir, "--inputs", onlyEvil, "--outputs", out + "3"},
		{"bench", model, "--rounds", "1"}, {"bench", odd, "--rounds", "1"}, {"bench", model, "--rounds", "1", "--json"}, {"bench", evilDir},
		{"plan", "lint", model}, {"plan", "lint", odd}, {"plan", "lint", odd, "--json"}, {"lint", model}, {"lint", odd}, {"lint", odd, "--json"}, {"lint", evilDir}, {"plan", "info", evilDir}, {"plan", "check", family}, {"plan", "build", files},
		{"compare", model, odd}, {"compare", x.artifact, onlyEvil}, {"compare", x.artifact, evilPath, "--svg", evilDir + ".svg"}, {"compare", family, model, "--json"}, {"compare", evilDir, evilDir},
		{"picture", evilPicture, "-o", evilDir + "2.png"}, {"picture", evilPicture, "-o", evilDir + "3.png", "--json"}, {"picture", truncated, "-o", out + "4"}, {"picture", evilPicture + "#slice=9", "-o", out + "5"},
		{"run", family, "--image", evilPicture, "--box", "40,40,90,90", "-o", evilDir + "4.png"}, {"run", files, "--image", evilPicture, "--box", "40,40,90,90", "-o", out + "6"},
		{"run", steps, "--image", evilPicture, "--box", evil, "-o", out + "6"}, {"run", steps, "--image", evilPicture, "--box", "40,40,90,90", "-o", out + "6"},
		{"verify", family, "--golden", reference, "--prompts", "box", "--html", evilDir + "-page", "--json", evilDir + ".json", "--junit", evilDir + ".xml"},
		{"verify", family, "--golden", reference, "--prompts", "box", "--json", "-", "--tolerance", "0"}, {"verify", family, family, "--golden", reference, "--prompts", "box"},
		{"verify", files, "--golden", reference}, {"verify", x.artifact, "--golden", mask}, {"verify", x.artifact, "--golden", index}, {"verify", evilDir, "--golden", evilDir},
		{"verify", family, "--golden", "paper:2/" + evil, "--data", folder},
		{"dataset", folder}, {"dataset", evilDir}, {"dataset", folder, "--layout", evil}, {"dataset", x.data},
	} {
		what := strings.Join(args, " ")
		harmless(t, what[:min(len(what), 300)], command(args...))
		n++
	}
	require.NoError(t, filepath.WalkDir(x.dir, func(path string, d os.DirEntry, err error) error { // what people look at in files
		if err == nil && !d.IsDir() {
			switch filepath.Ext(path) {
			case ".svg", ".html", ".xml", ".stats":
				text, err := os.ReadFile(path)
				require.NoError(t, err)
				if filepath.Ext(path) != ".stats" {
					harmless(t, path, result{code: -1, out: string(text)}) // a line break is a space there
					n++
				}
			}
		}
		return err
	}))
	require.Greater(t, n, 55)
}

func index1(t *testing.T) string {
	list, err := filepath.Glob("../../golden/data/dataset/*.json")
	require.NoError(t, err)
	require.Len(t, list, 1)
	return list[0]
}
