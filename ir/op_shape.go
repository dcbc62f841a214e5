package ir

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
)

// TransposeAttrs of Transpose; an absent perm reverses the axes.
type TransposeAttrs struct {
	Perm []int64 `ir:"perm"`
}

// ReshapeAttrs of Reshape and Expand: the result's shape (ONNX passes it as a constant input).
type ReshapeAttrs struct {
	Shape []tensor.Dim `ir:"shape"`
}

// AxesAttrs of Squeeze and Unsqueeze.
type AxesAttrs struct {
	Axes []int64 `ir:"axes"`
}

// AxisAttrs of Concat, Gather.
type AxisAttrs struct {
	Axis int64 `ir:"axis"`
}

// SliceAttrs of Slice; absent steps are 1. Starts and ends follow ONNX: negative ones count from the end, ends are clamped.
type SliceAttrs struct {
	Axes   []int64 `ir:"axes"`
	Starts []int64 `ir:"starts"`
	Ends   []int64 `ir:"ends"`
	Steps  []int64 `ir:"steps"`
}

// PadAttrs of Pad: all begins, then all ends (never negative); mode "" is constant with Value, else "edge" or "reflect".
type PadAttrs struct {
	Pads  []int64 `ir:"pads"`
	Value float32 `ir:"value"`
	Mode  string  `ir:"mode"`
}

// RepeatsAttrs of Tile.
type RepeatsAttrs struct {
	Repeats []int64 `ir:"repeats"`
}

// CastAttrs of Cast.
type CastAttrs struct {
	To tensor.DType `ir:"to"`
}

// ResizeAttrs of Resize over the last two axes of NCHW: mode "linear" or "nearest",
// coordinate_transformation_mode "half_pixel", "align_corners" or "asymmetric"; nearest rounds half down.
type ResizeAttrs struct {
	Sizes []int64 `ir:"sizes"` // height and width of the result
	Mode  string  `ir:"mode"`
	Coord string  `ir:"coordinate_transformation_mode"`
}

// What changes a shape, or copies elements.
var Identity = newOp("Identity", 1, 1, Pointwise, HalfPlain, func(_ NoAttrs, in []tensor.Type) (tensor.Type, error) { return in[0], nil },
	func(_ *Env, _ NoAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) { return in[0], nil })

var Reshape = newOp("Reshape", 1, 1, View, HalfPlain, inferReshape, evalReshape[ReshapeAttrs])

var Squeeze = newOp("Squeeze", 1, 1, View, HalfPlain, inferSqueeze, evalReshape[AxesAttrs])

var Unsqueeze = newOp("Unsqueeze", 1, 1, View, HalfPlain, inferUnsqueeze, evalReshape[AxesAttrs])

var Transpose = newOp("Transpose", 1, 1, Moving, HalfPlain, inferTranspose, evalTranspose)

var Concat = newOp("Concat", 1, Many, Moving, HalfPlain, inferConcat, evalConcat)

var Slice = newOp("Slice", 1, 1, Pointwise, HalfPlain, inferSlice, evalSlice)

var Pad = newOp("Pad", 1, 1, Moving, HalfPlain, inferPad, evalPad)

var Expand = newOp("Expand", 1, 1, Moving, HalfPlain, inferExpand, evalExpand)

var Tile = newOp("Tile", 1, 1, Moving, HalfPlain, inferTile, evalTile)

var Gather = newOp("Gather", 2, 2, Moving, HalfPlain, inferGather, evalGather)

var GatherND = newOp("GatherND", 2, 2, Moving, HalfPlain, inferGatherND, evalGatherND)

var Cast = newOp("Cast", 1, 1, Pointwise, HalfPlain, func(a CastAttrs, in []tensor.Type) (tensor.Type, error) {
	if a.To == tensor.Invalid {
		return tensor.Type{}, errors.New("to: no element type")
	}
	return tensor.Type{DType: a.To, Shape: in[0].Shape}, nil
}, func(_ *Env, a CastAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	return tensor.Dense(tensor.CastTruncating(in[0], a.To)), nil
})

var Resize = newOp("Resize", 1, 1, Moving, HalfPlain, inferResize, evalResize)

func inferReshape(a ReshapeAttrs, in []tensor.Type) (tensor.Type, error) {
	t := tensor.Type{DType: in[0].DType, Shape: a.Shape}
	if err := t.Measurable(); err != nil {
		return t, err
	}
	return t, tensor.SameElements(in[0].Shape, a.Shape)
}

func evalReshape[A any](e *Env, _ A, in []*tensor.Tensor) (*tensor.Tensor, error) {
	return tensor.Reshape(in[0], e.Dims...)
}

func inferSqueeze(a AxesAttrs, in []tensor.Type) (tensor.Type, error) {
	drop, err := axesOf(a.Axes, in[0].Rank())
	if err != nil {
		return tensor.Type{}, err
	}
	shape := []tensor.Dim{}
	for i, d := range in[0].Shape {
		switch {
		case len(a.Axes) == 0 && d.Is(1), drop[i] && d.Is(1):
		case drop[i]:
			return tensor.Type{}, fmt.Errorf("axis %d of %s is not 1", i, in[0])
		default:
			shape = append(shape, d)
		}
	}
	return tensor.Type{DType: in[0].DType, Shape: shape}, nil
}

func inferUnsqueeze(a AxesAttrs, in []tensor.Type) (tensor.Type, error) {
	rank := in[0].Rank() + len(a.Axes)
	added, err := axesOf(a.Axes, rank)
	if err != nil {
		return tensor.Type{}, err
	}
	shape, k := make([]tensor.Dim, rank), 0
	for i := range shape {
		if added[i] {
			shape[i] = tensor.Static(1)
		} else {
			shape[i] = in[0].Shape[k]
			k++
		}
	}
	return tensor.Type{DType: in[0].DType, Shape: shape}, nil
}

func (a TransposeAttrs) perm(rank int) []int {
	perm := make([]int, rank)
	for i := range perm {
		perm[i] = rank - 1 - i
	}
	if a.Perm != nil {
		perm = ints(a.Perm)
	}
	return perm
}

func inferTranspose(a TransposeAttrs, in []tensor.Type) (tensor.Type, error) {
	perm := a.perm(in[0].Rank())
	if err := tensor.CheckPerm(perm, in[0].Rank()); err != nil {
		return tensor.Type{}, err
	}
	shape := make([]tensor.Dim, len(perm))
	for i, p := range perm {
		shape[i] = in[0].Shape[p]
	}
	return tensor.Type{DType: in[0].DType, Shape: shape}, nil
}

func evalTranspose(e *Env, a TransposeAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	perm := a.perm(len(e.Dims))
	return e.bytes(func(y []byte, size int) {
		tensor.TransposeBytes(y, in[0].Bytes(), in[0].Dims(), perm, size)
	})
}

func inferConcat(a AxisAttrs, in []tensor.Type) (tensor.Type, error) {
	axis, err := axisOf(a.Axis, in[0].Rank())
	if err != nil {
		return tensor.Type{}, err
	}
	shape := slices.Clone(in[0].Shape)
	for k, t := range in[1:] {
		if t.DType != in[0].DType || t.Rank() != len(shape) {
			return tensor.Type{}, fmt.Errorf("argument %d: have %s, want the type of argument 0, %s", k+1, t, in[0])
		}
		for i, d := range t.Shape {
			if i == axis {
				if shape[i], err = shape[i].Add(d); err != nil {
					return tensor.Type{}, err
				}
			} else if d != shape[i] {
				return tensor.Type{}, fmt.Errorf("argument %d: have %s, want %s on axis %d", k+1, t, shape[i], i)
			}
		}
	}
	return tensor.Type{DType: in[0].DType, Shape: shape}, nil
}

func evalConcat(e *Env, a AxisAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	axis, _ := axisOf(a.Axis, len(e.Dims))
	return e.bytes(func(y []byte, size int) {
		row := product(e.Dims[axis:]) * size
		at := 0
		for _, t := range in {
			part := product(t.Dims()[axis:]) * size
			x := t.Bytes()
			for o := range product(e.Dims[:axis]) {
				copy(y[o*row+at:], x[o*part:(o+1)*part])
			}
			at += part
		}
	})
}

// ranges resolves the attributes against static sizes of the sliced axes.
func (a SliceAttrs) ranges(dims []int64) (starts, counts, steps []int, err error) {
	starts, counts, steps = make([]int, len(dims)), ints(dims), make([]int, len(dims))
	for i := range steps {
		steps[i] = 1
	}
	if len(a.Axes) != len(a.Starts) || len(a.Axes) != len(a.Ends) || a.Steps != nil && len(a.Axes) != len(a.Steps) {
		return nil, nil, nil, fmt.Errorf("axes, starts, ends and steps: have %d, %d, %d and %d", len(a.Axes), len(a.Starts), len(a.Ends), len(a.Steps))
	}
	for k, x := range a.Axes {
		axis, err := axisOf(x, len(dims))
		if err != nil {
			return nil, nil, nil, err
		}
		n, step := dims[axis], int64(1)
		if a.Steps != nil {
			step = a.Steps[k]
		}
		if step == 0 {
			return nil, nil, nil, errors.New("steps: have 0")
		}
		step = min(max(step, -n-1), n+1) // a longer one takes the first element, too
		resolve := func(x, lo, hi int64) int64 {
			if x < 0 {
				x += n
			}
			return min(max(x, lo), hi)
		}
		var first, count int64
		if step > 0 {
			first = resolve(a.Starts[k], 0, n)
			count = max(0, (resolve(a.Ends[k], 0, n)-first+step-1)/step)
		} else {
			first = min(resolve(a.Starts[k], 0, n), n-1) // as the standard has it: NumPy takes nothing where it lies before the first element
			count = max(0, (first-resolve(a.Ends[k], -1, n-1)-step-1)/-step)
		}
		starts[axis], counts[axis], steps[axis] = int(first), int(count), int(step)
	}
	return starts, counts, steps, nil
}

func inferSlice(a SliceAttrs, in []tensor.Type) (tensor.Type, error) {
	if _, err := axesOf(a.Axes, in[0].Rank()); err != nil {
		return tensor.Type{}, err
	}
	dims := make([]int64, in[0].Rank())
	for i, d := range in[0].Shape {
		dims[i] = d.B // of a symbolic axis, the elements it surely has
	}
	_, counts, _, err := a.ranges(dims)
	if err != nil {
		return tensor.Type{}, err
	}
	shape := slices.Clone(in[0].Shape)
	for k, x := range a.Axes {
		i, _ := axisOf(x, len(shape))
		if shape[i].IsStatic() {
			shape[i] = tensor.Static(int64(counts[i]))
			continue
		}
		start, end := a.Starts[k], a.Ends[k]
		switch {
		case start < 0 || start > dims[i] || a.Steps != nil && a.Steps[k] != 1 || end < start:
			return tensor.Type{}, fmt.Errorf("axis %d of %s is symbolic: cannot take %d to %d", i, in[0], start, end)
		case end <= dims[i]:
			shape[i] = tensor.Static(end - start)
		case end >= math.MaxInt32: // to the end
			shape[i].B -= start
		default:
			return tensor.Type{}, fmt.Errorf("axis %d of %s is symbolic: it may have fewer than %d elements", i, in[0], end)
		}
	}
	return tensor.Type{DType: in[0].DType, Shape: shape}, nil
}

func evalSlice(e *Env, a SliceAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	starts, _, steps, err := a.ranges(in[0].Dims())
	if err != nil {
		return nil, err
	}
	return e.bytes(func(y []byte, size int) {
		kernel.Slice(y, in[0].Bytes(), size, ints(in[0].Dims()), starts, ints(e.Dims), steps)
	})
}

func inferPad(a PadAttrs, in []tensor.Type) (tensor.Type, error) {
	rank := in[0].Rank()
	if len(a.Pads) != 2*rank {
		return tensor.Type{}, fmt.Errorf("pads: have %d numbers, want %d", len(a.Pads), 2*rank)
	}
	if !slices.Contains([]string{"", "edge", "reflect"}, a.Mode) {
		return tensor.Type{}, fmt.Errorf("mode: have %q, want constant, edge or reflect", a.Mode)
	}
	if err := within("pads", a.Pads, 0); err != nil {
		return tensor.Type{}, err
	}
	shape := slices.Clone(in[0].Shape)
	for i := range shape {
		lo, hi := a.Pads[i], a.Pads[i+rank]
		if d := shape[i]; d.IsStatic() && (a.Mode == "edge" && lo+hi > 0 && d.B == 0 || a.Mode == "reflect" && max(lo, hi) > max(d.B-1, 0)) {
			return tensor.Type{}, fmt.Errorf("pads: have %d and %d of %s, which has too few elements for mode %s", lo, hi, d, a.Mode)
		}
		shape[i].B += lo + hi
	}
	return tensor.Type{DType: in[0].DType, Shape: shape}, nil
}

func evalPad(e *Env, a PadAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	rank := len(e.Dims)
	fill := tensor.Cast(tensor.FromFloat32([]int64{1}, []float32{a.Value}), e.Type.DType).Bytes()
	return e.bytes(func(y []byte, size int) {
		kernel.Pad(y, in[0].Bytes(), size, ints(in[0].Dims()), ints(a.Pads[:rank]), ints(a.Pads[rank:]), a.Mode, fill)
	})
}

// inferExpand lets a symbol become another one, or a number: when it runs, it is 1 or the same.
func inferExpand(a ReshapeAttrs, in []tensor.Type) (tensor.Type, error) {
	from := slices.Clone(in[0].Shape)
	for i, d := range from {
		if k := len(a.Shape) - len(from) + i; k >= 0 && d.Sym != "" && d.A == 1 && d.B == 0 && d.Sym != a.Shape[k].Sym {
			from[i] = tensor.Static(1)
		}
	}
	shape, err := broadcast(from, a.Shape)
	if err == nil && !slices.Equal(shape, a.Shape) {
		err = fmt.Errorf("shape: have %s, want %s", tensor.ShapeString(a.Shape), tensor.ShapeString(shape))
	}
	return tensor.Type{DType: in[0].DType, Shape: shape}, err
}

func evalExpand(e *Env, _ ReshapeAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	for i, n := range in[0].Dims() {
		if want := e.Dims[len(e.Dims)-len(in[0].Dims())+i]; n != want && n != 1 {
			return nil, fmt.Errorf("axis %d: have %d elements, want 1 or %d", i, n, want)
		}
	}
	return e.bytes(func(y []byte, size int) {
		kernel.Expand(y, in[0].Bytes(), size, ints(in[0].Dims()), ints(e.Dims))
	})
}

func inferTile(a RepeatsAttrs, in []tensor.Type) (tensor.Type, error) {
	if len(a.Repeats) != in[0].Rank() {
		return tensor.Type{}, fmt.Errorf("repeats: have %d, want %d", len(a.Repeats), in[0].Rank())
	}
	if err := within("repeats", a.Repeats, 0); err != nil {
		return tensor.Type{}, err
	}
	shape := slices.Clone(in[0].Shape)
	for i, n := range a.Repeats {
		shape[i] = shape[i].Times(n)
	}
	return tensor.Type{DType: in[0].DType, Shape: shape}, nil
}

func evalTile(e *Env, _ RepeatsAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	return e.bytes(func(y []byte, size int) {
		kernel.Tile(y, in[0].Bytes(), size, ints(in[0].Dims()), ints(e.Dims))
	})
}

func inferGather(a AxisAttrs, in []tensor.Type) (tensor.Type, error) {
	axis, err := axisOf(a.Axis, in[0].Rank())
	if err != nil {
		return tensor.Type{}, err
	}
	if d := in[1].DType; d != tensor.Int64 && d != tensor.Int32 {
		return tensor.Type{}, fmt.Errorf("argument 1: have %s, want int64 or int32", in[1])
	}
	return tensor.Type{DType: in[0].DType, Shape: slices.Concat(in[0].Shape[:axis], in[1].Shape, in[0].Shape[axis+1:])}, nil
}

func evalGather(e *Env, a AxisAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	dims := in[0].Dims()
	axis, _ := axisOf(a.Axis, len(dims))
	n := dims[axis]
	index := slices.Clone(in[1].Int64s())
	for i, x := range index {
		if x < -n || x >= n {
			return nil, fmt.Errorf("index %d is not in %d elements", x, n)
		}
		if x < 0 {
			index[i] += n
		}
	}
	return e.bytes(func(y []byte, size int) {
		row := product(dims[axis+1:]) * size
		x := in[0].Bytes()
		for o := range product(dims[:axis]) {
			for _, i := range index {
				at := (o*int(n) + int(i)) * row
				copy(y[:row], x[at:at+row])
				y = y[row:]
			}
		}
	})
}

// GatherNDAttrs of GatherND: the leading axes that both arguments share.
type GatherNDAttrs struct {
	BatchDims int64 `ir:"batch_dims"`
}

// inferGatherND: the last axis of the indices has one index for each axis of the data behind the batch's.
func inferGatherND(a GatherNDAttrs, in []tensor.Type) (tensor.Type, error) {
	if d := in[1].DType; d != tensor.Int64 {
		return tensor.Type{}, fmt.Errorf("argument 1: have %s, want int64", in[1])
	}
	b, rank := int(a.BatchDims), in[1].Rank()
	if rank < 1 || a.BatchDims < 0 || b >= rank || b >= in[0].Rank() {
		return tensor.Type{}, fmt.Errorf("batch_dims: have %d of %s and %s", a.BatchDims, in[0], in[1])
	}
	if !slices.Equal(in[0].Shape[:b], in[1].Shape[:b]) {
		return tensor.Type{}, fmt.Errorf("have %s and %s, want %d equal axes", in[0], in[1], b)
	}
	k := in[1].Shape[rank-1]
	if !k.IsStatic() || k.B < 1 || b+int(k.B) > in[0].Rank() {
		return tensor.Type{}, fmt.Errorf("argument 1: have %s, want at most one index for each axis of %s", in[1], in[0])
	}
	return tensor.Type{DType: in[0].DType, Shape: slices.Concat(in[1].Shape[:rank-1], in[0].Shape[b+int(k.B):])}, nil
}

func evalGatherND(e *Env, a GatherNDAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	dims, at := in[0].Dims(), in[1].Dims()
	b, k := int(a.BatchDims), int(at[len(at)-1])
	rows := product(at[b : len(at)-1])
	index := in[1].Int64s()
	offsets := make([]int, 0, len(index)/k)
	for i := 0; i < len(index); i += k {
		offset := i / k / max(rows, 1) // the batch
		for j, x := range index[i : i+k] {
			n := dims[b+j]
			if x < -n || x >= n {
				return nil, fmt.Errorf("index %d is not in %d elements", x, n)
			}
			if x < 0 {
				x += n
			}
			offset = offset*int(n) + int(x)
		}
		offsets = append(offsets, offset)
	}
	return e.bytes(func(y []byte, size int) {
		row := product(dims[b+k:]) * size
		x := in[0].Bytes()
		for i, o := range offsets {
			copy(y[i*row:(i+1)*row], x[o*row:(o+1)*row])
		}
	})
}

func inferResize(a ResizeAttrs, in []tensor.Type) (tensor.Type, error) {
	if err := want(in, 0, tensor.Float32, 4); err != nil {
		return tensor.Type{}, err
	}
	switch {
	case len(a.Sizes) != 2 || within("", a.Sizes, 1) != nil:
		return tensor.Type{}, fmt.Errorf("sizes: have %v, want height and width", a.Sizes)
	case a.Mode != "linear" && a.Mode != "nearest":
		return tensor.Type{}, fmt.Errorf("mode: have %q, want linear or nearest", a.Mode)
	case !slices.Contains([]string{"half_pixel", "align_corners", "asymmetric"}, a.Coord):
		return tensor.Type{}, fmt.Errorf("coordinate_transformation_mode: have %q, want half_pixel, align_corners or asymmetric", a.Coord)
	}
	for _, d := range in[0].Shape[2:] {
		if !d.IsStatic() || d.B < 1 {
			return tensor.Type{}, fmt.Errorf("argument 0: have %s, want static, non-empty height and width", in[0])
		}
	}
	return tensor.Type{DType: tensor.Float32, Shape: append(slices.Clone(in[0].Shape[:2]), tensor.Dims(a.Sizes...)...)}, nil
}

func evalResize(e *Env, a ResizeAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	d := ints(in[0].Dims())
	return e.float32(func(y []float32) {
		kernel.Resize(a.Mode, a.Coord, d[0]*d[1], d[2], d[3], int(e.Dims[2]), int(e.Dims[3]), in[0].Float32s(), y)
	})
}
