package frontends

import (
	"errors"
	"slices"

	"syncsam-convert/frontends/blocks"
	"syncsam-convert/ir"
)

// samHQ is SAM with a high-quality token: a fifth mask from the upscaled map, the embedding and the first global block's tokens.
var samHQ = Family{
	Name:  "sam-hq",
	Match: func(w *blocks.Weights) bool { return w.Has("mask_decoder.hf_token.weight") },
	Build: buildSAMHQ,
}

func buildSAMHQ(w *blocks.Weights) (*ir.Module, error) {
	root := blocks.NewScope(ir.NewBuilder(""), w)
	vit, err := readViT(root.In("image_encoder"))
	if err != nil {
		return nil, err
	}
	b := ir.NewBuilder("encoder")
	s := blocks.NewScope(b, w).In("image_encoder")
	first := int64(slices.Index(vit.Window, vit.Grid)) // the first global block
	var interm *ir.Value
	x := tokensOf(s, vit, func(i int64, x *ir.Value) {
		if i == first {
			interm = x
		}
	})
	b.Output("image_embeddings", vit.Neck(s, x))
	if interm == nil {
		return nil, errors.New("image_encoder: no block attends globally")
	}
	b.Output("interm_embeddings", interm)
	encoder, err := b.Graph()
	if err != nil {
		return nil, err
	}
	decoder, err := samHQDecoder(w, vit)
	if err != nil {
		return nil, err
	}
	post := samPostprocess
	post.Mask = "first_plus_hq"
	return samModule(sized("sam-hq", vit), vit, samPreprocess, post, encoder, decoder), nil
}

// samHQDecoder: SAM's masks, then the HQ mask.
func samHQDecoder(w *blocks.Weights, vit blocks.ViT) (*ir.Graph, error) {
	b := ir.NewBuilder("decoder")
	root := blocks.NewScope(b, w)
	md, h := root.In("mask_decoder"), vit.Grid
	d := startDecoder(b, decoderSpec{prompt: root.In("prompt_encoder"), sam: md,
		learned:  []blocks.Scope{md.In("iou_token"), md.In("mask_tokens"), md.In("hf_token")},
		features: []feature{{"interm_embeddings", []int64{1, h, h, vit.Dim}}}, encoded: encodedBy(vit)})
	m := w.Shape("mask_decoder.mask_tokens.weight", 2)[0]
	fine := md.Add(md.In("embedding_encoder").Upscale(d.in["image_embeddings"]), md.In("compress_vit_feat").Upscale(md.Transpose(d.in["interm_embeddings"], 0, 3, 1, 2)))
	features := md.Add(md.In("embedding_maskfeature").MaskFeature(d.upscaled), fine)
	hq := d.product(md, md.In("hf_mlp").MLP(d.token(md, 1+m, 1)), features)
	d.output(md.Concat(1, d.masks(md, m, d.upscaled), hq))
	b.Output("iou_predictions", d.iou(md))
	return b.Graph()
}
