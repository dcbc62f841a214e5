package frontends

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/frontends/checkpoint"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/safetensors"
)

// hfFile is the small SamModel in testdata as a file that a test may change.
func hfFile(t *testing.T) *nested {
	ck, err := checkpoint.Open("testdata/sam-hf")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ck.Close()) })
	n := (&nested{}).put("", "", edit(t, ck, func(name string, x *tensor.Tensor) (string, *tensor.Tensor) { return name, x }))
	config, err := ck.Beside("config.json")
	require.NoError(t, err)
	n.beside["config.json"] = string(config)
	return n
}

// A SamModel that transformers saved in shards gives what transformers computes, with the epsilon of its configuration (make.py).
func TestTransformers(t *testing.T) {
	ck, err := checkpoint.Open("testdata/sam-hf")
	require.NoError(t, err)
	defer ck.Close()
	require.Len(t, ck.Files(), 3)
	m, _, err := Load(ck, Options{})
	require.NoError(t, err)
	require.Equal(t, "transformers", m.Meta.Config["layout"])
	require.InDelta(t, 1e-3, m.Meta.Config["layer_norm_eps"], 1e-9)
	require.Contains(t, ck.Names(), "vision_encoder.pos_embed")
	want, err := safetensors.Open("testdata/sam-hf/want.safetensors")
	require.NoError(t, err)
	defer want.Close()
	run := func(g *ir.Graph, in map[string]*tensor.Tensor) {
		p, err := ir.Compile(g)
		require.NoError(t, err)
		out, err := p.Run(context.Background(), in)
		require.NoError(t, err)
		for _, name := range slices.Sorted(maps.Keys(out)) {
			w := want.Get(name)
			d, err := tensor.Compare(out[name], w)
			require.NoError(t, err)
			require.Less(t, d.Relative(), 5e-5, name)
		}
	}
	run(m.Graphs[0], map[string]*tensor.Tensor{"image": want.Get("image")})
	p := want.Get("points").Float32s()
	run(m.Graphs[1], map[string]*tensor.Tensor{"image_embeddings": want.Get("image_embeddings"),
		"point_coords": tensor.FromFloat32([]int64{1, 3, 2}, append(slices.Clone(p), 0, 0)), "point_labels": tensor.FromFloat32([]int64{1, 3}, []float32{1, 0, -1}),
		"mask_input": tensor.FromFloat32([]int64{1, 1, 16, 16}, make([]float32, 256)), "has_mask_input": floats(0)})
}

// Every name of SAM has another of transformers and comes back from it.
func TestNamesBothWays(t *testing.T) {
	n := hfFile(t)
	seen := map[string]bool{}
	for _, key := range n.keys {
		name := ours(key)
		require.False(t, seen[name], name)
		seen[name] = true
		require.Equal(t, key, theirs(name))
		if !strings.HasPrefix(key, "mask_decoder.") && !strings.HasSuffix(key, "_embed.weight") {
			require.NotEqual(t, key, name)
		}
	}
	require.Equal(t, ours(tiedFirst), ours(tiedSecond))
}

func TestTransformersFiles(t *testing.T) {
	load := func(change func(n *nested)) (*ir.Module, string, error) {
		n := hfFile(t)
		change(n)
		m, notes, err := Load(n, Options{})
		return m, strings.Join(notes, "\n"), err
	}
	config := func(old, new string) func(n *nested) {
		return func(n *nested) {
			require.Contains(t, n.beside["config.json"], old)
			n.beside["config.json"] = strings.Replace(n.beside["config.json"], old, new, 1)
		}
	}
	rename := func(old, new string) func(n *nested) {
		return func(n *nested) {
			i := slices.Index(n.keys, old)
			require.GreaterOrEqual(t, i, 0)
			n.keys[i], n.at[new] = new, n.at[old]
			delete(n.at, old)
		}
	}
	m, notes, err := load(func(n *nested) { delete(n.beside, "config.json") })
	require.NoError(t, err)
	require.Contains(t, notes, "no config.json of a SamModel is beside the weights")
	require.InDelta(t, 1e-6, m.Meta.Config["layer_norm_eps"], 1e-12)
	tied := func(scale float32) func(n *nested) {
		return func(n *nested) {
			x := slices.Clone(n.at[tiedFirst].Float32s())
			x[0] *= scale
			n.put("", "", tensors(map[string]*tensor.Tensor{tiedSecond: tensor.FromFloat32(n.at[tiedFirst].Dims(), x)}))
			n.at[tiedFirst] = tensor.Cast(n.at[tiedFirst], tensor.Float32)
		}
	}
	_, _, err = load(tied(1))
	require.NoError(t, err)
	_, _, err = load(tied(2))
	require.ErrorContains(t, err, "unexpected "+tiedSecond)
	_, _, err = load(rename(tiedFirst, tiedSecond))
	require.NoError(t, err)
	m, notes, err = load(func(n *nested) {
		n.beside["preprocessor_config.json"] = `{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "rescale_factor": 0.00392156862745098}`
	})
	require.NoError(t, err)
	require.InDelta(t, 127.5, m.Meta.Preprocess.Mean[0], 1e-9)
	require.Contains(t, notes, "preprocessor_config.json: image_mean of the file is [127.5 127.5 127.5]")
	for want, change := range map[string]func(n *nested){
		`config.json: model_type: have "sam_hq", want "sam"`:                                 config(`"model_type": "sam",`, `"model_type": "sam_hq",`),
		"config.json: mask_decoder_config.hidden_act: have gelu, want relu":                  config(`"hidden_act": "relu"`, `"hidden_act": "gelu"`),
		"config.json: mask_decoder_config.num_attention_heads: have 4, want 8":               config(`"num_attention_heads": 8`, `"num_attention_heads": 4`),
		"config.json: vision_config: the window of layer 0: have 2, want 3":                  config(`"window_size": 3`, `"window_size": 2`),
		"config.json: vision_config.num_attention_heads: have 2, want 3":                     config(`"num_attention_heads": 3`, `"num_attention_heads": 2`),
		"config.json: mask_decoder_config.layer_norm_eps: have -1":                           config(`"layer_norm_eps": 0.001`, `"layer_norm_eps": -1`),
		"config.json beside the weights: unexpected end":                                     func(n *nested) { n.beside["config.json"] = "{" },
		"SAM-HQ in transformers' layout (SamHQModel)":                                        rename("mask_decoder.iou_token.weight", "mask_decoder.hq_token.weight"),
		"missing vision_encoder.layers.1.layer_norm2.bias; unexpected vision_encoder.x.bias": rename("vision_encoder.layers.1.layer_norm2.bias", "vision_encoder.x.bias"),
		"missing mask_decoder.iou_prediction_head.layers.0.bias":                             rename("mask_decoder.iou_prediction_head.layers.0.bias", "mask_decoder.iou_prediction_head.x"),
		"SAM's vision encoder alone (SamVisionModel)": func(n *nested) {
			n.keys = slices.DeleteFunc(n.keys, func(key string) bool { return !strings.HasPrefix(key, "vision_") })
			maps.DeleteFunc(n.at, func(key string, _ *tensor.Tensor) bool { return !strings.HasPrefix(key, "vision_") })
		},
		"do_normalize: have false": func(n *nested) { n.beside["preprocessor_config.json"] = `{"do_normalize": false}` },
	} {
		_, _, err := load(change)
		require.ErrorContains(t, err, want)
	}
}
