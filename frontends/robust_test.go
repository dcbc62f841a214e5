package frontends

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/frontends/checkpoint"
	"syncsam-convert/ir/tensor"
)

// edited is a checkpoint with some keys renamed, missing or of another shape.
type edited struct {
	names []string
	get   map[string]*tensor.Tensor
}

func (e edited) Names() []string                { return e.names }
func (e edited) Get(name string) *tensor.Tensor { return e.get[name] }

func edit(t *testing.T, ck *checkpoint.Checkpoint, f func(name string, x *tensor.Tensor) (string, *tensor.Tensor)) edited {
	e := edited{get: map[string]*tensor.Tensor{}}
	for _, name := range ck.Names() {
		n, x := f(name, ck.Get(name))
		if n != "" {
			e.names = append(e.names, n)
			e.get[n] = x
		}
	}
	return e
}

// Whatever a checkpoint lacks, and whatever family is asked for, the answer is an error that names keys, never a panic.
func TestMissingAndMisshapenKeys(t *testing.T) {
	ck, err := checkpoint.Open("../golden/data/syncsam-tiny-34/syncsam-tiny-34.pth")
	require.NoError(t, err)
	defer ck.Close()
	renames := map[string]*strings.Replacer{
		"syncsam":   strings.NewReplacer(),
		"sam":       strings.NewReplacer(".sam_img_encoder.", ".", ".sam_prompt_encoder.", ".", ".sam_mask_decoder.", "."),
		"sam-hq":    strings.NewReplacer(".sam_img_encoder.", ".", ".sam_prompt_encoder.", ".", ".sam_mask_decoder.", ".", "med_token", "hf_token"),
		"sam-med2d": strings.NewReplacer(".sam_img_encoder.", ".", ".sam_prompt_encoder.", ".", ".sam_mask_decoder.", "."),
		"imis-net":  strings.NewReplacer(".sam_img_encoder.", ".sam_encoder.", ".sam_prompt_encoder.", ".", ".sam_mask_decoder.", "."),
	}
	for _, family := range Names() {
		r := renames[family]
		if r == nil {
			r = renames["sam"]
		}
		for i, victim := range ck.Names() {
			if strings.HasSuffix(victim, "num_batches_tracked") {
				continue // inference does not need it
			}
			if i%7 != 0 && !strings.Contains(victim, "token") && !strings.Contains(victim, "pos_embed") && !strings.Contains(victim, "neck") && !strings.Contains(victim, "patch_embed") {
				continue
			}
			for _, how := range []string{"missing", "scalar", "flat"} {
				e := edit(t, ck, func(name string, x *tensor.Tensor) (string, *tensor.Tensor) {
					if name == victim {
						switch how {
						case "missing":
							return "", nil
						case "scalar":
							x = tensor.Scalar(1)
						default:
							x = tensor.FromFloat32([]int64{3}, make([]float32, 3))
						}
					}
					return r.Replace(name), x
				})
				_, _, err := Load(e, Options{Family: family})
				require.Error(t, err, "%s: %s %s", family, how, victim)
				require.NotContains(t, err.Error(), "\n")
			}
		}
	}
}

// Neighbours that are not supported are refused by name.
func TestNeighbours(t *testing.T) {
	for key, want := range map[string]string{"hf_token.weight": "decoder alone", "image_encoder.features.0.0.c.weight": "EdgeSAM",
		"image_encoder.trunk.patch_embed.proj.weight": "SAM 2", "vision_encoder.backbone.pos_embed_window": "SAM 2", "detr_decoder.presence_token.weight": "SAM 3"} {
		e := edited{names: []string{key, "mask_decoder.hf_token.weight"}, get: map[string]*tensor.Tensor{key: tensor.Scalar(1), "mask_decoder.hf_token.weight": tensor.Scalar(1)}}
		_, _, err := Load(e, Options{})
		require.ErrorIs(t, err, ErrUnknownFamily)
		require.ErrorContains(t, err, want)
	}
}
