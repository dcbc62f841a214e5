// Package clicks makes the evaluation prompts of a mask (box, first point, next click) and scores predictions.
package clicks

import (
	"syncsam-convert/golden/edt"
	"syncsam-convert/golden/metrics"
	"syncsam-convert/pictures"
)

// DSC is metrics.DSC.
func DSC(a, b *pictures.Mask) float64 { return metrics.DSC(a, b) }

// Box is the bounding box of the largest 8-connected component, [x0, y0, x1, y1] with x1 and y1 exclusive. ok is false for
// an empty mask.
func Box(m *pictures.Mask) (box [4]int, ok bool) {
	c, ok := largest(m)
	if !ok {
		return box, false
	}
	box = [4]int{m.W, m.H, 0, 0}
	for i, p := range c.Pix {
		if p == 1 {
			x, y := i%m.W, i/m.W
			box = [4]int{min(box[0], x), min(box[1], y), max(box[2], x+1), max(box[3], y+1)}
		}
	}
	return box, true
}

// A Click is a pixel with its label: 1 foreground, 0 background.
type Click struct{ X, Y, Label int }

// First is the mask pixel farthest from the outside, label 1. ok is false for an empty mask.
func First(m *pictures.Mask) (c Click, ok bool) {
	x, y, ok := farthest(m)
	return Click{x, y, 1}, ok
}

// Next clicks into the largest 8-connected component of what a prediction gets wrong: of missed foreground with label 1, or
// of false foreground with label 0 when that has a larger one. ok is false when nothing is wrong.
func Next(truth, predicted *pictures.Mask) (c Click, ok bool) {
	missed, extra := pictures.NewMask(truth.W, truth.H), pictures.NewMask(truth.W, truth.H)
	for i, t := range truth.Pix {
		p := predicted.Pix[i]
		missed.Pix[i], extra.Pix[i] = t&^p, p&^t
	}
	fn, hasFN := largest(missed)
	fp, hasFP := largest(extra)
	if !hasFN && !hasFP {
		return Click{}, false
	}
	if hasFN && (!hasFP || fn.Count() >= fp.Count()) {
		x, y, ok := farthest(fn)
		return Click{x, y, 1}, ok
	}
	x, y, ok := farthest(fp)
	return Click{x, y, 0}, ok
}

// largest gives the largest 8-connected component, the first in row order on a tie.
func largest(m *pictures.Mask) (*pictures.Mask, bool) {
	seen := make([]bool, len(m.Pix))
	var best, stack []int
	for start, p := range m.Pix {
		if p == 0 || seen[start] {
			continue
		}
		var part []int
		seen[start] = true
		stack = append(stack[:0], start)
		for len(stack) > 0 {
			at := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			part = append(part, at)
			x, y := at%m.W, at/m.W
			for ny := max(y-1, 0); ny <= min(y+1, m.H-1); ny++ {
				for nx := max(x-1, 0); nx <= min(x+1, m.W-1); nx++ {
					if n := ny*m.W + nx; m.Pix[n] == 1 && !seen[n] {
						seen[n] = true
						stack = append(stack, n)
					}
				}
			}
		}
		if len(part) > len(best) {
			best = part
		}
	}
	out := pictures.NewMask(m.W, m.H)
	for _, i := range best {
		out.Pix[i] = 1
	}
	return out, len(best) > 0
}

// farthest is the pixel with the largest exact Euclidean distance to the outside, beyond the border included; the first in
// row order on a tie.
func farthest(m *pictures.Mask) (x, y int, ok bool) {
	best := 0
	for i, d := range squaredDistance(m) {
		if d > best {
			best, x, y = d, i%m.W, i/m.W
		}
	}
	return x, y, best > 0
}

// squaredDistance gives each pixel's squared Euclidean distance to the nearest pixel outside the mask, beyond the border included.
func squaredDistance(m *pictures.Mask) []int {
	w := m.W + 2
	outside := make([]uint8, w*(m.H+2))
	for i := range outside {
		if x, y := i%w-1, i/w-1; x < 0 || y < 0 || x == m.W || y == m.H || m.Pix[y*m.W+x] == 0 {
			outside[i] = 1
		}
	}
	near, out := edt.Nearest(w, m.H+2, outside, 1, 1), make([]int, len(m.Pix))
	for i := range out {
		at := (i/m.W+1)*w + i%m.W + 1
		dx, dy := at%w-int(near[at])%w, at/w-int(near[at])/w
		out[i] = dx*dx + dy*dy
	}
	return out
}
