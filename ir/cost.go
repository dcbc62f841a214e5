package ir

import "fmt"

// A Cost is the least work of one value: multiply-adds of its products and convolutions, and bytes read and written once.
type Cost struct{ MultiplyAdds, Bytes int64 }

// CostOf counts a value's work with symbols bound to sizes.
func CostOf(v *Value, syms map[string]int64) (Cost, error) {
	if v.IsInput() || v.IsConst() {
		return Cost{}, nil
	}
	sizes := func(x *Value) ([]int64, int64, error) {
		dims, err := x.dims(syms)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", v, err)
		}
		n := int64(1)
		for _, d := range dims {
			n *= d
		}
		return dims, n, nil
	}
	_, out, err := sizes(v)
	if err != nil {
		return Cost{}, err
	}
	c := Cost{Bytes: out * v.Type.DType.Size()}
	var dims [][]int64
	for _, a := range v.Args {
		if a == nil {
			dims = append(dims, nil)
			continue
		}
		d, n, err := sizes(a)
		if err != nil {
			return Cost{}, err
		}
		dims = append(dims, d)
		c.Bytes += n * a.Type.DType.Size()
	}
	switch {
	case v.Op.MultiplyAdds != nil:
		c.MultiplyAdds = v.Op.MultiplyAdds(v.Attrs, out, dims)
	case v.Op.Eval == nil:
		g, _, err := v.Expansion()
		if err != nil {
			return Cost{}, err
		}
		for _, x := range g.Values {
			part, err := CostOf(x, syms)
			if err != nil {
				return Cost{}, err
			}
			c.MultiplyAdds += part.MultiplyAdds
		}
	}
	if v.Op.Class == View {
		c.Bytes = 0
	}
	return c, nil
}
