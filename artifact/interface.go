package artifact

// An Interface says how an artifact's graphs are called: enough to write a client from the manifest alone.
type Interface struct {
	Graphs      []GraphInterface  `json:"graphs"`
	Image       ImageInterface    `json:"image"`
	Labels      map[string]string `json:"labels,omitempty"` // of points, by code
	Coordinates *Coordinates      `json:"coordinates,omitempty"`
	MaskInput   *MaskInput        `json:"mask_input,omitempty"`
	Mask        MaskInterface     `json:"mask"`
}

// A GraphInterface lists one file's inputs and outputs.
type GraphInterface struct {
	File    string `json:"file"`
	Inputs  []Port `json:"inputs"`
	Outputs []Port `json:"outputs"`
}

// A Port is an input or an output. Dims are numbers, or names of sizes that the caller chooses or values tell.
type Port struct {
	Name    string `json:"name"`
	Dims    []any  `json:"dims"`
	DType   string `json:"dtype"`
	Meaning string `json:"meaning"`
}

// ImageInterface says what the graph that reads the image takes.
type ImageInterface struct {
	Input         string     `json:"input"`
	Layout        string     `json:"layout"`        // NCHW, HWC or CHW
	Channels      string     `json:"channels"`      // RGB, or grey: the mean of the channels
	Values        string     `json:"values"`        // what a number is: "normalized": (x - mean) / std of 0 to 255; "min_max": (x - least) / (greatest - least, at least 1e-8) of all numbers of the resized picture; "0-255"; "0-1"
	ResizedBy     string     `json:"resized_by"`    // caller, or graph: the picture goes in at its own size
	Side          int64      `json:"side"`          // of the square that the model sees, pixels
	Frame         int64      `json:"frame"`         // of the square that the caller fills; 0: the picture's own size
	Resize        string     `json:"resize"`        // longest_side: the longer side becomes Side, the other keeps the aspect; stretch: both become Side
	Rounding      string     `json:"rounding"`      // of the other side
	Interpolation string     `json:"interpolation"` // a word of preprocess. pil_bilinear resizes the width first, then the height, with bytes between, as Pillow up to 12 does; Pillow 13 does not always, unless it is asked for one axis at a time
	Mean          [3]float64 `json:"mean"`
	Std           [3]float64 `json:"std"`
	Padding       string     `json:"padding"`
}

// Coordinates says what point_coords are.
type Coordinates struct {
	Order   string `json:"order"`
	Scale   string `json:"scale"`           // of coordinates in the original picture
	Whole   bool   `json:"whole,omitempty"` // both axes go by one factor, and are truncated to whole pixels before it and behind it
	Frame   int64  `json:"frame"`           // side of the square that they are in
	Box     string `json:"box"`             // how a box becomes points
	Padding string `json:"padding_point"`   // caller: (0,0) with label -1 is appended where there is no box; graph: it is put right inside
}

// MaskInput says what a prediction before is given back as.
type MaskInput struct {
	Side   int64  `json:"side"`
	Values string `json:"values"`
	None   string `json:"none"`
}

// MaskInterface says how outputs become one mask.
type MaskInterface struct {
	Output     string     `json:"output"`
	Masks      int64      `json:"masks"`                // M
	Choose     string     `json:"choose"`               // first; best_iou_multimask: of all but the first that of the largest iou_predictions; first_plus_hq: the first and the last added; classes: one a class, background first; the whole output where M is 1
	Steps      []MaskStep `json:"steps"`                // from logits to the picture's size
	Activation string     `json:"activation,omitempty"` // of what the steps give, before the threshold
	Threshold  float32    `json:"threshold"`            // a pixel is foreground above it
}

// A MaskStep is one of them. Bilinear has half-pixel centres, no antialiasing, and clamps at the border.
type MaskStep struct {
	Do string `json:"do"`           // bilinear, crop, sigmoid
	To string `json:"to,omitempty"` // square: side x side; resized: what the picture takes of it; original: the picture's size
}
