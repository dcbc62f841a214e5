package kernel

import "golang.org/x/sys/cpu"

const (
	avx2   set = "avx2"   // with FMA
	avx512 set = "avx512" // F, BW, DQ and VL
)

// hasVNNI is beside avx512: products of bytes.
var hasVNNI = cpu.X86.HasAVX512VNNI

func sets() []set {
	have := []set{generic}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		have = append(have, avx2)
		if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL {
			have = append(have, avx512)
		}
	}
	return have
}

// tileShape is the size of the largest tile: rows, and columns in two vectors.
func tileShape() (rows, cols int) {
	switch use {
	case avx512:
		return 14, 32
	case avx2:
		return 6, 16
	}
	return plainRows, plainCols
}

// tile continues chains: see plainTile.
func tile(rows, vectors, k int, a, b []float32, ldb int, c []float32, ldc int, bias []float32, start int) {
	if use == generic {
		plainTile(rows, vectors, k, a, b, ldb, c, ldc, bias, start)
		return
	}
	cols := 8 * vectors
	if use == avx512 {
		cols = 16 * vectors
	}
	_, _, _ = a[k*rows-1], b[(k-1)*ldb+cols-1], c[(rows-1)*ldc+cols-1] // the assembly does not check
	var pBias *float32
	if start == startBias {
		_ = bias[rows-1]
		pBias = &bias[0]
	}
	if use == avx512 {
		tileAVX512(rows, vectors, k, &a[0], &b[0], ldb, &c[0], ldc, pBias, start)
	} else {
		tileAVX2(rows, vectors, k, &a[0], &b[0], ldb, &c[0], ldc, pBias, start)
	}
}

// sumLanes, squaresLanes and largestLanes fold whole sixteens of x in lanes and tell how many elements those are.
func sumLanes(x []float32, lanes *[16]float64) int {
	n := len(x) &^ 15
	switch {
	case n == 0 || use == generic:
		return 0
	case use == avx512:
		sumAVX512(n, &x[0], &lanes[0])
	default:
		sumAVX2(n, &x[0], &lanes[0])
	}
	return n
}

func squaresLanes(x []float32, lanes *[16]float64, mean float32) int {
	n := len(x) &^ 15
	switch {
	case n == 0 || use == generic:
		return 0
	case use == avx512:
		squaresAVX512(n, &x[0], &lanes[0], mean)
	default:
		squaresAVX2(n, &x[0], &lanes[0], mean)
	}
	return n
}

func largestLanes(x []float32, lanes *[16]float32) int {
	n := len(x) &^ 15
	switch {
	case n == 0 || use == generic:
		return 0
	case use == avx512:
		largestAVX512(n, &x[0], &lanes[0])
	default:
		largestAVX2(n, &x[0], &lanes[0])
	}
	return n
}

// transposed does the part of Transpose that vectors can: so many elements of each row.
func transposed(rows, k int, x []float32, ldx int, y []float32, ldy int) int {
	k &^= 7
	if rows < 4 || k == 0 || use == generic {
		return 0
	}
	_, _ = x[(rows-1)*ldx+k-1], y[(k-1)*ldy+rows-1]
	for i := 0; i < rows; i += 4 {
		i = min(i, rows-4)
		transpose4(k, &x[i*ldx], ldx, &y[i], ldy)
	}
	return k
}

// copyRows lays out a panel of k rows that are ldx apart.
func copyRows(k int, x []float32, ldx int, y []float32) {
	_, width := tileShape()
	if k == 0 {
		return
	}
	_, _ = x[(k-1)*ldx+width-1], y[k*width-1]
	switch use {
	case avx512:
		copyRowsAVX512(k, &x[0], ldx, &y[0])
	case avx2:
		copyRowsAVX2(k, &x[0], ldx, &y[0])
	default:
		plainCopyRows(k, x, ldx, y)
	}
}

func hasGather() bool { return use != generic }

// gather lays out a panel: for each row the eight elements from x[row+at[i]] on, for as many i as the panel is wide.
func gather(x []float32, rows []int, at *[4]int, y []float32) {
	_, width := tileShape()
	first, last := rows[0], rows[0]
	for _, r := range rows {
		first, last = min(first, r), max(last, r)
	}
	for _, a := range at {
		_, _ = x[first+a], x[last+a+7]
	}
	_ = y[len(rows)*width-1]
	if use == avx512 {
		gather4(len(rows), &x[0], &rows[0], at, &y[0])
	} else {
		gather2(len(rows), &x[0], &rows[0], at, &y[0])
	}
}

// byteTile is plainByteTile for all eight rows, and tells whether it could.
func byteTile(groups int, a []uint8, lda int, b []int8, c []int32) bool {
	if use == generic || groups == 0 {
		return false
	}
	_, _, _ = a[(qRows-1)*lda+4*groups-1], b[groups*4*qCols-1], c[qRows*qCols-1]
	if use == avx512 && hasVNNI {
		vnniTile(groups, &a[0], lda, &b[0], &c[0])
	} else {
		avx2ByteTile(groups, &a[0], lda, &b[0], &c[0])
	}
	return true
}

// transposedBytes does the part of Transpose in whole eights of rows and sixteens of columns.
func transposedBytes(rows, cols int, x []uint8, ldx int, y []uint8, ldy int) (r, c int) {
	r, c = rows&^7, cols&^15
	if use == generic || r == 0 || c == 0 {
		return 0, 0
	}
	_, _ = x[(r-1)*ldx+c-1], y[(c-1)*ldy+r-1]
	for i := 0; i < r; i += 8 {
		transpose8(c, &x[i*ldx], ldx, &y[i], ldy)
	}
	return r, c
}

// addedPairs does the part of addPairs that vectors can: so many elements.
func addedPairs(x, y, z []float32) int {
	n := min(len(x), len(y), len(z)/2) &^ 7
	if n == 0 || use == generic {
		return 0
	}
	addPairs8(n, &x[0], &y[0], &z[0])
	return n
}
