package onnx

import (
	"fmt"

	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir/tensor"
)

// sizeNode evaluates a node over vectors of sizes, when at least one input exists as nothing else. It reports whether it did. Sizes that
// are all known are numbers like others: what is not done with sizes is done with those.
func (im *importer) sizeNode(n *onnxpb.NodeProto, a attrs) (bool, error) {
	only, static := false, true
	in := make([]value, len(n.Input))
	for i, name := range n.Input {
		in[i] = im.values[name]
		if name != "" && in[i].v == nil && in[i].sizes != nil {
			_, known := tensor.Type{Shape: in[i].sizes}.Static()
			only, static = true, static && known
		}
	}
	if !only || in[0].sizes == nil && n.GetOpType() != "Concat" && n.GetOpType() != "ConstantOfShape" { // arithmetic of data with sizes is not done
		return false, nil
	}
	done, err := im.sizesOnly(n, a, in)
	if err != nil && static {
		return false, nil
	}
	return done, err
}

func (im *importer) sizesOnly(n *onnxpb.NodeProto, a attrs, in []value) (bool, error) {
	var out value
	switch op := n.GetOpType(); op {
	case "Reshape", "Expand", "ConstantOfShape", "Slice", "Tile", "Resize", "Pad":
		if in[0].v != nil || op != "Slice" {
			return false, nil // sizes only describe the result
		}
		s, err := im.sliceAttrs(n, a)
		if err != nil {
			return true, err
		}
		idx, err := slicedIndices(len(in[0].sizes), s.Starts, s.Ends, s.Steps)
		if err != nil {
			return true, err
		}
		for _, i := range idx {
			out.sizes = append(out.sizes, in[0].sizes[i])
		}
	case "Identity", "Cast":
		if to := a.int("to", int64(onnxpb.TensorProto_INT64)); to != int64(onnxpb.TensorProto_INT64) && to != int64(onnxpb.TensorProto_INT32) {
			return true, fmt.Errorf("it makes other numbers of sizes")
		}
		out = value{sizes: in[0].sizes, rank0: in[0].rank0}
	case "Squeeze":
		out = value{sizes: in[0].sizes, rank0: true}
	case "Unsqueeze":
		if !in[0].rank0 {
			return true, fmt.Errorf("it makes a matrix of sizes")
		}
		out = value{sizes: in[0].sizes}
	case "Concat":
		for i, x := range in {
			sizes := x.sizes
			if sizes == nil {
				var err error
				if sizes, err = im.sizes(n.Input[i]); err != nil {
					return true, fmt.Errorf("input %d is data among sizes", i)
				}
			}
			out.sizes = append(out.sizes, sizes...)
		}
	case "Gather":
		idx, err := im.ints(input(n, 1))
		if err != nil {
			return true, err
		}
		for _, i := range idx {
			if i < 0 {
				i += int64(len(in[0].sizes))
			}
			if i < 0 || i >= int64(len(in[0].sizes)) {
				return true, fmt.Errorf("index %d is not in %d sizes", i, len(in[0].sizes))
			}
			out.sizes = append(out.sizes, in[0].sizes[i])
		}
		out.rank0 = in[1].rank0
	case "Add", "Sub", "Mul", "Div":
		if len(in) != 2 {
			return true, fmt.Errorf("have %d arguments, want 2", len(in))
		}
		var err error
		if out, err = sizeArithmetic(op, in[0], in[1]); err != nil {
			return true, err
		}
	default:
		return true, fmt.Errorf("it computes with shapes in a way that is not supported")
	}
	if out.rank0 && len(out.sizes) != 1 {
		return true, fmt.Errorf("have %d sizes, want 1", len(out.sizes))
	}
	if out.sizes == nil {
		out.sizes = []tensor.Dim{}
	}
	im.values[n.Output[0]] = out
	return true, nil
}

func slicedIndices(n int, starts, ends, steps []int64) ([]int, error) {
	if len(starts) != 1 || len(ends) != 1 || len(steps) > 1 || len(steps) == 1 && steps[0] != 1 {
		return nil, fmt.Errorf("starts %v, ends %v, steps %v of a vector of sizes", starts, ends, steps)
	}
	at := func(x int64) int {
		if x < 0 {
			x += int64(n)
		}
		return int(min(max(x, 0), int64(n)))
	}
	var idx []int
	for i := at(starts[0]); i < at(ends[0]); i++ {
		idx = append(idx, i)
	}
	return idx, nil
}

func sizeArithmetic(op string, x, y value) (value, error) {
	n := max(len(x.sizes), len(y.sizes))
	if len(x.sizes) == 0 || len(y.sizes) == 0 || len(x.sizes) != n && len(x.sizes) != 1 || len(y.sizes) != n && len(y.sizes) != 1 {
		return value{}, fmt.Errorf("have %d and %d sizes", len(x.sizes), len(y.sizes))
	}
	out := value{rank0: x.rank0 && y.rank0}
	for i := range n {
		a, b := x.sizes[min(i, len(x.sizes)-1)], y.sizes[min(i, len(y.sizes)-1)]
		if err := (tensor.Type{Shape: []tensor.Dim{a, b}}).Measurable(); err != nil {
			return value{}, fmt.Errorf("%s of sizes %s and %s: too large", op, a, b)
		}
		var d tensor.Dim
		var err error
		ok := true
		switch {
		case op == "Add":
			d, err = a.Add(b)
		case op == "Sub":
			d, err = a.Add(b.Times(-1))
		case op == "Mul" && b.IsStatic():
			d = a.Times(b.B)
		case op == "Mul" && a.IsStatic():
			d = b.Times(a.B)
		case op == "Div" && b.IsStatic():
			d, ok = a.Over(b.B)
		default:
			ok = false
		}
		if err != nil || !ok {
			return value{}, fmt.Errorf("%s of sizes %s and %s", op, a, b)
		}
		out.sizes = append(out.sizes, d)
	}
	return out, nil
}
