package onnx

import (
	"google.golang.org/protobuf/proto"

	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir/tensor"
)

// Edges are what a file has around its graph where a client wants other inputs or outputs than the graph's and shapes follow from values or from a
// picture's size, which the IR does not know: these nodes exist in the file alone. Each stands in place of the graph inputs that it makes.
type Edges struct {
	Image   *ImageEdge   // makes "image"
	Prompts *PromptEdge  // makes point_coords, point_labels, mask_input and has_mask_input
	Masks   *Postprocess // adds masks
}

// A Port is an input or an output as the file declares it; dims are numbers or symbols.
type Port struct {
	Name  string
	DType tensor.DType
	Dims  []string
}

// scribe writes nodes of one edge, each under a name that begins with the edge's.
type scribe struct {
	e     *emission
	place string
}

func (s scribe) op(op, name string, attrs []*onnxpb.AttributeProto, in ...string) string {
	out := s.e.unique(s.place + name)
	s.e.node(op, out, in, []string{out}, attrs)
	return out
}

func (s scribe) do(op, name string, in ...string) string { return s.op(op, name, nil, in...) }

func (s scribe) scalar(x float32) string { return s.e.constant(s.place+"number", tensor.Scalar(x)) }

func (s scribe) number(x int64) string {
	return s.e.constant(s.place+"number", tensor.FromInt64([]int64{}, []int64{x}))
}

func (s scribe) cast(x, name string, to tensor.DType) string {
	return s.op("Cast", name, []*onnxpb.AttributeProto{intAttr("to", int64(onnxpb.NumberOf(to)))}, x)
}

func (s scribe) dim(x, name string, axis int64) string {
	return s.op("Shape", name, []*onnxpb.AttributeProto{intAttr("start", axis), intAttr("end", axis+1)}, x)
}

// reduce is ReduceMax, ReduceSum and the like; their axes were an attribute before opset 18 (ReduceSum: 13).
func (s scribe) reduce(op, x, name string, keep int64, axes ...int64) string {
	if s.e.opset < 18 && op != "ReduceSum" {
		return s.op(op, name, []*onnxpb.AttributeProto{intsAttr("axes", axes), intAttr("keepdims", keep)}, x)
	}
	return s.op(op, name, []*onnxpb.AttributeProto{intAttr("keepdims", keep)}, x, s.e.int64s(axes...))
}

func axisAttr(axis int64) []*onnxpb.AttributeProto {
	return []*onnxpb.AttributeProto{intAttr("axis", axis)}
}

// inside is round half up of n*side/longest, at least 1: how much of a square's side a picture's side n takes (vectors of int64). These integers
// are what int(n * (side/longest) + 0.5) gives in float64, ties included.
func (s scribe) inside(n, longest, name string, side int64) string {
	twice := s.do("Mul", name+"_twice", longest, s.e.int64s(2))
	sum := s.do("Add", name+"_sum", s.do("Mul", name+"_times", n, s.e.int64s(2*side)), longest)
	return s.do("Max", name, s.do("Div", name+"_rounded", sum, twice), s.e.int64s(1))
}

// declare adds a graph input of the file.
func (e *emission) declare(name string, d tensor.DType, dims ...tensor.Dim) {
	e.graph.Input = append(e.graph.Input, valueInfo(name, tensor.Type{DType: d, Shape: dims}))
}

// edge writes what makes a graph input; it reports whether an edge does.
func (e *emission) edge(name string) (made string, ok bool, err error) {
	if e.edges == nil {
		return "", false, nil
	}
	if i := e.edges.Image; i != nil && name == "image" {
		made, err = i.write(scribe{e, "picture/"})
		return made, true, err
	}
	if p := e.edges.Prompts; p != nil {
		switch name {
		case "point_coords":
			made, e.labels = p.points(scribe{e, "points/"})
			return made, true, nil
		case "point_labels":
			return e.labels, e.labels != "", nil
		case "mask_input":
			return p.mask(scribe{e, "mask/"}), true, nil
		case "has_mask_input":
			return p.hasMask(scribe{e, "mask/"}), true, nil
		}
	}
	return "", false, nil
}

// ports lists what a file declares.
func ports(infos []*onnxpb.ValueInfoProto) []Port {
	var out []Port
	for _, v := range infos {
		t := v.GetType().GetTensorType()
		d, _ := onnxpb.DTypeOf(t.GetElemType())
		p := Port{v.GetName(), d, []string{}}
		for _, dim := range t.GetShape().GetDim() {
			text := dim.GetDimParam()
			if _, ok := dim.Value.(*onnxpb.TensorShapeProto_Dimension_DimValue); ok {
				text = tensor.Static(dim.GetDimValue()).String()
			}
			p.Dims = append(p.Dims, text)
		}
		out = append(out, p)
	}
	return out
}

// undeclared is the declaration of an output whose sizes follow from values: named symbols.
func undeclared(name string, d tensor.DType, dims ...*onnxpb.TensorShapeProto_Dimension) *onnxpb.ValueInfoProto {
	return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{
		ElemType: proto.Int32(onnxpb.NumberOf(d)), Shape: &onnxpb.TensorShapeProto{Dim: dims}}}}}
}

func symbolDim(name string) *onnxpb.TensorShapeProto_Dimension {
	return &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: name}}
}
