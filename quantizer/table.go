// Package quantizer decides how a quantization plan becomes part of a graph, as a table that prints as text, and writes the table. It
// also holds a plan to the model that it is for.
package quantizer

import (
	"fmt"
	"slices"
	"strings"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// A Table says everything that Write does to a graph.
type Table struct {
	Graph    string
	Spelling Spelling
	Values   []*Value // in the order in which they are written
	Layers   []*Layer // every convolution and linear layer of the scope, in graph order

	inInt8 map[*ir.Value]bool // layers in INT8, for the values that only those take as integers
}

// A Value becomes integers and comes back: DequantizeLinear(QuantizeLinear(x)), one scale for all channels. Factors per channel let
// quiet channels have steps of their own, at no cost where only one side is integer: the other side puts them in or takes them out.
type Value struct {
	Key    string
	Scale  float32 // finite, a normal number above 0
	Zero   int
	Place  Place
	Before []float32 // per channel: float multiplies with it before QuantizeLinear, the layers behind divide it out of their weights' rows
	After  []float32 // per channel: float multiplies with it after DequantizeLinear, the convolution before divided by it
	Inside bool      // the convolution before divided by factors, those behind multiply with them: it carries another scale than the float model's
	Top    float32   // amplitude that the integers reach, factors included
	Float  string    // why it stays in float all the same; "" for INT8
	Reason string    // the plan's, for its range

	v *ir.Value
}

// A Place says where integers begin, and who takes them.
type Place int

const (
	Behind         Place = iota // behind the value, for all that use it
	BehindForConvs              // behind the value, for INT8 convolutions alone; Before is a Mul
	AtLinears                   // before the first linear layer that reads it, for INT8 linear layers alone; Before goes into its LayerNorm
)

var places = [...]string{"", " for convolutions", " for linear layers"}

// A Layer is a convolution or a linear layer of the scope.
type Layer struct {
	Key          string
	Float        string // why it stays in float; "" for INT8
	MultiplyAdds int64  // for one image
	In, Out      []float32
	Mean         []float32 // per input channel, of what it reads: for the bias

	v     *ir.Value
	from  *Value  // what it reads; nil where that is integer already
	scale float32 // of what it reads
	bias  bool    // an integer bias must fit the product of scales
}

// Linear reports whether it is a linear layer; else it is a convolution.
func (l *Layer) Linear() bool { return ir.MatMul.Is(l.v) }

// Report counts the layers: keys in INT8, reasons of those in float, multiply-adds for one image in INT8 and in all.
func (t *Table) Report() (nodes []string, float map[string]string, int8, all int64) {
	nodes, float = []string{}, map[string]string{}
	for _, l := range t.Layers {
		all += l.MultiplyAdds
		if l.Float != "" {
			float[l.Key] = l.Float
			continue
		}
		nodes = append(nodes, l.Key)
		int8 += l.MultiplyAdds
	}
	return nodes, float, int8, all
}

// String is the table as text, one line a value and a layer.
func (t *Table) String() string {
	var b strings.Builder
	nodes, _, part, all := t.Report()
	fmt.Fprintf(&b, "graph %s for %s: %d of %d layers, %d of %d multiply-adds in int8\n", t.Graph, t.Spelling.Name, len(nodes), len(t.Layers), part, all)
	kind := "int8"
	if t.Spelling.Activations == tensor.Uint8 {
		kind = "uint8"
	}
	for _, v := range t.Values {
		if v.Float != "" {
			fmt.Fprintf(&b, "value %q float: %s\n", v.Key, v.Float)
			continue
		}
		fmt.Fprintf(&b, "value %q %s scale=%.4g zero=%d%s", v.Key, kind, v.Scale, v.Zero, places[v.Place])
		span(&b, "before", v.Before)
		span(&b, "after", v.After)
		if v.Inside {
			b.WriteString(" equalized")
		}
		fmt.Fprintf(&b, " reason=%q\n", v.Reason)
	}
	for _, l := range t.Layers {
		kind := "conv"
		if l.Linear() {
			kind = "linear"
		}
		fmt.Fprintf(&b, "%s %q", kind, l.Key)
		if l.Float != "" {
			fmt.Fprintf(&b, " float: %s\n", l.Float)
			continue
		}
		b.WriteString(" int8")
		span(&b, "in", l.In)
		span(&b, "out", l.Out)
		b.WriteString("\n")
	}
	return b.String()
}

// span prints factors as their least and largest.
func span(b *strings.Builder, name string, x []float32) {
	if x != nil {
		fmt.Fprintf(b, " %s=%.3g..%.3g", name, slices.Min(x), slices.Max(x))
	}
}
