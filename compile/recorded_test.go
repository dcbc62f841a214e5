package compile

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/engine"
	"syncsam-convert/internal/families"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/safetensors"
)

var checkpoints = flag.String("checkpoints", "", "folder for the checkpoints of TestRecorded, for testdata/recorded/make.py")

// peftOfThree is the configuration of testdata/recorded/peft.txt.
const peftOfThree = `{"peft_type": "LORA", "r": 3, "lora_alpha": 6}`

// sequence is n numbers in [-1,1), as make.py has them.
func sequence(n, period int, to func(float32) float32) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = to(float32(i*7919%period)*(2/float32(period)) - 1)
	}
	return x
}

// Light encoders, adapters and merged weights give what their definitions in PyTorch gave, in the artifact that a build writes
// (testdata/recorded/make.py): encoders whose windows do not divide the grid, of another image size, with and without relative positions.
func TestRecorded(t *testing.T) {
	for _, c := range []struct {
		name, base, family string
		size               int64
		grid               int64
	}{
		{"mobile-sam", "recorded/mobile-sam", "mobile-sam", 256, 8},
		{"lite-medsam", "families/lite-medsam", "lite-medsam", 128, 32},
		{"medical-sam-adapter-2023", "families/medical-sam-adapter-2023", "medical-sam-adapter", 128, 8},
		{"medical-sam-adapter-v0.1.0", "families/medical-sam-adapter-v0.1.0", "medical-sam-adapter", 176, 11},
		{"medical-sam-adapter-2024", "families/medical-sam-adapter-2024", "medical-sam-adapter", 160, 10},
		{"samed", "families/sam", "samed", 160, 10},
		{"peft", "families/sam", "sam", 128, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if *checkpoints != "" {
				dir = *checkpoints
			}
			o := Options{Checkpoint: filepath.Join(dir, filepath.Base(c.base)+".safetensors"), Output: filepath.Join(t.TempDir(), "artifact")}
			require.NoError(t, families.Write("testdata/"+c.base+".txt", o.Checkpoint))
			o.Model.ImageSize = c.size
			if merge := filepath.Join(dir, c.name+".safetensors"); merge != o.Checkpoint {
				o.Model.Merge = merge
				require.NoError(t, families.Write("testdata/recorded/"+c.name+".txt", merge))
				require.NoError(t, os.WriteFile(filepath.Join(dir, adapterConfig), []byte(peftOfThree), 0o600))
			}
			if *checkpoints != "" {
				return
			}
			man, err := Compile(context.Background(), o)
			require.NoError(t, err)
			require.Equal(t, c.family, man.Family)
			want, err := safetensors.Open("testdata/recorded/" + c.name + ".safetensors")
			require.NoError(t, err)
			defer want.Close()

			s, g := c.size, c.grid
			twice := func(x float32) float32 { return 2 * x }
			out := ran(t, o.Output, "encoder", map[string]*tensor.Tensor{"image": tensor.FromFloat32([]int64{1, 3, s, s}, sequence(int(3*s*s), 9973, twice))})
			asRecorded(t, out, want, "image_embeddings")
			require.Equal(t, []int64{1, out["image_embeddings"].Dims()[1], g, g}, out["image_embeddings"].Dims())
			out = ran(t, o.Output, "decoder", map[string]*tensor.Tensor{
				"image_embeddings": out["image_embeddings"],
				"point_coords":     tensor.FromFloat32([]int64{2, 4, 2}, sequence(16, 101, func(x float32) float32 { return (x + 1) / 2 * float32(s) })),
				"point_labels":     tensor.FromFloat32([]int64{2, 4}, []float32{1, 0, -1, 1, 2, 3, -1, 0}),
				"mask_input":       tensor.FromFloat32([]int64{2, 1, 4 * g, 4 * g}, sequence(int(32*g*g), 1013, func(x float32) float32 { return 3 * x })),
				"has_mask_input":   tensor.FromFloat32([]int64{1}, []float32{1})})
			asRecorded(t, out, want, "low_res_masks", "iou_predictions")
		})
	}
}

// Merged weights are built in every precision as others are; classes, which answer no prompt, are no obstacle to calibration.
func TestMergedPrecisions(t *testing.T) {
	dir := t.TempDir()
	base, lora := family(t, "testdata/families/sam.txt"), filepath.Join(dir, "lora.safetensors")
	calibration := twoPictures(t)
	for _, name := range []string{"samed", "peft"} {
		require.NoError(t, families.Write("testdata/recorded/"+name+".txt", lora))
		if name == "peft" {
			require.NoError(t, os.WriteFile(filepath.Join(dir, adapterConfig), []byte(peftOfThree), 0o600))
		}
		for _, o := range []Options{{Precision: FP16}, {Precision: INT8, Target: TensorRT, Rounding: RoundNearest}} {
			o.Checkpoint, o.Calibration, o.Output = base, calibration, filepath.Join(t.TempDir(), "artifact")
			o.Model.Merge, o.Model.ImageSize = lora, 128
			man, err := Compile(context.Background(), o)
			require.NoError(t, err)
			require.Len(t, man.Source.Merged, map[string]int{"samed": 1, "peft": 2}[name])
			if o.Precision == INT8 {
				require.NotEmpty(t, man.Quantization.QuantizedNodes)
			}
		}
	}
}

func ran(t *testing.T, dir, graph string, in map[string]*tensor.Tensor) map[string]*tensor.Tensor {
	t.Helper()
	session, err := engine.Load(engine.Embedded, filepath.Join(dir, graph+".onnx"), engine.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, session.Close()) }()
	out, err := session.Run(context.Background(), in)
	require.NoError(t, err)
	return out
}

// asRecorded holds the recorded elements of outputs to them, within 5e-5 of their standard deviation.
func asRecorded(t *testing.T, out map[string]*tensor.Tensor, want *safetensors.File, names ...string) {
	t.Helper()
	for _, name := range names {
		w, all := want.Get(name), out[name].Float32s()
		step := (len(all) + 1499) / 1500
		some := make([]float32, 0, w.Len())
		for i := 0; i < len(all); i += step {
			some = append(some, all[i])
		}
		require.Len(t, some, int(w.Len()), name)
		d, err := tensor.Compare(tensor.FromFloat32([]int64{w.Len()}, some), tensor.FromFloat32([]int64{w.Len()}, w.Float32s()))
		require.NoError(t, err)
		require.Less(t, d.Relative(), 5e-5, name)
	}
}
