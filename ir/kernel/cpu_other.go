//go:build !amd64 && !arm64

package kernel

func sets() []set { return []set{generic} }

func tileShape() (rows, cols int) { return plainRows, plainCols }

func tile(rows, vectors, k int, a, b []float32, ldb int, c []float32, ldc int, bias []float32, start int) {
	plainTile(rows, vectors, k, a, b, ldb, c, ldc, bias, start)
}
