package passes

import (
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
	q := &Quantized{Table: table, Layers: done.Convolutions}
	q.Nodes, q.Float, q.Int8, q.All = table.Report()
	w.Changed, w.Report = len(q.Nodes), q
	w.Graph.Sweep()
	return nil
}
