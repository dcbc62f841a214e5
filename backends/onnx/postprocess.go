package onnx

import (
	"fmt"

	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir/tensor"
)

// Postprocess asks for mask resizing inside the decoder, as SAM's official export has it: one more input orig_im_size float32 [2] (height,
// width) and a first output masks [B,M,height,width]: low_res_masks bilinear to S x S, cropped to the resized image, bilinear to the original
// size.
type Postprocess struct {
	Size    int64    // S
	Crop    bool     // the image keeps its aspect in the input; otherwise it fills it
	Frame   int64    // the client resizes the picture to this longer side first, in whole pixels; 0: it does not
	Once    bool     // straight to the original size
	Sigmoid bool     // masks are probabilities while they are resized
	Shift   float32  // added to the masks, so that a pixel is foreground above the client's threshold
	Outputs []string // of the file, in this order; nil: masks, the graph's others, low_res_masks
	Beside  bool     // executors of the graph may leave masks out: they are made of low_res_masks, which is there
	Boxed   bool     // masks are uint8 0 and 1 cropped to the smallest box around the foreground, whose first and last pixels are xtl, ytl, xbr and ybr (int64 [1])
	Low     string   // the name under which low_res_masks are an output; "": that one
	LowSide int64    // low_res_masks have this side: each logit a square of pixels; 0: as they are
}

func (p *Postprocess) write(e *emission) error {
	s := scribe{e, "postprocess/"}
	e.original()
	low := "low_res_masks"
	names := map[string]*onnxpb.ValueInfoProto{}
	for _, o := range e.graph.Output {
		names[o.GetName()] = o
	}
	if names[low] == nil {
		return fmt.Errorf("masks: there is no output %s to make them of", low)
	}
	batch := s.op("Shape", "batch", []*onnxpb.AttributeProto{intAttr("start", 0), intAttr("end", 2)}, low)
	to := func(x, name, sizes string) string {
		return s.op("Resize", name, bilinear(), x, "", "", s.op("Concat", name+"_shape", axisAttr(0), batch, sizes))
	}
	x, size := low, s.cast(original, "original", tensor.Int64)
	if p.Sigmoid {
		x = s.do("Sigmoid", "probabilities", x)
	}
	if !p.Once {
		x = to(x, "square", e.int64s(p.Size, p.Size))
		if p.Crop {
			taken, longest := size, s.reduce("ReduceMax", size, "longest", 1, 0)
			if p.Frame > 0 {
				taken, longest = s.inside(size, longest, "inside_frame", p.Frame), s.e.int64s(p.Frame)
			}
			inside := s.inside(taken, longest, "inside", p.Size)
			x = s.do("Slice", "cropped", x, e.int64s(0, 0), inside, e.int64s(2, 3))
		}
	}
	x = to(x, "resized", size)
	if p.Shift != 0 {
		x = s.do("Add", "shifted", x, s.scalar(p.Shift))
	}
	dims := names[low].GetType().GetTensorType().GetShape().GetDim()[:2]
	dtype := tensor.Float32
	if p.Boxed {
		dtype = tensor.Uint8
		x = s.boxed(x, size)
		for _, side := range sides {
			names[side] = undeclared(side, tensor.Int64, valueInfo("", tensor.Of(tensor.Int64, 1)).GetType().GetTensorType().GetShape().GetDim()...)
		}
	}
	e.node("Identity", s.place+"masks", []string{x}, []string{"masks"}, nil)
	names["masks"] = undeclared("masks", dtype, dims[0], dims[1], symbolDim("height"), symbolDim("width"))
	if p.LowSide > 0 {
		names[low] = p.enlarge(s, names[low])
	}
	if p.Low != "" {
		e.node("Identity", s.place+p.Low, []string{low}, []string{p.Low}, nil)
		names[p.Low] = undeclared(p.Low, tensor.Float32, names[low].GetType().GetTensorType().GetShape().GetDim()...)
	}
	order := p.Outputs
	if order == nil { // clients unpack masks, iou_predictions, low_res_masks in this order
		order = []string{"masks"}
		for _, o := range e.graph.Output {
			if o.GetName() != low {
				order = append(order, o.GetName())
			}
		}
		order = append(order, low)
	}
	e.graph.Output = nil
	for _, name := range order {
		if names[name] == nil {
			return fmt.Errorf("output %s: the graph has none", name)
		}
		e.graph.Output = append(e.graph.Output, names[name])
	}
	return nil
}

// sides are the outputs that say where a cropped mask lies.
var sides = [4]string{"xtl", "ytl", "xbr", "ybr"}

// boxed crops the first prompt's mask to its foreground. Without any it is the pixel (0,0), which is background.
func (s scribe) boxed(masks, size string) string {
	mask := s.cast(s.do("Greater", "is_foreground", masks, s.scalar(0)), "foreground", tensor.Int64)
	first := s.do("Slice", "first_mask", mask, s.e.int64s(0, 0), s.e.int64s(1, 1), s.e.int64s(0, 1))
	bounds := func(axis string, other, at int64) (lo, hi string) {
		n := s.do("Slice", axis+"_size", size, s.e.int64s(at), s.e.int64s(at+1))
		any := s.reduce("ReduceMax", first, axis+"_any", 0, 0, 1, other)
		place := s.do("Range", axis+"_range", s.number(0), s.do("Squeeze", axis+"_count", n, s.e.int64s(0)), s.number(1))
		hi = s.reduce("ReduceMax", s.do("Mul", axis+"_from_start", any, place), axis+"_last", 1, 0)
		end := s.do("Sub", axis+"_end", n, s.e.int64s(1))
		left := s.reduce("ReduceMax", s.do("Mul", axis+"_from_end", any, s.do("Sub", axis+"_mirrored", end, place)), axis+"_distance", 1, 0)
		return s.do("Min", axis+"_first", s.do("Sub", axis+"_start", end, left), hi), hi
	}
	x0, x1 := bounds("x", 2, 1)
	y0, y1 := bounds("y", 3, 0)
	for i, v := range []string{x0, y0, x1, y1} {
		s.e.node("Identity", s.place+sides[i], []string{v}, []string{sides[i]}, nil)
	}
	after := func(v, name string) string { return s.do("Add", name, v, s.e.int64s(1)) }
	cut := s.do("Slice", "box", mask, s.op("Concat", "box_start", axisAttr(0), y0, x0), s.op("Concat", "box_end", axisAttr(0), after(y1, "y_end"), after(x1, "x_end")), s.e.int64s(2, 3))
	return s.cast(cut, "box_bytes", tensor.Uint8)
}

// enlarge makes each logit of low_res_masks a square of pixels; what comes back as a mask_input of that size is what it was.
func (p *Postprocess) enlarge(s scribe, low *onnxpb.ValueInfoProto) *onnxpb.ValueInfoProto {
	inner := s.e.unique("low_res_masks/of_the_model")
	for _, n := range s.e.graph.Node {
		for _, names := range [][]string{n.Input, n.Output} {
			for i, name := range names {
				if name == "low_res_masks" {
					names[i] = inner
				}
			}
		}
	}
	attrs := []*onnxpb.AttributeProto{stringAttr("coordinate_transformation_mode", "half_pixel"), stringAttr("mode", "nearest"), stringAttr("nearest_mode", "round_prefer_floor")}
	batch := s.op("Shape", "low_batch", []*onnxpb.AttributeProto{intAttr("start", 0), intAttr("end", 2)}, inner)
	s.e.node("Resize", s.place+"low_res_masks", []string{inner, "", "", s.op("Concat", "low_sizes", axisAttr(0), batch, s.e.int64s(p.LowSide, p.LowSide))}, []string{"low_res_masks"}, attrs)
	dims := low.GetType().GetTensorType().GetShape().GetDim()[:2]
	side := valueInfo("", tensor.Of(tensor.Int64, p.LowSide, p.LowSide)).GetType().GetTensorType().GetShape().GetDim()
	return undeclared("low_res_masks", tensor.Float32, dims[0], dims[1], side[0], side[1])
}
