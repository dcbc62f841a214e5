package frontends

import (
	"fmt"

	"syncsam-convert/frontends/blocks"
	"syncsam-convert/ir"
)

// samMed2D is SAM at 256 with an Adapter in every block (paper, table 2: adapter-tuned SAM). It resizes by nearest neighbour and
// takes the best of the three multimask outputs.
var samMed2D = Family{
	Name:  "sam-med2d",
	Match: func(w *blocks.Weights) bool { return w.Has("image_encoder.blocks.0.Adapter.norm.weight") },
	Build: func(w *blocks.Weights) (*ir.Module, error) {
		if g := w.Shape("image_encoder.pos_embed", 4)[1]; g%2 != 0 && w.Has("image_encoder.pos_embed") {
			return nil, fmt.Errorf("image_encoder.pos_embed: a grid of %d tokens a side cannot be halved", g)
		}
		m, err := buildSAM(w, "sam-med2d", ir.Preprocess{Channels: "RGB", Resize: "stretch", Interpolation: "nearest", Mean: imageNetMean, Std: imageNetStd},
			ir.Postprocess{Upsample: "bilinear", Activation: "sigmoid", Threshold: 0.5, Mask: "best_iou_multimask"})
		if err != nil {
			return nil, err
		}
		for i := range m.Meta.Config["vit_depth"].(int64) {
			m.Meta.Branch = append(m.Meta.Branch, fmt.Sprintf("image_encoder.blocks.%d.Adapter", i))
		}
		return m, nil
	},
}
