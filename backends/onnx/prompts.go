package onnx

import (
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// PromptEdge takes prompts as a client sends them, and makes of them what the decoder reads. Points of a label below 0 are padding: all columns of
// padding are dropped, and where no box is given the one is added that SAM pads with. Clients forget it, or send it beside a box.
type PromptEdge struct {
	Coords, Labels string
	LabelType      tensor.DType
	Batched        bool  // [1,B,P,2] and [1,B,P]; else [B,P,2] and [B,P]
	Size           int64 // S
	Low            int64 // side of mask_input
	Stretch        bool  // a picture fills S x S; else its longer side does
	Frame          int64 // coordinates are those of a picture whose longer side is this; 0: of the graph's own frame
	Whole          bool  // and whose sides are rounded to pixels
	NoMask         bool  // the client sends no mask_input
}

// original is the name of a client's input with the picture's height and width, float32 [2].
const original = "orig_im_size"

func (p *PromptEdge) points(s scribe) (coords, labels string) {
	b, n, two := tensor.Symbol("B"), tensor.Symbol("P"), tensor.Static(2)
	x, y := p.Coords, p.Labels
	if p.Batched {
		s.e.declare(x, tensor.Float32, tensor.Static(1), b, n, two)
		s.e.declare(y, p.LabelType, tensor.Static(1), b, n)
		x, y = s.do("Squeeze", "coords", x, s.e.int64s(0)), s.do("Squeeze", "labels", y, s.e.int64s(0))
	} else {
		s.e.declare(x, tensor.Float32, b, n, two)
		s.e.declare(y, p.LabelType, b, n)
	}
	if p.LabelType != tensor.Float32 {
		y = s.cast(y, "labels_float", tensor.Float32)
	}
	real := s.reduce("ReduceMax", s.cast(s.do("GreaterOrEqual", "is_real", y, s.scalar(0)), "real", tensor.Int64), "real_columns", 0, 0)
	kept := s.do("Squeeze", "kept", s.do("NonZero", "kept_columns", real), s.e.int64s(0))
	x, y = s.op("Gather", "real_coords", axisAttr(1), x, kept), s.op("Gather", "real_labels", axisAttr(1), y, kept)
	x = p.scaled(s, x)
	box := s.do("GreaterOrEqual", "is_box", s.reduce("ReduceMax", y, "largest_label", 1, 0, 1), s.scalar(2))
	pads := s.do("Sub", "pads", s.e.int64s(1), s.do("Reshape", "boxes", s.cast(box, "box", tensor.Int64), s.e.int64s(1)))
	rows := s.dim(y, "prompts", 0)
	zeros := func(name string, sizes ...string) string {
		return s.do("ConstantOfShape", name, s.op("Concat", name+"_shape", axisAttr(0), sizes...))
	}
	coords = s.op("Concat", "point_coords", axisAttr(1), x, zeros("pad_coords", rows, pads, s.e.int64s(2)))
	return coords, s.op("Concat", "point_labels", axisAttr(1), y, s.do("Sub", "pad_labels", zeros("pad_zeros", rows, pads), s.scalar(1)))
}

// scaled brings coordinates from the client's frame to the graph's.
func (p *PromptEdge) scaled(s scribe, x string) string {
	if p.Frame == 0 || p.Frame == p.Size && p.Whole && !p.Stretch {
		return x
	}
	s.e.original()
	size := s.cast(original, "size", tensor.Int64)
	size = s.op("Gather", "width_height", axisAttr(0), size, s.e.int64s(1, 0))
	longest := s.reduce("ReduceMax", size, "longest", 1, 0)
	theirs := ""
	if p.Whole { // the picture comes at this size, so that its sides are rounded twice
		size = s.inside(size, longest, "inside_frame", p.Frame)
		longest, theirs = s.e.int64s(p.Frame), s.cast(size, "theirs", tensor.Float32)
	} else {
		theirs = s.do("Div", "theirs", s.do("Mul", "frame", s.cast(size, "size_float", tensor.Float32), s.scalar(float32(p.Frame))), s.cast(longest, "longest_float", tensor.Float32))
	}
	ours := s.e.int64s(p.Size, p.Size)
	if !p.Stretch {
		ours = s.inside(size, longest, "inside", p.Size)
	}
	return s.do("Mul", "scaled", x, s.do("Div", "scale", s.cast(ours, "ours", tensor.Float32), theirs))
}

// mask takes logits of any size.
func (p *PromptEdge) mask(s scribe) string {
	side := p.Low
	if p.NoMask {
		return s.e.constant(s.place+"none", tensor.FromFloat32([]int64{1, 1, side, side}, make([]float32, side*side)))
	}
	s.e.declare("mask_input", tensor.Float32, tensor.Symbol(ir.MaskBatch), tensor.Static(1), tensor.Symbol("mask_height"), tensor.Symbol("mask_width"))
	batch := s.op("Shape", "batch", []*onnxpb.AttributeProto{intAttr("start", 0), intAttr("end", 2)}, "mask_input")
	sizes := s.op("Concat", "sizes", axisAttr(0), batch, s.e.int64s(side, side))
	return s.op("Resize", "logits", bilinear(), "mask_input", "", "", sizes)
}

// hasMask is 0 for numbers below 0, too, which one client sends.
func (p *PromptEdge) hasMask(s scribe) string {
	if p.NoMask {
		return s.e.constant(s.place+"has_none", tensor.FromFloat32([]int64{1}, []float32{0}))
	}
	s.e.declare("has_mask_input", tensor.Float32, tensor.Static(1))
	return s.do("Clip", "has", "has_mask_input", s.scalar(0), s.scalar(1))
}

func bilinear() []*onnxpb.AttributeProto {
	return []*onnxpb.AttributeProto{stringAttr("coordinate_transformation_mode", "half_pixel"), stringAttr("mode", "linear")}
}

// original declares the input orig_im_size, once.
func (e *emission) original() {
	if e.taken[original] == 0 {
		e.taken[original] = 1
		e.later = append(e.later, valueInfo(original, tensor.Type{DType: tensor.Float32, Shape: tensor.Dims(2)}))
	}
}
