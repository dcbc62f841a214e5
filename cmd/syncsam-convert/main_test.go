package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/compile"
	"syncsam-convert/engine"
	"syncsam-convert/frontends/checkpoint"
	"syncsam-convert/golden"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/passes"
	"syncsam-convert/pictures"
	"syncsam-convert/safetensors"
)

const (
	golden34 = "../../golden/data/syncsam-tiny-34"
	golden50 = "../../golden/data/syncsam-tiny-50"
	tiny34   = golden34 + "/syncsam-tiny-34.pth"
	tiny50   = golden50 + "/syncsam-tiny-50.pth"
	picture  = "../../golden/data/dataset/images/s0619_32.png"
)

type result struct {
	code     int
	out, err string
}

func command(args ...string) result {
	var out, err bytes.Buffer
	code := run(context.Background(), args, &out, &err)
	return result{code, out.String(), err.String()}
}

// must runs a command that has to succeed silently.
func must(t *testing.T, args ...string) string {
	t.Helper()
	r := command(args...)
	require.Equal(t, 0, r.code, r.err)
	require.Empty(t, r.err, "progress goes to a terminal only")
	return r.out
}

// refused runs a command that has to fail with status 2 and one line.
func refused(t *testing.T, want string, args ...string) {
	t.Helper()
	r := command(args...)
	require.Equal(t, 2, r.code, r.err)
	require.Regexp(t, `^syncsam-convert: [^\n]+\n$`, r.err)
	require.Contains(t, r.err, want)
}

func built(t *testing.T, ck string, flags ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "artifact")
	must(t, append([]string{"build", ck, "-o", dir}, flags...)...)
	return dir
}

func engines() []string {
	if _, err := engine.FindLibrary(""); err == nil {
		return []string{engine.Embedded, engine.ONNXRuntime}
	}
	return []string{engine.Embedded}
}

// The whole path: build, verify in every engine, every item as PyTorch has it.
func TestGolden(t *testing.T) {
	for _, c := range []struct{ checkpoint, golden, family string }{{tiny34, golden34, "syncsam-34"}, {tiny50, golden50, "syncsam-50"}} {
		dir := built(t, c.checkpoint)
		for _, e := range engines() {
			t.Run(c.family+" "+e, func(t *testing.T) {
				page, report, junit := t.TempDir(), filepath.Join(t.TempDir(), "r.json"), filepath.Join(t.TempDir(), "r.xml")
				flags := []string{"verify", dir, "--golden", c.golden, "--engine", e, "--json", report, "--junit", junit, "--html", page}
				if e == "onnxruntime" { // the embedded engine's closed loop is in the parity tests
					flags = append(flags, "--closed-loop")
				}
				out := must(t, flags...)
				require.Equal(t, 3, strings.Count(out, "117 of 117 items ok"), out)
				var r struct {
					Pass    bool
					Family  string
					Summary map[string]struct {
						Items      int
						Points     float64  `json:"delta_points"`
						Worst      float64  `json:"worst_item_points"`
						SameClicks *float64 `json:"same_clicks"`
					}
				}
				text, err := os.ReadFile(report)
				require.NoError(t, err)
				require.NoError(t, json.Unmarshal(text, &r))
				require.True(t, r.Pass)
				require.Equal(t, c.family, r.Family)
				require.Len(t, r.Summary, 3)
				for mode, m := range r.Summary {
					require.Equal(t, 117, m.Items, mode)
					require.LessOrEqual(t, m.Worst, golden.DefaultTolerance, mode)
					if m.SameClicks != nil {
						require.GreaterOrEqual(t, *m.SameClicks, 0.97, mode)
					}
				}
				text, err = os.ReadFile(junit)
				require.NoError(t, err)
				var suites struct {
					Tests    int `xml:"tests,attr"`
					Failures int `xml:"failures,attr"`
				}
				require.NoError(t, xml.Unmarshal(text, &suites))
				require.Equal(t, 3*118, suites.Tests)
				require.Zero(t, suites.Failures)
				text, err = os.ReadFile(filepath.Join(page, "index.html"))
				require.NoError(t, err)
				require.Contains(t, string(text), "<strong>meets its golden results</strong>")
				require.Equal(t, 12, strings.Count(string(text), "<image "))
			})
		}
	}
}

// A golden test that cannot fail proves nothing: one corrupted weight tensor must fail it, with status 1, leaving nothing.
func TestGoldenFailsOnACorruptedWeight(t *testing.T) {
	path := corrupted(t, "mask_decoder.hf_mlp.layers.2.bias", func(x []float32) {
		for i := range x {
			x[i] += 0.5
		}
	})
	dir := filepath.Join(t.TempDir(), "artifact")
	r := command("build", path, "-o", dir, "--golden", golden34)
	require.Equal(t, 1, r.code, r.err)
	require.Contains(t, r.err, "does not meet its golden results")
	require.NoDirExists(t, dir)
	entries, err := os.ReadDir(filepath.Dir(dir))
	require.NoError(t, err)
	require.Empty(t, entries, "nothing is left behind")
}

// corrupted writes the tiny checkpoint as safetensors with one tensor changed.
func corrupted(t *testing.T, name string, change func([]float32)) string {
	t.Helper()
	ck, err := checkpoint.Open(tiny34)
	require.NoError(t, err)
	defer ck.Close()
	var all []safetensors.Named
	found := false
	for _, n := range ck.Names() {
		x := ck.Get(n)
		if n == name {
			found = true
			v := append([]float32{}, x.Float32s()...)
			change(v)
			x = tensor.FromFloat32(x.Dims(), v)
		}
		all = append(all, safetensors.Named{Name: n, Tensor: x})
	}
	require.True(t, found)
	path := filepath.Join(t.TempDir(), "changed.safetensors")
	require.NoError(t, safetensors.WriteFile(path, all, nil))
	return path
}

// --max-dsc-drop judges the summary: a small change passes under it and fails without it.
func TestMaxDrop(t *testing.T) {
	path := corrupted(t, "mask_decoder.hf_mlp.layers.2.bias", func(x []float32) { x[0] += 0.01 })
	dir := filepath.Join(t.TempDir(), "artifact")
	require.Equal(t, 1, command("build", path, "-o", dir, "--golden", golden34).code)
	r := command("build", path, "-o", dir, "--golden", golden34, "--max-dsc-drop", "5")
	require.Equal(t, 0, r.code, r.err)
	require.Contains(t, r.err, "note: ../../golden/data/syncsam-tiny-34: the golden set is of another checkpoint file")
	m, err := artifact.Read(dir)
	require.NoError(t, err)
	require.Contains(t, string(m.Verification), `"pass": true`)
}

func TestBuildIsReproducible(t *testing.T) {
	for _, flags := range [][]string{nil, {"--external-data", "--opset", "20"}} {
		a, b := built(t, tiny50, flags...), built(t, tiny50, flags...)
		entries, err := os.ReadDir(a)
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(entries), 3)
		for _, e := range entries {
			x, err := os.ReadFile(filepath.Join(a, e.Name()))
			require.NoError(t, err)
			y, err := os.ReadFile(filepath.Join(b, e.Name()))
			require.NoError(t, err)
			require.True(t, bytes.Equal(x, y), e.Name())
		}
	}
}

func TestManifest(t *testing.T) {
	dir := built(t, tiny34)
	m, err := artifact.Read(dir)
	require.NoError(t, err)
	require.NoError(t, m.Verify(dir))
	require.Equal(t, "syncsam-34", m.Family)
	require.Equal(t, "fp32", m.Precision)
	require.Equal(t, "774a045eaa538328e869c4c5b2766d35e5c2bc95814ed92ba6b4b333e250c8e1", m.Source.SHA256)
	require.Equal(t, 559, m.Source.Tensors)
	require.Len(t, m.Files, 2)
	for _, p := range m.Passes {
		if p.Name == "fold-batchnorm" {
			require.Equal(t, 36, p.Changed, "the convolutions of a ResNet-34")
		}
	}
}

func TestForce(t *testing.T) {
	dir := built(t, tiny50)
	refused(t, "exists; --force replaces it", "build", tiny50, "-o", dir)
	must(t, "build", tiny50, "-o", dir, "--force")
	other := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(other, "precious"), nil, 0o600))
	refused(t, "is not an artifact", "build", tiny50, "-o", other, "--force")
	require.FileExists(t, filepath.Join(other, "precious"))
	file := filepath.Join(other, "precious")
	refused(t, "is not a folder", "build", tiny50, "-o", file, "--force")
	// a failing build leaves the old artifact as it was
	before, err := os.ReadFile(filepath.Join(dir, artifact.ManifestName))
	require.NoError(t, err)
	refused(t, "", "build", picture, "-o", dir, "--force")
	after, err := os.ReadFile(filepath.Join(dir, artifact.ManifestName))
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestBadBuilds(t *testing.T) {
	tmp := t.TempDir()
	whole, err := os.ReadFile(tiny50)
	require.NoError(t, err)
	truncated := filepath.Join(tmp, "truncated.pth")
	require.NoError(t, os.WriteFile(truncated, whole[:len(whole)/3], 0o600))
	nan := corrupted(t, "resnet.stage0.0.weight", func(x []float32) { x[3] = float32(math.NaN()) })
	other := filepath.Join(tmp, "other.safetensors")
	require.NoError(t, safetensors.WriteFile(other, []safetensors.Named{{Name: "fc.weight", Tensor: tensor.FromFloat32([]int64{2}, []float32{1, 2})}}, nil))
	out := filepath.Join(tmp, "sub", "artifact")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"no such file", []string{"build", filepath.Join(tmp, "none.pth"), "-o", out}},
		{"not a checkpoint", []string{"build", picture, "-o", out}},
		{"truncated.pth: zip:", []string{"build", truncated, "-o", out}},
		{"NaN or infinite weights in resnet.stage0.0.weight (1 of", []string{"build", nan, "-o", out}},
		{"unknown model family", []string{"build", other, "-o", out}},
		{"unknown model family: have \"unet\"", []string{"build", tiny50, "-o", out, "--family", "unet"}},
		{"-o: missing", []string{"build", tiny50}},
		{"want one CHECKPOINT", []string{"build"}},
		{"--opset: have 9, want 17 to", []string{"build", tiny50, "-o", out, "--opset", "9"}},
		{"--target: have \"coreml\"", []string{"build", tiny50, "-o", out, "--target", "coreml"}},
		{"--precision: have \"int4\"", []string{"build", tiny50, "-o", out, "--precision", "int4"}},
		{"unknown flag: --nonsense", []string{"build", tiny50, "-o", out, "--nonsense"}},
		{"--debug: have \"cse/on\"", []string{"build", tiny50, "-o", out, "-d", "cse/on"}},
		{"needs --golden", []string{"build", tiny50, "-o", out, "--max-dsc-drop", "1"}},
		{"golden.json", []string{"build", tiny50, "-o", out, "--golden", tmp}},
	} {
		t.Run(c.want, func(t *testing.T) {
			refused(t, c.want, c.args...)
			require.NoDirExists(t, out)
			left, err := filepath.Glob(filepath.Join(tmp, "sub", "*"))
			require.NoError(t, err)
			hidden, err := filepath.Glob(filepath.Join(tmp, "sub", ".*"))
			require.NoError(t, err)
			require.Empty(t, append(left, hidden...), "nothing is left behind")
		})
	}
	must(t, "build", nan, "-o", out, "--allow-nonfinite")
}

// Missing, unexpected and mis-shaped keys are one error that lists them all.
func TestKeysThatDoNotFit(t *testing.T) {
	ck, err := checkpoint.Open(tiny34)
	require.NoError(t, err)
	defer ck.Close()
	var all []safetensors.Named
	for _, n := range ck.Names() {
		x := ck.Get(n)
		switch n {
		case "image_encoder.sam_img_encoder.neck.0.weight":
			continue
		case "mask_decoder.hf_mlp.layers.1.bias":
			x = tensor.FromFloat32([]int64{3}, []float32{1, 2, 3})
		}
		all = append(all, safetensors.Named{Name: n, Tensor: x})
	}
	all = append(all, safetensors.Named{Name: "surprise.weight", Tensor: tensor.Scalar(1)})
	path := filepath.Join(t.TempDir(), "keys.safetensors")
	require.NoError(t, safetensors.WriteFile(path, all, nil))
	for _, want := range []string{"neck.0.weight", "hf_mlp.layers.1.bias", "surprise.weight", "3 keys do not fit"} {
		refused(t, want, "build", path, "-o", filepath.Join(t.TempDir(), "a"))
		refused(t, want, "inspect", path)
	}
}

func TestBadGolden(t *testing.T) {
	dir := built(t, tiny34)
	data := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(data, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	index := func(text string) { write("label2image_test.json", text) }
	img, err := os.ReadFile(picture)
	require.NoError(t, err)
	write("i.png", string(img))
	require.NoError(t, pictures.WriteMask(filepath.Join(data, "small.png"), pictures.NewMask(3, 3)))
	require.NoError(t, pictures.WriteMask(filepath.Join(data, "empty.png"), pictures.NewMask(225, 155)))
	paper := []string{"verify", dir, "--golden", "paper:2/SyncSAM-SAMed-34", "--data", data, "--prompts", "box"}
	refused(t, "have no label2image_test.json", paper...)
	for text, want := range map[string]string{
		`{"none.png": "i.png"}`:     "none.png",
		`{"small.png": "i.png"}`:    "have 3 x 3 pixels, want its image's 225 x 155",
		`{"small.png": "gone.png"}`: "gone.png",
		`{"../x.png": "i.png"}`:     "leaves the data set's folder",
		`{"small.png": 3}`:          "want an image's name",
		`["small.png"]`:             "want an object",
		`{"small.png": "i.png"`:     "have 3 x 3",
		`{"empty.png": "i.png"`:     "unexpected EOF",
		`{"empty.png": "i.png"}`:    "no mask that is not empty",
		`{}`:                        "no mask that is not empty",
	} {
		index(text)
		refused(t, want, paper...)
	}
	refused(t, "paper:9/x: have table", "verify", dir, "--golden", "paper:9/x", "--data", data)
	refused(t, "SAM-Med2D/STS, SAM/COSAS24", "verify", dir, "--golden", "paper:4/SAM", "--data", data)
	refused(t, "--data: missing", "verify", dir, "--golden", "paper:5/12")
	refused(t, "--golden: missing", "verify", dir)
	refused(t, "--prompts: have \"scribble\"", "verify", dir, "--golden", golden34, "--prompts", "scribble")
	refused(t, "not an artifact", "verify", data, "--golden", golden34)
	refused(t, "engine: have \"tvm\"", "verify", dir, "--golden", golden34, "--engine", "tvm")
	refused(t, "not a golden folder", "verify", dir, "--golden", tiny34)
}

// A user's own data set is compared with the paper's means; the phantoms do not reach them.
func TestPaper(t *testing.T) {
	dir := built(t, tiny34)
	r := command("verify", dir, "--golden", "paper:2/SyncSAM-SAMed-34", "--data", "../../golden/data/dataset", "--prompts", "box")
	require.Equal(t, 1, r.code, r.err)
	require.Contains(t, r.out, "box      DSC 0.8332, want 0.8700 (-3.676 points)")
	must(t, "verify", dir, "--golden", "paper:table2/syncsam-samed-34", "--data", "../../golden/data/dataset", "--prompts", "box", "--tolerance", "4")
}

// An artifact whose files were changed after the build is not judged.
func TestTamperedArtifact(t *testing.T) {
	dir := built(t, tiny34)
	path := filepath.Join(dir, "decoder.onnx")
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	data[len(data)-1] ^= 1
	require.NoError(t, os.WriteFile(path, data, 0o600))
	refused(t, "as in the manifest", "verify", dir, "--golden", golden34)
}

func TestInspect(t *testing.T) {
	var x compile.Inspection
	require.NoError(t, json.Unmarshal([]byte(must(t, "inspect", tiny50, "--json")), &x))
	require.Equal(t, "syncsam-50", x.Family)
	require.Equal(t, 661, x.Tensors)
	require.EqualValues(t, 3341032, x.Parameters)
	sum256, _, err := artifact.Hash(tiny50)
	require.NoError(t, err)
	require.Equal(t, sum256, x.SHA256)
	require.Empty(t, x.Calibrated)
	require.NoError(t, json.Unmarshal([]byte(must(t, "inspect", tiny50, "--calib", calibration, "--json")), &x))
	require.Len(t, x.Calibrated, 64)
	sum := int64(0)
	for _, m := range x.Modules {
		sum += m.Parameters
	}
	require.Equal(t, x.Parameters, sum)
	require.Contains(t, must(t, "inspect", tiny50), "vit_dim              96")
}

func TestExec(t *testing.T) {
	dir := built(t, tiny34)
	in, out := filepath.Join(t.TempDir(), "in.safetensors"), filepath.Join(t.TempDir(), "out.safetensors")
	ref, err := safetensors.Open(golden34 + "/reference.safetensors")
	require.NoError(t, err)
	defer ref.Close()
	image := "images/phantom_03.png/"
	require.NoError(t, safetensors.WriteFile(in, []safetensors.Named{{Name: "image", Tensor: ref.Get(image + "input")}}, nil))
	for _, e := range engines() {
		must(t, "exec", filepath.Join(dir, "encoder.onnx"), "--inputs", in, "--outputs", out, "--engine", e)
		got, err := safetensors.Open(out)
		require.NoError(t, err)
		for _, name := range []string{"image_embeddings", "multi_scale_features"} {
			d, err := tensor.Compare(got.Get(name), ref.Get(image+name))
			require.NoError(t, err)
			require.Less(t, d.Relative(), 5e-5, "%s %s", e, name)
		}
		require.NoError(t, got.Close())
	}
	refused(t, `input "image_embeddings" is missing`, "exec", filepath.Join(dir, "decoder.onnx"), "--inputs", in, "--outputs", out)
	refused(t, "", "exec", tiny34, "--inputs", in, "--outputs", out)
	refused(t, "both are needed", "exec", filepath.Join(dir, "encoder.onnx"))
}

func TestRun(t *testing.T) {
	dir, tmp := built(t, tiny34), t.TempDir()
	out := filepath.Join(tmp, "m.png")
	must(t, "run", dir, "--image", picture, "--box", "30,40,120,100", "--point", "60,70", "--point", "5,5,0", "-o", out)
	m, err := pictures.ReadMask(out)
	require.NoError(t, err)
	require.Equal(t, [2]int{225, 155}, [2]int{m.W, m.H})
	require.FileExists(t, filepath.Join(tmp, "m.overlay.png"))
	// one pixel, and a line of pixels
	for _, size := range []image.Point{{1, 1}, {3000, 1}} {
		path := filepath.Join(tmp, "tiny.png")
		f, err := os.Create(path)
		require.NoError(t, err)
		require.NoError(t, png.Encode(f, image.NewGray16(image.Rectangle{Max: size})))
		require.NoError(t, f.Close())
		must(t, "run", dir, "--image", path, "--point", "0,0", "-o", out)
		m, err := pictures.ReadMask(out)
		require.NoError(t, err)
		require.Equal(t, size, image.Pt(m.W, m.H))
	}
	base := []string{"run", dir, "--image", picture, "-o", out}
	for want, flags := range map[string][]string{
		"one is needed":            nil,
		"want 4 numbers":           {"--box", "1,2,3"},
		"want x0 < x1":             {"--box", "9,9,3,3"},
		"want 0 or 1":              {"--point", "3,3,2"},
		"want numbers":             {"--point", "a,b"},
		"is outside its 225 x 155": {"--point", "500,3"},
		"both are needed":          {"--image", "", "--point", "1,1"},
		"none.png":                 {"--image", "none.png", "--point", "1,1"},
		"not a readable picture":   {"--image", tiny50, "--point", "1,1"},
	} {
		refused(t, want, append(base[:len(base):len(base)], flags...)...)
	}
}

func TestDebug(t *testing.T) {
	dump := t.TempDir()
	dir := filepath.Join(t.TempDir(), "a")
	r := command("build", tiny50, "-o", dir, "-d", "check", "-d", "cse/off", "--dump", dump)
	require.Equal(t, 0, r.code, r.err)
	require.Contains(t, r.err, "image_embeddings differs by")
	dumped, err := filepath.Glob(filepath.Join(dump, "*_fold-batchnorm.ir"))
	require.NoError(t, err)
	require.Len(t, dumped, 1)
	text, err := os.ReadFile(dumped[0])
	require.NoError(t, err)
	require.NotContains(t, string(text), "cse")
	dumped, err = filepath.Glob(filepath.Join(dump, "*_cse.ir"))
	require.NoError(t, err)
	require.Empty(t, dumped)
	m, err := artifact.Read(dir)
	require.NoError(t, err)
	require.Len(t, m.Passes, len(passes.Pipeline(passes.Goal{}))-1)
	must(t, "build", tiny50, "-o", filepath.Join(t.TempDir(), "b"), "--stop-after", "1")

	for why, want := range map[string]string{
		"window-pad":   "attention of 16 x 16 tokens in windows of 16",
		"project-add":  `patch_embed.proj" left: the convolution is not 1 x 1`,
		"fold-addends": "left: the sum has other uses",
	} {
		r := command("build", tiny50, "-o", filepath.Join(t.TempDir(), "w"), "--why", why)
		require.Equal(t, 0, r.code, r.err)
		require.Contains(t, r.err, want)
		require.NotContains(t, r.err, "changed", "timings were not asked for")
	}
	refused(t, `--why: have "gelu", want one of window-pad`, "build", tiny50, "-o", filepath.Join(t.TempDir(), "w"), "--why", "gelu")
}

func TestUsage(t *testing.T) {
	require.Contains(t, must(t, "--help"), "build")
	require.Contains(t, must(t, "build", "--help"), "--allow-nonfinite")
	require.Contains(t, must(t, "--version"), "syncsam-convert")
	refused(t, "no command")
	refused(t, `unknown command "bild" for "syncsam-convert"; did you mean build`, "bild")
	refused(t, "unknown flag: --goldn; did you mean --golden", "verify", "a", "--goldn", "g")
	r := command("build", tiny50, "-o", filepath.Join(t.TempDir(), "a"), "--progress")
	require.Equal(t, 0, r.code)
	require.NotEmpty(t, r.err, "progress on request")
}

// An interrupted build says so and leaves nothing.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out, errs bytes.Buffer
	dir := filepath.Join(t.TempDir(), "a")
	require.Equal(t, 2, run(ctx, []string{"build", tiny34, "-o", dir}, &out, &errs))
	require.Equal(t, "syncsam-convert: interrupted\n", errs.String())
	require.NoDirExists(t, dir)
}

// Leaving out any one pass gives the same model.
func TestEachPassOff(t *testing.T) {
	want := encoded(t, built(t, tiny50), "go")
	for _, p := range passes.Pipeline(passes.Goal{}) {
		dir := filepath.Join(t.TempDir(), "a")
		must(t, "build", tiny50, "-o", dir, "-d", p.Name+"/off")
		for name, y := range encoded(t, dir, "go") {
			d, err := tensor.Compare(y, want[name])
			require.NoError(t, err)
			require.LessOrEqual(t, d.Relative(), 2e-5, "without %s: %s", p.Name, name)
		}
	}
}
