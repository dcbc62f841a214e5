package onnx

import (
	"errors"
	"fmt"
	"slices"

	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// A Given is an open file that is read anew for the inputs of a run. The IR's shapes follow from symbols; those of other programs' files
// may follow from anything: products of two symbols, values of an input, a condition. Of given inputs everything is known.
type Given struct {
	file *onnxpb.File
}

// OpenGiven opens a file whose operators are all known. Close ends it, and every model that was read of it.
func OpenGiven(path string) (*Given, error) {
	f, err := onnxpb.Open(path)
	if err != nil {
		return nil, err
	}
	if err := knows(f.Model.GetGraph().GetNode()); err != nil {
		f.Close()
		return nil, &Refusal{path, err}
	}
	return &Given{f}, nil
}

// OpenFor is Open, or, where symbols do not tell a file's shapes, reads it for inputs.
func OpenFor(path string, inputs map[string]*tensor.Tensor) (*Model, error) {
	m, err := Open(path)
	if err == nil {
		return m, nil
	}
	g, err := OpenGiven(path)
	if err != nil {
		return nil, err
	}
	if m, err = g.Read(inputs); err != nil {
		g.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// Probe makes seeded inputs for what a file declares, whether its operators are known or not. Symbols have size 1 where sizes does not
// name them. The official export's original image is as large as its frame: a size is no noise.
func Probe(path string, sizes map[string]int64) (map[string]*tensor.Tensor, error) {
	f, err := onnxpb.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	declared, err := (&Given{f}).Inputs()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	g := &ir.Graph{Name: "inputs", Values: declared}
	in, err := ir.Probe(g, 1, Bind(g, sizes))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	size, mask := in["orig_im_size"], in["mask_input"]
	if size != nil && mask != nil && size.Len() == 2 && len(mask.Dims()) == 4 {
		d := mask.Dims()
		in["orig_im_size"] = tensor.Dense(tensor.Cast(tensor.FromInt64(size.Dims(), []int64{4 * d[2], 4 * d[3]}), size.DType()))
	}
	return in, nil
}

// Bind gives every symbol of a graph's inputs a size, 1 where sizes has none; each of B prompts has a mask.
func Bind(g *ir.Graph, sizes map[string]int64) map[string]int64 {
	syms := map[string]int64{}
	for _, in := range g.Inputs() {
		for _, d := range in.Type.Shape {
			name := d.Sym
			if name == ir.MaskBatch {
				name = "B"
			}
			if syms[d.Sym] = sizes[name]; syms[d.Sym] == 0 {
				syms[d.Sym] = 1
			}
		}
	}
	return syms
}

// Close ends the mapping.
func (g *Given) Close() error { return g.file.Close() }

// Inputs lists what the file declares, with dynamic dimensions as symbols. Rank and element type must be declared.
func (g *Given) Inputs() ([]*ir.Value, error) {
	b := ir.NewBuilder("inputs")
	for _, in := range g.declared() {
		t, err := declared(in)
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", in.GetName(), err)
		}
		b.Input(in.GetName(), t.DType, t.Shape...)
	}
	made, err := b.Graph()
	if err != nil {
		return nil, err
	}
	return made.Inputs(), nil
}

// InputNames and OutputNames list the file's, in order.
func (g *Given) InputNames() (names []string) {
	for _, in := range g.declared() {
		names = append(names, in.GetName())
	}
	return names
}

// OutputNames lists the graph's results.
func (g *Given) OutputNames() (names []string) {
	for _, o := range g.file.Model.Graph.Output {
		names = append(names, o.GetName())
	}
	return names
}

// declared are the inputs that no initializer gives.
func (g *Given) declared() []*onnxpb.ValueInfoProto {
	return slices.DeleteFunc(slices.Clone(g.file.Model.Graph.Input), func(in *onnxpb.ValueInfoProto) bool {
		return slices.ContainsFunc(g.file.Initializers, func(i onnxpb.Initializer) bool { return i.Name == in.GetName() })
	})
}

// Read reads the model for inputs, which must be what the file declares. The model holds for inputs of these shapes, and of these values
// where it Decides; it ends with the file. Errors do not name the file.
func (g *Given) Read(inputs map[string]*tensor.Tensor) (*Model, error) {
	want, err := g.Inputs()
	if err != nil {
		return nil, err
	}
	if _, err := ir.Bind(&ir.Graph{Name: "inputs", Values: want}, inputs); err != nil {
		return nil, err
	}
	m, err := ImportFor(g.file, inputs)
	if err != nil {
		return nil, &Refusal{"", err}
	}
	return m, nil
}

// knows refuses nodes that can be read for no inputs.
func knows(nodes []*onnxpb.NodeProto) error {
	for i, n := range nodes {
		label := n.GetName()
		if label == "" {
			label = fmt.Sprintf("#%d", i)
		}
		_, inIR := ir.LookupOp(n.GetOpType())
		err := error(nil)
		switch d := n.GetDomain(); {
		case d != "" && d != "ai.onnx":
			err = fmt.Errorf("domain %q is not supported", d)
		case importers[n.GetOpType()] == nil && !inIR:
			err = errUnknown
		}
		if err != nil {
			return fmt.Errorf("node %q (%s): %w", label, n.GetOpType(), err)
		}
		for _, a := range n.Attribute {
			if a.G != nil {
				if err := knows(a.G.Node); err != nil {
					return fmt.Errorf("node %q (%s): %w", label, n.GetOpType(), err)
				}
			}
		}
	}
	return nil
}

var errUnknown = errors.New("the operator is not in the IR")
