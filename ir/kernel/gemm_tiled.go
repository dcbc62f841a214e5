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

// A side gives the packed panels of one factor for the k range from k0 on.
type side func(k0, kb int, use func(panels []float32))

// tiledGemm is c += op(a) op(b) over packed panels, a tile at a time. a gives all its panels of tileRows rows, or nil panels: then packA
// fills one block of rows. The order of additions depends on the sizes alone.
func tiledGemm(m, n, k int, a, b side, packA func(r0, rows, k0, kb int, out []float32), c []float32, ldc int) {
	for k0 := 0; k0 < k; k0 += blockK {
		kb := min(blockK, k-k0)
		b(k0, kb, func(packedB []float32) {
			a(k0, kb, func(all []float32) {
				rowBlocks, colBlocks := (m+blockRows-1)/blockRows, (n+blockCols-1)/blockCols
				Parallel(rowBlocks*colBlocks, 1, func(lo, hi int) {
					scratch(blockRows*kb, func(packedA []float32) {
						packed := -1
						for t := lo; t < hi; t++ {
							rb, cb := t/colBlocks, t%colBlocks
							rows := min(blockRows, m-rb*blockRows)
							switch {
							case all != nil:
								packedA = all[rb*blockRows*kb:]
							case rb != packed:
								packA(rb*blockRows, rows, k0, kb, packedA)
								packed = rb
							}
							block(kb, rb*blockRows, rows, cb*blockCols, min(blockCols, n-cb*blockCols), packedA, packedB, c, ldc)
						}
					})
				})
			})
		})
	}
}

// lazyA packs rows as blocks need them; packedB packs all columns for one range of k.
func lazyA(_, _ int, use func([]float32)) { use(nil) }

func packedB(trans bool, n int, b []float32, ldb int) side {
	panels := (n + tileCols - 1) / tileCols
	return func(k0, kb int, use func([]float32)) {
		scratch(panels*tileCols*kb, func(out []float32) {
			Parallel(panels, max(1, grain/(tileCols*kb)), func(lo, hi int) {
				for p := lo; p < hi; p++ {
					packB(trans, b, ldb, k0, kb, p*tileCols, min(tileCols, n-p*tileCols), out[p*tileCols*kb:][:tileCols*kb])
				}
			})
			use(out)
		})
	}
}

// Packed is a constant factor laid out for products once.
type Packed struct {
	lines, k int // rows of a left factor, columns of a right one
	width    int // of a panel
	data     []float32
}

// PackLeft lays out a left factor [m,k], PackRight a right one [k,n], both row-major. They are nil where products do not use panels.
func PackLeft(m, k int, a []float32) *Packed {
	return pack(m, k, tileRows, func(p, k0, kb int, out []float32) {
		packA(false, 1, a, k, p*tileRows, min(tileRows, m-p*tileRows), k0, kb, out)
	})
}

// PackRight is PackLeft for a right factor.
func PackRight(k, n int, b []float32) *Packed {
	return pack(n, k, tileCols, func(p, k0, kb int, out []float32) {
		packB(false, b, n, k0, kb, p*tileCols, min(tileCols, n-p*tileCols), out)
	})
}

func pack(lines, k, width int, fill func(p, k0, kb int, out []float32)) *Packed {
	if !hasTile {
		return nil
	}
	panels := (lines + width - 1) / width
	p := &Packed{lines, k, width, make([]float32, panels*width*k)}
	Parallel(panels, 1, func(lo, hi int) {
		for k0 := 0; k0 < k; k0 += blockK {
			kb := min(blockK, k-k0)
			for i := lo; i < hi; i++ {
				fill(i, k0, kb, p.at(k0, kb)[i*width*kb:][:width*kb])
			}
		}
	})
	return p
}

// at is the panels for one range of k.
func (p *Packed) at(k0, kb int) []float32 {
	padded := (p.lines + p.width - 1) / p.width * p.width
	return p.data[padded*k0:][:padded*kb]
}

func (p *Packed) side(k0, kb int, use func([]float32)) { use(p.at(k0, kb)) }

// GemmRight is c [m,n] = a [m,k] times a packed right factor; row-major.
func GemmRight(m int, a []float32, b *Packed, c []float32) {
	clear(c[:m*b.lines])
	tiledGemm(m, b.lines, b.k, lazyA, b.side, func(r0, rows, k0, kb int, out []float32) { packA(false, 1, a, b.k, r0, rows, k0, kb, out) }, c, b.lines)
}

// gemmLeft is c += a packed left factor times b [k,n], with rows of ldb and ldc elements.
func gemmLeft(n int, a *Packed, b []float32, ldb int, c []float32, ldc int) {
	tiledGemm(a.lines, n, a.k, a.side, packedB(false, n, b, ldb), nil, c, ldc)
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
