package frontends

import (
	"fmt"

	"syncsam-convert/frontends/blocks"
	"syncsam-convert/ir"
)

// medicalSAMAdapter is SAM with two adapters in every block (Medical-SAM-Adapter, of every era). Depth_Adapter is of volumes alone, and in every file.
var medicalSAMAdapter = Family{
	Name:    "medical-sam-adapter",
	Match:   func(w *blocks.Weights) bool { return w.Has("image_encoder.blocks.0.Space_Adapter.D_fc1.weight") },
	Ignored: []string{".Depth_Adapter.D_fc1.weight", ".Depth_Adapter.D_fc1.bias", ".Depth_Adapter.D_fc2.weight", ".Depth_Adapter.D_fc2.bias"},
	Assumed: "Medical-SAM-Adapter's preprocessing changed with its versions; that of its last one is assumed for files with rel_h, pixels in [0,1] for others; files without relative positions do not tell their image size: 256 unless --image-size says another",
	Build: func(w *blocks.Weights) (*ir.Module, error) {
		pre := ir.Preprocess{Channels: "RGB", Resize: "stretch", Interpolation: "pil_bilinear", Std: [3]float64{255, 255, 255}}
		if w.Has("image_encoder.blocks.0.attn.rel_h") {
			pre.Mean, pre.Std = imageNetMean, imageNetStd
		}
		asked := w.ImageSize
		m, err := buildSAM(w, "medical-sam-adapter", pre, samPostprocess)
		if err == nil && asked > 0 && m.Meta.Preprocess.Size != asked {
			return nil, fmt.Errorf("--image-size: have %d, want %d, which the checkpoint's relative positions are of", asked, m.Meta.Preprocess.Size)
		}
		return m, err
	},
}
