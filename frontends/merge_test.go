package frontends

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir/tensor"
)

const threeOfSix = `{"peft_type": "LORA", "r": 3, "lora_alpha": 6}`

func ones(dims ...int64) *tensor.Tensor {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	return tensor.FromFloat32(dims, x)
}

// A merged weight is W + scale * (B A), the scale from the configuration: of its own, and of patterns of the ends of names. By hand, for
// A = [[1,2],[3,4]] and B = [[5,6],[7,8]]: B A = [[23,34],[31,46]]; scripts/check_hf.py holds whole adapters against the library.
func TestMergedWeights(t *testing.T) {
	base := tensor.FromFloat32([]int64{2, 2}, []float32{1, 1, 1, 1})
	a, b := tensor.FromFloat32([]int64{2, 2}, []float32{1, 2, 3, 4}), tensor.FromFloat32([]int64{2, 2}, []float32{5, 6, 7, 8})
	for config, scale := range map[string]float32{
		`"r": 2, "lora_alpha": 2`:                      1,
		`"r": 2, "lora_alpha": 8`:                      4,
		`"r": 4, "lora_alpha": 8, "use_rslora": true`:  0, // of rank 2: refused below
		`"r": 2, "lora_alpha": 1, "bias": "lora_only"`: .5,
		`"r": 9, "lora_alpha": 8, "rank_pattern": {"qkv": 2}, "alpha_pattern": {"attn.qkv": 3}`:     1.5,
		`"r": 2, "lora_alpha": 4, "alpha_pattern": {"kv": 99, "b.attn.qkv": 7}`:                     3.5,
		`"r": 2, "lora_alpha": 4, "alpha_pattern": {"qkv.*x": 99}, "use_dora": false`:               2,
		`"r": 2, "lora_alpha": 4, "layer_replication": [], "target_parameters": null, "extra": [1]`: 2,
	} {
		state := tensors(map[string]*tensor.Tensor{"a.b.attn.qkv.weight": base, "a.b.attn.qkv.bias": ones(2)})
		v := newView((&nested{}).put("", "", state), "", state.names)
		m := &merged{view: v, with: map[string]*tensor.Tensor{}}
		adapter := (&nested{}).put("", "", tensors(map[string]*tensor.Tensor{peftPrefix + "a.b.attn.qkv.lora_A.weight": a, peftPrefix + "a.b.attn.qkv.lora_B.weight": b}))
		adapter.beside["adapter_config.json"] = `{"peft_type": "LORA", ` + config + `}`
		m, err := mergePEFT(m, adapter)
		if scale == 0 {
			require.ErrorContains(t, err, "have rank 2, want 4 as adapter_config.json says", config)
			continue
		}
		require.NoError(t, err, config)
		require.Equal(t, []float32{1 + scale*23, 1 + scale*34, 1 + scale*31, 1 + scale*46}, m.Get("a.b.attn.qkv.weight").Float32s(), config)
		require.Equal(t, []float32{1, 1}, m.Get("a.b.attn.qkv.bias").Float32s())
		require.Equal(t, []float32{1, 1, 1, 1}, base.Float32s(), "the base's tensor is as it was")
	}
	m := &merged{view: newView((&nested{}).put("", "", tensors(map[string]*tensor.Tensor{"x.weight": base})), "", []string{"x.weight"}), with: map[string]*tensor.Tensor{}}
	adapter := (&nested{}).put("", "", tensors(map[string]*tensor.Tensor{peftPrefix + "x.lora_A.weight": ones(4, 2), peftPrefix + "x.lora_B.weight": ones(2, 4)}))
	adapter.beside["adapter_config.json"] = `{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "use_rslora": true}`
	m, err := mergePEFT(m, adapter)
	require.NoError(t, err)
	require.Equal(t, []float32{17, 17, 17, 17}, m.Get("x.weight").Float32s(), "8 / sqrt 4, times 4")
}

// SAMed's pairs go to the queries (even) and the values (odd) of their block, never to its keys, and all but the image encoder is the file's.
func TestSAMedRows(t *testing.T) {
	base, lora := edit(t, small(t, "families/sam"), asItIs), edit(t, small(t, "recorded/samed"), asItIs)
	zero := func(not string) *nested {
		n := (&nested{}).put("", "", lora)
		for _, key := range n.keys {
			if strings.HasPrefix(key, "w_b_") && key != not {
				n.at[key] = tensor.FromFloat32(n.at[key].Dims(), make([]float32, n.at[key].Len()))
			}
		}
		return n
	}
	for pair, rows := range map[string][2]int64{"w_b_000": {0, 32}, "w_b_001": {64, 96}, "w_b_002": {0, 32}, "w_b_003": {64, 96}} {
		at := "image_encoder.blocks." + map[byte]string{'0': "0", '1': "0", '2': "1", '3': "1"}[pair[6]] + ".attn.qkv.weight"
		m, err := mergeSAMed(&merged{view: newView((&nested{}).put("", "", base), "", base.names), with: map[string]*tensor.Tensor{}}, &sam, zero(pair), Options{ImageSize: 128})
		require.NoError(t, err)
		for _, key := range []string{"image_encoder.blocks.0.attn.qkv.weight", "image_encoder.blocks.1.attn.qkv.weight"} {
			have, want := m.Get(key).Float32s(), base.get[key].Float32s()
			for row := range int64(96) {
				changed := key == at && row >= rows[0] && row < rows[1]
				require.Equal(t, !changed, have[row*32] == want[row*32] && have[row*32+31] == want[row*32+31], "%s: %s row %d", pair, key, row)
			}
		}
		require.Same(t, lora.get["mask_decoder.mask_tokens.weight"], m.Get("mask_decoder.mask_tokens.weight"))
	}
	m, _, err := Load((&nested{}).put("", "", base), Options{ImageSize: 128, Merge: "lora.pth", Adapter: (&nested{}).put("", "", lora)})
	require.NoError(t, err)
	require.Equal(t, "samed", m.Meta.Family)
	require.EqualValues(t, 5, m.Meta.Config["mask_tokens"])
}

// What cannot be merged is refused by name: what is missing, does not fit, is of another base, is no LoRA, or is more than a sum.
func TestMergeRefusals(t *testing.T) {
	base := edit(t, small(t, "families/sam"), asItIs)
	samedFile, peftFile := edit(t, small(t, "recorded/samed"), asItIs), edit(t, small(t, "recorded/peft"), asItIs)
	qkv := peftPrefix + "image_encoder.blocks.0.attn.qkv."
	with := func(file edited, change func(n *nested)) *nested {
		n := (&nested{}).put("", "", file)
		n.beside["adapter_config.json"] = threeOfSix
		if change != nil {
			change(n)
		}
		return n
	}
	set := func(key string, x *tensor.Tensor) func(n *nested) {
		return func(n *nested) {
			if x == nil {
				n.keys = slices.DeleteFunc(n.keys, func(k string) bool { return k == key })
				delete(n.at, key)
				return
			}
			if n.at[key] == nil {
				n.keys = append(n.keys, key)
			}
			n.at[key] = x
		}
	}
	config := func(text string) func(n *nested) {
		return func(n *nested) { n.beside["adapter_config.json"] = text }
	}
	for _, c := range []struct {
		name    string
		adapter *nested
		o       Options
		want    string
	}{
		{"no LoRA", with(base, nil), Options{}, "it is neither SAMed's LoRA file"},
		{"samed without a size", with(samedFile, nil), Options{}, "--image-size: missing"},
		{"samed, another family asked for", with(samedFile, nil), Options{ImageSize: 128, Family: "sam"}, `--family: have "sam", want samed`},
		{"samed, a pair missing", with(samedFile, set("w_a_003", nil)), Options{ImageSize: 128}, "have 3 pairs w_a, w_b, want 4"},
		{"samed, half a pair missing", with(samedFile, set("w_b_002", nil)), Options{ImageSize: 128}, "missing w_b_002"},
		{"samed, of a deeper base", with(samedFile, func(n *nested) { set("w_a_004", ones(3, 32))(n); set("w_b_004", ones(32, 3))(n) }), Options{ImageSize: 128}, "have 5 pairs"},
		{"samed, of a wider base", with(samedFile, set("w_a_000", ones(3, 64))), Options{ImageSize: 128}, "mis-shaped w_a_000: have [3 64], want [r,32]: it is of another base"},
		{"samed, another rank", with(samedFile, set("w_b_001", ones(32, 7))), Options{ImageSize: 128}, "mis-shaped w_b_001"},
		{"samed, integers", with(samedFile, set("w_b_001", tensor.FromInt64([]int64{32, 3}, make([]int64, 96)))), Options{ImageSize: 128}, "want float types"},
		{"samed, LoRA in the decoder", with(samedFile, set("sa_a_000", ones(3, 32))), Options{ImageSize: 128}, `unknown key "sa_a_000"`},
		{"samed, the decoder missing", with(samedFile, set("mask_decoder.iou_token.weight", nil)), Options{ImageSize: 128}, "missing mask_decoder.iou_token.weight"},
		{"peft, no configuration", with(peftFile, func(n *nested) { delete(n.beside, "adapter_config.json") }), Options{}, "adapter_config.json: missing beside it"},
		{"peft, no alpha", with(peftFile, config(`{"peft_type": "LORA", "r": 3}`)), Options{}, "r, lora_alpha: have 3 and 0"},
		{"peft, no rank", with(peftFile, config(`{"peft_type": "LORA", "lora_alpha": 3}`)), Options{}, "r, lora_alpha: have 0 and 3"},
		{"peft, another type", with(peftFile, config(`{"peft_type": "IA3"}`)), Options{}, `peft_type: have "IA3", want "LORA"`},
		{"peft, DoRA", with(peftFile, config(`{"peft_type": "LORA", "r": 3, "lora_alpha": 6, "use_dora": true}`)), Options{}, "use_dora: have true"},
		{"peft, transposed", with(peftFile, config(`{"peft_type": "LORA", "r": 3, "lora_alpha": 6, "fan_in_fan_out": true}`)), Options{}, "fan_in_fan_out"},
		{"peft, parameters", with(peftFile, config(`{"peft_type": "LORA", "r": 3, "lora_alpha": 6, "target_parameters": ["x"]}`)), Options{}, "target_parameters: have [x]"},
		{"peft, a changed base", with(peftFile, config(`{"peft_type": "LORA", "r": 3, "lora_alpha": 6, "init_lora_weights": "pissa"}`)), Options{}, `init_lora_weights: have "pissa"`},
		{"peft, no JSON", with(peftFile, config(`{`)), Options{}, "adapter_config.json: "},
		{"peft, another rank", with(peftFile, config(`{"peft_type": "LORA", "r": 4, "lora_alpha": 6}`)), Options{}, "have rank 3, want 4"},
		{"peft, two patterns", with(peftFile, config(`{"peft_type": "LORA", "r": 3, "lora_alpha": 6, "alpha_pattern": {"qkv": 1, "attn.qkv": 2}}`)), Options{}, "several patterns of different values"},
		{"peft, no A", with(peftFile, set(qkv+"lora_A.weight", nil)), Options{}, "missing " + qkv + "lora_A.weight"},
		{"peft, no B", with(peftFile, set(qkv+"lora_B.weight", nil)), Options{}, "missing " + qkv + "lora_B.weight"},
		{"peft, A of another base", with(peftFile, set(qkv+"lora_A.weight", ones(3, 64))), Options{}, "mis-shaped " + qkv + "lora_A.weight"},
		{"peft, B of another base", with(peftFile, set(qkv+"lora_B.weight", ones(192, 3))), Options{}, "mis-shaped " + qkv + "lora_B.weight"},
		{"peft, B transposed", with(peftFile, set(qkv+"lora_B.weight", ones(3, 96))), Options{}, "mis-shaped " + qkv + "lora_B.weight"},
		{"peft, A transposed", with(peftFile, set(qkv+"lora_A.weight", ones(32, 3))), Options{}, "mis-shaped " + qkv + "lora_A.weight"},
		{"peft, no such module", with(peftFile, set(peftPrefix+"vision_encoder.layers.0.lora_A.weight", ones(3, 32))), Options{}, `unknown target module "vision_encoder.layers.0"`},
		{"peft, a vector", with(peftFile, func(n *nested) {
			set(peftPrefix+"image_encoder.blocks.0.norm1.lora_A.weight", ones(3, 32))(n)
			set(peftPrefix+"image_encoder.blocks.0.norm1.lora_B.weight", ones(32, 3))(n)
		}), Options{}, "want a matrix"},
		{"peft, a magnitude", with(peftFile, set(qkv+"lora_magnitude_vector.weight", ones(96))), Options{}, "not a plain LoRA"},
		{"peft, a key that the base lacks", with(peftFile, set(peftPrefix+"classifier.weight", ones(2))), Options{}, "the base has no classifier.weight"},
		{"peft, a key of no model", with(peftFile, set("classifier.weight", ones(2))), Options{}, `unknown key "classifier.weight"`},
		{"peft, a saved module of another shape", with(peftFile, set(peftPrefix+"mask_decoder.iou_token.weight", ones(1, 64))), Options{}, "mis-shaped " + peftPrefix + "mask_decoder.iou_token.weight"},
		{"peft, both replaced and changed", with(peftFile, set(qkv+"base_layer.weight", ones(96, 32))), Options{}, "the file both replaces and changes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Merge, c.o.Adapter = "lora.file", c.adapter
			_, _, err := Load((&nested{}).put("", "", base), c.o)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "merge")
			require.NotContains(t, err.Error(), "\n")
		})
	}
	_, _, err := Load(edit(t, small(t, "families/lite-medsam"), asItIs), Options{Merge: "lora.pth", ImageSize: 128, Adapter: with(samedFile, nil)})
	require.ErrorContains(t, err, "SAMed's file changes a SAM ViT in SAM's own names; the base is of family lite-medsam")
	// A base that already has the adapter, as PEFT leaves a model that was not unloaded.
	unloaded := edit(t, small(t, "families/sam"), func(name string, x *tensor.Tensor) (string, *tensor.Tensor) {
		return strings.Replace(name, ".qkv.", ".qkv.base_layer.", 1), x
	})
	_, _, err = Load((&nested{}).put("", "", unloaded), Options{Merge: "lora.pth", Adapter: with(peftFile, nil)})
	require.Error(t, err)
}
