// Package edt is the exact Euclidean distance transform of a grid: every pixel's nearest site, in time linear in the pixels.
package edt

// Nearest gives for each pixel of a w x h grid (row-major) the index of a nearest site, where site is not 0 and pixels are sx wide
// and sy high; -1 everywhere when there is no site. Distances of equal steps (sx = sy = 1) are compared exactly. First the nearest
// site of the column, then the lower envelope of parabolas along each row (Felzenszwalb and Huttenlocher, Theory of Computing 2012).
func Nearest(w, h int, site []uint8, sx, sy float64) []int32 {
	near := columns(w, h, site)
	height := make([]float64, w) // of a column's parabola in this row, in squared pixel widths
	row := make([]int32, w)
	hull, from := make([]int, w), make([]float64, w) // parabolas of the envelope, and where each begins to be the lowest
	ratio := sy / sx
	for y := range h {
		q := -1
		for x := range w {
			at := near[y*w+x]
			if at < 0 {
				continue
			}
			d := ratio * float64(int(at)/w-y)
			height[x] = d * d
			start := 0.0
			for ; q >= 0; q-- {
				i := hull[q]
				start = (height[x] - height[i] + float64(x*x-i*i)) / float64(2*(x-i))
				if start > from[q] {
					break
				}
			}
			if q < 0 {
				start = 0
			}
			q++
			hull[q], from[q] = x, start
		}
		if q < 0 {
			return near // no column has a site
		}
		for x := w - 1; x >= 0; x-- {
			for q > 0 && from[q] > float64(x) {
				q--
			}
			row[x] = near[y*w+hull[q]]
		}
		copy(near[y*w:], row)
	}
	return near
}

// columns gives each pixel's nearest site in its own column, -1 where the column has none.
func columns(w, h int, site []uint8) []int32 {
	near := make([]int32, w*h)
	for i := range near {
		switch {
		case site[i] != 0:
			near[i] = int32(i)
		case i >= w:
			near[i] = near[i-w]
		default:
			near[i] = -1
		}
	}
	for i := w*(h-1) - 1; i >= 0; i-- { // from below, where that is nearer
		below := near[i+w]
		if below >= 0 && (near[i] < 0 || int(below)-i < i-int(near[i])) {
			near[i] = below
		}
	}
	return near
}
