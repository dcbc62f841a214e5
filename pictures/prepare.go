package pictures

import (
	"fmt"
	"math"
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// A Frame says how an image of W x H pixels lies in the S x S input: in its upper left InW x InH pixels. Whole: prompts are whole pixels of it.
type Frame struct {
	W, H, InW, InH, S int
	Whole             bool
}

// NewFrame is the frame of a longest-side resize: sizes int(x * S/max(W,H) + 0.5), at least 1.
func NewFrame(w, h, s int) Frame {
	scale := float64(s) * 1.0 / float64(max(w, h))
	return Frame{w, h, max(int(float64(float64(w)*scale)+0.5), 1), max(int(float64(float64(h)*scale)+0.5), 1), s, false}
}

// Point scales original-image coordinates to the S x S frame, per axis by resized/original; whole pixels by S/max(W,H), truncated.
func (f Frame) Point(x, y float64) (float32, float32) {
	if f.Whole {
		scale := float64(f.S) / float64(max(f.W, f.H))
		return float32(math.Trunc(math.Trunc(x) * scale)), float32(math.Trunc(math.Trunc(y) * scale))
	}
	return float32(x * (float64(f.InW) / float64(f.W))), float32(y * (float64(f.InH) / float64(f.H)))
}

// A resizer gives the channels of an image of w x h as values on the 0..255 scale, row-major, channels last.
type resizer func(m *Image, w, h int) []float32

// resizers are the interpolations of ir.Preprocess.
var resizers = map[string]resizer{
	"pil_bilinear":     func(m *Image, w, h int) []float32 { return values(Resize(m, w, h)) },
	"pil_nearest":      func(m *Image, w, h int) []float32 { return values(nearest(m, w, h, pilNearest)) },
	"nearest":          func(m *Image, w, h int) []float32 { return values(nearest(m, w, h, cvNearest)) },
	"bilinear":         stretchBilinear,
	"skimage_cubic":    stretchCubic,
	"scipy_zoom_cubic": zoomCubic,
	"area":             func(m *Image, w, h int) []float32 { return values(area(m, w, h)) },
}

// Prepare makes the model's image input, float32 [1,3,S,S]: resized,
// normalised in float64 and rounded, then padded with zeros at the right and bottom.
func Prepare(m *Image, p ir.Preprocess) (*tensor.Tensor, Frame, error) {
	resize := resizers[p.Interpolation]
	switch {
	case resize == nil || p.Resize != "longest_side" && p.Resize != "stretch" || p.Channels != "RGB" && p.Channels != "grey" || p.Normalize != "" && p.Normalize != "min_max" ||
		p.Prompts != "" && p.Prompts != "whole":
		return nil, Frame{}, fmt.Errorf("preprocess: have channels %q, resize %q, interpolation %q, normalize %q, prompts %q: not known", p.Channels, p.Resize, p.Interpolation, p.Normalize, p.Prompts)
	case p.Size <= 0 || p.Size > 1<<14:
		return nil, Frame{}, fmt.Errorf("preprocess.size: have %d, want 1 to %d", p.Size, 1<<14)
	}
	s := int(p.Size)
	f := NewFrame(m.W, m.H, s)
	f.Whole = p.Prompts == "whole"
	if p.Resize == "stretch" {
		f.InW, f.InH = s, s
	}
	if p.Channels == "grey" {
		m = grey(m)
	}
	small := resize(m, f.InW, f.InH)
	shift, scale := p.Mean, p.Std
	if p.Normalize == "min_max" {
		lo, hi := float64(slices.Min(small)), float64(slices.Max(small))
		span := max(hi-lo, 1e-8)
		shift, scale = [3]float64{lo, lo, lo}, [3]float64{span, span, span}
	}
	x := make([]float32, 3*s*s)
	for c := range 3 {
		for y := range f.InH {
			row := x[(c*s+y)*s:]
			for i := range f.InW {
				row[i] = float32((float64(small[(y*f.InW+i)*3+c]) - shift[c]) / scale[c])
			}
		}
	}
	return tensor.FromFloat32([]int64{1, 3, int64(s), int64(s)}, x), f, nil
}
