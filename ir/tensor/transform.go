package tensor

import (
	"fmt"
	"math"
	"slices"

	"syncsam-convert/ir/kernel"
)

// Reshape gives t another shape of as many elements, without a copy.
func Reshape(t *Tensor, dims ...int64) (*Tensor, error) {
	n, err := Elements(dims)
	if err != nil {
		return nil, err
	}
	if n != t.len {
		return nil, fmt.Errorf("reshape %s to %v: have %d elements, want %d", t.typ, dims, t.len, n)
	}
	r := *t
	r.typ, r.dims = Of(t.typ.DType, dims...), slices.Clone(dims)
	return &r, nil
}

// Cast converts lazily to another element type. Integers saturate, float to integer rounds to nearest even.
func Cast(t *Tensor, to DType) *Tensor {
	if t.DType() == to {
		return t
	}
	r, err := NewLazy(to, t.dims, func() []byte { return castBytes(t, to) })
	if err != nil {
		panic("BUG: " + err.Error()) // t has the same shape
	}
	return r
}

// CastTruncating is Cast with ONNX's rule for float to integer: towards zero.
func CastTruncating(t *Tensor, to DType) *Tensor {
	if !t.DType().IsFloat() || to.IsFloat() || to == Bool {
		return Cast(t, to)
	}
	whole := convert(t.Float32s(), func(v float32) float32 { return float32(math.Trunc(float64(v))) })
	return Cast(FromFloat32(t.dims, whole), to)
}

func castBytes(t *Tensor, to DType) []byte {
	defer t.Release()
	switch to {
	case Float32:
		return bytesOf(t.Float32s())
	case Int64:
		if !t.DType().IsFloat() {
			return bytesOf(t.Int64s())
		}
	case Float64:
		return bytesOf(convert(t.Float32s(), func(v float32) float64 { return float64(v) }))
	case Float16:
		return bytesOf(convert(t.Float32s(), Float32ToFloat16))
	case BFloat16:
		return bytesOf(convert(t.Float32s(), Float32ToBFloat16))
	case Bool:
		return convert(t.Float32s(), func(v float32) byte {
			if v != 0 {
				return 1
			}
			return 0
		})
	}
	v := t.Float32s()
	round := func(v float32, lo, hi float64) float64 {
		return min(max(math.RoundToEven(float64(v)), lo), hi)
	}
	switch to {
	case Int64:
		return bytesOf(convert(v, func(v float32) int64 { return int64(round(v, math.MinInt64, math.MaxInt64)) }))
	case Int32:
		return bytesOf(convert(v, func(v float32) int32 { return int32(round(v, math.MinInt32, math.MaxInt32)) }))
	case Int16:
		return bytesOf(convert(v, func(v float32) int16 { return int16(round(v, -32768, 32767)) }))
	case Int8:
		return bytesOf(convert(v, func(v float32) int8 { return int8(round(v, -128, 127)) }))
	}
	return bytesOf(convert(v, func(v float32) uint8 { return uint8(round(v, 0, 255)) }))
}

// MapFloat32 is the lazy float32 tensor of the given shape that f computes; the arguments f reads are its closure's.
func MapFloat32(dims []int64, f func() []float32) (*Tensor, error) {
	return NewLazy(Float32, dims, func() []byte { return bytesOf(f()) })
}

// Transpose permutes the axes lazily: axis i of the result is axis perm[i] of t.
func Transpose(t *Tensor, perm ...int) (*Tensor, error) {
	if err := CheckPerm(perm, len(t.dims)); err != nil {
		return nil, fmt.Errorf("transpose %s: %w", t.typ, err)
	}
	if slices.IsSorted(perm) {
		return t, nil
	}
	dims := make([]int64, len(perm))
	for i, p := range perm {
		dims[i] = t.dims[p]
	}
	return NewLazy(t.DType(), dims, func() []byte {
		defer t.Release()
		out := make([]byte, t.NumBytes())
		TransposeBytes(out, t.Bytes(), t.dims, perm, int(t.DType().Size()))
		return out
	})
}

// CheckPerm reports whether perm is a permutation of rank axes.
func CheckPerm(perm []int, rank int) error {
	seen := make([]bool, rank)
	if len(perm) != rank {
		return fmt.Errorf("perm: have %d axes, want %d", len(perm), rank)
	}
	for _, p := range perm {
		if p < 0 || p >= rank || seen[p] {
			return fmt.Errorf("perm: have %v, want a permutation of %d axes", perm, rank)
		}
		seen[p] = true
	}
	return nil
}

// Gather picks elements of a strided view: the element at index (i0, i1, ...) lies at offset + sum(i*stride), in elements.
// The caller has checked that all of them lie within data.
func Gather(data []byte, size int, offset int64, dims, strides []int64) []byte {
	n, _ := Elements(dims)
	out := make([]byte, 0, n*int64(size))
	idx := make([]int64, len(dims))
	for range n {
		at := offset
		for a, i := range idx {
			at += i * strides[a]
		}
		out = append(out, data[at*int64(size):(at+1)*int64(size)]...)
		for a := len(idx) - 1; a >= 0; a-- {
			if idx[a]++; idx[a] < dims[a] {
				break
			}
			idx[a] = 0
		}
	}
	return out
}

// TransposeBytes writes the transposed elements of in, of the given shape and element size in bytes, to out.
func TransposeBytes(out, in []byte, dims []int64, perm []int, size int) {
	switch size {
	case 1:
		transpose(out, in, dims, perm)
	case 2:
		transpose(slice[uint16](out), slice[uint16](in), dims, perm)
	case 4:
		transpose(slice[float32](out), slice[float32](in), dims, perm)
	case 8:
		transpose(slice[int64](out), slice[int64](in), dims, perm)
	}
}

// TransposeFloat32 is TransposeBytes on float32 slices.
func TransposeFloat32(out, in []float32, dims []int64, perm []int) { transpose(out, in, dims, perm) }

const block = 32 // rows and columns moved at a time, so that both sides stay in the cache

// transpose merges axes that stay neighbours, then moves the innermost input axis against the innermost output axis in blocks.
func transpose[T number](out, in []T, dims []int64, perm []int) {
	if len(in) == 0 {
		return
	}
	dims, perm = mergeAxes(dims, perm)
	rank := len(dims)
	inStride := make([]int, rank)
	for a, s := rank-1, 1; a >= 0; a-- {
		inStride[a] = s
		s *= int(dims[a])
	}
	oDims, oStride := make([]int, rank), make([]int, rank) // per output axis: size, and stride in the input
	for i, p := range perm {
		oDims[i], oStride[i] = int(dims[p]), inStride[p]
	}
	if perm[rank-1] == rank-1 { // rows stay whole
		row := oDims[rank-1]
		walk(oDims[:rank-1], oStride[:rank-1], func(o, i int) { copy(out[o*row:(o+1)*row], in[i:i+row]) })
		return
	}
	// The output's last axis has input stride r; the input's last axis is output axis k.
	k := slices.Index(perm, rank-1)
	cols, colStride := oDims[rank-1], oStride[rank-1]
	rows := oDims[k]
	rowStride := 1
	for _, d := range oDims[k+1:] {
		rowStride *= d
	}
	outer, outerIn, outerOut := []int{}, []int{}, []int{}
	for a := range rank - 1 {
		if a != k {
			s := 1
			for _, d := range oDims[a+1:] {
				s *= d
			}
			outer, outerIn, outerOut = append(outer, oDims[a]), append(outerIn, oStride[a]), append(outerOut, s)
		}
	}
	walk2(outer, outerIn, outerOut, func(i0, o0 int) {
		for c0 := 0; c0 < cols; c0 += block {
			c1 := min(c0+block, cols)
			for r0 := 0; r0 < rows; r0 += block {
				r1 := min(r0+block, rows)
				kernel.Transpose(c1-c0, r1-r0, in[i0+r0+c0*colStride:], colStride, out[o0+r0*rowStride+c0:], rowStride)
			}
		}
	})
}

// mergeAxes drops axes of size 1 and joins input axes that are neighbours, in order, in the output too.
func mergeAxes(dims []int64, perm []int) ([]int64, []int) {
	var order []int
	for _, p := range perm {
		if dims[p] != 1 {
			order = append(order, p)
		}
	}
	groups := [][]int{} // runs of input axes, in output order
	for i, p := range order {
		if i > 0 && follows(dims, order[i-1], p) {
			groups[len(groups)-1] = append(groups[len(groups)-1], p)
		} else {
			groups = append(groups, []int{p})
		}
	}
	if len(groups) == 0 {
		return []int64{1}, []int{0}
	}
	sorted := slices.Clone(groups)
	slices.SortFunc(sorted, func(a, b []int) int { return a[0] - b[0] })
	outDims, outPerm := make([]int64, len(groups)), make([]int, len(groups))
	for i, g := range sorted {
		outDims[i] = 1
		for _, a := range g {
			outDims[i] *= dims[a]
		}
	}
	for i, g := range groups {
		outPerm[i] = slices.IndexFunc(sorted, func(s []int) bool { return s[0] == g[0] })
	}
	return outDims, outPerm
}

// follows reports whether axis b is the next axis of more than one element after a.
func follows(dims []int64, a, b int) bool {
	if b <= a {
		return false
	}
	for _, d := range dims[a+1 : b] {
		if d != 1 {
			return false
		}
	}
	return true
}

// walk calls f with the ordinal and the strided offset of every index of dims.
func walk(dims, strides []int, f func(ordinal, offset int)) {
	n := 0
	walk2(dims, strides, make([]int, len(dims)), func(off, _ int) { f(n, off); n++ })
}

// walk2 calls f with two strided offsets of every index of dims, in row-major order.
func walk2(dims, s1, s2 []int, f func(o1, o2 int)) {
	idx := make([]int, len(dims))
	o1, o2 := 0, 0
	for {
		f(o1, o2)
		a := len(dims) - 1
		for ; a >= 0; a-- {
			idx[a]++
			o1 += s1[a]
			o2 += s2[a]
			if idx[a] < dims[a] {
				break
			}
			o1 -= idx[a] * s1[a]
			o2 -= idx[a] * s2[a]
			idx[a] = 0
		}
		if a < 0 {
			return
		}
	}
}
