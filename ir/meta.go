package ir

// Meta is what a module knows beside its graphs. It goes into the artifact's manifest as it is.
type Meta struct {
	Family      string         `json:"family"`
	Config      map[string]any `json:"config"` // read off the checkpoint's shapes; values are int64, bool, string or []int64
	Preprocess  Preprocess     `json:"preprocess"`
	Postprocess Postprocess    `json:"postprocess"`
	Branch      []string       `json:"-"` // source paths of the modules that int8 quantizes: the trainable CNN branch
}

// Preprocess says how an image becomes the encoder's input.
type Preprocess struct {
	Size          int64      `json:"size"`          // S: side of the square input, pixels
	Channels      string     `json:"channels"`      // channel order, "RGB"
	Resize        string     `json:"resize"`        // "longest_side": sizes int(x*scale+0.5), aspect kept
	Interpolation string     `json:"interpolation"` // "pil_bilinear": antialiased, 8-bit fixed point
	Mean          [3]float64 `json:"mean"`          // on the 0..255 scale; (x-mean)/std in float64, then rounded
	Std           [3]float64 `json:"std"`
	Pad           string     `json:"pad"` // "after_normalize": zeros right and bottom, added last
}

// Postprocess says how low-resolution logits become a mask at the image's size.
type Postprocess struct {
	Upsample  string  `json:"upsample"`  // "bilinear": half-pixel centres, to Size x Size, cropped, then to the original size
	Threshold float32 `json:"threshold"` // a pixel is foreground above it
}
