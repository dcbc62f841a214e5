package kernel

// QConv2D convolves uint8 planes with packed weights [KH KW C, M]: y = saturate(round_half_even((sum + bias) * scale) + point) with bias and scale
// per channel. Padding holds the zero point. x is [N,C,H,W], y [N,M,OutH,OutW]; one group.
func QConv2D(p Conv, x []uint8, zero uint8, w *PackedInt8, bias []int32, scales []float32, point uint8, y []uint8) {
	lo, hi := -float32(point), 255-float32(point)
	pixels, in := p.OutH*p.OutW, p.H*p.W
	last, result := make([]uint8, p.C*in), make([]uint8, pixels*p.M)
	rows := func(r, count int, to []uint8) []uint8 { return im2row(p, last, zero, r, count, to) }
	if p.KH == 1 && p.KW == 1 && p.StrideH == 1 && p.StrideW == 1 && p.PadTop+p.PadLeft+p.PadBottom+p.PadRight == 0 {
		rows = func(r, count int, _ []uint8) []uint8 { return last[r*p.C:][:count*p.C] }
	}
	for n := range p.N {
		transposeBytes(p.C, in, x[n*p.C*in:][:p.C*in], last)
		qgemm(pixels, rows, w, func(r, count, c, cols int, acc []int32) {
			for i := range count {
				requantizeAll(acc[i*qCols:], bias[c:], scales[c:], result[(r+i)*p.M+c:][:cols], lo, hi, float32(point))
			}
		})
		transposeBytes(pixels, p.M, result, y[n*p.M*pixels:][:p.M*pixels])
	}
}

// im2row gathers for output pixels from r on their inputs [KH,KW,C] from x [H,W,C].
func im2row(p Conv, x []uint8, zero uint8, r, count int, rows []uint8) []uint8 {
	k := p.KH * p.KW * p.C
	for i := range count {
		oh, ow := (r+i)/p.OutW, (r+i)%p.OutW
		to := rows[i*k:][:k]
		for kh := range p.KH {
			h := oh*p.StrideH - p.PadTop + kh*p.DilH
			for kw := range p.KW {
				v := ow*p.StrideW - p.PadLeft + kw*p.DilW
				part := to[(kh*p.KW+kw)*p.C:][:p.C]
				if h >= 0 && h < p.H && v >= 0 && v < p.W {
					copy(part, x[(h*p.W+v)*p.C:])
					continue
				}
				for c := range part {
					part[c] = zero
				}
			}
		}
	}
	return rows[:count*k]
}

// transposeBytes writes x [a,b] as y [b,a], in squares that stay in cache.
func transposeBytes(a, b int, x, y []uint8) {
	const square = 64
	Parallel((a+square-1)/square, max(1, grain/(square*max(1, b))), func(lo, hi int) {
		for s := lo; s < hi; s++ {
			i0, i1 := s*square, min((s+1)*square, a)
			for j0 := 0; j0 < b; j0 += square {
				Transpose(i1-i0, min(square, b-j0), x[i0*b+j0:], b, y[j0*a+i0:], a)
			}
		}
	})
}
