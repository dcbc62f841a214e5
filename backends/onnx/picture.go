package onnx

import (
	"fmt"

	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir/tensor"
)

// ImageEdge takes a picture as it is, and makes of it what the graph reads: float32 [1,3,S,S], resized, the mean subtracted, zeros right of and
// below the picture. The deviation is the graph's to divide by.
type ImageEdge struct {
	Name          string
	DType         tensor.DType // uint8 or float32
	Layout        string       // "HWC", "CHW", or "NCHW" with N = 1
	Unit          bool         // values are those of 8 bits divided by 255, not 0 to 255
	Frame         int64        // the picture is always a square of this side; 0: of any size
	Size          int64        // S
	Stretch       bool         // to S x S; else the longer side becomes S
	Interpolation string       // "pil_bilinear", "pil_nearest" or "nearest" (OpenCV's)
	Mean          [3]float32
}

func (p *ImageEdge) write(s scribe) (string, error) {
	if _, ok := filters[p.Interpolation]; !ok {
		return "", fmt.Errorf("image: interpolation %q has no form in a file", p.Interpolation)
	}
	h, w := tensor.Symbol("H"), tensor.Symbol("W")
	if p.Frame > 0 {
		h, w = tensor.Static(p.Frame), tensor.Static(p.Frame)
	}
	three, x := tensor.Static(3), p.Name
	s.e.declare(p.Name, p.DType, map[string][]tensor.Dim{"HWC": {h, w, three}, "CHW": {three, h, w}, "NCHW": {tensor.Static(1), three, h, w}}[p.Layout]...)
	if p.DType != tensor.Float32 {
		x = s.cast(x, "float", tensor.Float32)
	}
	switch p.Layout {
	case "HWC":
		x = s.op("Transpose", "planes", []*onnxpb.AttributeProto{intsAttr("perm", []int64{2, 0, 1})}, x)
	case "NCHW":
		x = s.do("Reshape", "planes", x, s.e.int64s(3, p.Frame, p.Frame))
	}
	if p.Unit {
		x = s.do("Floor", "bytes", s.do("Add", "half_up", s.do("Mul", "times_255", x, s.scalar(255)), s.scalar(0.5)))
	}
	mean := s.e.constant(s.place+"mean", tensor.FromFloat32([]int64{3, 1, 1}, p.Mean[:]))
	if p.Frame == p.Size { // it is as large as it should be
		return s.do("Unsqueeze", "image", s.do("Sub", "centred", x, mean), s.e.int64s(0)), nil
	}
	height, width := s.dim(x, "height", 1), s.dim(x, "width", 2)
	var rows, cols string
	if p.Stretch && p.Interpolation == "pil_bilinear" {
		rows, cols = s.e.int64s(p.Size), s.e.int64s(p.Size)
	} else if !p.Stretch {
		longest := s.do("Max", "longest", height, width)
		rows, cols = s.inside(height, longest, "rows", p.Size), s.inside(width, longest, "columns", p.Size)
	}
	x = filters[p.Interpolation](s, p, x, height, width, rows, cols)
	x = s.do("Sub", "centred", x, mean)
	if !p.Stretch {
		places := s.e.constant(s.place+"places", tensor.FromInt64([]int64{p.Size}, upTo(p.Size, 1, 0)))
		down := s.do("Unsqueeze", "rows_inside", s.cast(s.do("Less", "row_is_inside", places, rows), "row_inside", tensor.Float32), s.e.int64s(1))
		x = s.do("Mul", "padded", x, s.do("Mul", "frame", down, s.cast(s.do("Less", "column_is_inside", places, cols), "columns_inside", tensor.Float32)))
	}
	return s.do("Unsqueeze", "image", x, s.e.int64s(0)), nil
}

// upTo is by*i + plus for i from 0 to n-1.
func upTo(n, by, plus int64) []int64 {
	x := make([]int64, n)
	for i := range x {
		x[i] = by*int64(i) + plus
	}
	return x
}

// filters resize [3,height,width] to [3,S,S], of which rows x columns are the picture.
var filters = map[string]func(s scribe, p *ImageEdge, x, height, width, rows, cols string) string{
	"pil_bilinear": func(s scribe, p *ImageEdge, x, height, width, rows, cols string) string {
		upper, lower := s.split("width", s.triangle("width", p.Size, width, cols), true)
		x = s.rounded("columns", s.do("MatMul", "columns_upper", x, upper), s.do("MatMul", "columns_lower", x, lower))
		upper, lower = s.split("height", s.triangle("height", p.Size, height, rows), false)
		return s.rounded("rows", s.do("MatMul", "rows_upper", upper, x), s.do("MatMul", "rows_lower", lower, x))
	},
	"pil_nearest": func(s scribe, p *ImageEdge, x, height, width, _, _ string) string {
		at := func(axis, in string) string {
			return s.do("Div", axis+"_places", s.do("Mul", axis+"_times", s.e.constant(s.place+"odd", tensor.FromInt64([]int64{p.Size}, upTo(p.Size, 2, 1))), in), s.e.int64s(2*p.Size))
		}
		return s.op("Gather", "rows", axisAttr(1), s.op("Gather", "columns", axisAttr(2), x, at("width", width)), at("height", height))
	},
	"nearest": func(s scribe, p *ImageEdge, x, height, width, _, _ string) string {
		return s.op("Gather", "rows", axisAttr(1), s.op("Gather", "columns", axisAttr(2), x, s.inverted("width", p.Size, width)), s.inverted("height", p.Size, height))
	},
}

// fixedBits is the precision of PIL's filter coefficients for 8-bit pixels; half of them go into each of two products, which float32 adds up exactly
// as far as 32 pixels make one.
const fixedBits, halfBits = 22, 11

// weights are PIL's triangle filter as exact integers [S,in] beside their sums [S,1]: 2m - |(2x+1)*out - (2i+1)*in|, m the larger of both sizes.
// Rows from out on are zeros, and their sum 1.
func (s scribe) weights(axis string, size int64, in, out string) (weights, sum string) {
	from := s.do("Unsqueeze", axis+"_from_row", s.do("Range", axis+"_from", s.number(0), s.do("Squeeze", axis+"_size", in, s.e.int64s(0)), s.number(1)), s.e.int64s(0))
	odd := s.do("Add", axis+"_odd", s.do("Mul", axis+"_twice", from, s.e.int64s(2)), s.e.int64s(1))
	to := s.e.constant(s.place+axis+"_to", tensor.FromInt64([]int64{size, 1}, upTo(size, 2, 1)))
	apart := s.do("Sub", axis+"_apart", s.do("Mul", axis+"_places", odd, out), s.do("Mul", axis+"_centres", to, in))
	far := s.do("Max", axis+"_far", apart, s.do("Sub", axis+"_mirrored", s.e.int64s(0), apart))
	reach := s.do("Mul", axis+"_reach", s.do("Max", axis+"_larger", in, out), s.e.int64s(2))
	near := s.do("Max", axis+"_near", s.do("Sub", axis+"_left", reach, far), s.e.int64s(0))
	places := s.e.constant(s.place+axis+"_rows", tensor.FromInt64([]int64{size, 1}, upTo(size, 1, 0)))
	weights = s.do("Mul", axis+"_weights", near, s.cast(s.do("Less", axis+"_is_inside", places, out), axis+"_inside", tensor.Int64))
	return weights, s.do("Max", axis+"_sum", s.reduce("ReduceSum", weights, axis+"_all", 1, 1), s.e.int64s(1))
}

// triangle rounds the filter to fixed point, as PIL does.
func (s scribe) triangle(axis string, size int64, in, out string) string {
	weights, sum := s.weights(axis, size, in, out)
	up := s.do("Add", axis+"_up", s.do("Mul", axis+"_fixed", weights, s.e.int64s(2<<fixedBits)), sum)
	return s.do("Div", axis+"_coefficients", up, s.do("Mul", axis+"_sums", sum, s.e.int64s(2)))
}

// split gives the upper and the lower bits of coefficients as float32, transposed to [in,S] for a product from the right.
func (s scribe) split(axis, coefficients string, right bool) (high, low string) {
	if right {
		coefficients = s.op("Transpose", axis+"_columns", nil, coefficients)
	}
	upper := s.do("Div", axis+"_upper", coefficients, s.e.int64s(1<<halfBits))
	lower := s.do("Sub", axis+"_lower", coefficients, s.do("Mul", axis+"_taken", upper, s.e.int64s(1<<halfBits)))
	return s.cast(upper, axis+"_upper_float", tensor.Float32), s.cast(lower, axis+"_lower_float", tensor.Float32)
}

// rounded adds the products with both halves of coefficients in fixed point, shifted back to 8 bits with a half added: every step is exact.
func (s scribe) rounded(name, upper, lower string) string {
	back := s.scalar(1.0 / (1 << halfBits))
	sum := s.do("Add", name+"_sum", upper, s.do("Floor", name+"_carry", s.do("Mul", name+"_shifted", lower, back)))
	return s.do("Floor", name, s.do("Mul", name+"_pixels", s.do("Add", name+"_half", sum, s.scalar(1<<(halfBits-1))), back))
}

// largest is the largest picture side for which OpenCV's rounding was looked up.
const largest = 1 << 14

// inverted gives OpenCV's nearest neighbour, floor(i * (1 / (S/in))): floor(i*in/S) but where the inverse is rounded down and i*in/S is whole; those
// places are a list.
func (s scribe) inverted(axis string, size int64, in string) string {
	var below []int64
	for n := int64(1); n <= largest; n++ {
		step := 1 / (float64(size) / float64(n))
		for i := int64(0); i < size; i++ {
			if i*n%size == 0 && int64(float64(i)*step) != i*n/size {
				below = append(below, n*size+i)
			}
		}
	}
	places := s.e.constant(s.place+axis+"_to", tensor.FromInt64([]int64{size, 1}, upTo(size, 1, 0)))
	at := s.do("Div", axis+"_exact", s.do("Mul", axis+"_times", places, in), s.e.int64s(size))
	if len(below) > 0 {
		list := s.e.constant(s.place+axis+"_below", tensor.FromInt64([]int64{1, int64(len(below))}, below))
		key := s.do("Add", axis+"_key", s.do("Mul", axis+"_row", in, s.e.int64s(size)), places)
		hit := s.reduce("ReduceMax", s.cast(s.do("Equal", axis+"_listed", key, list), axis+"_hits", tensor.Int64), axis+"_hit", 1, 1)
		at = s.do("Sub", axis+"_rounded", at, hit)
	}
	return s.do("Squeeze", axis+"_places", at, s.e.int64s(1))
}
