package kernel

import "runtime"

// Every element of a product is one chain: it starts at its first addend (0, what c holds, or a bias) and adds a[i,0] b[0,j], a[i,1] b[1,j] and
// so on, each with one rounding (a fused multiply-add). Tiles, blocks, threads and instructions share out the elements, never a chain, so
// none of them changes a bit.
const (
	startZero = iota // chains start at 0
	startC           // at what c holds
	startBias        // at bias[row]
)

// Blocking: a block of a left factor (blockPanels panels, about 140 KiB) and a chunk of a right one (at most 512 KiB) stay in the second-level
// cache while their tiles are computed.
const (
	blockK      = 256
	blockPanels = 10
	chunkCols   = 512
	tiledWork   = 1 << 12 // multiply-adds from which laying out a constant factor once pays
	threadWork  = 1 << 18 // multiply-adds that are worth a goroutine
)

// The portable tile.
const (
	plainRows = 4
	plainCols = 8
)

// plainTile continues the chains of c[rows][cols], where vectors is 2 for all plainCols columns and 1 for half of them, over k: a holds k columns
// of rows values, b k rows that are ldb elements apart, c rows that are ldc elements apart.
func plainTile(rows, vectors, k int, a, b []float32, ldb int, c []float32, ldc int, bias []float32, start int) {
	cols := vectors * plainCols / 2
	for i := range rows {
		row := c[i*ldc:][:cols]
		switch start {
		case startZero:
			clear(row)
		case startBias:
			for j := range row {
				row[j] = bias[i]
			}
		}
		for l := range k {
			x, from := a[l*rows+i], b[l*ldb:][:cols]
			for j, y := range from {
				row[j] = fma(x, y, row[j])
			}
		}
	}
}

// A factor of a product lies in panels: of rows for the left one, of columns for the right one.
type factor struct {
	packed *Packed                                        // all panels, or
	fill   func(line, lines, k0, kb int, panel []float32) // lays out lines from one on: kb times lines values (of a right factor a whole panel, 0 beyond lines)
	plain  []float32                                      // or a right factor as it stands, in rows
	stride int                                            // of plain
}

// A job is a product c = start + a b; of c [m,n] rows are ldc elements apart.
type job struct {
	m, n, k int
	a, b    factor
	start   int
	bias    []float32
	c       []float32
	ldc     int
	height  int  // of a's panels
	alone   bool // in one thread
}

// panelHeight splits m rows into as few panels as the tile allows, of equal height.
func panelHeight(m int) int {
	rows, _ := tileShape()
	panels := (m + rows - 1) / rows
	return (m + panels - 1) / panels
}

// run computes the product: columns are shared out when the right factor must be laid out, rows when the left one must.
func (j job) run() {
	if j.k == 0 {
		j.begin()
		return
	}
	_, width := tileShape()
	j.height = panelHeight(j.m)
	if j.a.packed != nil {
		j.height = j.a.packed.width
	}
	tall, wide := (j.m+j.height-1)/j.height, (j.n+width-1)/width // in panels
	threads := 1
	if !j.alone && j.m*j.n*j.k >= 2*threadWork {
		threads = min(runtime.GOMAXPROCS(0), j.m*j.n*j.k/threadWork)
	}
	rows, cols := 1, 1 // pieces
	if j.b.fill != nil {
		cols = (wide*width + chunkCols - 1) / chunkCols
		if j.a.packed == nil && cols > 1 {
			cols = (cols + 1) / 2
		}
		cols = min(wide, (cols+threads-1)/threads*threads)
		rows = min(tall, (threads+cols-1)/cols)
	} else {
		rows = min(tall, threads)
		cols = min(wide, (threads+rows-1)/rows)
	}
	Parallel(rows*cols, 1, func(lo, hi int) {
		for t := lo; t < hi; t++ {
			r, c := t/cols, t%cols
			j.piece(tall*r/rows*j.height, min(j.m, tall*(r+1)/rows*j.height), wide*c/cols*width, min(j.n, wide*(c+1)/cols*width))
		}
	})
}

// begin is what a product over nothing leaves: the chains' starts.
func (j job) begin() {
	for i := range j.m {
		row := j.c[i*j.ldc:][:j.n]
		switch j.start {
		case startZero:
			clear(row)
		case startBias:
			for x := range row {
				row[x] = j.bias[i]
			}
		}
	}
}

// piece computes rows [r0,r1) and columns [c0,c1), which start at panels.
func (j job) piece(r0, r1, c0, c1 int) {
	_, width := tileShape()
	kb := min(blockK, j.k)
	rows := min(r1-r0, blockPanels*j.height)
	if j.b.packed != nil {
		rows = min(r1-r0, 2*blockPanels*j.height) // nothing else needs the cache
	}
	sizeA, sizeB := 0, 0
	if j.a.fill != nil {
		sizeA = rows * kb
	}
	switch {
	case j.b.fill != nil:
		sizeB = (c1 - c0 + width - 1) / width * width * kb
	case j.b.plain != nil:
		sizeB = width * kb
	}
	scratch(sizeA+sizeB+j.height*width, func(buf []float32) {
		bufA, bufB, edge := buf[:sizeA], buf[sizeA:][:sizeB], buf[sizeA+sizeB:]
		for k0 := 0; k0 < j.k; k0 += blockK {
			kb, start := min(blockK, j.k-k0), j.start
			if k0 > 0 {
				start = startC
			}
			if j.b.fill != nil {
				for c := c0; c < c1; c += width {
					j.b.fill(c, min(width, c1-c), k0, kb, bufB[(c-c0)*kb:][:width*kb])
				}
			}
			for r := r0; r < r1; r += rows {
				end := min(r1, r+rows)
				if j.a.fill != nil {
					for i := r; i < end; i += j.height {
						h := min(j.height, end-i)
						j.a.fill(i, h, k0, kb, bufA[(i-r)*kb:][:h*kb])
					}
				}
				for c := c0; c < c1; c += width {
					cols := min(width, c1-c)
					panelB, ldb := bufB, width
					switch {
					case j.b.packed != nil:
						panelB = j.b.packed.at(k0, kb)[c*kb:]
					case j.b.fill != nil:
						panelB = bufB[(c-c0)*kb:]
					case cols == width:
						panelB, ldb = j.b.plain[k0*j.b.stride+c:], j.b.stride
					default:
						for l := range kb {
							copy(bufB[l*width:][:cols], j.b.plain[(k0+l)*j.b.stride+c:])
						}
					}
					for i := r; i < end; i += j.height {
						h := min(j.height, end-i)
						panelA := bufA
						if j.a.packed != nil {
							panelA = j.a.packed.at(k0, kb)[i*kb:]
						} else {
							panelA = bufA[(i-r)*kb:]
						}
						var bias []float32
						if start == startBias {
							bias = j.bias[i:]
						}
						j.tile(h, cols, kb, panelA, panelB, ldb, i, c, bias, start, edge)
					}
				}
			}
		}
	})
}

// tile computes one tile of c; where that has fewer columns than vectors hold, in a buffer.
func (j job) tile(rows, cols, kb int, a, b []float32, ldb, r, c int, bias []float32, start int, edge []float32) {
	_, width := tileShape()
	vectors := (2*cols + width - 1) / width
	to := j.c[r*j.ldc+c:]
	if cols*2 == vectors*width {
		tile(rows, vectors, kb, a, b, ldb, to, j.ldc, bias, start)
		return
	}
	if start == startC {
		for i := range rows {
			copy(edge[i*width:], to[i*j.ldc:][:cols])
		}
	}
	tile(rows, vectors, kb, a, b, ldb, edge, width, bias, start)
	for i := range rows {
		copy(to[i*j.ldc:][:cols], edge[i*width:])
	}
}

// Packed is a constant factor laid out for products once.
type Packed struct {
	lines, k int // rows of a left factor, columns of a right one
	width    int // of a panel
	padded   int // lines in panels
	data     []float32
}

// PackLeft lays out a left factor [m,k], PackRight a right one [k,n], both row-major.
func PackLeft(m, k int, a []float32) *Packed {
	return pack(m, k, panelHeight(m), m, func(line, lines, k0, kb int, out []float32) { fillLeft(false, 1, a, k, line, lines, k0, kb, out) })
}

// PackRight is PackLeft for a right factor.
func PackRight(k, n int, b []float32) *Packed {
	_, width := tileShape()
	return pack(n, k, width, panelColumns(n), func(line, lines, k0, kb int, out []float32) { fillRight(false, b, n, line, lines, k0, kb, out) })
}

// packRightIn is PackRight in one thread and in memory of the caller's, panelColumns(n) k elements.
func packRightIn(buf []float32, k, n int, b []float32) *Packed {
	_, width := tileShape()
	p := &Packed{n, k, width, panelColumns(n), buf}
	p.lay(0, n, func(line, lines, k0, kb int, out []float32) { fillRight(false, b, n, line, lines, k0, kb, out) })
	return p
}

// panelColumns is how many columns the panels of n columns have.
func panelColumns(n int) int {
	_, width := tileShape()
	return ceilDiv(n, width) * width
}

func pack(lines, k, width, padded int, fill func(line, lines, k0, kb int, out []float32)) *Packed {
	p := &Packed{lines, k, width, padded, make([]float32, padded*k)}
	Parallel(ceilDiv(lines, width), 1, func(lo, hi int) { p.lay(lo*width, min(lines, hi*width), fill) })
	return p
}

// lay fills the panels of some lines, which begin at a panel.
func (p *Packed) lay(from, to int, fill func(line, lines, k0, kb int, out []float32)) {
	for k0 := 0; k0 < p.k; k0 += blockK {
		kb := min(blockK, p.k-k0)
		for line := from; line < to; line += p.width {
			fill(line, min(p.width, p.lines-line), k0, kb, p.at(k0, kb)[line*kb:min(line+p.width, p.padded)*kb])
		}
	}
}

// at is the panels for one range of k.
func (p *Packed) at(k0, kb int) []float32 { return p.data[p.padded*k0:][:p.padded*kb] }

// GemmRight is c [m,n] = a [m,k] times a packed right factor; row-major.
func GemmRight(m int, a []float32, b *Packed, c []float32) {
	if m == 0 || b.lines == 0 {
		return
	}
	job{m: m, n: b.lines, k: b.k, a: leftOf(false, 1, a, b.k), b: factor{packed: b}, c: c, ldc: b.lines}.run()
}

func leftOf(trans bool, alpha float32, a []float32, lda int) factor {
	return factor{fill: func(line, lines, k0, kb int, out []float32) { fillLeft(trans, alpha, a, lda, line, lines, k0, kb, out) }}
}

// rightOf lays a right factor out, except where too few rows read it.
func rightOf(m int, trans bool, b []float32, ldb int) factor {
	if rows, _ := tileShape(); !trans && m <= 2*rows {
		return factor{plain: b, stride: ldb}
	}
	return factor{fill: func(line, lines, k0, kb int, out []float32) { fillRight(trans, b, ldb, line, lines, k0, kb, out) }}
}

// fillLeft lays out rows times alpha as kb columns of so many values.
func fillLeft(trans bool, alpha float32, a []float32, lda, r0, rows, k0, kb int, out []float32) {
	if trans {
		for k := range kb {
			copy(out[k*rows:][:rows], a[(k0+k)*lda+r0:])
		}
	} else {
		Transpose(rows, kb, a[r0*lda+k0:], lda, out, rows)
	}
	if alpha != 1 {
		for i := range out[:rows*kb] {
			out[i] *= alpha
		}
	}
}

// fillRight lays out columns from c0 on as kb rows of a panel; missing columns are 0.
func fillRight(trans bool, b []float32, ldb, c0, cols, k0, kb int, out []float32) {
	_, width := tileShape()
	if cols < width {
		clear(out)
	}
	if trans {
		Transpose(cols, kb, b[c0*ldb+k0:], ldb, out, width)
		return
	}
	if cols == width {
		copyRows(kb, b[k0*ldb+c0:], ldb, out)
		return
	}
	for k := range kb {
		copy(out[k*width:][:cols], b[(k0+k)*ldb+c0:])
	}
}

// plainCopyRows is copyRows for other processors.
func plainCopyRows(k int, x []float32, ldx int, y []float32) {
	_, width := tileShape()
	for l := range k {
		copy(y[l*width:][:width], x[l*ldx:])
	}
}
