package kernel

// Conv describes a 2-D convolution, transposed convolution or pooling over NCHW. For a transposed convolution H and W
// are those of its (smaller) input.
type Conv struct {
	N, C, H, W         int // input
	M, OutH, OutW      int // output
	KH, KW             int
	StrideH, StrideW   int
	PadTop, PadLeft    int
	PadBottom          int
	PadRight           int
	DilH, DilW, Groups int
}

// PackConv lays out the weights of each group for Conv2D; nil where that does not pay.
func PackConv(p Conv, w []float32) []*Packed {
	mg, k := p.M/p.Groups, p.C/p.Groups*p.KH*p.KW
	if !Tiled(mg, p.OutH*p.OutW, k) {
		return nil
	}
	out := make([]*Packed, p.Groups)
	for g := range out {
		out[g] = PackLeft(mg, k, w[g*mg*k:][:mg*k])
	}
	return out
}

// Conv2D convolves x [N,C,H,W] with w [M,C/Groups,KH,KW] into y [N,M,OutH,OutW]; bias [M] may be nil, and so may packed, which is
// PackConv's of w. A chain starts at the bias and runs over channels, kernel rows and kernel columns; padding takes part as 0.
func Conv2D(p Conv, x, w []float32, packed []*Packed, bias, y []float32) {
	cg, mg, pixels := p.C/p.Groups, p.M/p.Groups, p.OutH*p.OutW
	k := cg * p.KH * p.KW
	if mg == 0 || pixels == 0 {
		return
	}
	pointwise := p.KH == 1 && p.KW == 1 && p.StrideH == 1 && p.StrideW == 1 && p.PadTop+p.PadLeft+p.PadBottom+p.PadRight == 0
	for n := range p.N {
		for g := range p.Groups {
			xg := x[(n*p.C+g*cg)*p.H*p.W:][:cg*p.H*p.W]
			j := job{m: mg, n: pixels, k: k, c: y[(n*p.M+g*mg)*pixels:], ldc: pixels}
			if packed != nil {
				j.a = factor{packed: packed[g]}
			} else {
				j.a = leftOf(false, 1, w[g*mg*k:][:mg*k], k)
			}
			if bias != nil {
				j.start, j.bias = startBias, bias[g*mg:][:mg]
			}
			if pointwise {
				j.b = rightOf(mg, false, xg, pixels)
				j.run()
				continue
			}
			l := newLayout(p, cg)
			scratch(l.size, func(padded []float32) {
				l.fill(xg, padded)
				j.b.fill = func(pixel, pixels, k0, kb int, out []float32) { l.panel(padded, pixel, pixels, l.rows[k0:][:kb], out) }
				j.run()
			})
		}
	}
}

// A layout is an image with its padding, where columns that are a stride apart lie side by side: [channels, height, StrideW, width]. The inputs
// of output pixels in one row under one kernel element are then neighbours.
type layout struct {
	Conv
	channels, height, width, size int
	rows                          []int // of each kernel element [channels,KH,KW], where the input under the first output pixel lies
}

func newLayout(p Conv, channels int) layout {
	l := layout{Conv: p, channels: channels, height: p.H + p.PadTop + p.PadBottom, width: ceilDiv(p.W+p.PadLeft+p.PadRight, p.StrideW)}
	l.size = channels*l.height*p.StrideW*l.width + 8 // what is past the last pixel is read, and not used
	l.rows = make([]int, 0, channels*p.KH*p.KW)
	for c := range channels {
		for kh := range p.KH {
			for kw := range p.KW {
				column := kw * p.DilW
				l.rows = append(l.rows, ((c*l.height+kh*p.DilH)*p.StrideW+column%p.StrideW)*l.width+column/p.StrideW)
			}
		}
	}
	return l
}

// fill copies an image [channels,H,W].
func (l layout) fill(x, to []float32) {
	clear(to[l.size-8:])
	Parallel(l.channels*l.height, max(1, grain/(l.StrideW*l.width)), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			out := to[r*l.StrideW*l.width:][:l.StrideW*l.width]
			h := r%l.height - l.PadTop
			if h < 0 || h >= l.H {
				clear(out)
				continue
			}
			row := x[(r/l.height*l.H+h)*l.W:][:l.W]
			if l.StrideW == 1 {
				clear(out[:l.PadLeft])
				clear(out[l.PadLeft+copy(out[l.PadLeft:], row):])
				continue
			}
			clear(out)
			part, at := l.PadLeft%l.StrideW, l.PadLeft/l.StrideW
			for _, v := range row {
				out[part*l.width+at] = v
				if part++; part == l.StrideW {
					part = 0
					at++
				}
			}
		}
	})
}

// at is where the inputs of an output pixel lie, less a kernel element's row.
func (l layout) at(pixel int) int {
	return pixel/l.OutW*l.StrideH*l.StrideW*l.width + pixel%l.OutW
}

// panel lays out the inputs of output pixels: a row for each kernel element.
func (l layout) panel(x []float32, pixel, pixels int, rows []int, out []float32) {
	_, width := tileShape()
	if l.OutW%8 == 0 && hasGather() {
		var at [4]int
		for i := range at {
			at[i] = l.at(min(pixel+8*i, pixel+pixels-8))
		}
		gather(x, rows, &at, out)
		return
	}
	if pixels < width {
		clear(out)
	}
	for i := 0; i < pixels; { // the part of one output row
		count, at := min(pixels-i, l.OutW-(pixel+i)%l.OutW), l.at(pixel+i)
		for k, row := range rows {
			copy(out[k*width+i:][:count], x[row+at:])
		}
		i += count
	}
}

// Columns lays out the input x [C,H,W] of one image under the output pixels at: [C*KH*KW, len(at)].
func Columns(p Conv, x []float32, at []int, col []float32) {
	n := len(at)
	Parallel(p.C, max(1, grain/max(1, n*p.KH*p.KW)), func(lo, hi int) {
		for c := lo; c < hi; c++ {
			plane := x[c*p.H*p.W:][:p.H*p.W]
			for k := range p.KH * p.KW {
				row := col[(c*p.KH*p.KW+k)*n:][:n]
				dy, dx := k/p.KW*p.DilH-p.PadTop, k%p.KW*p.DilW-p.PadLeft
				for i, o := range at {
					row[i] = 0
					h, w := o/p.OutW*p.StrideH+dy, o%p.OutW*p.StrideW+dx
					if h >= 0 && h < p.H && w >= 0 && w < p.W {
						row[i] = plane[h*p.W+w]
					}
				}
			}
		}
	})
}

func ceilDiv(a, b int) int {
	if a <= 0 {
		return -(-a / b)
	}
	return (a + b - 1) / b
}

// PackConvTranspose lays out the weights of each group for ConvTranspose2D.
func PackConvTranspose(p Conv, w []float32) []*Packed {
	cg, k := p.C/p.Groups, p.M/p.Groups*p.KH*p.KW
	out := make([]*Packed, p.Groups)
	for g := range out {
		out[g] = pack(k, cg, panelHeight(k), k, func(line, lines, k0, kb int, panel []float32) {
			fillLeft(true, 1, w[g*cg*k:], k, line, lines, k0, kb, panel)
		})
	}
	return out
}

// ConvTranspose2D spreads x [N,C,H,W] by w [C,M/Groups,KH,KW], as PackConvTranspose lays it out, into y [N,M,OutH,OutW]; bias [M] may be nil. Each kernel element is a product over
// the channels, a chain from 0; they are added to the bias in the order of the input rows, kernel rows and kernel columns.
func ConvTranspose2D(p Conv, x []float32, w []*Packed, bias, y []float32) {
	cg, mg, in, out := p.C/p.Groups, p.M/p.Groups, p.H*p.W, p.OutH*p.OutW
	k := mg * p.KH * p.KW
	fillBias(p, bias, y)
	if k*in == 0 {
		return
	}
	const elements = 1 << 17 // of a product, so that it is still in cache when it is added
	rows := min(p.H, max(1, elements/max(1, k*p.W)))
	for n := range p.N {
		for g := range p.Groups {
			xg := x[(n*p.C+g*cg)*in:][:cg*in]
			yg := y[(n*p.M+g*mg)*out:][:mg*out]
			scratch(k*rows*p.W, func(col []float32) {
				for h := 0; h < p.H; h += rows {
					size := min(rows, p.H-h) * p.W
					job{m: k, n: size, k: cg, a: factor{packed: w[g]}, b: rightOf(k, false, xg[h*p.W:], in), c: col, ldc: size}.run()
					Parallel(mg, max(1, grain/max(1, size*p.KH*p.KW)), func(lo, hi int) {
						for m := lo; m < hi; m++ {
							col2im(p, h, size, col[m*p.KH*p.KW*size:], yg[m*out:][:out])
						}
					})
				}
			})
		}
	}
}

// col2im adds one output channel's kernel elements, each size values under whole input rows from h0 on, at their output pixels.
func col2im(p Conv, h0, size int, col, y []float32) {
	for i := range size / max(1, p.W) {
		for kh := range p.KH {
			h := (h0+i)*p.StrideH - p.PadTop + kh
			if h < 0 || h >= p.OutH {
				continue
			}
			row := y[h*p.OutW:][:p.OutW]
			part := func(kw int) []float32 { return col[(kh*p.KW+kw)*size+i*p.W:][:p.W] }
			if p.StrideW == 2 && p.KW == 2 && p.PadLeft == 0 && p.OutW == 2*p.W { // every pixel once
				addPairs(part(0), part(1), row)
				continue
			}
			for kw := range p.KW {
				plane, at := part(kw), kw-p.PadLeft
				first := min(p.W, max(0, ceilDiv(-at, p.StrideW)))
				last := max(first, min(p.W, ceilDiv(p.OutW-at, p.StrideW)))
				for j := first; j < last; j++ {
					row[at+j*p.StrideW] += plane[j]
				}
			}
		}
	}
}

// addPairs adds x to the even elements of z, y to the odd ones.
func addPairs(x, y, z []float32) {
	done := addedPairs(x, y, z)
	for j := done; j < len(x); j++ {
		z[2*j] += x[j]
		z[2*j+1] += y[j]
	}
}

// pool visits every output pixel with the input rows and columns its window covers.
func pool(p Conv, f func(plane []float32, h0, h1, w0, w1 int) float32, x, y []float32) {
	out := p.OutH * p.OutW
	Parallel(p.N*p.C, max(1, grain/max(1, out*p.KH*p.KW)), func(lo, hi int) {
		for c := lo; c < hi; c++ {
			plane := x[c*p.H*p.W:][:p.H*p.W]
			for i := range p.OutH {
				h := i*p.StrideH - p.PadTop
				for j := range p.OutW {
					w := j*p.StrideW - p.PadLeft
					y[c*out+i*p.OutW+j] = f(plane, max(0, h), min(p.H, h+p.KH), max(0, w), min(p.W, w+p.KW))
				}
			}
		}
	})
}

// MaxPool2D takes the maximum under each window, NaN where one is under it; padding never wins. A window that is all padding gives -Inf.
func MaxPool2D(p Conv, x, y []float32) {
	Parallel(p.N*p.C*p.OutH, max(1, grain/max(1, p.OutW*(p.KH+p.KW))), func(lo, hi int) {
		scratch(p.W, func(highest []float32) {
			for r := lo; r < hi; r++ {
				plane, out := x[r/p.OutH*p.H*p.W:][:p.H*p.W], y[r*p.OutW:][:p.OutW]
				h := r%p.OutH*p.StrideH - p.PadTop
				h0, h1 := max(0, h), min(p.H, h+p.KH)
				if h0 >= h1 {
					h0, h1 = 0, 0
					for j := range highest {
						highest[j] = negInf
					}
				} else {
					copy(highest, plane[h0*p.W:])
				}
				for h := h0 + 1; h < h1; h++ {
					greaterAll(highest, plane[h*p.W:], highest)
				}
				for j := range out {
					w := j*p.StrideW - p.PadLeft
					m := negInf
					for _, v := range highest[min(p.W, max(0, w)):max(0, min(p.W, w+p.KW))] {
						if v > m || v != v {
							m = v
						}
					}
					out[j] = m
				}
			}
		})
	})
}

// AveragePool2D takes the mean under each window, of the window's size when padding counts, else of the pixels in it.
func AveragePool2D(p Conv, countPad bool, x, y []float32) {
	pool(p, func(plane []float32, h0, h1, w0, w1 int) float32 {
		var sum float64
		for h := h0; h < h1; h++ {
			for _, v := range plane[h*p.W+w0 : max(h*p.W+w0, h*p.W+w1)] {
				sum += float64(v)
			}
		}
		n := max(0, h1-h0) * max(0, w1-w0)
		if countPad {
			n = p.KH * p.KW
		}
		return float32(sum / float64(n))
	}, x, y)
}

func fillBias(p Conv, bias, y []float32) {
	pixels := p.OutH * p.OutW
	for i := range p.N * p.M {
		row := y[i*pixels:][:pixels]
		var b float32
		if bias != nil {
			b = bias[i%p.M]
		}
		for j := range row {
			row[j] = b
		}
	}
}
