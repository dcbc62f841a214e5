package compile

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/frontends/checkpoint"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/safetensors"
)

// scaled writes the small golden model with a residual stream so many times as large, which its normalizations undo.
func scaled(t *testing.T, by float32) string {
	ck, err := checkpoint.Open("../golden/data/syncsam-tiny-34/syncsam-tiny-34.pth")
	require.NoError(t, err)
	defer ck.Close()
	var all []safetensors.Named
	for _, name := range ck.Names() {
		x := tensor.Dense(ck.Get(name))
		for _, end := range []string{"patch_embed.proj.weight", "patch_embed.proj.bias", "pos_embed"} {
			if strings.HasSuffix(name, "sam_img_encoder."+end) {
				y := append([]float32{}, x.Float32s()...)
				for i := range y {
					y[i] *= by
				}
				x = tensor.FromFloat32(x.Dims(), y)
			}
		}
		all = append(all, safetensors.Named{Name: name, Tensor: x})
	}
	path := filepath.Join(t.TempDir(), "m.safetensors")
	require.NoError(t, safetensors.WriteFile(path, all, nil))
	return path
}

// A model in float16 is run while it is written: where the plan's amplitudes are wrong, what overflows is named.
func TestFloat16IsRun(t *testing.T) {
	ctx, events := context.Background(), 0
	source, err := Open(Options{Checkpoint: scaled(t, 1000), Precision: FP16, Calibration: "../golden/data/calibration", Progress: func(e Event) {
		if e.Stage == "audit" {
			events++
			require.LessOrEqual(t, e.Done, e.Total)
		}
	}})
	require.NoError(t, err)
	defer source.Close()
	lowered, err := source.Lower(ctx)
	require.NoError(t, err)
	calibrated, err := lowered.Calibrate(ctx)
	require.NoError(t, err)
	most := float32(0)
	for _, p := range calibrated.Plan.Peaks {
		most = max(most, p)
	}
	require.Greater(t, most, float32(65504), "the stream is past float16")

	m, err := calibrated.Finish(ctx, ONNX, calibrated.Plan)
	require.NoError(t, err)
	man, err := m.Write(ctx, t.TempDir())
	require.NoError(t, err)
	require.Equal(t, auditImages, events)
	require.True(t, man.Float16.Recorded)
	require.True(t, man.Float16.Audited)

	wrong := calibrated.Plan.Clone()
	for key := range wrong.Peaks {
		wrong.Peaks[key] = 1
	}
	m, err = calibrated.Finish(ctx, ONNX, wrong)
	require.NoError(t, err)
	_, err = m.Write(ctx, t.TempDir())
	require.ErrorContains(t, err, "float16: the model for onnx, run on a calibration picture: ")
	require.ErrorContains(t, err, `graph encoder: value "image_encoder.sam_img_encoder.`)
	require.ErrorContains(t, err, "float16): its largest amplitude is")
}
