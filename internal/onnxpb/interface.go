package onnxpb

import (
	"errors"
	"fmt"
	"slices"

	"syncsam-convert/ir/tensor"
)

// A Dim is one dimension of a tensor: a size, or -1 with the name under which it may have any, "" where it has none.
type Dim struct {
	Size int64
	Name string
}

// A Declared value is an input or an output of a graph, as its file says.
type Declared struct {
	Name  string
	DType tensor.DType
	Dims  []Dim
}

// Interface is what a file's graph takes and gives, in its order; initializers that stand among the inputs are none.
func (f *File) Interface() (inputs, outputs []Declared, err error) {
	for _, v := range f.Model.Graph.Input {
		if slices.ContainsFunc(f.Initializers, func(i Initializer) bool { return i.Name == v.GetName() }) {
			continue
		}
		d, err := declared(v)
		if err != nil {
			return nil, nil, fmt.Errorf("input %q: %w", v.GetName(), err)
		}
		inputs = append(inputs, d)
	}
	for _, v := range f.Model.Graph.Output {
		d, err := declared(v)
		if err != nil {
			return nil, nil, fmt.Errorf("output %q: %w", v.GetName(), err)
		}
		outputs = append(outputs, d)
	}
	return inputs, outputs, nil
}

func declared(v *ValueInfoProto) (Declared, error) {
	t := v.GetType().GetTensorType()
	if t == nil || t.Shape == nil {
		return Declared{}, errors.New("want a tensor whose number of dimensions is declared")
	}
	dtype, err := DTypeOf(t.GetElemType())
	if err != nil {
		return Declared{}, err
	}
	d := Declared{Name: v.GetName(), DType: dtype}
	for _, dim := range t.Shape.Dim {
		if size, ok := dim.Value.(*TensorShapeProto_Dimension_DimValue); ok {
			d.Dims = append(d.Dims, Dim{Size: size.DimValue})
		} else {
			d.Dims = append(d.Dims, Dim{Size: -1, Name: dim.GetDimParam()})
		}
	}
	return d, nil
}
