package prompt

import (
	"syncsam-convert/ir/tensor"
	"syncsam-convert/pictures"
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

// planes makes the input of a model whose prompts are planes of it, float32 [prompts,5,S,S]: the grey image, the box filled
// with 1 (half-open, coordinates truncated), positive and negative clicks (one pixel each; a later click replaces an earlier one), and
// the logits of the prediction before. image holds the prepared grey channel first.
func planes(image *tensor.Tensor, f pictures.Frame, prompts []Prompt) *tensor.Tensor {
	s := f.S
	all := make([]float32, len(prompts)*planeCount*s*s)
	pixel := func(px, py float64) (int, int) {
		fx, fy := f.Point(px, py)
		return min(max(int(fx), 0), s), min(max(int(fy), 0), s)
	}
	for n, pr := range prompts {
		plane := func(i int) []float32 { return all[(n*planeCount+i)*s*s:][:s*s] }
		copy(plane(planeImage), image.Float32s())
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
			copy(plane(planeLogits), pr.Mask)
		}
	}
	return tensor.FromFloat32([]int64{int64(len(prompts)), planeCount, int64(s), int64(s)}, all)
}
