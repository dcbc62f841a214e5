package golden

import (
	"context"
	"fmt"

	"syncsam-convert/golden/imaging"
	"syncsam-convert/ir/tensor"
)

// Planes of ScribblePrompt-UNet's input.
const (
	planeImage = iota
	planeBox
	planePositive
	planeNegative
	planeLogits
	planeCount
)

// predictPlanes runs a one-graph model whose prompts are planes of its input [1,5,S,S]: the grey image, the box filled with 1
// (half-open, coordinates truncated), positive and negative clicks (one pixel each; a later click replaces an earlier one), and the
// logits of the prediction before.
func (p *Predictor) predictPlanes(ctx context.Context, e *Embedded, pr Prompt) (*Prediction, error) {
	s := int(p.man.Preprocess.Size)
	x := make([]float32, planeCount*s*s)
	copy(x, e.Features["image"].Float32s()[:s*s])
	plane := func(i int) []float32 { return x[i*s*s : (i+1)*s*s] }
	pixel := func(px, py float64) (int, int) {
		fx, fy := e.Frame.Point(px, py)
		return min(max(int(fx), 0), s), min(max(int(fy), 0), s)
	}
	if b := pr.Box; b != nil {
		x0, y0 := pixel(b[0], b[1])
		x1, y1 := pixel(b[2], b[3])
		for y := y0; y < y1; y++ {
			for i := x0; i < x1; i++ {
				plane(planeBox)[y*s+i] = 1
			}
		}
	}
	for i, xy := range pr.Points {
		cx, cy := pixel(xy[0], xy[1])
		at := min(cy, s-1)*s + min(cx, s-1)
		plane(planePositive)[at], plane(planeNegative)[at] = float32(pr.Labels[i]), float32(1-pr.Labels[i])
	}
	if pr.Mask != nil {
		if len(pr.Mask) != s*s {
			return nil, fmt.Errorf("prompt: the mask has %d logits, want %d x %d", len(pr.Mask), s, s)
		}
		copy(plane(planeLogits), pr.Mask)
	}
	out, err := p.model.Run(ctx, map[string]*tensor.Tensor{"input": tensor.FromFloat32([]int64{1, planeCount, int64(s), int64(s)}, x)})
	if err != nil {
		return nil, err
	}
	logits := out["logits"]
	if logits == nil || logits.Len() != int64(s*s) {
		return nil, fmt.Errorf("model: logits: want float32 [1,1,%d,%d]", s, s)
	}
	m, err := imaging.MaskOf(logits.Float32s(), s, e.Frame, p.man.Postprocess)
	return &Prediction{m, logits.Float32s(), s}, err
}
