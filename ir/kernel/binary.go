package kernel

import "math"

// Number is an element type of arithmetic.
type Number interface{ ~float32 | ~int64 }

// Binary applies an ONNX operator (Add, Sub, Mul, Div, Pow, Min, Max, PRelu, Mod; Fmod is Mod with the sign of the first argument) with broadcasting to the shape out.
// z may be a when a has the shape of the result. Integer division by 0 must not occur.
func Binary[T Number](op string, out []int, a []T, aDims []int, b []T, bDims []int, z []T) {
	if x, ok := any(a).([]float32); ok {
		if f, ok := vectors[op]; ok {
			apply(out, x, aDims, any(b).([]float32), bDims, any(z).([]float32), f)
			return
		}
	}
	switch op {
	case "Add":
		apply(out, a, aDims, b, bDims, z, each(func(x, y T) T { return x + y }))
	case "Mul":
		apply(out, a, aDims, b, bDims, z, each(func(x, y T) T { return x * y }))
	case "Sub":
		apply(out, a, aDims, b, bDims, z, each(func(x, y T) T { return x - y }))
	case "Div":
		apply(out, a, aDims, b, bDims, z, each(func(x, y T) T { return x / y }))
	case "Pow":
		apply(out, a, aDims, b, bDims, z, each(func(x, y T) T { return T(pow64(float64(x), float64(y))) }))
	case "Fmod":
		apply(out, a, aDims, b, bDims, z, each(remainder[T]))
	case "Mod":
		apply(out, a, aDims, b, bDims, z, each(func(x, y T) T {
			r := remainder(x, y)
			if r != 0 && (r < 0) != (y < 0) {
				r += y
			}
			return r
		}))
	case "Min":
		apply(out, a, aDims, b, bDims, z, each(func(x, y T) T { return min(x, y) }))
	case "Max":
		apply(out, a, aDims, b, bDims, z, each(func(x, y T) T { return max(x, y) }))
	case "PRelu":
		apply(out, a, aDims, b, bDims, z, each(func(x, slope T) T {
			if x < 0 {
				return x * slope
			}
			return x
		}))
	default:
		panic("BUG: no binary operator " + op)
	}
}

// vectors are the operators of most elements.
var vectors = map[string]rows[float32, float32]{
	"Add": {addAll, backwards(addOneAll), func(x float32, y, z []float32) { addOneAll(y, z, x) }},
	"Mul": {mulAll, backwards(mulOneAll), func(x float32, y, z []float32) { mulOneAll(y, z, x) }},
	"Sub": {subAll, backwards(subOneAll), func(x float32, y, z []float32) { oneSubAll(y, z, x) }},
	"Div": {divAll, backwards(divOneAll), func(x float32, y, z []float32) { oneDivAll(y, z, x) }},
}

func backwards(f func(x, z []float32, y float32)) func(x []float32, y float32, z []float32) {
	return func(x []float32, y float32, z []float32) { f(x, z, y) }
}

// remainder is what x/y, rounded towards zero, leaves.
func remainder[T Number](x, y T) T {
	if x, ok := any(x).(int64); ok {
		return T(x % int64(y))
	}
	return T(math.Mod(float64(x), float64(y)))
}

// rows computes one row of a result from two rows, or from a row and a number.
type rows[T, R any] struct {
	both  func(x, y []T, z []R)
	left  func(x []T, y T, z []R)
	right func(x T, y []T, z []R)
}

// each makes rows of a function of two elements.
func each[T, R any](f func(x, y T) R) rows[T, R] {
	return rows[T, R]{
		func(x, y []T, z []R) {
			for i := range z {
				z[i] = f(x[i], y[i])
			}
		},
		func(x []T, y T, z []R) {
			for i := range z {
				z[i] = f(x[i], y)
			}
		},
		func(x T, y []T, z []R) {
			for i := range z {
				z[i] = f(x, y[i])
			}
		},
	}
}

// Compare applies an ONNX comparison (Equal, Less, Greater, LessOrEqual, GreaterOrEqual); results are bytes 0 and 1.
func Compare[T Number](op string, out []int, a []T, aDims []int, b []T, bDims []int, z []byte) {
	apply(out, a, aDims, b, bDims, z, each(map[string]func(x, y T) byte{
		"Equal":          func(x, y T) byte { return bit(x == y) },
		"Less":           func(x, y T) byte { return bit(x < y) },
		"Greater":        func(x, y T) byte { return bit(x > y) },
		"LessOrEqual":    func(x, y T) byte { return bit(x <= y) },
		"GreaterOrEqual": func(x, y T) byte { return bit(x >= y) },
	}[op]))
}

// Logical applies And, Or, Xor, or Equal on bools, which are bytes 0 and 1.
func Logical(op string, out []int, a []byte, aDims []int, b []byte, bDims []int, z []byte) {
	apply(out, a, aDims, b, bDims, z, each(map[string]func(x, y byte) byte{
		"And":   func(x, y byte) byte { return x & y },
		"Or":    func(x, y byte) byte { return x | y },
		"Xor":   func(x, y byte) byte { return x ^ y },
		"Equal": func(x, y byte) byte { return x ^ y ^ 1 },
	}[op]))
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// apply runs f over two broadcast arrays. The result is cut into rows along which each side is either contiguous or constant.
func apply[T, R any](out []int, a []T, aDims []int, b []T, bDims []int, z []R, f rows[T, R]) {
	dims, sa, sb := mergeBroadcast(out, broadcastStrides(out, aDims), broadcastStrides(out, bDims))
	last := len(dims) - 1
	n, da, db := dims[last], sa[last], sb[last]
	count := 1
	for _, d := range dims[:last] {
		count *= d
	}
	Parallel(count, max(1, grain/max(1, n)), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			oa, ob := 0, 0
			for i, x := last-1, r; i >= 0; i-- {
				oa += x % dims[i] * sa[i]
				ob += x % dims[i] * sb[i]
				x /= dims[i]
			}
			row := z[r*n:][:n]
			switch { // a stride of the last axis is 1, or 0 where the array broadcasts
			case n == 0:
			case da == 1 && db == 1:
				f.both(a[oa:][:n], b[ob:][:n], row)
			case da == 1:
				f.left(a[oa:][:n], b[ob], row)
			case db == 1:
				f.right(a[oa], b[ob:][:n], row)
			default:
				f.left(a[oa:][:1], b[ob], row[:1])
				for i := 1; i < n; i++ {
					row[i] = row[0]
				}
			}
		}
	})
}

// mergeBroadcast joins neighbouring axes along which both sides move alike. There is at least one axis left.
// When a single row would remain, it is cut so that threads can share it.
func mergeBroadcast(out, sa, sb []int) (dims, ma, mb []int) {
	for i, d := range out {
		if d == 1 {
			continue
		}
		k := len(dims) - 1
		if k >= 0 && ma[k] == sa[i]*d && mb[k] == sb[i]*d {
			dims[k], ma[k], mb[k] = dims[k]*d, sa[i], sb[i]
			continue
		}
		dims, ma, mb = append(dims, d), append(ma, sa[i]), append(mb, sb[i])
	}
	if len(dims) == 0 {
		return []int{1}, []int{0}, []int{0}
	}
	if k := len(dims) - 1; k == 0 {
		for cut := grain; cut >= 64; cut /= 2 {
			if n := dims[0]; n > cut && n%cut == 0 {
				return []int{n / cut, cut}, []int{ma[0] * cut, ma[0]}, []int{mb[0] * cut, mb[0]}
			}
		}
	}
	return dims, ma, mb
}

// Where takes elements of size bytes from x where the condition byte is not 0, else from y, broadcasting all three.
func Where(size int, out []int, cond []byte, condDims []int, x []byte, xDims []int, y []byte, yDims []int, z []byte) {
	sc, sx, sy := broadcastStrides(out, condDims), broadcastStrides(out, xDims), broadcastStrides(out, yDims)
	last := len(out) - 1
	n, dc, dx, dy := 1, 0, 0, 0
	if last >= 0 {
		n, dc, dx, dy = out[last], sc[last], sx[last], sy[last]
	}
	if len(z) == 0 {
		return
	}
	Parallel(len(z)/(n*size), max(1, grain/4/n), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			oc, ox, oy := 0, 0, 0
			for a, i := last-1, r; a >= 0; a-- {
				k := i % out[a]
				i /= out[a]
				oc, ox, oy = oc+k*sc[a], ox+k*sx[a], oy+k*sy[a]
			}
			row := z[r*n*size:][:n*size]
			if dc == 0 { // one condition for the row
				from, at, step := y, oy, dy
				if cond[oc] != 0 {
					from, at, step = x, ox, dx
				}
				if step == 1 {
					copy(row, from[at*size:])
					continue
				}
			}
			for j := range n {
				from, at := y, oy+j*dy
				if cond[oc+j*dc] != 0 {
					from, at = x, ox+j*dx
				}
				copy(row[j*size:][:size], from[at*size:])
			}
		}
	})
}
