package kernel

import "slices"

// Gemm computes c = alpha op(a) op(b) + beta c, where op(a) is m x k, op(b) k x n and c m x n, all row-major with the
// given row lengths. With beta 0, c may hold anything. A chain starts at beta c and its factors are alpha a and b.
func Gemm(transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	if m == 0 || n == 0 {
		return
	}
	start := startC
	if beta == 0 {
		start = startZero
	} else if beta != 1 {
		for i := range m {
			row := c[i*ldc : i*ldc+n]
			for j := range row {
				row[j] *= beta
			}
		}
	}
	if alpha == 0 {
		k = 0
	}
	job{m: m, n: n, k: k, a: leftOf(transA, alpha, a, lda), b: rightOf(m, transB, b, ldb), start: start, c: c, ldc: ldc}.run()
}

// Tiled reports whether a product of these sizes is large enough that laying out a constant factor once pays.
func Tiled(m, n, k int) bool { return m*n*k >= tiledWork }

// MatMul is the batched product of matrices in the last two axes; the axes before them broadcast.
func MatMul(outDims []int, a []float32, aDims []int, b []float32, bDims []int, y []float32) {
	rank := len(outDims)
	m, n, k := outDims[rank-2], outDims[rank-1], aDims[len(aDims)-1]
	batchB := bDims[:len(bDims)-2]
	if !slices.ContainsFunc(batchB, func(d int) bool { return d != 1 }) { // one b for all: one tall product
		rows := m
		for _, d := range outDims[:rank-2] {
			rows *= d
		}
		if rows*k == len(a) {
			Gemm(false, false, rows, n, k, 1, a, k, b, n, 0, y, n)
			return
		}
	}
	batch := outDims[:rank-2]
	sa, sb := broadcastStrides(batch, aDims[:len(aDims)-2]), broadcastStrides(batch, batchB)
	count := 1
	for _, d := range batch {
		count *= d
	}
	offsets := func(i int) (oa, ob int) {
		for x := len(batch) - 1; x >= 0; x-- {
			r := i % batch[x]
			i /= batch[x]
			oa += r * sa[x]
			ob += r * sb[x]
		}
		return oa * m * k, ob * k * n
	}
	if m*n == 0 {
		return
	}
	Parallel(count, max(1, threadWork/max(1, m*n*k)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			oa, ob := offsets(i)
			j := job{m: m, n: n, k: k, a: leftOf(false, 1, a[oa:oa+m*k], k), b: rightOf(m, false, b[ob:ob+k*n], n), c: y[i*m*n:][:m*n], ldc: n}
			j.alone = hi-lo < count // the other threads have products of their own
			j.run()
		}
	})
}

// broadcastStrides gives, per axis of out, the stride in elements of an array of shape dims; 0 where it broadcasts.
func broadcastStrides(out, dims []int) []int {
	s := make([]int, len(out))
	for i, step := len(dims)-1, 1; i >= 0; i-- {
		if dims[i] != 1 {
			s[len(out)-len(dims)+i] = step
		}
		step *= dims[i]
	}
	return s
}
