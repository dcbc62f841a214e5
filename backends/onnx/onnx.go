// Package onnx writes IR graphs as ONNX models.
package onnx

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/internal/output"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// The opsets that can be written. MinOpset has native LayerNormalization; MaxOpset is the newest that ONNX Runtime 1.32 takes as released.
const (
	DefaultOpset = 17
	MinOpset     = 17
	MaxOpset     = 26
)

// Options of a model.
type Options struct {
	Opset    int64             // 0: DefaultOpset
	External bool              // large tensors go to NAME.data; by itself past 2 GiB
	Metadata map[string]string // metadata_props, written in key order

	NonFinite bool // constants may be NaN or infinite

	Edges *Edges // nil: none
}

// externalThreshold is the size from which a tensor is worth a place in the data file.
const externalThreshold = 1 << 10

// Written lists what WriteFile wrote.
type Written struct {
	Files           []string          // the model first
	Of              map[string]string // identities (ir.Value.Of) by the names that values have in the file
	Inputs, Outputs []Port
}

// WriteFile writes graph g to path. The model appears whole, after its data file, or nothing does.
func WriteFile(path string, g *ir.Graph, opts Options) (Written, error) {
	model, inits, of, err := emit(g, opts)
	if err != nil {
		return Written{}, err
	}
	written := Written{[]string{path}, of, ports(model.Graph.Input), ports(model.Graph.Output)}
	if !opts.External && onnxpb.Size(model, inits) <= onnxpb.MaxInline {
		return written, output.Part(path, func(w io.Writer) error { return onnxpb.Write(w, model, inits, nil, opts.check()) })
	}
	data, placed := path+".data", false
	err = output.Part(path, func(w io.Writer) error {
		err := output.Part(data, func(d io.Writer) error {
			return onnxpb.Write(w, model, inits, &onnxpb.External{W: d, Location: filepath.Base(data), Threshold: externalThreshold}, opts.check())
		})
		placed = err == nil
		return err
	})
	if err != nil && placed {
		os.Remove(data)
	}
	written.Files = []string{path, data}
	return written, err
}

// check is where constants that no arithmetic gives a meaning end: whatever made them, they are not written.
func (o Options) check() onnxpb.Check {
	if o.NonFinite {
		return nil
	}
	return func(d tensor.DType, part []byte) error {
		if n := tensor.NonFinite(d, part); n > 0 {
			return fmt.Errorf("%d of its elements are NaN or infinite: the weights that it was made of are too large, or a variance is too small", n)
		}
		return nil
	}
}

// emit lowers a graph to messages, its constants to initializers in the order of their first use.
func emit(g *ir.Graph, opts Options) (*onnxpb.ModelProto, []onnxpb.Initializer, map[string]string, error) {
	opset := opts.Opset
	if opset == 0 {
		opset = DefaultOpset
	}
	if opset < MinOpset || opset > MaxOpset {
		return nil, nil, nil, fmt.Errorf("opset: have %d, want %d to %d", opset, MinOpset, MaxOpset)
	}
	e := newEmission(g, opset)
	e.edges = opts.Edges
	for _, v := range g.Values {
		if err := e.value(v); err != nil {
			return nil, nil, nil, fmt.Errorf("graph %s: %s: %w", g.Name, v, err)
		}
	}
	for _, o := range g.Outputs {
		if e.names[o.Value] != o.Name { // an input, a constant, or a value that has two output names
			e.node("Identity", o.Name, []string{e.names[o.Value]}, []string{o.Name}, nil)
		}
		e.graph.Output = append(e.graph.Output, valueInfo(o.Name, o.Value.Type))
	}
	if e.edges != nil && e.edges.Masks != nil {
		if err := e.edges.Masks.write(e); err != nil {
			return nil, nil, nil, fmt.Errorf("graph %s: %w", g.Name, err)
		}
		if e.edges.Masks.Beside {
			if opts.Metadata = maps.Clone(opts.Metadata); opts.Metadata == nil {
				opts.Metadata = map[string]string{}
			}
			opts.Metadata[onnxpb.PostprocessKey] = "masks"
		}
	}
	e.graph.Input = append(e.graph.Input, e.later...)
	irVersion := int64(8)
	if opset > 18 {
		irVersion = 10
	}
	model := &onnxpb.ModelProto{
		IrVersion: &irVersion, ProducerName: proto.String("syncsam-convert"), Graph: e.graph,
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: proto.String(""), Version: &opset}},
	}
	for _, k := range sortedKeys(opts.Metadata) {
		model.MetadataProps = append(model.MetadataProps, &onnxpb.StringStringEntryProto{Key: proto.String(k), Value: proto.String(opts.Metadata[k])})
	}
	of := map[string]string{}
	for _, v := range g.Values {
		if v.Of != "" {
			of[e.names[v]] = v.Of
		}
	}
	return model, e.inits, of, nil
}

func valueInfo(name string, t tensor.Type) *onnxpb.ValueInfoProto {
	shape := &onnxpb.TensorShapeProto{}
	for _, d := range t.Shape {
		dim := &onnxpb.TensorShapeProto_Dimension{}
		if d.IsStatic() {
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d.B}
		} else {
			dim.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: d.String()}
		}
		shape.Dim = append(shape.Dim, dim)
	}
	return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(onnxpb.NumberOf(t.DType)), Shape: shape}}}}
}
