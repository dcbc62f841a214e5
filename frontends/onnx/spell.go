package onnx

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// Operators that the IR has other spellings of, or that are evaluated while reading.

// importEinsum spells a product of two tensors as MatMul: axes of both and of the result are its batch, axes of both alone its sum.
func importEinsum(im *importer, n *onnxpb.NodeProto, a attrs) error {
	in, err := im.args(n)
	if err != nil {
		return err
	}
	equation := strings.ReplaceAll(a.string("equation", ""), " ", "")
	left, result, explicit := strings.Cut(equation, "->")
	terms := strings.Split(left, ",")
	if len(in) != 2 || len(terms) != 2 || !explicit || in[0] == nil || in[1] == nil {
		return fmt.Errorf("equation: have %q of %d arguments, want two terms and a result", equation, len(in))
	}
	size := map[rune]tensor.Dim{}
	for i, t := range terms {
		if len(t) != in[i].Type.Rank() {
			return fmt.Errorf("equation: %q for %s", t, in[i].Type)
		}
		for k, c := range t {
			d := in[i].Type.Shape[k]
			if have, ok := size[c]; c < 'A' || c > 'z' || strings.Count(t, string(c)) > 1 || ok && have != d {
				return fmt.Errorf("equation: %q for %s: want letters, each once, of one size", equation, in[i].Type)
			}
			size[c] = d
		}
	}
	var batch, sum, rows, cols []rune
	for _, c := range terms[0] {
		switch second, out := strings.ContainsRune(terms[1], c), strings.ContainsRune(result, c); {
		case second && out:
			batch = append(batch, c)
		case second:
			sum = append(sum, c)
		case out:
			rows = append(rows, c)
		}
	}
	for _, c := range terms[1] {
		if !strings.ContainsRune(terms[0], c) && strings.ContainsRune(result, c) {
			cols = append(cols, c)
		}
	}
	have := slices.Concat(batch, rows, cols)
	if len(result) != len(have) || len(terms[0]) != len(batch)+len(rows)+len(sum) || len(terms[1]) != len(batch)+len(cols)+len(sum) {
		return fmt.Errorf("equation: %q: an axis of one term alone is summed, or the result has one twice or of no term", equation)
	}
	merged := func(axes []rune) (tensor.Dim, error) {
		var dims []tensor.Dim
		for _, c := range axes {
			dims = append(dims, size[c])
		}
		return tensor.Missing(dims, nil)
	}
	var errs [3]error
	var m, k, p tensor.Dim
	m, errs[0] = merged(rows)
	k, errs[1] = merged(sum)
	p, errs[2] = merged(cols)
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("equation: %w", err)
	}
	var outer []tensor.Dim
	for _, c := range batch {
		outer = append(outer, size[c])
	}
	b := im.b.As(n.Output[0])
	arranged := func(i int, order ...[]rune) *ir.Value {
		perm := []int64{}
		for _, c := range slices.Concat(order...) {
			perm = append(perm, int64(strings.IndexRune(terms[i], c)))
		}
		return b.Transpose(in[i], perm...)
	}
	x := b.Reshape(arranged(0, batch, rows, sum), append(slices.Clone(outer), m, k)...)
	y := b.Reshape(arranged(1, batch, sum, cols), append(slices.Clone(outer), k, p)...)
	shape := slices.Clone(outer)
	for _, c := range slices.Concat(rows, cols) {
		shape = append(shape, size[c])
	}
	perm := []int64{}
	for _, c := range result {
		perm = append(perm, int64(slices.Index(have, c)))
	}
	return im.emit(n, ir.Transpose.With(ir.TransposeAttrs{Perm: perm}), b.Reshape(b.MatMul(x, y), shape...))
}

// importOneHot compares with the numbers below depth; negative indices count from it.
func importOneHot(im *importer, n *onnxpb.NodeProto, a attrs) error {
	in, err := im.args(n)
	if err != nil {
		return err
	}
	if len(in) != 3 || slices.Contains(in, nil) || in[2].Type.Rank() != 1 || !in[2].Type.Shape[0].Is(2) {
		return errors.New("want indices, depth and two values")
	}
	depth, err := im.evaluate(n.Input[1])
	if err != nil {
		return err
	}
	if depth.Len() != 1 || depth.Int64s()[0] < 1 {
		return fmt.Errorf("depth: have %s", depth.Type())
	}
	d := depth.Int64s()[0]
	if err := im.make(d); err != nil {
		return fmt.Errorf("depth: %w", err)
	}
	axis := a.int("axis", -1)
	rank := int64(in[0].Type.Rank() + 1)
	if axis < 0 {
		axis += rank
	}
	if axis < 0 || axis >= rank {
		return fmt.Errorf("axis: have %d of rank %d", axis, rank)
	}
	b := im.b.As(n.Output[0])
	shape := make([]int64, rank-axis)
	for i := range shape {
		shape[i] = 1
	}
	shape[0] = d
	numbers := make([]int64, d)
	for i := range numbers {
		numbers[i] = int64(i)
	}
	index := b.Op(ir.Cast.With(ir.CastAttrs{To: tensor.Int64}), in[0])
	zero, count := b.Const(tensor.FromInt64([]int64{}, []int64{0})), b.Const(tensor.FromInt64([]int64{}, []int64{d}))
	index = b.Op(ir.Where, b.Op(ir.Less, index, zero), b.Add(index, count), index)
	hot := b.Op(ir.Equal, b.Unsqueeze(index, axis), b.Const(tensor.FromInt64(shape, numbers)))
	one := func(i int64) *ir.Value {
		return b.Op(ir.Squeeze.With(ir.AxesAttrs{Axes: []int64{0}}), b.Slice(in[2], 0, i, i+1))
	}
	return im.emit(n, ir.Where, hot, one(1), one(0))
}

// importRange makes a constant.
func importRange(im *importer, n *onnxpb.NodeProto, _ attrs) error {
	var at [3]*tensor.Tensor
	for i := range at {
		var err error
		if at[i], err = im.evaluate(input(n, i)); err != nil {
			return err
		}
		if at[i].Len() != 1 || at[i].DType() != at[0].DType() {
			return fmt.Errorf("input %d is %s, want a number", i, at[i].Type())
		}
	}
	var made *tensor.Tensor
	switch d := at[0].DType(); d {
	case tensor.Int64, tensor.Int32:
		start, limit, delta := at[0].Int64s()[0], at[1].Int64s()[0], at[2].Int64s()[0]
		count, err := im.count(float64(start), float64(limit), float64(delta))
		if err != nil {
			return err
		}
		x := make([]int64, count)
		for i := range x {
			x[i] = start + int64(i)*delta
		}
		made = tensor.Dense(tensor.Cast(tensor.FromInt64([]int64{int64(len(x))}, x), d))
	case tensor.Float32:
		start, limit, delta := at[0].Float32s()[0], at[1].Float32s()[0], at[2].Float32s()[0]
		count, err := im.count(float64(start), float64(limit), float64(delta))
		if err != nil {
			return err
		}
		x := make([]float32, count)
		for i := range x {
			x[i] = start + float32(i)*delta
		}
		made = tensor.FromFloat32([]int64{int64(len(x))}, x)
	default:
		return fmt.Errorf("have %s, want int64, int32 or float32", d)
	}
	im.values[n.Output[0]] = im.constant(n.Output[0], made)
	return nil
}

// count is how many numbers lie from start on below limit (above it for a negative delta).
func (im *importer) count(start, limit, delta float64) (int, error) {
	n := math.Ceil((limit - start) / delta)
	if delta == 0 || !(n <= maxMade) { // NaN, too
		return 0, fmt.Errorf("from %g to %g by %g: want at most %d numbers", start, limit, delta, maxMade)
	}
	n = max(n, 0)
	return int(n), im.make(int64(n))
}

// importIf takes the branch that the condition has, in the place of the node.
func importIf(im *importer, n *onnxpb.NodeProto, a attrs) error {
	condition, err := im.evaluate(input(n, 0))
	if err != nil {
		return err
	}
	if condition.DType() != tensor.Bool || condition.Len() != 1 {
		return fmt.Errorf("condition: have %s, want one bool", condition.Type())
	}
	name := map[bool]string{true: "then_branch", false: "else_branch"}[condition.Bytes()[0] != 0]
	branch := a[name]
	if branch == nil || branch.G == nil || len(branch.G.Output) != len(n.Output) {
		return fmt.Errorf("%s: want a graph of %d outputs", name, len(n.Output))
	}
	if im.depth++; im.depth > maxNested {
		return fmt.Errorf("%s: more than %d graphs lie in each other", name, maxNested)
	}
	outer := im.values
	im.values = make(map[string]value, len(outer))
	for k, v := range outer {
		im.values[k] = v
	}
	defer func() { im.values, im.depth = outer, im.depth-1 }()
	for _, p := range branch.G.Initializer {
		t, err := onnxpb.TensorOf(p)
		if err != nil {
			return fmt.Errorf("%s: %q: %w", name, p.GetName(), err)
		}
		im.values[p.GetName()] = im.constant(p.GetName(), t)
	}
	if err := im.nodes(branch.G.Node); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for i, o := range branch.G.Output {
		val, ok := im.values[o.GetName()]
		if !ok {
			return fmt.Errorf("%s: %w", name, undefined(o.GetName()))
		}
		outer[n.Output[i]] = val
	}
	return nil
}

// importNonZero makes a constant of the places, whose number no type tells.
func importNonZero(im *importer, n *onnxpb.NodeProto, _ attrs) error {
	t, err := im.evaluate(input(n, 0))
	if err != nil {
		return err
	}
	dims := t.Dims()
	places := make([][]int64, len(dims))
	x := tensor.Cast(t, tensor.Float32).Float32s()
	if err := im.make(int64(len(x)) * int64(len(dims))); err != nil {
		return err
	}
	for i, v := range x {
		if v == 0 {
			continue
		}
		for axis, rest := len(dims)-1, int64(i); axis >= 0; axis-- {
			places[axis] = append(places[axis], rest%dims[axis])
			rest /= dims[axis]
		}
	}
	count := int64(0)
	if len(places) > 0 {
		count = int64(len(places[0]))
	} else {
		return errors.New("have a scalar")
	}
	im.values[n.Output[0]] = im.constant(n.Output[0], tensor.FromInt64([]int64{int64(len(dims)), count}, slices.Concat(places...)))
	return nil
}

// importTrilu chooses by a mask of the places.
func importTrilu(im *importer, n *onnxpb.NodeProto, a attrs, in *ir.Value) error {
	k := int64(0)
	if input(n, 1) != "" {
		t, err := im.evaluate(n.Input[1])
		if err != nil {
			return err
		}
		if t.Len() != 1 {
			return fmt.Errorf("k: have %s", t.Type())
		}
		k = t.Int64s()[0]
	}
	rank := in.Type.Rank()
	if rank < 2 || !in.Type.Shape[rank-1].IsStatic() || !in.Type.Shape[rank-2].IsStatic() {
		return fmt.Errorf("have %s, want matrices of known sizes", in.Type)
	}
	rows, cols := in.Type.Shape[rank-2].B, in.Type.Shape[rank-1].B
	places, err := tensor.Elements([]int64{rows, cols})
	if err == nil {
		err = im.make(places)
	}
	if err != nil {
		return err
	}
	keep := make([]bool, rows*cols)
	for i := range keep {
		below := int64(i)%cols - int64(i)/cols - min(max(k, -rows-1), cols+1) // columns right of the diagonal
		keep[i] = below == 0 || (below > 0) == (a.int("upper", 1) != 0)
	}
	b := im.b.As(n.Output[0])
	zero := b.Const(tensor.Dense(tensor.Cast(tensor.Scalar(0), in.Type.DType)))
	return im.emit(n, ir.Where, b.Const(tensor.FromBool([]int64{rows, cols}, keep)), in, zero)
}
