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
	groups, panels := (b.K+3)/4, (b.N+qCols-1)/qCols
	const block = 8 * qRows // rows that stay in cache while panels go by
	blocks := (m + block - 1) / block
	Parallel(blocks*panels, max(1, grain/(block*qCols*max(1, b.K/16))), func(lo, hi int) {
		acc, edge := make([]int32, qRows*qCols), []uint8(nil)
		for t := lo; t < hi; t++ {
			first, q := t/panels*block, t%panels
			panel := b.data[q*b.panel:][:b.panel]
			cols := min(qCols, b.N-q*qCols)
			for r := first; r < min(first+block, m); r += qRows {
				rows := min(qRows, m-r)
				from, stride := a[r*b.K:], b.K
				if rows < qRows || b.K%4 != 0 { // the tile reads whole groups of eight rows
					if edge == nil {
						edge = make([]uint8, qRows*groups*4)
					}
					for i := range rows {
						copy(edge[i*groups*4:], a[(r+i)*b.K:(r+i+1)*b.K])
					}
					from, stride = edge, groups*4
				}
				if use != generic && hasVNNI && groups > 0 {
					vnniTile(groups, &from[0], stride, &panel[0], &acc[0])
				} else {
					plainByteTile(groups, rows, from, stride, panel, acc)
				}
				emit(r, rows, q*qCols, cols, acc)
			}
		}
	})
}

// plainByteTile is vnniTile for other processors.
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
