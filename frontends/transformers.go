package frontends

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"syncsam-convert/frontends/blocks"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// layoutTransformers are the names that Hugging Face's transformers has for SAM (SamModel).
const layoutTransformers = "transformers"

// transformersNames maps SAM's names to those of transformers: N stands for a number, * for the rest of a name. The first row that
// fits a name counts, in either direction. No tensor is reshaped or transposed between the two.
var transformersNames = parseNames(`
image_encoder.pos_embed                                     vision_encoder.pos_embed
image_encoder.patch_embed.proj.*                            vision_encoder.patch_embed.projection.*
image_encoder.blocks.N.norm1.*                              vision_encoder.layers.N.layer_norm1.*
image_encoder.blocks.N.norm2.*                              vision_encoder.layers.N.layer_norm2.*
image_encoder.blocks.N.*                                    vision_encoder.layers.N.*
image_encoder.neck.0.*                                      vision_encoder.neck.conv1.*
image_encoder.neck.1.*                                      vision_encoder.neck.layer_norm1.*
image_encoder.neck.2.*                                      vision_encoder.neck.conv2.*
image_encoder.neck.3.*                                      vision_encoder.neck.layer_norm2.*
prompt_encoder.pe_layer.positional_encoding_gaussian_matrix shared_image_embedding.positional_embedding
prompt_encoder.pe_layer.positional_encoding_gaussian_matrix prompt_encoder.shared_embedding.positional_embedding
prompt_encoder.point_embeddings.N.*                         prompt_encoder.point_embed.N.*
prompt_encoder.mask_downscaling.0.*                         prompt_encoder.mask_embed.conv1.*
prompt_encoder.mask_downscaling.1.*                         prompt_encoder.mask_embed.layer_norm1.*
prompt_encoder.mask_downscaling.3.*                         prompt_encoder.mask_embed.conv2.*
prompt_encoder.mask_downscaling.4.*                         prompt_encoder.mask_embed.layer_norm2.*
prompt_encoder.mask_downscaling.6.*                         prompt_encoder.mask_embed.conv3.*
mask_decoder.transformer.layers.N.norm1.*                   mask_decoder.transformer.layers.N.layer_norm1.*
mask_decoder.transformer.layers.N.norm2.*                   mask_decoder.transformer.layers.N.layer_norm2.*
mask_decoder.transformer.layers.N.norm3.*                   mask_decoder.transformer.layers.N.layer_norm3.*
mask_decoder.transformer.layers.N.norm4.*                   mask_decoder.transformer.layers.N.layer_norm4.*
mask_decoder.transformer.norm_final_attn.*                  mask_decoder.transformer.layer_norm_final_attn.*
mask_decoder.output_upscaling.0.*                           mask_decoder.upscale_conv1.*
mask_decoder.output_upscaling.1.*                           mask_decoder.upscale_layer_norm.*
mask_decoder.output_upscaling.3.*                           mask_decoder.upscale_conv2.*
mask_decoder.output_hypernetworks_mlps.N.layers.0.*         mask_decoder.output_hypernetworks_mlps.N.proj_in.*
mask_decoder.output_hypernetworks_mlps.N.layers.2.*         mask_decoder.output_hypernetworks_mlps.N.proj_out.*
mask_decoder.output_hypernetworks_mlps.N.layers.1.*         mask_decoder.output_hypernetworks_mlps.N.layers.0.*
mask_decoder.iou_prediction_head.layers.0.*                 mask_decoder.iou_prediction_head.proj_in.*
mask_decoder.iou_prediction_head.layers.2.*                 mask_decoder.iou_prediction_head.proj_out.*
mask_decoder.iou_prediction_head.layers.1.*                 mask_decoder.iou_prediction_head.layers.0.*
`)

// The matrix of the positional encoding may stand in a file twice, tied.
const (
	tiedFirst  = "shared_image_embedding.positional_embedding"
	tiedSecond = "prompt_encoder.shared_embedding.positional_embedding"
)

type namePair struct{ ours, theirs []string }

func parseNames(table string) []namePair {
	var rows []namePair
	for _, line := range strings.Split(strings.TrimSpace(table), "\n") {
		f := strings.Fields(line)
		rows = append(rows, namePair{strings.Split(f[0], "."), strings.Split(f[1], ".")})
	}
	return rows
}

// ours and theirs translate a name; one that no row fits is the same in both.
func ours(name string) string {
	for _, r := range transformersNames {
		if to, ok := translate(name, r.theirs, r.ours); ok {
			return to
		}
	}
	return name
}

func theirs(name string) string {
	for _, r := range transformersNames {
		if to, ok := translate(name, r.ours, r.theirs); ok {
			return to
		}
	}
	return name
}

// translate puts what N and * stand for in one pattern into the other.
func translate(name string, from, to []string) (string, bool) {
	steps := strings.Split(name, ".")
	var number, rest string
	for i, p := range from {
		switch {
		case i >= len(steps):
			return "", false
		case p == "*":
			rest = strings.Join(steps[i:], ".")
			steps = steps[:i+1]
		case p == "N":
			if _, err := strconv.ParseUint(steps[i], 10, 32); err != nil {
				return "", false
			}
			number = steps[i]
		case p != steps[i]:
			return "", false
		}
	}
	if len(steps) != len(from) {
		return "", false
	}
	out := slices.Clone(to)
	for i, p := range out {
		switch p {
		case "N":
			out[i] = number
		case "*":
			out[i] = rest
		}
	}
	return strings.Join(out, "."), true
}

// inSAMNames is a view under SAM's names where its keys are those of transformers' SamModel, the view itself otherwise.
func inSAMNames(v *view) *view {
	if v.Get("vision_encoder.patch_embed.projection.weight") == nil && v.Kind("vision_encoder.patch_embed.projection.weight") == "" ||
		v.Get("mask_decoder.hq_token.weight") != nil || v.Get("mask_decoder.iou_token.weight") == nil && v.Get("prompt_encoder.no_mask_embed.weight") == nil {
		return v
	}
	from := *v
	if a, b := v.Get(tiedFirst), v.Get(tiedSecond); a != nil && b != nil && tensor.Equal(a, b) {
		from.keys = slices.DeleteFunc(slices.Clone(v.keys), func(key string) bool { return key == tiedSecond })
	}
	r, err := from.renamed(ours)
	if err != nil { // two different matrices, or names of both layouts: the keys that are left over will be named
		r, _ = from.renamed(func(key string) string {
			if key == tiedSecond {
				return key
			}
			return ours(key)
		})
		if r == nil {
			return v
		}
	}
	r.layout = layoutTransformers
	return r
}

// transformersConfig is what config.json beside the weights tells and the weights do not.
type transformersConfig struct {
	ModelType string `json:"model_type"`
	Vision    struct {
		HiddenAct *string  `json:"hidden_act"`
		Eps       *float64 `json:"layer_norm_eps"`
		ImageSize *int64   `json:"image_size"`
		PatchSize *int64   `json:"patch_size"`
		Width     *int64   `json:"hidden_size"`
		Depth     *int64   `json:"num_hidden_layers"`
		Heads     *int64   `json:"num_attention_heads"`
		MLP       *int64   `json:"mlp_dim"`
		Out       *int64   `json:"output_channels"`
		Window    *int64   `json:"window_size"`
		Global    []int64  `json:"global_attn_indexes"`
		RelPos    *bool    `json:"use_rel_pos"`
		AbsPos    *bool    `json:"use_abs_pos"`
	} `json:"vision_config"`
	Prompt struct {
		HiddenAct *string  `json:"hidden_act"`
		Eps       *float64 `json:"layer_norm_eps"`
		ImageSize *int64   `json:"image_size"`
	} `json:"prompt_encoder_config"`
	Decoder struct {
		HiddenAct *string  `json:"hidden_act"`
		Eps       *float64 `json:"layer_norm_eps"`
		Heads     *int64   `json:"num_attention_heads"`
		IoUDepth  *int64   `json:"iou_head_depth"`
	} `json:"mask_decoder_config"`

	assumed bool // there was no file
}

// What transformers' SamConfig has where config.json does not tell.
const (
	transformersEps  = 1e-6
	transformersSize = 1024
)

// readConfig reads config.json beside the weights, nil when there is none.
func readConfig(f File) (*transformersConfig, error) {
	data, err := f.Beside("config.json")
	if err != nil || data == nil {
		return nil, err
	}
	c := &transformersConfig{}
	if err := json.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("config.json beside the weights: %w", err)
	}
	return c, nil
}

// configure sets what the weights' own package computes with; nil for SAM's layout.
func (p place) configure(w *blocks.Weights) (*transformersConfig, error) {
	if p.layout != layoutTransformers {
		return nil, nil
	}
	c, err := readConfig(p.file)
	if err != nil {
		return nil, err
	}
	if c == nil || c.ModelType == "" { // none, or another program's
		c = &transformersConfig{ModelType: "sam", assumed: true}
	}
	if c.ModelType != "sam" {
		return nil, fmt.Errorf("config.json: model_type: have %q, want \"sam\"", c.ModelType)
	}
	for _, e := range []struct {
		name string
		v    *float64
	}{{"vision_config.layer_norm_eps", c.Vision.Eps}, {"mask_decoder_config.layer_norm_eps", c.Decoder.Eps}} {
		if e.v != nil && !(*e.v > 0 && *e.v < 1) {
			return nil, fmt.Errorf("config.json: %s: have %g, want a number between 0 and 1", e.name, *e.v)
		}
	}
	w.EpsViT, w.EpsTwoWay = float32(or(c.Vision.Eps, transformersEps)), float32(or(c.Decoder.Eps, transformersEps))
	return c, nil
}

func or[T any](v *T, otherwise T) T {
	if v == nil {
		return otherwise
	}
	return *v
}

// check compares the configuration with what was built of the weights.
func (c *transformersConfig) check(m *ir.Module, o Options) error {
	type row struct {
		name       string
		have, want any
	}
	var rows []row
	if !c.assumed {
		rows = append(rows, row{"vision_config.hidden_act", or(c.Vision.HiddenAct, "gelu"), "gelu"}, row{"prompt_encoder_config.hidden_act", or(c.Prompt.HiddenAct, "gelu"), "gelu"},
			row{"mask_decoder_config.hidden_act", or(c.Decoder.HiddenAct, "relu"), "relu"}, row{"prompt_encoder_config.layer_norm_eps", or(c.Prompt.Eps, transformersEps), transformersEps},
			row{"vision_config.use_rel_pos", or(c.Vision.RelPos, true), true}, row{"vision_config.use_abs_pos", or(c.Vision.AbsPos, true), true},
			row{"mask_decoder_config.num_attention_heads", or(c.Decoder.Heads, blocks.DecoderHeads), int64(blocks.DecoderHeads)}, row{"mask_decoder_config.iou_head_depth", or(c.Decoder.IoUDepth, 3), int64(3)},
			row{"prompt_encoder_config.image_size", or(c.Prompt.ImageSize, transformersSize), or(c.Vision.ImageSize, transformersSize)})
	}
	told := func(name string, have *int64, key string) {
		if have != nil {
			rows = append(rows, row{"vision_config." + name, *have, m.Meta.Config[key]})
		}
	}
	told("patch_size", c.Vision.PatchSize, "patch_size")
	told("hidden_size", c.Vision.Width, "vit_dim")
	told("num_hidden_layers", c.Vision.Depth, "vit_depth")
	told("num_attention_heads", c.Vision.Heads, "vit_heads")
	told("mlp_dim", c.Vision.MLP, "vit_mlp_dim")
	told("output_channels", c.Vision.Out, "prompt_dim")
	if o.ImageSize == 0 {
		told("image_size", c.Vision.ImageSize, "image_size")
		grid := m.Meta.Config["image_size"].(int64) / m.Meta.Config["patch_size"].(int64)
		for i, have := range m.Meta.Config["vit_windows"].([]int64) {
			want := grid
			if !slices.Contains(c.Vision.Global, int64(i)) && c.Vision.Window != nil && *c.Vision.Window > 0 {
				want = *c.Vision.Window
			}
			if c.Vision.Window != nil && c.Vision.Global != nil {
				rows = append(rows, row{fmt.Sprintf("vision_config: the window of layer %d", i), want, have})
			}
		}
	}
	for _, r := range rows {
		if r.have != r.want {
			return fmt.Errorf("config.json: %s: have %v, want %v", r.name, r.have, r.want)
		}
	}
	return nil
}

// describe tells in the configuration which package's arithmetic was lowered.
func (c *transformersConfig) describe(m *ir.Module) {
	m.Meta.Config["layout"] = layoutTransformers
	m.Meta.Config["layer_norm_eps"] = or(c.Decoder.Eps, transformersEps)
	m.Meta.Config["vit_layer_norm_eps"] = or(c.Vision.Eps, transformersEps)
}

// readProcessor reads mean and deviation from preprocessor_config.json (or processor_config.json) beside the weights.
func readProcessor(f File) ([]constant, error) {
	type processor struct {
		Mean    []float64 `json:"image_mean"`
		Std     []float64 `json:"image_std"`
		Rescale *float64  `json:"rescale_factor"`
		Do      *bool     `json:"do_rescale"`
		Normal  *bool     `json:"do_normalize"`
	}
	for _, name := range []string{"preprocessor_config.json", "processor_config.json"} {
		data, err := f.Beside(name)
		if err != nil {
			return nil, err
		}
		if data == nil {
			continue
		}
		var c struct {
			processor
			Image *processor `json:"image_processor"`
		}
		if err := json.Unmarshal(data, &c); err != nil {
			return nil, fmt.Errorf("%s beside the weights: %w", name, err)
		}
		p := c.processor
		if c.Image != nil {
			p = *c.Image
		}
		if !or(p.Normal, true) {
			return nil, fmt.Errorf("%s: do_normalize: have false, want true", name)
		}
		scale := 1 / or(p.Rescale, 1.0/255)
		if !or(p.Do, true) {
			scale = 1
		}
		if !(scale > 0) || math.IsInf(scale, 0) {
			return nil, errors.New(name + ": rescale_factor: want a positive number")
		}
		var out []constant
		for key, v := range map[string][]float64{"image_mean": p.Mean, "image_std": p.Std} {
			if v == nil {
				continue
			}
			scaled := make([]float64, len(v))
			for i := range v {
				scaled[i] = v[i] * scale
			}
			out = append(out, constant{name: name + ": " + key, std: key == "image_std", v: scaled, scaled: true})
		}
		slices.SortFunc(out, func(a, b constant) int { return strings.Compare(a.name, b.name) })
		return out, nil
	}
	return nil, nil
}
