package frontends

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/frontends/checkpoint"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// One mask serves all prompts as one for each does, and has_mask_input weighs the mask against its absence, whatever number it is, as SAM's
// official export computes: has * embed(mask) + (1 - has) * no_mask_embed.
func TestMaskPrompt(t *testing.T) {
	ck, err := checkpoint.Open("../golden/data/syncsam-tiny-34/syncsam-tiny-34.pth")
	require.NoError(t, err)
	defer ck.Close()
	m, _, err := Load(ck, Options{})
	require.NoError(t, err)
	p, err := ir.Compile(m.Graph("decoder"))
	require.NoError(t, err)
	in, err := ir.Probe(m.Graph("decoder"), 1, map[string]int64{"B": 3, "P": 4, ir.MaskBatch: 1})
	require.NoError(t, err)
	// run gives the image with the mask prompt in it, [M,C,hh] of M mask prompts, and the masks.
	run := func(has float32, mask *tensor.Tensor) (image, masks *tensor.Tensor, err error) {
		in["has_mask_input"], in["mask_input"] = tensor.FromFloat32([]int64{1}, []float32{has}), mask
		p.Observe = func(v *ir.Value, x *tensor.Tensor) {
			if ir.Add.Is(v) && v.Type.Rank() == 3 && strings.Contains(v.Name, "prompt_encoder") {
				image = tensor.Clone(x)
			}
		}
		out, err := p.Run(context.Background(), in)
		return image, out["low_res_masks"], err
	}
	one := in["mask_input"]
	three, err := tensor.New(tensor.Float32, []int64{3, 1, one.Dims()[2], one.Dims()[3]}, slices.Repeat(one.Bytes(), 3))
	require.NoError(t, err)
	var ends [2]*tensor.Tensor
	for _, has := range []float32{0, 1, -1, 0.25, 3} {
		image, masks, err := run(has, one)
		require.NoError(t, err)
		require.Equal(t, int64(1), image.Dims()[0], "one image for all prompts")
		_, each, err := run(has, three)
		require.NoError(t, err)
		d, err := tensor.Compare(masks, each)
		require.NoError(t, err)
		require.LessOrEqual(t, d.Relative(), 1e-5)
		if has == 0 || has == 1 {
			ends[int(has)] = image
			continue
		}
		want := slices.Clone(ends[0].Float32s())
		for i, x := range ends[1].Float32s() {
			want[i] += has * (x - want[i])
		}
		d, err = tensor.Compare(image, tensor.FromFloat32(image.Dims(), want))
		require.NoError(t, err)
		require.LessOrEqual(t, d.Relative(), 1e-5, "has %g", has)
	}
	d, err := tensor.Compare(ends[0], ends[1])
	require.NoError(t, err)
	require.Greater(t, d.Relative(), 0.01, "the mask tells something")
	two, err := tensor.New(tensor.Float32, []int64{2, 1, one.Dims()[2], one.Dims()[3]}, slices.Repeat(one.Bytes(), 2))
	require.NoError(t, err)
	_, _, err = run(1, two)
	require.ErrorContains(t, err, "have 2 mask prompts for 3 prompts")
}
