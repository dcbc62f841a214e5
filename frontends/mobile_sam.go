package frontends

import (
	"fmt"

	"syncsam-convert/frontends/blocks"
	"syncsam-convert/ir"
)

// mobileSAM is SAM's prompt encoder and decoder behind a TinyViT (MobileSAM). The classifier that TinyViT was distilled with lies unused in its
// checkpoints.
var mobileSAM = Family{
	Name:    "mobile-sam",
	Match:   tinyViT,
	Unused:  []string{"image_encoder.norm_head.", "image_encoder.head."},
	Ignored: []string{".num_batches_tracked", ".attention_bias_idxs"},
	Build: func(w *blocks.Weights) (*ir.Module, error) {
		return buildTinySAM(w, "mobile-sam", samPreprocess, samPostprocess)
	},
}

// tinyViT recognises an encoder whose first convolution has a batch normalization.
func tinyViT(w *blocks.Weights) bool { return w.Has("image_encoder.patch_embed.seq.0.c.weight") }

// buildTinySAM lowers a TinyViT with SAM's prompt encoder and decoder.
func buildTinySAM(w *blocks.Weights, family string, pre ir.Preprocess, post ir.Postprocess) (*ir.Module, error) {
	b := ir.NewBuilder("encoder")
	s := blocks.NewScope(b, w).In("image_encoder")
	v, err := readTinyViT(s)
	if err != nil {
		return nil, err
	}
	b.Output("image_embeddings", v.Encode(s, imageInput(b, v.Size)))
	encoder, err := b.Graph()
	if err != nil {
		return nil, err
	}
	decoder, err := samDecoder(w, encoded{v.Out, v.Grid, v.Size})
	if err != nil {
		return nil, err
	}
	config := map[string]any{"image_size": v.Size, "grid": v.Grid, "prompt_dim": v.Out, "decoder_heads": int64(blocks.DecoderHeads), "mask_tokens": int64(4)}
	for _, st := range v.Stages {
		add := func(key string, x int64) {
			list, _ := config[key].([]int64)
			config[key] = append(list, x)
		}
		add("tiny_dims", st.Dim)
		add("tiny_depths", st.Depth)
		add("tiny_heads", st.Heads)
		add("tiny_windows", st.Window)
		add("tiny_grids", st.Grid)
	}
	pre.Size = v.Size
	if 16*v.Grid != v.Size {
		post.Side = 4 * v.Grid
	}
	return &ir.Module{Graphs: []*ir.Graph{encoder, decoder}, Meta: ir.Meta{Family: family, Config: config, Preprocess: pre, Postprocess: post,
		Branch: []string{"image_encoder.neck"}, Linears: []string{"image_encoder.layers"}, Both: true}}, nil // TinyViT's convolutions in INT8 leave 16 dB of the embedding (RATIONALE.md)
}

// readTinyViT reads the encoder's configuration and checks what building relies on.
func readTinyViT(s blocks.Scope) (blocks.TinyViT, error) {
	v := blocks.ReadTinyViT(s)
	if len(v.Stages) == 0 {
		return v, fmt.Errorf("%s: there are no layers", s.Path)
	}
	for i, st := range v.Stages {
		switch at := fmt.Sprintf("%s.layers.%d", s.Path, i); {
		case st.Depth == 0:
			return v, fmt.Errorf("%s: there are no blocks", at)
		case st.Heads > 0 && st.Dim%st.Heads != 0:
			return v, fmt.Errorf("%s: width %d does not divide into %d heads", at, st.Dim, st.Heads)
		case st.Heads > 0 && st.Grid < st.Window:
			return v, fmt.Errorf("%s: an image size of %d leaves %d tokens a side, less than the window of %d", at, v.Size, st.Grid, st.Window)
		}
	}
	return v, nil
}
