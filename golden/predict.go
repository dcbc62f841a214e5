package golden

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"syncsam-convert/artifact"
	"syncsam-convert/engine"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/pictures"
)

// A Predictor runs an artifact's encoder and decoder as the models' own pipelines do.
type Predictor struct {
	man              *artifact.Manifest
	encoder, decoder engine.Session // nil for families with one graph
	model            engine.Session // ScribblePrompt-UNet's, else nil
}

// Open loads an artifact's graphs with an engine, after its files were held against the manifest's hashes.
func Open(dir, engineName string, o engine.Options) (*Predictor, error) {
	man, err := artifact.Read(dir)
	if err != nil {
		return nil, err
	}
	if err := man.Verify(dir); err != nil {
		return nil, err
	}
	p := &Predictor{man: man}
	first, err := engine.Load(engineName, filepath.Join(dir, man.Encoder()), o)
	if man.Encoder() == artifact.OneGraph {
		p.model = first
		return p, err
	}
	if p.encoder = first; err != nil {
		return nil, err
	}
	if p.decoder, err = engine.Load(engineName, filepath.Join(dir, "decoder.onnx"), o); err != nil {
		return nil, errors.Join(err, p.encoder.Close())
	}
	return p, nil
}

// Manifest is the artifact's manifest.
func (p *Predictor) Manifest() *artifact.Manifest { return p.man }

// Close ends its sessions.
func (p *Predictor) Close() error {
	var errs []error
	for _, s := range []engine.Session{p.encoder, p.decoder, p.model} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// An Embedded is an image after the encoder: what all its prompts share.
type Embedded struct {
	Frame    pictures.Frame
	Features map[string]*tensor.Tensor // the encoder's outputs by name
}

// Embed runs the encoder on an image.
func (p *Predictor) Embed(ctx context.Context, m *pictures.Image) (*Embedded, error) {
	x, frame, err := pictures.Prepare(m, p.man.Preprocess)
	if err != nil {
		return nil, err
	}
	if p.model != nil {
		return &Embedded{frame, map[string]*tensor.Tensor{"image": x}}, nil
	}
	out, err := p.encoder.Run(ctx, map[string]*tensor.Tensor{"image": x})
	if err != nil {
		return nil, err
	}
	return &Embedded{frame, out}, nil
}

// A Prompt is what a user gives for one mask, in original-image pixels.
type Prompt struct {
	Box    *[4]float64  // x0, y0, x1, y1
	Points [][2]float64 // x, y
	Labels []int        // of each point: 1 foreground, 0 background
	Mask   []float32    // low-resolution logits of an earlier prediction, nil for none
}

// A Prediction is one mask: at the image's size, and as low-resolution logits of side Side.
type Prediction struct {
	Mask   *pictures.Mask
	Logits []float32
	Side   int
}

// Predict runs the decoder for one prompt. Points without a box get SAM's padding point (0,0) with label -1.
func (p *Predictor) Predict(ctx context.Context, e *Embedded, pr Prompt) (*Prediction, error) {
	if len(pr.Points) != len(pr.Labels) {
		return nil, fmt.Errorf("prompt: have %d points and %d labels", len(pr.Points), len(pr.Labels))
	}
	if pr.Box == nil && len(pr.Points) == 0 {
		return nil, errors.New("prompt: have neither a box nor a point")
	}
	if p.model != nil {
		return p.predictPlanes(ctx, e, pr)
	}
	var coords, labels []float32
	add := func(x, y float64, label int) {
		fx, fy := e.Frame.Point(x, y)
		coords, labels = append(coords, fx, fy), append(labels, float32(label))
	}
	for i, xy := range pr.Points {
		add(xy[0], xy[1], pr.Labels[i])
	}
	if b := pr.Box; b != nil {
		add(b[0], b[1], 2)
		add(b[2], b[3], 3)
	} else {
		add(0, 0, -1)
	}
	n := int64(len(labels))
	side := p.man.Preprocess.Size / 4
	mask, has := pr.Mask, float32(1)
	if mask == nil {
		mask, has = make([]float32, side*side), 0
	}
	if int64(len(mask)) != side*side {
		return nil, fmt.Errorf("prompt: the mask has %d logits, want %d x %d", len(mask), side, side)
	}
	inputs := map[string]*tensor.Tensor{
		"point_coords": tensor.FromFloat32([]int64{1, n, 2}, coords), "point_labels": tensor.FromFloat32([]int64{1, n}, labels),
		"mask_input": tensor.FromFloat32([]int64{1, 1, side, side}, mask), "has_mask_input": tensor.FromFloat32([]int64{1}, []float32{has}),
	}
	for name, t := range e.Features {
		if engine.Has(p.decoder, name) {
			inputs[name] = t
		}
	}
	if engine.Has(p.decoder, "orig_im_size") {
		inputs["orig_im_size"] = tensor.FromFloat32([]int64{2}, []float32{float32(e.Frame.H), float32(e.Frame.W)})
	}
	out, err := p.decoder.Run(ctx, inputs)
	if err != nil {
		return nil, err
	}
	logits, err := chosen(out, side, p.man.Postprocess.Mask)
	if err != nil {
		return nil, err
	}
	m, err := pictures.MaskOf(logits, int(side), e.Frame, p.man.Postprocess)
	return &Prediction{m, logits, int(side)}, err
}

// chosen picks or makes one mask of a decoder's M, as ir.Postprocess.Mask says.
func chosen(out map[string]*tensor.Tensor, side int64, how string) ([]float32, error) {
	low, iou := out["low_res_masks"], out["iou_predictions"]
	if low == nil || len(low.Dims()) != 4 || low.Dims()[2] != side || low.Dims()[3] != side || low.Dims()[1] < 1 {
		return nil, fmt.Errorf("decoder: low_res_masks: want float32 [1,M,%d,%d]", side, side)
	}
	m := low.Dims()[1]
	mask := func(i int64) []float32 { return low.Float32s()[i*side*side : (i+1)*side*side] }
	switch how {
	case "", "first":
		return mask(0), nil
	case "best_iou_multimask":
		if iou == nil || iou.Len() < m || m < 2 {
			return nil, fmt.Errorf("decoder: iou_predictions: want float32 [1,%d]", m)
		}
		best := int64(1)
		for i := best; i < m; i++ {
			if iou.Float32s()[i] > iou.Float32s()[best] {
				best = i
			}
		}
		return mask(best), nil
	case "first_plus_hq":
		sum := slices.Clone(mask(0))
		for i, x := range mask(m - 1) {
			sum[i] += x
		}
		return sum, nil
	}
	return nil, fmt.Errorf("postprocess.mask: have %q: not known", how)
}
