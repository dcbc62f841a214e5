package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"syncsam-convert/backends/onnx"
	"syncsam-convert/calib"
	"syncsam-convert/engine"
	"syncsam-convert/golden"
	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/pictures"
)

// collect runs a module over images: statistics of what the scope quantizes, and with peaks the largest amplitude of every
// floating-point value of encoder and decoder. tmp is a folder for the models that show the observed values.
func collect(cmd *cobra.Command, s *calib.Stats, m *ir.Module, scope quant.Scope, peaks bool, images []string, tmp string, v *verifyFlags) error {
	g := m.Encoder()
	o := &observer{preprocess: m.Meta.Preprocess, outputs: map[string]bool{}, planes: m.Graph("decoder") == nil, verify: v, tmp: tmp}
	defer o.close()
	shown := *g
	if peaks {
		with, err := quant.WithPeaks(g)
		if err != nil {
			return err
		}
		shown = *with
		if d := m.Graph("decoder"); d != nil {
			if d, err = quant.WithPeaks(d); err != nil {
				return err
			}
			if o.decoder, err = o.load(d); err != nil {
				return err
			}
		}
	} else if shown.Outputs = nil; o.planes {
		shown.Outputs = slices.Clone(g.Outputs)
	}
	if peaks || o.planes {
		for _, out := range g.Outputs {
			o.outputs[out.Name] = true // the decoder, or the prompt after this one, needs them
		}
	}
	quantized := len(shown.Outputs)
	keys := quant.Keys(g)
	s.Last = map[string]bool{}
	observed := quant.FindSites(g, scope.Convolutions).Observed()
	for _, l := range quant.FindLinears(g, scope.Linears) {
		observed = append(observed, l.Args[0])
		s.Last[keys[l.Args[0]]] = true
	}
	for i, x := range observed {
		if !slices.Contains(observed[:i], x) {
			shown.Outputs = append(shown.Outputs, ir.Output{Name: keys[x], Value: x})
		}
	}
	if len(shown.Outputs) == quantized && !peaks {
		return errors.New("int8: the model has nothing to quantize; --quantize linear takes the ViT's linear layers")
	}
	var err error
	if o.encoder, err = o.load(&shown); err != nil {
		return err
	}
	bar := newBar(cmd, v.progress, len(images), "calibrate")
	defer bar.Finish()
	return s.Collect(cmd.Context(), len(images), func(i int) (map[string]*tensor.Tensor, error) {
		values, err := o.observe(cmd.Context(), images[i], s.Peaks)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", images[i], err)
		}
		return values, nil
	}, func() { _ = bar.Add(1) })
}

// An observer runs graphs that show more of their values than the model does.
type observer struct {
	preprocess       ir.Preprocess
	outputs          map[string]bool // the encoder's own outputs
	planes           bool            // prompts are planes of the input, and there is no decoder
	encoder, decoder engine.Session  // decoder: nil where its peaks are not asked for
	verify           *verifyFlags
	tmp              string
	files            []string
}

func (o *observer) load(g *ir.Graph) (engine.Session, error) {
	path := filepath.Join(o.tmp, "observed-"+g.Name+".onnx")
	files, err := onnx.WriteFile(path, g, onnx.Options{External: true}) // external data can be mapped
	o.files = append(o.files, files...)
	if err != nil {
		return nil, err
	}
	return engine.Load(o.verify.engine, path, o.verify.options())
}

func (o *observer) close() {
	for _, s := range []engine.Session{o.encoder, o.decoder} {
		if s != nil {
			s.Close()
		}
	}
	for _, f := range o.files {
		os.Remove(f)
	}
}

// inputs is what the encoder reads for one image.
func (o *observer) inputs(ctx context.Context, path string) (map[string]*tensor.Tensor, error) {
	picture, err := pictures.Read(path)
	if err != nil {
		return nil, err
	}
	x, frame, err := pictures.Prepare(picture, o.preprocess)
	if err != nil {
		return nil, err
	}
	if o.planes {
		return o.planePrompts(ctx, x, frame)
	}
	return map[string]*tensor.Tensor{"image": x}, nil
}

// observe gives the observed values of one image and adds to peaks.
func (o *observer) observe(ctx context.Context, path string, peaks map[string]float32) (map[string]*tensor.Tensor, error) {
	inputs, err := o.inputs(ctx, path)
	if err != nil {
		return nil, err
	}
	values, err := o.encoder.Run(ctx, inputs)
	if err != nil {
		return nil, err
	}
	quant.TakePeaks(values, peaks)
	if o.decoder != nil {
		if err := o.prompts(ctx, values, peaks); err != nil {
			return nil, err
		}
	}
	for name := range o.outputs {
		delete(values, name)
	}
	return values, nil
}

// planePrompts is a batch of what reaches every part of a model whose prompts are planes: a box around the image's middle half, a click
// in its centre, and the click as background with the logits that the first one gave.
func (o *observer) planePrompts(ctx context.Context, x *tensor.Tensor, f pictures.Frame) (map[string]*tensor.Tensor, error) {
	centre := [][2]float64{{float64(f.W) / 2, float64(f.H) / 2}}
	box, click := golden.Prompt{Box: golden.Middle(f)}, golden.Prompt{Points: centre, Labels: []int{1}}
	first, err := golden.Planes(x, f, click)
	if err != nil {
		return nil, err
	}
	out, err := o.encoder.Run(ctx, map[string]*tensor.Tensor{"input": first})
	if err != nil {
		return nil, err
	}
	all, err := golden.Planes(x, f, box, click, golden.Prompt{Points: centre, Labels: []int{0}, Mask: out["logits"].Float32s()})
	return map[string]*tensor.Tensor{"input": all}, err
}

// prompts runs the decoder on what reaches its every part: a box around the image's middle half, a click in its centre, and the click
// again with the logits that came out as mask input.
func (o *observer) prompts(ctx context.Context, encoded map[string]*tensor.Tensor, peaks map[string]float32) error {
	size := o.preprocess.Size
	s := float32(size)
	mask, has := make([]float32, size/4*(size/4)), float32(0)
	for _, p := range []struct{ coords, labels []float32 }{
		{[]float32{s / 4, s / 4, 3 * s / 4, 3 * s / 4}, []float32{2, 3}},
		{[]float32{s / 2, s / 2, 0, 0}, []float32{1, -1}},
		{[]float32{s / 2, s / 2, 0, 0}, []float32{0, -1}},
	} {
		inputs := map[string]*tensor.Tensor{
			"point_coords": tensor.FromFloat32([]int64{1, 2, 2}, p.coords), "point_labels": tensor.FromFloat32([]int64{1, 2}, p.labels),
			"mask_input": tensor.FromFloat32([]int64{1, 1, size / 4, size / 4}, mask), "has_mask_input": tensor.FromFloat32([]int64{1}, []float32{has}),
		}
		for name := range o.outputs {
			if engine.Has(o.decoder, name) {
				inputs[name] = encoded[name]
			}
		}
		out, err := o.decoder.Run(ctx, inputs)
		if err != nil {
			return err
		}
		quant.TakePeaks(out, peaks)
		mask, has = out["low_res_masks"].Float32s()[:len(mask)], 1
	}
	return nil
}
