package kernel

// neon is part of every arm64 processor.
const neon set = "neon"

func sets() []set { return []set{generic, neon} }

// tileShape is the size of the largest tile: rows, and columns in two vectors.
func tileShape() (rows, cols int) {
	if use == neon {
		return 8, 8
	}
	return plainRows, plainCols
}

//go:noescape
func tileNEON(rows, vectors, k int, a, b *float32, ldb int, c *float32, ldc int, bias *float32, start int)

// tile continues chains: see plainTile.
func tile(rows, vectors, k int, a, b []float32, ldb int, c []float32, ldc int, bias []float32, start int) {
	if use == generic {
		plainTile(rows, vectors, k, a, b, ldb, c, ldc, bias, start)
		return
	}
	cols := 4 * vectors
	_, _, _ = a[k*rows-1], b[(k-1)*ldb+cols-1], c[(rows-1)*ldc+cols-1] // the assembly does not check
	var pBias *float32
	if start == startBias {
		_ = bias[rows-1]
		pBias = &bias[0]
	}
	tileNEON(rows, vectors, k, &a[0], &b[0], ldb, &c[0], ldc, pBias, start)
}
