package frontends

import (
	"syncsam-convert/frontends/blocks"
	"syncsam-convert/ir"
)

// liteMedSAM is MedSAM's light model: MobileSAM's layers on images of 256 x 256, which its first convolutions (1 x 1) do not shrink. Boxes are
// its only prompts, in whole pixels.
var liteMedSAM = Family{
	Name: "lite-medsam",
	Match: func(w *blocks.Weights) bool {
		return tinyViT(w) && w.Shape("image_encoder.patch_embed.seq.0.c.weight", 4)[2] == 1
	},
	Ignored: mobileSAM.Ignored,
	Build: func(w *blocks.Weights) (*ir.Module, error) {
		return buildTinySAM(w, "lite-medsam",
			ir.Preprocess{Channels: "RGB", Resize: "longest_side", Interpolation: "area", Normalize: "min_max", Std: [3]float64{1, 1, 1}, Pad: "after_normalize", Prompts: "whole"},
			ir.Postprocess{Upsample: "bilinear", Activation: "sigmoid", Threshold: 0.5, Mask: "first"})
	},
}
