package frontends

import (
	"fmt"

	"syncsam-convert/frontends/blocks"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// sam is SAM ViT-B, -L and -H and what has the same keys: MedSAM, ScribblePrompt-SAM, FT-SAM (paper, table 2). Keys cannot
// tell them apart; only the preprocessing differs.
var sam = Family{
	Name:    "sam",
	Match:   func(w *blocks.Weights) bool { return w.Has("image_encoder.pos_embed") },
	Build:   func(w *blocks.Weights) (*ir.Module, error) { return buildSAM(w, "", samPreprocess, samPostprocess) },
	Assumed: "MedSAM, FT-SAM and ScribblePrompt-SAM have the keys of SAM; SAM's preprocessing is assumed, --family chooses theirs",
}

var (
	samPreprocess  = ir.Preprocess{Channels: "RGB", Resize: "longest_side", Interpolation: "pil_bilinear", Mean: imageNetMean, Std: imageNetStd, Pad: "after_normalize"}
	samPostprocess = ir.Postprocess{Upsample: "bilinear", Threshold: 0, Mask: "first"}
	imageNetMean   = [3]float64{123.675, 116.28, 103.53}
	imageNetStd    = [3]float64{58.395, 57.12, 57.375}
)

// ftSAM is SAM with the mask decoder trained at 256 x 256.
var ftSAM = Family{
	Name:  "ft-sam",
	Match: func(*blocks.Weights) bool { return false }, // by name alone
	Build: func(w *blocks.Weights) (*ir.Module, error) {
		return buildSAM(w, "ft-sam", samPreprocess, samPostprocess)
	},
}

// medSAM stretches to S x S with a cubic spline and scales each image to [0,1]; its masks are upsampled as probabilities.
var medSAM = Family{
	Name:  "medsam",
	Match: func(*blocks.Weights) bool { return false },
	Build: func(w *blocks.Weights) (*ir.Module, error) {
		return buildSAM(w, "medsam", ir.Preprocess{Channels: "RGB", Resize: "stretch", Interpolation: "skimage_cubic", Normalize: "min_max", Std: [3]float64{1, 1, 1}},
			ir.Postprocess{Upsample: "bilinear_once", Activation: "sigmoid", Threshold: 0.5, Mask: "first"})
	},
}

// scribblePromptSAM takes a grey image, stretched bilinearly without antialiasing; the mask of best predicted IoU counts.
var scribblePromptSAM = Family{
	Name:  "scribbleprompt-sam",
	Match: func(*blocks.Weights) bool { return false },
	Build: func(w *blocks.Weights) (*ir.Module, error) {
		return buildSAM(w, "scribbleprompt-sam", ir.Preprocess{Channels: "grey", Resize: "stretch", Interpolation: "bilinear", Mean: imageNetMean, Std: imageNetStd},
			ir.Postprocess{Upsample: "bilinear", Threshold: 0, Mask: "best_iou_multimask"})
	},
}

// buildSAM lowers SAM; without a name the width tells which it is.
func buildSAM(w *blocks.Weights, family string, pre ir.Preprocess, post ir.Postprocess) (*ir.Module, error) {
	root := blocks.NewScope(ir.NewBuilder(""), w)
	vit, err := readViT(root.In("image_encoder"))
	if err != nil {
		return nil, err
	}
	encoder, err := samEncoder(w, vit)
	if err != nil {
		return nil, err
	}
	decoder, err := samDecoder(w, encodedBy(vit))
	if err != nil {
		return nil, err
	}
	if family == "" {
		family = sized("sam", vit)
	}
	return samModule(family, vit, pre, post, encoder, decoder), nil
}

// sized is a family's name with the size of its ViT, where the width is one of SAM's.
func sized(family string, v blocks.ViT) string {
	return family + map[int64]string{768: "-vit-b", 1024: "-vit-l", 1280: "-vit-h"}[v.Dim]
}

// readViT reads an image encoder's configuration and checks what building relies on.
func readViT(s blocks.Scope) (blocks.ViT, error) {
	v := blocks.ReadViT(s)
	switch {
	case v.Depth == 0:
		return v, fmt.Errorf("%s: there are no blocks", s.Path)
	case v.Dim%v.Heads != 0:
		return v, fmt.Errorf("%s: width %d does not divide into %d heads", s.Path, v.Dim, v.Heads)
	case s.W.ImageSize%v.Patch != 0 || v.Grid == 0:
		return v, fmt.Errorf("%s: an image size of %d is not a multiple of the patch size %d", s.Path, s.W.ImageSize, v.Patch)
	}
	return v, nil
}

// samModule puts a SAM-like model together.
func samModule(family string, vit blocks.ViT, pre ir.Preprocess, post ir.Postprocess, graphs ...*ir.Graph) *ir.Module {
	pre.Size = vit.Size()
	return &ir.Module{Graphs: graphs, Meta: ir.Meta{Family: family, Config: vitConfig(vit), Preprocess: pre, Postprocess: post,
		Linears: []string{"image_encoder.blocks"}}}
}

func vitConfig(v blocks.ViT) map[string]any {
	return map[string]any{
		"image_size": v.Size(), "patch_size": v.Patch, "vit_dim": v.Dim, "vit_depth": v.Depth, "vit_heads": v.Heads, "vit_mlp_dim": v.MLP,
		"vit_windows": v.Window, "prompt_dim": v.Out, "decoder_heads": int64(blocks.DecoderHeads), "mask_tokens": int64(4),
	}
}

// samEncoder: image [N,3,S,S] -> image_embeddings [N,C,h,h].
func samEncoder(w *blocks.Weights, vit blocks.ViT) (*ir.Graph, error) {
	b := ir.NewBuilder("encoder")
	s := blocks.NewScope(b, w).In("image_encoder")
	b.Output("image_embeddings", vit.Neck(s, tokensOf(s, vit, func(int64, *ir.Value) {})))
	return b.Graph()
}

// tokensOf runs the image input through the ViT at s; each sees every block's tokens.
func tokensOf(s blocks.Scope, vit blocks.ViT, each func(block int64, x *ir.Value)) *ir.Value {
	x := vit.PatchEmbed(s, imageInput(s.Builder, vit.Size()))
	for i := range vit.Depth {
		x = vit.Block(s, x, i)
		each(i, x)
	}
	return x
}

func imageInput(b *ir.Builder, size int64) *ir.Value {
	return b.Input("image", tensor.Float32, tensor.Symbol("N"), tensor.Static(3), tensor.Static(size), tensor.Static(size))
}

// samDecoder: one mask per mask token, the single-mask token first, and their predicted IoU.
func samDecoder(w *blocks.Weights, e encoded) (*ir.Graph, error) {
	b := ir.NewBuilder("decoder")
	root := blocks.NewScope(b, w)
	md := root.In("mask_decoder")
	d := startDecoder(b, decoderSpec{prompt: root.In("prompt_encoder"), sam: md, learned: []blocks.Scope{md.In("iou_token"), md.In("mask_tokens")}, encoded: e})
	d.output(d.masks(md, w.Shape("mask_decoder.mask_tokens.weight", 2)[0], d.upscaled))
	b.Output("iou_predictions", d.iou(md))
	return b.Graph()
}
