package passes

import (
	"maps"

	"syncsam-convert/ir/quant"
	"syncsam-convert/quantizer"
)

// Quantized is what insert-qdq and quantize-linear report: the table that they wrote, and its sums.
type Quantized struct {
	Table *quantizer.Table
	Nodes []string          // layers in int8, by key
	Float map[string]string // layers that stay in float, with the reason
	Int8  int64             // multiply-adds of Nodes for one image
	All   int64             // multiply-adds of the scope's layers

	Layers []quantizer.Convolution // of Nodes, for who chooses their integers anew
}

// insertQDQ writes the plan into the convolutions of the scope, quantizeLinear into its linear layers. Their reports are *Quantized.
func insertQDQ(w *Work) error      { return quantized(w, quant.Scope{Convolutions: w.Scope.Convolutions}) }
func quantizeLinear(w *Work) error { return quantized(w, quant.Scope{Linears: w.Scope.Linears}) }

func quantized(w *Work, scope quant.Scope) error {
	q := &Quantized{Nodes: []string{}, Float: map[string]string{}}
	w.Report = q
	if w.Plan == nil { // calibration is switched off
		return nil
	}
	table, err := quantizer.Decide(w.Graph, w.Plan, scope, w.Spelling)
	if err != nil {
		return err
	}
	done, err := quantizer.Write(w.Graph, table)
	if err != nil {
		return err
	}
	for y, v := range done.Same {
		w.Carry(y, v, 0)
	}
	for y, peak := range done.Peaks {
		w.Reaches(y, peak)
	}
	q.Table, q.Layers = table, done.Convolutions
	q.Nodes, q.Float, q.Int8, q.All = table.Report()
	w.Changed = len(q.Nodes)
	w.Graph.Sweep()
	return nil
}

// Add joins what another pass did.
func (q *Quantized) Add(o *Quantized) {
	q.Nodes, q.Layers = append(q.Nodes, o.Nodes...), append(q.Layers, o.Layers...)
	maps.Copy(q.Float, o.Float)
	q.Int8, q.All = q.Int8+o.Int8, q.All+o.All
}
