package kernel

import (
	"golang.org/x/sys/cpu"
)

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
	var pa, pb, pBias *float32
	cols := 8 * vectors
	if use == avx512 {
		cols = 16 * vectors
	}
	if use == generic {
		plainTile(rows, vectors, k, a, b, ldb, c, ldc, bias, start)
		return
	}
	_ = c[(rows-1)*ldc+cols-1] // the assembly does not check
	if k > 0 {
		_, _ = a[k*rows-1], b[(k-1)*ldb+cols-1]
		pa, pb = &a[0], &b[0]
	}
	if start == startBias {
		_ = bias[rows-1]
		pBias = &bias[0]
	}
	if use == avx512 {
		tileAVX512(rows, vectors, k, pa, pb, ldb, &c[0], ldc, pBias, start)
	} else {
		tileAVX2(rows, vectors, k, pa, pb, ldb, &c[0], ldc, pBias, start)
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
