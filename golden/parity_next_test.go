//go:build parity

package golden

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/engine"
	"syncsam-convert/pictures"
	"syncsam-convert/safetensors"
	"syncsam-convert/segment"
)

// Light encoders, adapters and weights of two files, from the weight recipes, against what the systems' own PyTorch code gives. CHECKPOINTS
// holds next/NAME.pth and the bases and adapters of those that are merged.
func TestParityOfNext(t *testing.T) {
	shared, checkpoints := os.Getenv("SHARED"), filepath.Join(os.Getenv("CHECKPOINTS"), "next")
	program, err := filepath.Abs("../bin/syncsam-convert")
	require.NoError(t, err)
	names := engines(t)
	for _, c := range []struct {
		model string
		args  []string
	}{
		{"mobile-sam", []string{"mobile-sam.pth"}},
		{"lite-medsam", []string{"lite-medsam.pth"}},
		{"medical-sam-adapter", []string{"medical-sam-adapter.pth"}},
		{"medical-sam-adapter-v0.1.0", []string{"medical-sam-adapter-v0.1.0.pth"}},
		{"samed-lora", []string{"samed-lora-base.pth", "--merge", "samed-lora-lora.pth", "--image-size", "512"}},
		{"sam-hf-peft", []string{"hf", "--merge", "adapter/adapter_model.safetensors"}},
	} {
		files, err := filepath.Glob(filepath.Join(shared, "next", c.model, "*.safetensors"))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		dir := filepath.Join(t.TempDir(), c.model)
		build := exec.Command(program, append([]string{"build", "-o", dir}, c.args...)...)
		build.Dir = checkpoints
		out, err := build.CombinedOutput()
		require.NoError(t, err, string(out))
		for _, file := range files {
			for _, name := range names {
				t.Run(c.model+" "+filepath.Base(file)+" "+name, func(t *testing.T) {
					p, err := segment.Open(dir, name, engine.Options{})
					require.NoError(t, err)
					defer func() { require.NoError(t, p.Close()) }()
					ref, err := safetensors.Open(file)
					require.NoError(t, err)
					defer ref.Close()
					zooOf(t, p, ref)
					if p.Manifest().Postprocess.Mask != "classes" {
						preparedOf(t, p, ref)
					}
				})
			}
		}
		require.NoError(t, os.RemoveAll(dir))
	}
}

// preparedOf holds what is made of a reference's picture to the system's own input: resized pixels may differ by a level in a few places, where
// OpenCV adds in float32.
func preparedOf(t *testing.T, p *segment.Predictor, ref *safetensors.File) {
	u8, pre := ref.Get("image_u8"), p.Manifest().Preprocess
	x, _, err := pictures.Prepare(&pictures.Image{H: int(u8.Dims()[0]), W: int(u8.Dims()[1]), Pix: u8.Bytes()}, pre)
	require.NoError(t, err)
	have, want := x.Float32s(), inputOf(t, p, ref).Float32s()
	require.Len(t, have, len(want))
	level := 1 / min(pre.Std[0], pre.Std[1], pre.Std[2])
	if pre.Normalize == "min_max" {
		level = 1.0 / 64
	}
	differ := 0
	for i := range want {
		d := float64(have[i] - want[i])
		require.InDelta(t, 0, d, 1.01*level, "element %d", i)
		if d > 1e-5 || d < -1e-5 {
			differ++
		}
	}
	t.Logf("%d of %d prepared values differ", differ, len(want))
	require.LessOrEqual(t, differ, len(want)/10000)
}
