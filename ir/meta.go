package ir

// MaskBatch is the symbol of a decoder's mask prompts: one for all of its B prompts, or B. It has a name of its own because executors plan
// memory by the names of dimensions.
const MaskBatch = "B_mask"

// Meta is what a module knows beside its graphs. It goes into the artifact's manifest as it is.
type Meta struct {
	Family      string         `json:"family"`
	Config      map[string]any `json:"config"` // read off the checkpoint's shapes; values are int64, bool, string or []int64
	Preprocess  Preprocess     `json:"preprocess"`
	Postprocess Postprocess    `json:"postprocess"`
	Branch      []string       `json:"-"` // source paths of the modules whose convolutions int8 quantizes: the trainable CNN branch
	Linears     []string       `json:"-"` // source paths of the modules whose linear layers it can quantize: the ViT's blocks
	Both        bool           `json:"-"` // int8 takes both unless it is told otherwise; else the branch, where there is one
}

// Preprocess says how an image becomes the encoder's input. The words are those of reference/MODELS.md's systems.
type Preprocess struct {
	Size          int64      `json:"size"`                // S: side of the square input, pixels
	Channels      string     `json:"channels"`            // "RGB", or "grey": the mean of the channels, three times
	Resize        string     `json:"resize"`              // "longest_side": sizes int(x*scale+0.5), aspect kept; "stretch": to S x S
	Interpolation string     `json:"interpolation"`       // a row of imaging's table: "pil_bilinear", "pil_nearest", "nearest", "bilinear", "skimage_cubic", "scipy_zoom_cubic", "area"
	Normalize     string     `json:"normalize,omitempty"` // "": (x-mean)/std; "min_max": each image to [0,1]
	Mean          [3]float64 `json:"mean"`                // on the 0..255 scale; (x-mean)/std in float64, then rounded
	Std           [3]float64 `json:"std"`
	Pad           string     `json:"pad"`               // "after_normalize": zeros right and bottom, added last; "" where nothing is padded
	Prompts       string     `json:"prompts,omitempty"` // how coordinates follow: "": per axis by resized/original; "whole": by S/max(W,H), truncated to whole pixels
}

// Postprocess says how low-resolution logits become a mask at the image's size.
type Postprocess struct {
	Upsample   string  `json:"upsample"`             // "bilinear": half-pixel centres, to S x S, cropped, then to the original size; "bilinear_once": straight to it
	Activation string  `json:"activation,omitempty"` // "sigmoid": of the logits, before the threshold; with bilinear_once before upsampling
	Threshold  float32 `json:"threshold"`            // a pixel is foreground above it
	Side       int64   `json:"side,omitempty"`       // of the low-resolution logits, pixels; 0: S/4
	Mask       string  `json:"mask,omitempty"`       // which of M masks counts: "first" (or ""), "best_iou_multimask" (of all but the first), "first_plus_hq"
}
