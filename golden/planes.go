package golden

import (
	"context"
	"fmt"

	"syncsam-convert/artifact"
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

// Planes makes the input of a one-graph model whose prompts are planes of it, float32 [prompts,5,S,S]: the grey image, the box filled
// with 1 (half-open, coordinates truncated), positive and negative clicks (one pixel each; a later click replaces an earlier one), and
// the logits of the prediction before. image holds the prepared grey channel first.
func Planes(image *tensor.Tensor, f pictures.Frame, prompts ...Prompt) (*tensor.Tensor, error) {
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
			if len(pr.Mask) != s*s {
				return nil, fmt.Errorf("prompt: the mask has %d logits, want %d x %d", len(pr.Mask), s, s)
			}
			copy(plane(planeLogits), pr.Mask)
		}
	}
	return tensor.FromFloat32([]int64{int64(len(prompts)), planeCount, int64(s), int64(s)}, all), nil
}

// predictPlanes runs a one-graph model for one prompt.
func (p *Predictor) predictPlanes(ctx context.Context, e *Embedded, pr Prompt) (*Prediction, error) {
	x, err := Planes(e.Features["image"], e.Frame, pr)
	if err != nil {
		return nil, err
	}
	out, err := p.model.Run(ctx, map[string]*tensor.Tensor{"input": x})
	if err != nil {
		return nil, err
	}
	s := e.Frame.S
	logits := out["logits"]
	if logits == nil || logits.Len() != int64(s*s) {
		return nil, fmt.Errorf("model: logits: want float32 [1,1,%d,%d]", s, s)
	}
	m, err := pictures.MaskOf(logits.Float32s(), s, e.Frame, p.man.Postprocess)
	return &Prediction{m, logits.Float32s(), s}, err
}

// Middle is the box around an image's middle half: a prompt that fits any image.
func Middle(f pictures.Frame) *[4]float64 {
	w, h := float64(f.W), float64(f.H)
	return &[4]float64{w / 4, h / 4, 3 * w / 4, 3 * h / 4}
}

// EncoderInputs prepares a picture for the graph of an artifact that reads it: "image" [1,3,S,S], or, where prompts are planes,
// "input" [1,5,S,S] with a box around the image's middle half.
func EncoderInputs(m *pictures.Image, man *artifact.Manifest) (map[string]*tensor.Tensor, error) {
	x, f, err := pictures.Prepare(m, man.Preprocess)
	if err != nil || man.Encoder() != artifact.OneGraph {
		return map[string]*tensor.Tensor{"image": x}, err
	}
	x, err = Planes(x, f, Prompt{Box: Middle(f)})
	return map[string]*tensor.Tensor{"input": x}, err
}
