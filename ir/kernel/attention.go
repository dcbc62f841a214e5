package kernel

// Attention is softmax(q k + bias) v for each of batch factors q [T,D], k [D,U], v [U,E]: [T,E]. The bias is that of relative positions, or
// none: of query t and key (y, x) on a grid of Rows x Cols, rows[t,y], then cols[t,x] are added. It goes by blocks of queries, so that no
// [T,U] is ever whole, and gives the bits of the operators one after another.
type Attention struct {
	Batch, T, U, D, E int
	Rows, Cols        int // of the keys' grid; 0 without a bias
}

// attentionBlock is how many logits are worked on at a time.
const attentionBlock = 1 << 17

// Run computes y [Batch,T,E].
func (a Attention) Run(q, k, v, rows, cols, y []float32) {
	if a.Batch*a.T*a.E == 0 {
		return
	}
	height := min(a.T, max(32, attentionBlock/max(1, a.U)))
	blocks := ceilDiv(a.T, height)
	sizeK, sizeV := panelColumns(a.U)*a.D, panelColumns(a.E)*a.U
	Parallel(a.Batch*blocks, max(1, threadWork/max(1, height*a.U*(a.D+a.E))), func(lo, hi int) {
		scratch(sizeK+sizeV+height*a.U, func(buf []float32) {
			bufK, bufV, logits := buf[:sizeK], buf[sizeK:][:sizeV], buf[sizeK+sizeV:]
			var pk, pv factor
			for i := lo; i < hi; i++ {
				b, from := i/blocks, i%blocks*height
				if i == lo || from == 0 {
					pk = factor{packed: packRightIn(bufK, a.D, a.U, k[b*a.D*a.U:])}
					pv = factor{packed: packRightIn(bufV, a.U, a.E, v[b*a.U*a.E:])}
				}
				size, at := min(height, a.T-from), b*a.T+from
				x := logits[:size*a.U]
				job{m: size, n: a.U, k: a.D, a: leftOf(false, 1, q[at*a.D:][:size*a.D], a.D), b: pk, c: x, ldc: a.U, alone: true}.run()
				if a.Rows > 0 {
					a.relate(x, rows[at*a.Rows:], cols[at*a.Cols:])
				}
				softmaxRows(a.U, x, x)
				job{m: size, n: a.E, k: a.U, a: leftOf(false, 1, x, a.U), b: pv, c: y[at*a.E:][:size*a.E], ldc: a.E, alone: true}.run()
			}
		})
	})
}

// relate adds relative positions to a block of logits, whose first query rows and cols begin at.
func (a Attention) relate(x, rows, cols []float32) {
	for t := range len(x) / a.U {
		across := cols[t*a.Cols:][:a.Cols]
		for y, down := range rows[t*a.Rows:][:a.Rows] {
			line := x[t*a.U+y*a.Cols:][:a.Cols]
			addOneAll(line, line, down)
			addAll(line, across, line)
		}
	}
}
