package onnx

import (
	"google.golang.org/protobuf/proto"

	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir/tensor"
)

// Postprocess asks for SAM's mask resizing inside the decoder, as the official export has it: one more input orig_im_size float32 [2]
// (height, width) and a first output masks [B,M,height,width]: low_res_masks bilinear to S x S, cropped to the resized image, bilinear
// to the original size. Its shapes depend on values, which the IR does not know: these nodes exist in the file alone.
type Postprocess struct {
	Size int64 // S
	Crop bool  // the image keeps its aspect in the input; otherwise it fills it
}

func (e *emission) postprocess(p *Postprocess) {
	const place = "postprocess/"
	step := func(op, name string, attrs []*onnxpb.AttributeProto, in ...string) string {
		e.node(op, place+name, in, []string{place + name}, attrs)
		return place + name
	}
	size := tensor.Type{DType: tensor.Float32, Shape: tensor.Dims(2)}
	e.graph.Input = append(e.graph.Input, valueInfo("orig_im_size", size))
	resize := []*onnxpb.AttributeProto{stringAttr("coordinate_transformation_mode", "half_pixel"), stringAttr("mode", "linear")}
	batch := step("Shape", "batch", []*onnxpb.AttributeProto{intAttr("start", 0), intAttr("end", 2)}, "low_res_masks")
	x := step("Resize", "square", resize, "low_res_masks", "", "", step("Concat", "square_shape", []*onnxpb.AttributeProto{intAttr("axis", 0)}, batch, e.int64s(p.Size, p.Size)))
	if p.Crop {
		var longest string
		if e.opset >= 18 {
			longest = step("ReduceMax", "longest", []*onnxpb.AttributeProto{intAttr("keepdims", 1)}, "orig_im_size", e.int64s(0))
		} else {
			longest = step("ReduceMax", "longest", []*onnxpb.AttributeProto{intsAttr("axes", []int64{0}), intAttr("keepdims", 1)}, "orig_im_size")
		}
		scale := step("Div", "scale", nil, e.constant("postprocess.size", tensor.Scalar(float32(p.Size))), longest)
		rounded := step("Floor", "rounded", nil, step("Add", "plus_half", nil, step("Mul", "scaled", nil, "orig_im_size", scale), e.constant("postprocess.half", tensor.Scalar(0.5))))
		inside := step("Cast", "inside", []*onnxpb.AttributeProto{intAttr("to", int64(onnxpb.NumberOf(tensor.Int64)))}, rounded)
		x = step("Slice", "cropped", nil, x, e.int64s(0, 0), inside, e.int64s(2, 3))
	}
	original := step("Cast", "original", []*onnxpb.AttributeProto{intAttr("to", int64(onnxpb.NumberOf(tensor.Int64)))}, "orig_im_size")
	shape := step("Concat", "shape", []*onnxpb.AttributeProto{intAttr("axis", 0)}, batch, original)
	e.node("Resize", place+"masks", []string{x, "", "", shape}, []string{"masks"}, resize)

	var low *onnxpb.ValueInfoProto
	for _, o := range e.graph.Output {
		if o.GetName() == "low_res_masks" {
			low = o
		}
	}
	dims := low.GetType().GetTensorType().GetShape().GetDim()[:2]
	unknown := func(name string) *onnxpb.TensorShapeProto_Dimension {
		return &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: name}}
	}
	masks := &onnxpb.ValueInfoProto{Name: proto.String("masks"), Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{
		ElemType: proto.Int32(onnxpb.NumberOf(tensor.Float32)),
		Shape:    &onnxpb.TensorShapeProto{Dim: append(append([]*onnxpb.TensorShapeProto_Dimension{}, dims...), unknown("height"), unknown("width"))}}}}}
	rest := e.graph.Output
	e.graph.Output = []*onnxpb.ValueInfoProto{masks} // clients unpack masks, iou_predictions, low_res_masks in this order
	for _, o := range rest {
		if o != low {
			e.graph.Output = append(e.graph.Output, o)
		}
	}
	e.graph.Output = append(e.graph.Output, low)
}
