package onnx

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// importResize spells coordinates as the IR's where both give the same places.
func importResize(im *importer, n *onnxpb.NodeProto, a attrs, in *ir.Value) error {
	if in.Type.Rank() != 4 || len(n.Input) < 3 {
		return errors.New("only NCHW with sizes is supported")
	}
	sizes, err := im.resized(n, in)
	if err != nil {
		return err
	}
	if len(sizes) != 4 || sizes[0] != in.Type.Shape[0] || sizes[1] != in.Type.Shape[1] || !sizes[2].IsStatic() || !sizes[3].IsStatic() {
		return fmt.Errorf("sizes: have %s for %s", tensor.ShapeString(sizes), in.Type)
	}
	mode, coord := a.string("mode", "nearest"), a.string("coordinate_transformation_mode", "half_pixel")
	if coord == "pytorch_half_pixel" && sizes[2].B > 1 && sizes[3].B > 1 { // differs where one pixel is made
		coord = "half_pixel"
	}
	if rule := a.string("nearest_mode", "round_prefer_floor"); mode == "nearest" {
		whole := func(i int) bool {
			return in.Type.Shape[i].IsStatic() && in.Type.Shape[i].B > 0 && sizes[i].B%in.Type.Shape[i].B == 0
		}
		switch {
		case rule == "round_prefer_floor":
		case rule == "floor" && coord == "asymmetric" && whole(2) && whole(3): // every pixel so many times
			coord = "half_pixel"
		default:
			return errors.New("this nearest_mode or antialiasing is not supported")
		}
	}
	if a.int("antialias", 0) != 0 {
		return errors.New("this nearest_mode or antialiasing is not supported")
	}
	return im.emit(n, ir.Resize.With(ir.ResizeAttrs{Sizes: []int64{sizes[2].B, sizes[3].B}, Mode: mode, Coord: coord}), in)
}

// resized gives the result's sizes: input 3, or whole ones of the factors in input 2.
func (im *importer) resized(n *onnxpb.NodeProto, in *ir.Value) ([]tensor.Dim, error) {
	if input(n, 3) != "" || input(n, 2) == "" {
		return im.sizes(input(n, 3))
	}
	factors, err := im.evaluate(n.Input[2])
	if err != nil {
		return nil, err
	}
	if factors.DType() != tensor.Float32 || factors.Len() != int64(in.Type.Rank()) {
		return nil, fmt.Errorf("scales: have %s for %s", factors.Type(), in.Type)
	}
	sizes := slices.Clone(in.Type.Shape)
	for i, f := range factors.Float32s() {
		if f == 1 {
			continue
		}
		whole := float64(f) * float64(sizes[i].B)
		if !sizes[i].IsStatic() || whole != math.Trunc(whole) {
			return nil, fmt.Errorf("scales: have %g of %s: want a whole number of elements", f, sizes[i])
		}
		sizes[i] = tensor.Static(int64(whole))
	}
	return sizes, nil
}
