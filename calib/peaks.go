package calib

import (
	"slices"
	"strings"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// peakPrefix starts the names of the outputs that WithPeaks adds; no source path does.
const peakPrefix = "peak:"

// WithPeaks is g with one more output per floating-point result: its largest amplitude, of one element.
func WithPeaks(g *ir.Graph) (*ir.Graph, error) {
	keys, shown := ir.Keys(g), *g
	shown.Values, shown.Outputs = slices.Clone(g.Values), slices.Clone(g.Outputs)
	for _, v := range g.Values {
		if v.IsConst() || v.IsInput() || v.Type.DType != tensor.Float32 || v.Type.Rank() == 0 {
			continue
		}
		b := shown.After(v, "")
		peak := b.Op(ir.Abs, v)
		for _, axes := range [][]int64{{-1}, nil} { // by rows first: executors share rows among threads
			peak = b.Op(ir.ReduceMax.With(ir.ReduceAttrs{Axes: axes, KeepDims: 1}), peak)
		}
		if b.Err() != nil {
			return nil, b.Err()
		}
		shown.Outputs = append(shown.Outputs, ir.Output{Name: peakPrefix + keys[v], Value: peak})
	}
	return &shown, nil
}

// TakePeaks moves the outputs that WithPeaks added out of a run's results, into the largest seen by key.
func TakePeaks(results map[string]*tensor.Tensor, into map[string]float32) {
	for name, t := range results {
		if key, ok := strings.CutPrefix(name, peakPrefix); ok {
			into[key] = max(into[key], t.Float32s()[0])
			delete(results, name)
		}
	}
}
