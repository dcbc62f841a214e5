// Package prompt is the one description of how prompts reach a model's graphs: which inputs they have, and what a user's box, clicks and
// mask become in them. Prediction, verification, calibration and plans all go through it.
package prompt

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/pictures"
)

// A Prompt is what a user gives for one mask, in original-image pixels.
type Prompt struct {
	Box    *[4]float64  // x0, y0, x1, y1
	Points [][2]float64 // x, y
	Labels []int        // of each point: 1 foreground, 0 background
	Mask   []float32    // low-resolution logits of an earlier prediction, nil for none
	Text   []float32    // text embedding, of models that take one; nil for none
}

// check refuses what no model can take.
func (p Prompt) check(logits int64) error {
	switch {
	case len(p.Points) != len(p.Labels):
		return fmt.Errorf("prompt: have %d points and %d labels", len(p.Points), len(p.Labels))
	case p.Box == nil && len(p.Points) == 0 && p.Text == nil:
		return errors.New("prompt: have neither a box nor a point")
	case p.Mask != nil && int64(len(p.Mask)) != logits*logits:
		return fmt.Errorf("prompt: the mask has %d logits, want %d x %d", len(p.Mask), logits, logits)
	}
	return nil
}

// Within refuses a prompt that does not lie on an image of w x h pixels.
func (p Prompt) Within(w, h int) error {
	corners := slices.Clone(p.Points)
	if b := p.Box; b != nil {
		corners = append(corners, [2]float64{b[0], b[1]}, [2]float64{b[2], b[3]})
	}
	for _, c := range corners {
		if !(c[0] >= 0 && c[1] >= 0 && c[0] <= float64(w) && c[1] <= float64(h)) {
			return fmt.Errorf("a prompt at %g,%g is outside its %d x %d pixels", c[0], c[1], w, h)
		}
	}
	return nil
}

// Probes are prompts that fit any image and together reach every part of a model: a box around its middle half, a click in its centre,
// and the click as background with the logits that the second one gave (Probes(f, nil) leaves them out).
func Probes(f pictures.Frame, logits []float32) []Prompt {
	w, h := float64(f.W), float64(f.H)
	centre := [][2]float64{{w / 2, h / 2}}
	return []Prompt{{Box: &[4]float64{w / 4, h / 4, 3 * w / 4, 3 * h / 4}}, {Points: centre, Labels: []int{1}}, {Points: centre, Labels: []int{0}, Mask: logits}}
}

// An Interface is how one model takes prompts: beside an encoded image, as points (SAM and its relatives), or as planes of its one
// graph's input.
type Interface struct {
	OneGraph bool  // "model" takes image and prompts at once; else "encoder" and "decoder"
	Size     int64 // S: side of the square input
	Low      int64 // side of the low-resolution logits; 0: S/4
	Choose   string
}

// Of is the interface of a model, whose graphs are one or two.
func Of(meta ir.Meta, oneGraph bool) Interface {
	return Interface{oneGraph, meta.Preprocess.Size, meta.Postprocess.Side, meta.Postprocess.Mask}
}

// OfModule is the interface of a module.
func OfModule(m *ir.Module) Interface { return Of(m.Meta, m.Graph("encoder") == nil) }

// Side is that of the logits: the masks' low resolution.
func (i Interface) Side() int64 {
	switch {
	case i.OneGraph:
		return i.Size
	case i.Low > 0:
		return i.Low
	}
	return i.Size / 4
}

// Image is what the graph that reads the image takes of a prepared one, x [1,3,S,S]; where prompts are planes, of prompts with it.
func (i Interface) Image(x *tensor.Tensor, f pictures.Frame, prompts ...Prompt) (map[string]*tensor.Tensor, error) {
	if !i.OneGraph {
		return map[string]*tensor.Tensor{"image": x}, nil
	}
	for _, p := range prompts {
		if err := p.check(i.Side()); err != nil {
			return nil, err
		}
	}
	return map[string]*tensor.Tensor{"input": planes(x, f, prompts)}, nil
}

// Decoder is what the decoder takes: what the encoder gave, as far as the decoder has an input of the name, and one prompt. Points without
// a box get SAM's padding point (0,0) with label -1; a text alone gets none.
func (i Interface) Decoder(encoded map[string]*tensor.Tensor, inputs []string, f pictures.Frame, p Prompt) (map[string]*tensor.Tensor, error) {
	side := i.Side()
	if err := p.check(side); err != nil {
		return nil, err
	}
	var coords, labels []float32
	add := func(x, y float64, label int) {
		fx, fy := f.Point(x, y)
		coords, labels = append(coords, fx, fy), append(labels, float32(label))
	}
	for k, xy := range p.Points {
		add(xy[0], xy[1], p.Labels[k])
	}
	if b := p.Box; b != nil {
		add(b[0], b[1], 2)
		add(b[2], b[3], 3)
	} else if len(p.Points) > 0 {
		add(0, 0, -1)
	}
	n, mask, has := int64(len(labels)), p.Mask, float32(1)
	if mask == nil {
		mask, has = make([]float32, side*side), 0
	}
	all := map[string]*tensor.Tensor{
		"point_coords": tensor.FromFloat32([]int64{1, n, 2}, coords), "point_labels": tensor.FromFloat32([]int64{1, n}, labels),
		"mask_input": tensor.FromFloat32([]int64{1, 1, side, side}, mask), "has_mask_input": tensor.FromFloat32([]int64{1}, []float32{has}),
	}
	if p.Text != nil {
		if !slices.Contains(inputs, "text_embedding") {
			return nil, errors.New("prompt: have a text, which the model does not take")
		}
		all["text_embedding"] = tensor.FromFloat32([]int64{1, int64(len(p.Text))}, p.Text)
	}
	for name, t := range encoded {
		if slices.Contains(inputs, name) {
			all[name] = t
		}
	}
	if slices.Contains(inputs, "orig_im_size") {
		all["orig_im_size"] = tensor.FromFloat32([]int64{2}, []float32{float32(f.H), float32(f.W)})
	}
	return all, nil
}

// classes says that masks are classes and none the answer to a prompt.
const classes = "classes"

// Feedback is logits that another prompt can carry: those of the mask, or of the first class where masks are classes.
func (i Interface) Feedback(out map[string]*tensor.Tensor) ([]float32, error) {
	if i.Choose == classes {
		i.Choose = "first"
	}
	return i.Logits(out)
}

// Logits picks or makes the one mask, Side x Side, of what the decoder or the one graph gave, as ir.Postprocess.Mask says.
func (i Interface) Logits(out map[string]*tensor.Tensor) ([]float32, error) {
	side := i.Side()
	if i.OneGraph {
		logits := out["logits"]
		if logits == nil || logits.Len() < side*side {
			return nil, fmt.Errorf("model: logits: want float32 [1,1,%d,%d]", side, side)
		}
		return logits.Float32s()[:side*side], nil
	}
	low := out["low_res_masks"]
	if low == nil || len(low.Dims()) != 4 || low.Dims()[2] != side || low.Dims()[3] != side || low.Dims()[1] < 1 {
		return nil, fmt.Errorf("decoder: low_res_masks: want float32 [1,M,%d,%d]", side, side)
	}
	k, err := i.chosen(out)
	if err != nil {
		return nil, err
	}
	mask := func(k int64) []float32 { return low.Float32s()[k*side*side : (k+1)*side*side] }
	if i.Choose != "first_plus_hq" {
		return mask(k), nil
	}
	sum := slices.Clone(mask(k))
	for k, x := range mask(low.Dims()[1] - 1) {
		sum[k] += x
	}
	return sum, nil
}

// Estimate is what the model itself expects the chosen mask's IoU to be; nil where it has no such output.
func (i Interface) Estimate(out map[string]*tensor.Tensor) *float64 {
	iou := out["iou_predictions"]
	k, err := i.chosen(out)
	if err != nil || iou == nil || iou.Len() <= k {
		return nil
	}
	x := float64(iou.Float32s()[k])
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

// chosen is which of a decoder's masks is the one.
func (i Interface) chosen(out map[string]*tensor.Tensor) (int64, error) {
	switch i.Choose {
	case "", "first", "first_plus_hq":
		return 0, nil
	case "best_iou_multimask":
		low, iou := out["low_res_masks"], out["iou_predictions"]
		if low == nil || len(low.Dims()) < 2 {
			return 0, fmt.Errorf("decoder: low_res_masks: missing")
		}
		m := low.Dims()[1]
		if iou == nil || iou.Len() < m || m < 2 {
			return 0, fmt.Errorf("decoder: iou_predictions: want float32 [1,%d]", m)
		}
		best := int64(1)
		for k := best; k < m; k++ {
			if iou.Float32s()[k] > iou.Float32s()[best] {
				best = k
			}
		}
		return best, nil
	}
	if i.Choose == classes {
		return 0, errors.New("postprocess.mask: the model's masks are classes, the first the background, and not answers to a prompt: exec gives them (low_res_masks)")
	}
	return 0, fmt.Errorf("postprocess.mask: have %q: not known", i.Choose)
}
