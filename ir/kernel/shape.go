package kernel

// The functions here move elements of size bytes and never look into them.

// gatherStrided copies, for every index of out, the element of x at base plus the index times the strides, in elements.
func gatherStrided(y, x []byte, size int, out, strides []int, base int) {
	last := len(out) - 1
	if last < 0 {
		copy(y, x[base*size:(base+1)*size])
		return
	}
	rows := 1
	for _, d := range out[:last] {
		rows *= d
	}
	n, step := out[last], strides[last]
	Parallel(rows, max(1, grain/max(1, n)), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			at := base
			for i, k := last-1, r; i >= 0; i-- {
				at += k % out[i] * strides[i]
				k /= out[i]
			}
			row := y[r*n*size:][:n*size]
			if step == 1 {
				copy(row, x[at*size:])
				continue
			}
			for j := range n {
				copy(row[j*size:(j+1)*size], x[(at+j*step)*size:])
			}
		}
	})
}

func strides(dims []int) []int {
	s := make([]int, len(dims))
	for i, step := len(dims)-1, 1; i >= 0; i-- {
		s[i] = step
		step *= dims[i]
	}
	return s
}

// Slice takes counts elements along each axis of x, from starts on, in steps that may be negative.
func Slice(y, x []byte, size int, dims, starts, counts, steps []int) {
	base, s := 0, strides(dims)
	for i := range s {
		base += starts[i] * s[i]
		s[i] *= steps[i]
	}
	if len(y) > 0 {
		gatherStrided(y, x, size, counts, s, base)
	}
}

// Expand broadcasts x to the shape out.
func Expand(y, x []byte, size int, dims, out []int) {
	if len(y) > 0 {
		gatherStrided(y, x, size, out, broadcastStrides(out, dims), 0)
	}
}

// Tile repeats x along each axis to the shape out.
func Tile(y, x []byte, size int, dims, out []int) {
	s := strides(dims)
	mapped(y, x, size, out, func(idx []int) int {
		at := 0
		for i, k := range idx {
			at += k % dims[i] * s[i]
		}
		return at
	}, nil)
}

// Pad surrounds x by lo and hi elements along each axis: mode "" with fill (size bytes), "edge" or "reflect" from x itself.
func Pad(y, x []byte, size int, dims, lo, hi []int, mode string, fill []byte) {
	out := make([]int, len(dims))
	for i, d := range dims {
		out[i] = d + lo[i] + hi[i]
	}
	s := strides(dims)
	if mode == "" {
		for n := copy(y, fill); n < len(y); n *= 2 {
			copy(y[n:], y[:n])
		}
		os := strides(out)
		last := len(dims) - 1
		if last < 0 {
			copy(y, x)
			return
		}
		row := dims[last] * size
		if row == 0 {
			return
		}
		for r := range len(x) / row {
			at := lo[last]
			for i, k := last-1, r; i >= 0; i-- {
				at += (k%dims[i] + lo[i]) * os[i]
				k /= dims[i]
			}
			copy(y[at*size:at*size+row], x[r*row:])
		}
		return
	}
	mapped(y, x, size, out, func(idx []int) int {
		at := 0
		for i, k := range idx {
			k -= lo[i]
			if mode == "edge" {
				k = min(max(k, 0), dims[i]-1)
			} else if n := dims[i] - 1; n > 0 {
				k = ((k % (2 * n)) + 2*n) % (2 * n)
				k = min(k, 2*n-k)
			} else {
				k = 0
			}
			at += k * s[i]
		}
		return at
	}, fill)
}

// mapped copies element by element: source gives the offset in x of an index of out, below 0 for fill.
func mapped(y, x []byte, size int, out []int, source func(idx []int) int, fill []byte) {
	idx := make([]int, len(out))
	for i := range len(y) / size {
		if at := source(idx); at >= 0 {
			copy(y[i*size:(i+1)*size], x[at*size:])
		} else {
			copy(y[i*size:(i+1)*size], fill)
		}
		for a := len(idx) - 1; a >= 0; a-- {
			if idx[a]++; idx[a] < out[a] {
				break
			}
			idx[a] = 0
		}
	}
}

// Transpose writes rows of cols elements, ldx apart, as cols rows of so many, ldy apart. It does not keep to caches: callers go by blocks.
func Transpose[T any](rows, cols int, x []T, ldx int, y []T, ldy int) {
	done, from := 0, 0 // columns of the first rows that are done
	switch x := any(x).(type) {
	case []float32:
		if from = transposed(rows, cols, x, ldx, any(y).([]float32), ldy); from > 0 {
			done = rows
		}
	case []uint8:
		done, from = transposedBytes(rows, cols, x, ldx, any(y).([]uint8), ldy)
	}
	for j := range cols {
		to := y[j*ldy:][:rows]
		first := 0
		if j < from {
			first = done
		}
		for i := first; i < rows; i++ {
			to[i] = x[i*ldx+j]
		}
	}
}
