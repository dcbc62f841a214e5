package frontends

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/frontends/checkpoint"
	lists "syncsam-convert/internal/families"
	"syncsam-convert/ir/tensor"
)

// small is a small checkpoint from a list of its tensors.
func small(t *testing.T, list string) *checkpoint.Checkpoint {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.safetensors")
	require.NoError(t, lists.Write("../compile/testdata/"+list+".txt", path))
	ck, err := checkpoint.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ck.Close()) })
	return ck
}

func asItIs(name string, x *tensor.Tensor) (string, *tensor.Tensor) { return name, x }

// Families with a light encoder or adapters are recognised by their keys, with the image size that these tell, and what is not needed may lack.
func TestRecognised(t *testing.T) {
	for _, c := range []struct {
		list, family string
		size         int64
		unused       string // part of the names that no inference needs
	}{
		{"recorded/mobile-sam", "mobile-sam", 1024, "head"},
		{"families/lite-medsam", "lite-medsam", 256, "num_batches_tracked"},
		{"families/medical-sam-adapter-2023", "medical-sam-adapter", 128, "Depth_Adapter"},
		{"families/medical-sam-adapter-v0.1.0", "medical-sam-adapter", 256, "Depth_Adapter"},
		{"families/medical-sam-adapter-2024", "medical-sam-adapter", 160, "Depth_Adapter"},
	} {
		t.Run(c.list, func(t *testing.T) {
			ck := small(t, c.list)
			whole := edit(t, ck, asItIs)
			for _, file := range []*nested{(&nested{}).put("", "", whole), (&nested{}).put("model", "module.", whole), (&nested{}).put("state_dict", "", whole)} {
				m, _, err := Load(file, Options{})
				require.NoError(t, err)
				require.Equal(t, c.family, m.Meta.Family)
				require.Equal(t, c.size, m.Meta.Preprocess.Size)
			}
			less := edit(t, ck, func(name string, x *tensor.Tensor) (string, *tensor.Tensor) {
				if strings.Contains(name, c.unused) && !strings.Contains(name, "iou_prediction_head") {
					return "", nil
				}
				return name, x
			})
			require.Less(t, len(less.names), len(whole.names))
			m, _, err := Load(less, Options{})
			require.NoError(t, err)
			require.Equal(t, c.family, m.Meta.Family)

			seen := map[string]bool{} // one of each kind of key, whatever its numbers
			for _, victim := range less.names {
				kind := regexp.MustCompile(`\d+`).ReplaceAllString(victim, "N")
				if !strings.HasPrefix(victim, "image_encoder.") && !strings.Contains(victim, "transformer.layers.0.mlp.") && c.list != "recorded/mobile-sam" {
					continue // SAM's prompt encoder and decoder
				}
				if seen[kind] || strings.HasSuffix(victim, "num_batches_tracked") {
					continue
				}
				seen[kind] = true
				for how, change := range map[string]func(x *tensor.Tensor) *tensor.Tensor{
					"missing": func(*tensor.Tensor) *tensor.Tensor { return nil },
					"longer":  longer,
					"flat":    func(x *tensor.Tensor) *tensor.Tensor { return floats(make([]float32, 3)...) },
				} {
					_, _, err := Load(edit(t, ck, func(name string, x *tensor.Tensor) (string, *tensor.Tensor) {
						if name == victim {
							if x = change(x); x == nil {
								return "", nil
							}
						}
						return name, x
					}), Options{})
					require.Error(t, err, "%s %s", how, victim)
					require.NotContains(t, err.Error(), "\n")
				}
			}
			_, _, err = Load((&nested{}).put("", "", whole).put("", "", tensors(map[string]*tensor.Tensor{"image_encoder.layers.0.extra.weight": floats(1, 2)})), Options{})
			require.ErrorContains(t, err, "unexpected image_encoder.layers.0.extra.weight")
		})
	}
}

// longer has one more element on the last axis.
func longer(x *tensor.Tensor) *tensor.Tensor {
	dims := append([]int64(nil), x.Dims()...)
	if len(dims) == 0 {
		dims = []int64{1}
	}
	dims[len(dims)-1]++
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	return tensor.FromFloat32(dims, make([]float32, n))
}

// What no shape tells is the code's: the stride towards the last stage follows its width, and windows do not exceed the grid.
func TestTinyStrides(t *testing.T) {
	m, _, err := Load(small(t, "families/lite-medsam"), Options{})
	require.NoError(t, err)
	require.Equal(t, []int64{256, 128, 64, 64}, m.Meta.Config["tiny_grids"], "320 wide: the side stays")
	require.EqualValues(t, 256, m.Meta.Postprocess.Side)
	m, _, err = Load(small(t, "recorded/mobile-sam"), Options{})
	require.NoError(t, err)
	require.Equal(t, []int64{256, 128, 64, 32}, m.Meta.Config["tiny_grids"], "24 wide: the side is halved")
	_, _, err = Load(small(t, "recorded/mobile-sam"), Options{ImageSize: 96})
	require.ErrorContains(t, err, "less than the window of 7")
	_, _, err = Load(small(t, "families/medical-sam-adapter-2024"), Options{ImageSize: 192})
	require.ErrorContains(t, err, "--image-size: have 192, want 160")
	tiny := edit(t, small(t, "recorded/mobile-sam"), asItIs)
	_, _, err = Load((&nested{}).put("", "", tiny).put("", "", tensors(map[string]*tensor.Tensor{"mask_decoder.hf_token.weight": floats(1)})), Options{})
	require.ErrorContains(t, err, "SAM-HQ with a TinyViT encoder")
}
