package frontends

import (
	"syncsam-convert/frontends/blocks"
	"syncsam-convert/ir"
)

// samed is SAM with LoRA in its image encoder and a mask for each class, the background first; no prompt is needed. Its weights are two files,
// which --merge joins. What its classes are on a picture is told and not run: who asks for a picture's mask gets an error that says so.
var samed = Family{
	Name:  "samed",
	Match: func(*blocks.Weights) bool { return false }, // by the LoRA file
	Build: func(w *blocks.Weights) (*ir.Module, error) {
		m, err := buildSAM(w, "samed", ir.Preprocess{Channels: "RGB", Resize: "stretch", Interpolation: "scipy_zoom_cubic", Std: [3]float64{255, 255, 255}},
			ir.Postprocess{Upsample: "bilinear", Activation: "softmax", Mask: "classes"})
		if err == nil {
			m.Meta.Config["mask_tokens"] = w.Shape("mask_decoder.mask_tokens.weight", 2)[0]
		}
		return m, err
	},
}
