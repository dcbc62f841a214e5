package kernel

// Blocking of tiledGemm: a packed block of a (72 x 256, 72 KiB) stays in the second-level cache, one packed panel of b
// (256 x 16, 16 KiB) in the first.
const (
	tileRows  = 6
	tileCols  = 16
	blockK    = 256
	blockRows = 12 * tileRows
	blockCols = 32 * tileCols
)

// tiledGemm is c += alpha op(a) op(b), a tile at a time. The order of additions depends on the sizes alone.
func tiledGemm(transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, c []float32, ldc int) {
	panels := (n + tileCols - 1) / tileCols
	scratch(panels*tileCols*min(k, blockK), func(packedB []float32) {
		for k0 := 0; k0 < k; k0 += blockK {
			kb := min(blockK, k-k0)
			Parallel(panels, max(1, grain/(tileCols*kb)), func(lo, hi int) {
				for p := lo; p < hi; p++ {
					packB(transB, b, ldb, k0, kb, p*tileCols, min(tileCols, n-p*tileCols), packedB[p*tileCols*kb:][:tileCols*kb])
				}
			})
			rowBlocks, colBlocks := (m+blockRows-1)/blockRows, (n+blockCols-1)/blockCols
			Parallel(rowBlocks*colBlocks, 1, func(lo, hi int) {
				scratch(blockRows*kb, func(packedA []float32) {
					packed := -1
					for t := lo; t < hi; t++ {
						rb, cb := t/colBlocks, t%colBlocks
						rows := min(blockRows, m-rb*blockRows)
						if rb != packed {
							packA(transA, alpha, a, lda, rb*blockRows, rows, k0, kb, packedA)
							packed = rb
						}
						block(kb, rb*blockRows, rows, cb*blockCols, min(blockCols, n-cb*blockCols), packedA, packedB, c, ldc)
					}
				})
			})
		}
	})
}

// packA lays out rows r0.. as panels of tileRows, each kb columns of tileRows values, times alpha; missing rows are 0.
func packA(trans bool, alpha float32, a []float32, lda, r0, rows, k0, kb int, out []float32) {
	for p := 0; p < rows; p += tileRows {
		panel := out[p*kb:][:tileRows*kb]
		for i := range tileRows {
			if p+i >= rows {
				for k := range kb {
					panel[k*tileRows+i] = 0
				}
				continue
			}
			if trans {
				for k := range kb {
					panel[k*tileRows+i] = alpha * a[(k0+k)*lda+r0+p+i]
				}
				continue
			}
			for k, v := range a[(r0+p+i)*lda+k0:][:kb] {
				panel[k*tileRows+i] = alpha * v
			}
		}
	}
}

// packB lays out cols columns from c0 on as kb rows of tileCols values; missing columns are 0.
func packB(trans bool, b []float32, ldb, k0, kb, c0, cols int, out []float32) {
	if cols < tileCols {
		clear(out)
	}
	if trans {
		for j := range cols {
			for k, v := range b[(c0+j)*ldb+k0:][:kb] {
				out[k*tileCols+j] = v
			}
		}
		return
	}
	for k := range kb {
		copy(out[k*tileCols:][:cols], b[(k0+k)*ldb+c0:][:cols])
	}
}

// block adds one block's product to c. Tiles that stick out go through a buffer.
func block(kb, r0, rows, c0, cols int, packedA, packedB, c []float32, ldc int) {
	for j := 0; j < cols; j += tileCols {
		panelB := packedB[(c0+j)*kb:][:tileCols*kb]
		for i := 0; i < rows; i += tileRows {
			panelA := packedA[i*kb:][:tileRows*kb]
			h, w := min(tileRows, rows-i), min(tileCols, cols-j)
			if h == tileRows && w == tileCols {
				tile := c[(r0+i)*ldc+c0+j:]
				_ = tile[(tileRows-1)*ldc+tileCols-1] // fmaTile does not check
				fmaTile(kb, &panelA[0], &panelB[0], &tile[0], ldc)
				continue
			}
			var edge [tileRows * tileCols]float32
			fmaTile(kb, &panelA[0], &panelB[0], &edge[0], tileCols)
			for y := range h {
				row := c[(r0+i+y)*ldc+c0+j:][:w]
				for x := range row {
					row[x] += edge[y*tileCols+x]
				}
			}
		}
	}
}
