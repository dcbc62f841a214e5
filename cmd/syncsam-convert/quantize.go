package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"syncsam-convert/artifact"
	"syncsam-convert/calib/reconstruct"
	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/passes"
)

// How weights are rounded.
const (
	roundAuto     = "auto"
	roundNearest  = "nearest"
	roundAdaptive = "adaptive"
)

// roundingWork is the number of multiply-adds per image up to which rounding is adaptive by itself: some seconds' work.
const roundingWork = 1 << 30

// adaptive decides how the weights are rounded, for convolutions of so many multiply-adds.
func (f *buildFlags) adaptive(work int64) bool {
	return f.rounding == roundAdaptive || f.rounding == roundAuto && f.calib.path != "" && !f.calib.collected() && work <= roundingWork
}

// quantize writes the plan into the encoder.
func (f *buildFlags) quantize(cmd *cobra.Command, m *ir.Module, man *artifact.Manifest, plan *quant.Plan, scope quant.Scope, dir string) ([]passes.Result, error) {
	float := m.Encoder().Clone()
	pipeline, done := passes.Quantize(plan, scope, targets[f.target].spelling)
	results, err := passes.Run(cmd.Context(), encoderOf(m), pipeline, passes.Options{})
	if err != nil {
		return nil, err
	}
	rounding := roundNearest
	if len(done.Layers) > 0 && f.adaptive(done.All) {
		rounding = roundAdaptive
		if err := f.reconstruct(cmd, m, float, done.Layers, dir); err != nil {
			return nil, err
		}
	}
	q := &artifact.Quantization{Method: plan.Method, Images: plan.Images, Rounding: rounding, QuantizedNodes: done.Nodes, KeptFloat: []artifact.KeptFloat{}}
	for _, key := range slices.Sorted(maps.Keys(done.Float)) {
		q.KeptFloat = append(q.KeptFloat, artifact.KeptFloat{Node: key, Reason: done.Float[key]})
	}
	if done.All > 0 {
		q.Int8Share = float64(done.Int8) / float64(done.All)
	}
	man.Quantization = q
	return results, nil
}

// roundingImages bounds how many calibration images choose integers: all are in memory at once.
const roundingImages = 32

// reconstruct rounds the layers' weights anew over calibration images; float is the encoder before it was quantized.
func (f *buildFlags) reconstruct(cmd *cobra.Command, m *ir.Module, float *ir.Graph, layers []quant.Layer, dir string) error {
	images, err := f.calib.images()
	if err != nil {
		return err
	}
	o := &observer{preprocess: m.Meta.Preprocess, planes: m.Graph("decoder") == nil, verify: &f.verify, tmp: dir}
	defer o.close()
	if o.planes {
		if o.encoder, err = o.load(float); err != nil {
			return err
		}
	}
	n := min(len(images), roundingImages)
	inputs := make([]map[string]*tensor.Tensor, n)
	for i := range inputs {
		path := images[i*len(images)/n]
		if inputs[i], err = o.inputs(cmd.Context(), path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	bar := newBar(cmd, f.progress, len(layers), "round")
	defer bar.Finish()
	return reconstruct.Run(cmd.Context(), float, m.Encoder(), layers, inputs, func() { _ = bar.Add(1) })
}
