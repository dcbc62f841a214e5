package imaging

import (
	"fmt"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// A Frame says how an image of W x H pixels lies in the S x S input: in its upper left InW x InH pixels.
type Frame struct{ W, H, InW, InH, S int }

// NewFrame is the frame of a longest-side resize: sizes int(x * S/max(W,H) + 0.5), at least 1.
func NewFrame(w, h, s int) Frame {
	scale := float64(s) * 1.0 / float64(max(w, h))
	return Frame{w, h, max(int(float64(w)*scale+0.5), 1), max(int(float64(h)*scale+0.5), 1), s}
}

// Point scales original-image coordinates to the S x S frame, per axis by resized/original.
func (f Frame) Point(x, y float64) (float32, float32) {
	return float32(x * (float64(f.InW) / float64(f.W))), float32(y * (float64(f.InH) / float64(f.H)))
}

// Prepare makes the encoder's input, float32 [1,3,S,S]: resized as PIL does it, (x-mean)/std in float64 and rounded, then padded with
// zeros at the right and bottom.
func Prepare(m *Image, p ir.Preprocess) (*tensor.Tensor, Frame, error) {
	switch {
	case p.Resize != "longest_side" || p.Interpolation != "pil_bilinear" || p.Pad != "after_normalize" || p.Channels != "RGB":
		return nil, Frame{}, fmt.Errorf("preprocess: have channels %q, resize %q, interpolation %q, pad %q: not known", p.Channels, p.Resize, p.Interpolation, p.Pad)
	case p.Size <= 0 || p.Size > 1<<14:
		return nil, Frame{}, fmt.Errorf("preprocess.size: have %d, want 1 to %d", p.Size, 1<<14)
	}
	s := int(p.Size)
	f := NewFrame(m.W, m.H, s)
	small := Resize(m, f.InW, f.InH)
	x := make([]float32, 3*s*s)
	for c := range 3 {
		mean, std := p.Mean[c], p.Std[c]
		for y := range f.InH {
			row := x[(c*s+y)*s:]
			for i := range f.InW {
				row[i] = float32((float64(small.Pix[(y*f.InW+i)*3+c]) - mean) / std)
			}
		}
	}
	return tensor.FromFloat32([]int64{1, 3, int64(s), int64(s)}, x), f, nil
}
