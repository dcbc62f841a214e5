package kernel

// Blocking of integer products: a tile is 8 rows of a by 32 columns of b.
const (
	qRows = 8
	qCols = 32
)

// PackedInt8 is a matrix [K,N] of int8 laid out for integer products, with the sum of every column.
type PackedInt8 struct {
	K, N  int
	Sums  []int32
	data  []int8 // panels of 32 columns: for each group of four rows 32 columns of four bytes, zero-padded
	panel int    // bytes of a panel
}

// PackInt8 lays out b [k,n], row-major.
func PackInt8(k, n int, b []int8) *PackedInt8 {
	groups, panels := (k+3)/4, (n+qCols-1)/qCols
	p := &PackedInt8{K: k, N: n, Sums: make([]int32, n), data: make([]int8, panels*groups*qCols*4), panel: groups * qCols * 4}
	Parallel(panels, 1, func(lo, hi int) {
		for q := lo; q < hi; q++ {
			to := p.data[q*p.panel:][:p.panel]
			cols := min(qCols, n-q*qCols)
			for i := range k {
				row := b[i*n+q*qCols:][:cols]
				at := to[i/4*qCols*4+i%4:]
				for c, v := range row {
					at[c*4] = v
					p.Sums[q*qCols+c] += int32(v)
				}
			}
		}
	})
	return p
}

// QGemm computes the integers a b for a [m,K] of uint8 and gives them to emit in blocks: rows from r on, columns from c on, acc row-major with
// 32 columns a row, of which rows x cols count. Sums are exact in int32 for K up to 2^16. emit is called from several goroutines.
func QGemm(m int, a []uint8, b *PackedInt8, emit func(r, rows, c, cols int, acc []int32)) {
	qgemm(m, func(r, rows int, _ []uint8) []uint8 { return a[r*b.K:][:rows*b.K] }, b, emit)
}

// qBlock is how many rows of a stay in cache while panels go by.
const qBlock = 8 * qRows

// qgemm is QGemm of rows that come at most qBlock at a time; rows may put them into the buffer that it is given.
func qgemm(m int, rows func(r, count int, buffer []uint8) []uint8, b *PackedInt8, emit func(r, rows, c, cols int, acc []int32)) {
	groups, panels := (b.K+3)/4, (b.N+qCols-1)/qCols
	blocks := (m + qBlock - 1) / qBlock
	Parallel(blocks*panels, max(1, grain/(qBlock*qCols*max(1, b.K/16))), func(lo, hi int) {
		acc, edge, buffer := make([]int32, qRows*qCols), make([]uint8, qRows*groups*4), make([]uint8, qBlock*b.K)
		var block []uint8
		have := -1
		for t := lo; t < hi; t++ {
			first, q := t/panels*qBlock, t%panels
			count := min(qBlock, m-first)
			if first != have {
				block, have = rows(first, count, buffer), first
			}
			panel := b.data[q*b.panel:][:b.panel]
			cols := min(qCols, b.N-q*qCols)
			for r := 0; r < count; r += qRows {
				rows := min(qRows, count-r)
				from, stride := block[r*b.K:], b.K
				if rows < qRows || b.K%4 != 0 { // the tile reads whole groups of eight rows
					for i := range rows {
						copy(edge[i*groups*4:], block[(r+i)*b.K:(r+i+1)*b.K])
					}
					from, stride = edge, groups*4
				}
				if !byteTile(groups, from, stride, panel, acc) {
					plainByteTile(groups, rows, from, stride, panel, acc)
				}
				emit(first+r, rows, q*qCols, cols, acc)
			}
		}
	})
}

// QMatMul is y [m,N] = (a - zero) w scales for a [m,K] of uint8, with a scale per column.
func QMatMul(m int, a []uint8, zero uint8, w *PackedInt8, scales, y []float32) {
	correction := make([]int32, w.N)
	for i, s := range w.Sums {
		correction[i] = -int32(zero) * s
	}
	QGemm(m, a, w, func(r, rows, c, cols int, acc []int32) {
		for i := range rows {
			rescaleAll(acc[i*qCols:], correction[c:], scales[c:], y[(r+i)*w.N+c:][:cols])
		}
	})
}

// plainByteTile is c[8][32] = a b over groups of four of k: a holds rows of bytes lda apart, b for each group 32 columns of four bytes. Rows
// from rows on are left out.
func plainByteTile(groups, rows int, a []uint8, lda int, b []int8, c []int32) {
	clear(c)
	for r := range rows {
		row, to := a[r*lda:], c[r*qCols:][:qCols]
		for g := range groups {
			x, w := row[g*4:][:4], b[g*qCols*4:][:qCols*4]
			x0, x1, x2, x3 := int32(x[0]), int32(x[1]), int32(x[2]), int32(x[3])
			for j := range to {
				v := w[j*4:][:4]
				to[j] += x0*int32(v[0]) + x1*int32(v[1]) + x2*int32(v[2]) + x3*int32(v[3])
			}
		}
	}
}
