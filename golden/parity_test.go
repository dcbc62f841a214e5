//go:build parity

package golden

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/engine"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/pictures"
	"syncsam-convert/prompt"
	"syncsam-convert/safetensors"
	"syncsam-convert/segment"
)

// Parity's bars: max abs difference / standard deviation of the reference (float32 rounding measures 4e-6 to 1e-5, a wrong
// epsilon starts at 4e-5), and the share of mask pixels that must be equal.
const (
	parityTolerance = 5e-5
	parityPixels    = 0.9999
)

// Full-size models from the weight recipes, against what the original PyTorch code gives: every reference file, every prompt,
// every engine. SHARED is the folder of references, CHECKPOINTS holds syncsam-34.pth and syncsam-50.pth.
func TestParity(t *testing.T) {
	shared, checkpoints := os.Getenv("SHARED"), os.Getenv("CHECKPOINTS")
	require.NotEmpty(t, shared)
	program, err := filepath.Abs("../bin/syncsam-convert")
	require.NoError(t, err)
	names := engines(t)
	for _, model := range []string{"syncsam-34", "syncsam-50"} {
		dir := filepath.Join(t.TempDir(), model)
		out, err := exec.Command(program, "build", filepath.Join(checkpoints, model+".pth"), "-o", dir).CombinedOutput()
		require.NoError(t, err, string(out))
		files, err := filepath.Glob(filepath.Join(shared, "golden", "full", model, "*.safetensors"))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, name := range names {
			p, err := segment.Open(dir, name, engine.Options{})
			require.NoError(t, err)
			for _, file := range files {
				t.Run(strings.Join([]string{model, name, filepath.Base(file)}, " "), func(t *testing.T) { parityOf(t, p, file) })
			}
			require.NoError(t, p.Close())
		}
	}
}

// leastHalf is the SNR that float16 with its float32 islands must leave, in dB: half precision's own rounding is at 70.
const leastHalf = 45

// Full-size models in float16, as the TensorRT target compiles them: encoder and masks beside PyTorch's float32.
func TestParityOfHalf(t *testing.T) {
	shared, checkpoints := os.Getenv("SHARED"), os.Getenv("CHECKPOINTS")
	program, err := filepath.Abs("../bin/syncsam-convert")
	require.NoError(t, err)
	for _, model := range []string{"syncsam-34", "syncsam-50"} {
		dir := filepath.Join(t.TempDir(), model)
		out, err := exec.Command(program, "build", filepath.Join(checkpoints, model+".pth"), "-o", dir, "--target", "tensorrt", "--precision", "fp16").CombinedOutput()
		require.NoError(t, err, string(out))
		files, err := filepath.Glob(filepath.Join(shared, "golden", "full", model, "*.safetensors"))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, name := range engines(t) {
			p, err := segment.Open(filepath.Join(dir, "plan"), name, engine.Options{})
			require.NoError(t, err)
			for _, file := range files {
				ref, err := safetensors.Open(file)
				require.NoError(t, err)
				near := func(have *tensor.Tensor, key string) {
					d, err := tensor.Compare(have, ref.Get(key))
					require.NoError(t, err, key)
					t.Logf("%s %s %s %-28s %.1f dB", model, name, filepath.Base(file), key, d.SNR)
					require.GreaterOrEqual(t, d.SNR, float64(leastHalf), key)
				}
				features, err := p.Image().Run(context.Background(), map[string]*tensor.Tensor{"image": ref.Get("input")})
				require.NoError(t, err)
				for key, f := range features {
					near(f, key)
				}
				for _, r := range ref.Tensors {
					if prompt, ok := strings.CutSuffix(r.Name, "/low_res_masks"); ok {
						masks, err := p.Decoder().Run(context.Background(), decoderInputs(t, ref, prompt, features, p.Manifest()))
						require.NoError(t, err, prompt)
						near(masks["low_res_masks"], r.Name)
					}
				}
				require.NoError(t, ref.Close())
			}
			require.NoError(t, p.Close())
		}
	}
}

// engines lists those that this machine has.
func engines(t *testing.T) []string {
	names := []string{engine.Embedded, engine.ONNXRuntime}
	if _, err := engine.FindLibrary(""); err != nil {
		t.Log(err)
		names = names[:1]
	}
	return names
}

func parityOf(t *testing.T, p *segment.Predictor, file string) {
	ctx := context.Background()
	ref, err := safetensors.Open(file)
	require.NoError(t, err)
	defer ref.Close()
	near := func(have *tensor.Tensor, name string) {
		d, err := tensor.Compare(have, ref.Get(name))
		require.NoError(t, err, name)
		t.Logf("%-28s %.1e", name, d.Relative())
		require.LessOrEqual(t, d.Relative(), parityTolerance, name)
	}
	u8 := ref.Get("image_u8")
	picture := &pictures.Image{H: int(u8.Dims()[0]), W: int(u8.Dims()[1]), Pix: u8.Bytes()}
	x, frame, err := pictures.Prepare(picture, p.Manifest().Preprocess)
	require.NoError(t, err)
	near(x, "input")
	features, err := p.Image().Run(ctx, map[string]*tensor.Tensor{"image": ref.Get("input")})
	require.NoError(t, err)
	for name, f := range features {
		near(f, name)
	}
	seen := 0
	for _, r := range ref.Tensors {
		prompt, ok := strings.CutSuffix(r.Name, "/low_res_masks")
		if !ok {
			continue
		}
		seen++
		out, err := p.Decoder().Run(ctx, decoderInputs(t, ref, prompt, features, p.Manifest()))
		require.NoError(t, err, prompt)
		near(out["low_res_masks"], r.Name)
		equal, all := 0, 0
		side := int(r.Tensor.Dims()[3])
		want := ref.Get(prompt + "/mask").Bytes()
		for b := range int(r.Tensor.Dims()[0]) {
			m, err := pictures.MaskOf(out["low_res_masks"].Float32s()[b*side*side:][:side*side], side, frame, p.Manifest().Postprocess)
			require.NoError(t, err)
			for i, v := range m.Pix {
				all++
				if (want[b*len(m.Pix)+i] != 0) == (v != 0) {
					equal++
				}
			}
		}
		require.GreaterOrEqual(t, float64(equal)/float64(all), parityPixels, "%s: mask", prompt)
	}
	require.Positive(t, seen)
}

// decoderInputs makes the graph's inputs of a reference's prompt: points, then box corners, or the padding point.
func decoderInputs(t *testing.T, ref *safetensors.File, name string, features map[string]*tensor.Tensor, man *artifact.Manifest) map[string]*tensor.Tensor {
	side := prompt.Of(man.Meta, false).Side()
	points, labels, boxes := ref.Get(name+"/point_coords"), ref.Get(name+"/point_labels"), ref.Get(name+"/boxes")
	b := int64(0)
	if name == "no_prompt" {
		return with(features, map[string]*tensor.Tensor{
			"point_coords": tensor.FromFloat32([]int64{1, 0, 2}, nil), "point_labels": tensor.FromFloat32([]int64{1, 0}, nil),
			"mask_input": tensor.FromFloat32([]int64{1, 1, side, side}, make([]float32, side*side)), "has_mask_input": tensor.FromFloat32([]int64{1}, []float32{0}),
		})
	}
	if boxes != nil {
		b = boxes.Dims()[0]
	} else {
		b = points.Dims()[0]
	}
	var coords, lab []float32
	per := int64(0)
	for i := range b {
		per = 0
		if points != nil {
			n := points.Dims()[1]
			coords = append(coords, points.Float32s()[i*n*2:(i+1)*n*2]...)
			lab = append(lab, labels.Float32s()[i*n:(i+1)*n]...)
			per += n
		}
		if boxes != nil {
			coords = append(coords, boxes.Float32s()[i*4:(i+1)*4]...)
			lab = append(lab, 2, 3)
			per += 2
		} else {
			coords, lab = append(coords, 0, 0), append(lab, -1)
			per++
		}
	}
	mask, has := ref.Get(name+"/mask_input"), float32(1)
	if mask == nil {
		mask, has = tensor.FromFloat32([]int64{b, 1, side, side}, make([]float32, b*side*side)), 0
	}
	return with(features, map[string]*tensor.Tensor{
		"point_coords": tensor.FromFloat32([]int64{b, per, 2}, slices.Clone(coords)), "point_labels": tensor.FromFloat32([]int64{b, per}, lab),
		"mask_input": mask, "has_mask_input": tensor.FromFloat32([]int64{1}, []float32{has}),
	})
}

// with adds an encoder's results to a decoder's other inputs.
func with(features, in map[string]*tensor.Tensor) map[string]*tensor.Tensor {
	maps.Copy(in, features)
	return in
}
