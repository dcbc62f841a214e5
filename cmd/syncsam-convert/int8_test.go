package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/engine"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/pictures"
	"syncsam-convert/safetensors"
	"syncsam-convert/segment"
)

const calibration = "../../golden/data/calibration"

// encoded runs an artifact's encoder on the test picture.
func encoded(t *testing.T, dir, engineName string) map[string]*tensor.Tensor {
	t.Helper()
	man, err := artifact.Read(dir)
	require.NoError(t, err)
	m, err := pictures.Read(picture)
	require.NoError(t, err)
	x, err := segment.EncoderInputs(m, man)
	require.NoError(t, err)
	s, err := engine.Load(engineName, filepath.Join(dir, man.Encoder()), engine.Options{})
	require.NoError(t, err)
	defer s.Close()
	out, err := s.Run(t.Context(), x)
	require.NoError(t, err)
	return out
}

// An int8 build has the whole branch in INT8, stays close to float, is smaller, reproducible, and both engines agree on it.
func TestInt8(t *testing.T) {
	float, a := built(t, tiny34), built(t, tiny34, "--precision", "int8", "--calib", calibration)
	b := built(t, tiny34, "--precision", "int8", "--calib", calibration)
	for _, name := range []string{"encoder.onnx", "decoder.onnx", artifact.ManifestName} {
		x, err := os.ReadFile(filepath.Join(a, name))
		require.NoError(t, err)
		y, err := os.ReadFile(filepath.Join(b, name))
		require.NoError(t, err)
		require.Equal(t, x, y, name)
	}
	man, err := artifact.Read(a)
	require.NoError(t, err)
	require.Equal(t, "int8", man.Precision)
	require.NotNil(t, man.Quantization)
	require.Equal(t, "mse", man.Quantization.Method)
	require.EqualValues(t, 8, man.Quantization.Images)
	require.Empty(t, man.Quantization.KeptFloat)
	require.Equal(t, 1.0, man.Quantization.Int8Share)
	require.Len(t, man.Quantization.QuantizedNodes, 52)
	floats, err := artifact.Read(float)
	require.NoError(t, err)
	require.Equal(t, floats.Files[1].Bytes, man.Files[1].Bytes, "the decoder is the float one but for its metadata")
	require.Less(t, man.Files[0].Bytes, floats.Files[0].Bytes*7/10)
	want := encoded(t, float, "go")
	results := map[string]map[string]*tensor.Tensor{}
	for _, e := range engines() {
		results[e] = encoded(t, a, e)
		for name, x := range results[e] {
			d, err := tensor.Compare(x, want[name])
			require.NoError(t, err)
			t.Logf("%s %s: %.1f dB", e, name, d.SNR)
			require.Greater(t, d.SNR, 25.0, "%s %s", e, name)
		}
	}
	if ort := results["onnxruntime"]; ort != nil {
		for name, x := range ort { // the same integers, unless float32 rounding in the ViT moves one of its values over the edge of a step
			d, err := tensor.Compare(results["go"][name], x)
			require.NoError(t, err)
			t.Logf("go against onnxruntime, %s: %.1f dB", name, d.SNR)
			require.Greater(t, d.SNR, 50.0, name)
		}
	}
}

// Calibrating in shards and replaying the written plan both give the artifact of one go.
func TestShardsAndPlans(t *testing.T) {
	tmp := t.TempDir()
	plan := filepath.Join(tmp, "plan.txt")
	whole := built(t, tiny50, "--precision", "int8", "--calib", calibration, "--rounding", "nearest", "--plan-out", plan)
	one, two := filepath.Join(tmp, "1.safetensors"), filepath.Join(tmp, "2.safetensors")
	must(t, "calibrate", tiny50, "--calib", calibration, "--shard", "1/2", "-o", one)
	must(t, "calibrate", tiny50, "--calib", calibration, "--shard", "2/2", "-o", two)
	for _, dir := range []string{
		built(t, tiny50, "--precision", "int8", "--calib", two+","+one),
		built(t, tiny50, "--precision", "int8", "--plan", plan),
	} {
		x, err := os.ReadFile(filepath.Join(whole, "encoder.onnx"))
		require.NoError(t, err)
		y, err := os.ReadFile(filepath.Join(dir, "encoder.onnx"))
		require.NoError(t, err)
		require.Equal(t, x, y)
	}
	out := filepath.Join(tmp, "a")
	refused(t, "cannot be merged", "build", tiny34, "-o", out, "--precision", "int8", "--calib", one)
	refused(t, "needs one of --calib", "build", tiny34, "-o", out, "--precision", "int8")
	refused(t, "--calib, --plan: have both", "build", tiny34, "-o", out, "--precision", "int8", "--calib", one, "--plan", plan)
	refused(t, "--rounding: have \"up\", want one of auto, nearest, adaptive", "build", tiny34, "-o", out, "--precision", "int8", "--calib", calibration, "--rounding", "up")
	refused(t, "--rounding adaptive: needs --precision int8 with pictures", "build", tiny34, "-o", out, "--precision", "int8", "--plan", plan, "--rounding", "adaptive")
	refused(t, "--rounding adaptive: needs --precision int8 with pictures", "build", tiny34, "-o", out, "--precision", "int8", "--calib", one, "--rounding", "adaptive")
	refused(t, "only with --precision int8 or fp16", "build", tiny34, "-o", out, "--calib", calibration)
	refused(t, "it has no pictures", "build", tiny34, "-o", out, "--precision", "int8", "--calib", tmp)
	refused(t, "--calib-method: have \"guess\"", "build", tiny34, "-o", out, "--precision", "int8", "--calib", calibration, "--calib-method", "guess")
	refused(t, "no such file", "build", tiny34, "-o", out, "--precision", "int8", "--calib", filepath.Join(tmp, "none"))
	refused(t, "line 1", "build", tiny34, "-o", out, "--precision", "int8", "--plan", picture)
	refused(t, "--shard: have \"1/4x\"", "calibrate", tiny34, "--calib", calibration, "--shard", "1/4x", "-o", out)
	refused(t, "--shard: have \"3/2\"", "calibrate", tiny34, "--calib", calibration, "--shard", "3/2", "-o", out)
	require.NoDirExists(t, out)
	few := t.TempDir()
	require.NoError(t, pictures.WriteMask(filepath.Join(few, "x.png"), pictures.NewMask(20, 20)))
	r := command("build", tiny34, "-o", out, "--precision", "int8", "--calib", few)
	require.Equal(t, 0, r.code, r.err)
	require.Contains(t, r.err, "warning: 1 calibration images are few")
}

// A small model's weights are rounded so that its results come out nearer to float; the ranges may come from a plan.
func TestAdaptiveRounding(t *testing.T) {
	plan := filepath.Join(t.TempDir(), "plan.txt")
	flags := []string{"--precision", "int8", "--calib", calibration}
	dirs := map[string]string{
		"float":   built(t, tiny50),
		"nearest": built(t, tiny50, append(flags, "--rounding", "nearest", "--plan-out", plan)...),
		"auto":    built(t, tiny50, flags...),
		"plan":    built(t, tiny50, append(flags, "--rounding", "adaptive", "--plan", plan)...),
	}
	want := encoded(t, dirs["float"], "go")
	for name, x := range encoded(t, dirs["auto"], "go") {
		adaptive, err := tensor.Compare(x, want[name])
		require.NoError(t, err)
		nearest, err := tensor.Compare(encoded(t, dirs["nearest"], "go")[name], want[name])
		require.NoError(t, err)
		t.Logf("%s: %.1f dB, to nearest %.1f dB", name, adaptive.SNR, nearest.SNR)
		require.Greater(t, adaptive.SNR, nearest.SNR+0.5)
	}
	var sums []string
	for _, name := range []string{"auto", "plan", "nearest"} {
		man, err := artifact.Read(dirs[name])
		require.NoError(t, err)
		require.Equal(t, map[string]string{"auto": "adaptive", "plan": "adaptive", "nearest": "nearest"}[name], man.Quantization.Rounding)
		sums = append(sums, man.Files[0].SHA256)
	}
	require.Equal(t, sums[0], sums[1])
	require.NotEqual(t, sums[0], sums[2])
}

func TestCompare(t *testing.T) {
	float, int8 := built(t, tiny34), built(t, tiny34, "--precision", "int8", "--calib", calibration)
	chart := filepath.Join(t.TempDir(), "c.svg")
	require.Contains(t, must(t, "compare", float, tiny34), "equal            image_embeddings (output)")
	r := command("compare", float, int8, "--image", picture, "--svg", chart)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "they differ: multi_scale_features by")
	require.Contains(t, r.out, "resnet.stage4")
	svg, err := os.ReadFile(chart)
	require.NoError(t, err)
	require.Contains(t, string(svg), "</svg>")
	refused(t, "no such file", "compare", float, "nothing")
	refused(t, "not an artifact", "compare", float, t.TempDir())
	refused(t, "want A and B", "compare", float)
}

// Where the float model itself does not meet its golden results, no fallback is tried.
func TestFallBackNeedsAFloatModelThatHolds(t *testing.T) {
	path := corrupted(t, "mask_decoder.hf_mlp.layers.2.bias", func(x []float32) {
		for i := range x {
			x[i] += 0.5
		}
	})
	out := filepath.Join(t.TempDir(), "a")
	r := command("build", path, "-o", out, "--precision", "int8", "--calib", calibration, "--golden", fewGolden(t, 8), "--max-dsc-drop", "0.5", "--engine", engines()[len(engines())-1])
	require.Equal(t, 1, r.code, r.err)
	require.Contains(t, r.err, "the float model itself fails: the artifact does not meet its golden results")
	entries, err := os.ReadDir(filepath.Dir(out))
	require.NoError(t, err)
	require.Empty(t, entries)
}

// The ViT's linear layers in INT8, alone and with the branch: every node, close to float, both engines; a model without a branch gets
// them by itself.
func TestQuantizeLinear(t *testing.T) {
	float := built(t, tiny34)
	sizes := map[string]int64{}
	for _, what := range []string{"linear", "all"} {
		a := built(t, tiny34, "--precision", "int8", "--calib", calibration, "--quantize", what)
		man, err := artifact.Read(a)
		require.NoError(t, err)
		require.Len(t, man.Quantization.QuantizedNodes, map[string]int{"linear": 48, "all": 100}[what])
		require.Equal(t, 1.0, man.Quantization.Int8Share)
		sizes[what] = man.Files[0].Bytes
		want := encoded(t, float, "go")
		for _, name := range engines() {
			for output, y := range encoded(t, a, name) {
				d, err := tensor.Compare(y, want[output])
				require.NoError(t, err)
				require.Greater(t, d.SNR, map[string]float64{"linear": 40, "all": 25}[what], "%s, %s, %s", what, name, output)
			}
		}
	}
	require.Less(t, sizes["all"], sizes["linear"])
	refused(t, `--quantize: have "vit", want one of cnn, linear, all`, "build", tiny34, "-o", filepath.Join(t.TempDir(), "x"), "--precision", "int8", "--calib", calibration, "--quantize", "vit")
}

// unet writes a small ScribblePrompt-UNet of random weights: two levels of eight features.
func unet(t *testing.T) string {
	const features, levels = 8, 2
	r := rand.New(rand.NewPCG(1, 2))
	var all []safetensors.Named
	add := func(name string, dims ...int64) {
		n, fan := int64(1), int64(1)
		for i, d := range dims {
			if n *= d; i > 0 {
				fan *= d
			}
		}
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64() / math.Sqrt(float64(fan)))
		}
		all = append(all, safetensors.Named{Name: name, Tensor: tensor.FromFloat32(dims, x)})
	}
	block := func(name string, in int64) {
		add(name+".conv.0.weight", features, in, 3, 3)
		add(name+".conv.0.bias", features)
		all = append(all, safetensors.Named{Name: name + ".conv.1.weight", Tensor: tensor.FromFloat32([]int64{1}, []float32{0.25})})
	}
	for i := range levels {
		block(fmt.Sprintf("downs.%d", i), []int64{5, features}[min(i, 1)])
		block(fmt.Sprintf("ups.%d", 2*i+1), 2*features)
	}
	block("bottleneck", features)
	add("final_conv.conv.0.weight", 1, features, 1, 1)
	add("final_conv.conv.0.bias", 1)
	path := filepath.Join(t.TempDir(), "unet.safetensors")
	require.NoError(t, safetensors.WriteFile(path, all, nil))
	return path
}

// A model of one graph, whose prompts are planes of its input, is calibrated and quantized as encoders are, and halved.
func TestInt8OfOneGraph(t *testing.T) {
	ck := unet(t)
	float := built(t, ck)
	for precision, lowest := range map[string]float64{"int8": 28, "fp16": 50} {
		a := built(t, ck, "--precision", precision, "--calib", calibration)
		man, err := artifact.Read(a)
		require.NoError(t, err)
		if precision == "int8" {
			require.Len(t, man.Quantization.QuantizedNodes, 6)
			require.Equal(t, 1.0, man.Quantization.Int8Share)
		}
		want := encoded(t, float, "go")["logits"]
		for _, name := range engines() {
			d, err := tensor.Compare(encoded(t, a, name)["logits"], want)
			require.NoError(t, err)
			require.Greater(t, d.SNR, lowest, "%s, %s", precision, name)
		}
		r := command("compare", float, a, "--image", picture)
		require.Contains(t, r.out, "logits (output)")
	}
}

// A plan is obeyed to the letter or refused; --keep-float does without a file.
func TestPlansAreObeyed(t *testing.T) {
	tmp := t.TempDir()
	path := filepath.Join(tmp, "plan.txt")
	whole := built(t, tiny34, "--precision", "int8", "--calib", calibration, "--rounding", "nearest", "--plan-out", path)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	out := filepath.Join(tmp, "a")
	build := func(flags ...string) []string {
		return append([]string{"build", tiny34, "-o", out, "--force", "--precision", "int8"}, flags...)
	}
	changed := func(name, old, new string) string {
		require.Contains(t, string(text), old)
		file := filepath.Join(tmp, name)
		require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(text), old, new, 1)), 0o600))
		return file
	}
	const layer = "resnet.stage0.0/Conv"
	float := changed("float.txt", "# float \""+layer+"\"", "float \""+layer+"\"")
	must(t, build("--plan", float)...)
	sum := func(dir string) string {
		man, err := artifact.Read(dir)
		require.NoError(t, err)
		if dir != whole {
			require.Len(t, man.Quantization.KeptFloat, 1)
			require.Equal(t, layer, man.Quantization.KeptFloat[0].Node)
		}
		return man.Files[0].SHA256
	}
	byPlan := sum(out)
	require.NotEqual(t, sum(whole), byPlan)
	must(t, build("--calib", calibration, "--rounding", "nearest", "--keep-float", layer)...)
	require.Equal(t, byPlan, sum(out))
	must(t, build("--plan", path, "--keep-float", "resnet.stage0.0")...)
	require.Equal(t, byPlan, sum(out))
	refused(t, `--keep-float: scope cnn has no convolution or linear layer "nothing"`, build("--plan", path, "--keep-float", "nothing")...)
	refused(t, "no.such/Conv", build("--plan", changed("unknown.txt", "# float \""+layer+"\"", "float \"no.such/Conv\" reason=\"x\""))...)
	refused(t, "scope", build("--plan", path, "--quantize", "all")...)
	refused(t, "source", "build", tiny50, "-o", out, "--force", "--precision", "int8", "--plan", path)
	lines := strings.SplitAfter(string(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "value ") {
			require.NoError(t, os.WriteFile(float, []byte(strings.Join(append(lines[:i:i], lines[i+1:]...), "")), 0o600))
			refused(t, "", build("--plan", float)...)
			break
		}
	}
}
