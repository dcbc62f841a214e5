package kernel

// roundMagic is 1.5 * 2^23: adding it to a small float32 and taking it away leaves the nearest integer, half to even.
const roundMagic = 3 << 22

// QConv2D convolves uint8 planes with packed weights [KH KW C, M]: y = saturate(round_half_even((sum + bias) * scale) + point) with bias and scale
// per channel. Padding holds the zero point. x is [N,C,H,W], y [N,M,OutH,OutW]; one group.
func QConv2D(p Conv, x []uint8, zero uint8, w *PackedInt8, bias []int32, scales []float32, point uint8, y []uint8) {
	lo, hi := -float32(point), 255-float32(point)
	pixels, in := p.OutH*p.OutW, p.H*p.W
	last, rows, result := make([]uint8, p.C*in), []uint8(nil), make([]uint8, pixels*p.M)
	pointwise := p.KH == 1 && p.KW == 1 && p.StrideH == 1 && p.StrideW == 1 && p.PadTop+p.PadLeft+p.PadBottom+p.PadRight == 0
	if !pointwise {
		rows = make([]uint8, pixels*w.K)
	}
	for n := range p.N {
		transposeBytes(p.C, in, x[n*p.C*in:][:p.C*in], last)
		from := last
		if !pointwise {
			from = rows
			im2row(p, last, zero, rows)
		}
		QGemm(pixels, from, w, func(r, count, c, cols int, acc []int32) {
			for i := range count {
				to := result[(r+i)*p.M+c:][:cols]
				from, b, s := acc[i*qCols:][:len(to)], bias[c:][:len(to)], scales[c:][:len(to)]
				for j := range to {
					v := min(max(float32(from[j]+b[j])*s[j], lo), hi)
					to[j] = uint8(int32(v+roundMagic-roundMagic) + int32(point))
				}
			}
		})
		transposeBytes(pixels, p.M, result, y[n*p.M*pixels:][:p.M*pixels])
	}
}

// im2row gathers for every output pixel its inputs [KH,KW,C] from x [H,W,C].
func im2row(p Conv, x []uint8, zero uint8, rows []uint8) {
	k := p.KH * p.KW * p.C
	blank := make([]uint8, p.C)
	for i := range blank {
		blank[i] = zero
	}
	Parallel(p.OutH, max(1, grain/max(1, p.OutW*k)), func(lo, hi int) {
		for oh := lo; oh < hi; oh++ {
			for ow := range p.OutW {
				to := rows[(oh*p.OutW+ow)*k:][:k]
				for kh := range p.KH {
					h := oh*p.StrideH - p.PadTop + kh*p.DilH
					for kw := range p.KW {
						v := ow*p.StrideW - p.PadLeft + kw*p.DilW
						from := blank
						if h >= 0 && h < p.H && v >= 0 && v < p.W {
							from = x[(h*p.W+v)*p.C:][:p.C]
						}
						copy(to[(kh*p.KW+kw)*p.C:], from)
					}
				}
			}
		}
	})
}

// transposeBytes writes x [a,b] as y [b,a], in squares that stay in cache.
func transposeBytes(a, b int, x, y []uint8) {
	const square = 32
	Parallel((a+square-1)/square, max(1, grain/(square*max(1, b))), func(lo, hi int) {
		for s := lo; s < hi; s++ {
			i1 := min((s+1)*square, a)
			for j0 := 0; j0 < b; j0 += square {
				j1 := min(j0+square, b)
				for i := s * square; i < i1; i++ {
					row := x[i*b:][:b]
					for j := j0; j < j1; j++ {
						y[j*a+i] = row[j]
					}
				}
			}
		}
	})
}
