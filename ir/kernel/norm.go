package kernel

import "math"

var negInf = float32(math.Inf(-1))

// BatchNorm normalises x [N,C,inner] with fixed statistics: (x - mean) / sqrt(variance + eps) * scale + bias.
func BatchNorm(n, c, inner int, x, scale, bias, mean, variance []float32, eps float32, y []float32) {
	Parallel(n*c, max(1, vectorGrain/max(1, inner)), func(lo, hi int) {
		for i := lo; i < hi; i++ {
			ch := i % c
			s := float64(scale[ch]) / math.Sqrt(float64(variance[ch])+float64(eps))
			a, b := float32(s), float32(float64(bias[ch])-float64(float64(mean[ch])*s))
			out := y[i*inner:][:inner]
			affineAll(x[i*inner:][:inner], out, a, b)
		}
	})
}

// LayerNorm normalises each row: (x - mean) / sqrt(variance + eps) * gamma + beta, in two passes with sums in float64; beta may be nil.
func LayerNorm(rows, cols int, x, gamma, beta []float32, eps float32, y []float32) {
	Parallel(rows, max(1, vectorGrain/4/max(1, cols)), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			in, out := x[r*cols:][:cols], y[r*cols:][:cols]
			mean := float32(sum(in) / float64(cols))
			inv := float32(1 / math.Sqrt(sumSquares(in, mean)/float64(cols)+float64(eps)))
			if beta == nil {
				normAll(in, gamma, out, mean, inv)
			} else {
				normBiasAll(in, gamma, beta, out, mean, inv)
			}
		}
	})
}

// LayerNorm2d normalises each pixel of x [n,c,pixels] over its channels, as LayerNorm does a row; sums are of 16 channels each, added up.
func LayerNorm2d(n, c, pixels int, x, gamma, beta []float32, eps float32, y []float32) {
	const width, group = 256, 16
	blocks := ceilDiv(pixels, width)
	Parallel(n*blocks, max(1, vectorGrain/4/max(1, c*width)), func(lo, hi int) {
		var part, mean, inv [width]float32
		for i := lo; i < hi; i++ {
			from := i % blocks * width
			size := min(width, pixels-from)
			at := i/blocks*c*pixels + from
			row := func(of []float32, ch int) []float32 { return of[at+ch*pixels:][:size] }
			channels := func(total []float32, add func(x, sum []float32)) {
				clear(total)
				for ch := 0; ch < c; ch += group {
					clear(part[:size])
					for k := ch; k < min(c, ch+group); k++ {
						add(row(x, k), part[:size])
					}
					addAll(total, part[:size], total)
				}
			}
			m, v := mean[:size], inv[:size]
			channels(m, func(x, sum []float32) { addAll(x, sum, sum) })
			divOneAll(m, m, float32(c))
			channels(v, func(x, sum []float32) { squareAddAll(x, m, sum, sum) })
			for k, s := range v {
				v[k] = float32(1 / math.Sqrt(float64(s)/float64(c)+float64(eps)))
			}
			for ch := range c {
				normChannelAll(row(x, ch), m, v, row(y, ch), gamma[ch], beta[ch])
			}
		}
	})
}

// narrow is the longest row whose softmax is taken of many rows at once, as many columns. Longer ones fill vectors by themselves.
const narrow = 16

// Softmax of each row, shifted by the row's maximum. x and y may be the same. Exponentials are added in 16 sums (see lanes).
func Softmax(rows, cols int, x, y []float32) {
	grain := vectorGrain / 8 / max(1, cols)
	if cols <= narrow {
		grain = max(grain, narrowRows)
	}
	Parallel(rows, max(1, grain), func(lo, hi int) { softmaxRows(cols, x[lo*cols:hi*cols], y[lo*cols:hi*cols]) })
}

// softmaxRows is Softmax in one thread.
func softmaxRows(cols int, x, y []float32) {
	if cols <= narrow {
		softmaxNarrow(cols, x, y)
		return
	}
	for r := 0; r < len(x); r += cols {
		in, out := x[r:][:cols], y[r:][:cols]
		var sums [16]float32
		expSumAll(in, out, &sums, greatest(in))
		mulOneAll(out, out, 1/lanes(sums))
	}
}

// narrowRows is how many narrow rows a block has.
const narrowRows = 256

// softmaxNarrow is Softmax with the bits of the other way: each of 16 sums has one term at most.
func softmaxNarrow(cols int, x, y []float32) {
	var terms, totals [narrow * narrowRows]float32
	var most [narrowRows]float32
	for n := 0; n < len(x); n += cols * narrowRows {
		in := x[n:min(len(x), n+cols*narrowRows)]
		rows := len(in) / cols
		Transpose(rows, cols, in, cols, terms[:], rows)
		m := most[:rows]
		copy(m, terms[:rows])
		for i := 1; i < cols; i++ {
			greaterAll(terms[i*rows:][:rows], m, m)
		}
		for i := range cols {
			t := terms[i*rows:][:rows]
			subAll(t, m, t)
		}
		all := terms[:cols*rows]
		expAll(all, all)
		copy(totals[:], all)
		for step, left := narrow/2, cols; step > 0; step /= 2 { // the tree of lanes
			if left > step {
				addAll(totals[:(left-step)*rows], totals[step*rows:][:(left-step)*rows], totals[:(left-step)*rows])
				left = step
			}
		}
		oneDivAll(totals[:rows], m, 1)
		for i := range cols {
			t := terms[i*rows:][:rows]
			mulAll(t, m, t)
		}
		Transpose(cols, rows, all, rows, y[n:], cols)
	}
}

// lanes adds 16 sums: the k-th is of the elements k, k+16, k+32 and so on.
func lanes[T float32 | float64](s [16]T) T {
	for n := 8; n > 0; n /= 2 {
		for i := range n {
			s[i] += s[i+n]
		}
	}
	return s[0]
}
