// Package clicks makes the evaluation prompts of a mask (box, first point, next click) and scores predictions.
package clicks

import "syncsam-convert/pictures"

// DSC is the Dice similarity coefficient (2|A and B| + 1e-7) / (|A| + |B| + 1e-7) of two masks of one size.
func DSC(a, b *pictures.Mask) float64 {
	const smooth = 1e-7
	both, sum := 0, 0
	for i, p := range a.Pix {
		both += int(p & b.Pix[i])
		sum += int(p + b.Pix[i])
	}
	return (2*float64(both) + smooth) / (float64(sum) + smooth)
}

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

// squaredDistance gives each pixel's squared Euclidean distance to the nearest pixel outside the mask, in integers: first
// along columns, then the lower envelope of parabolas along rows (Meijster, Roerdink and Hesselink, 2000).
func squaredDistance(m *pictures.Mask) []int {
	w, h := m.W, m.H
	column := make([]int, w*h)
	for x := range w {
		d := 0
		for y := range h { // distance to the outside above
			d = (d + 1) * int(m.Pix[y*w+x])
			column[y*w+x] = d
		}
		d = 0
		for y := h - 1; y >= 0; y-- { // and below
			d = (d + 1) * int(m.Pix[y*w+x])
			column[y*w+x] = min(column[y*w+x], d)
		}
	}
	out := make([]int, w*h)
	// columns -1 and w are outside: distance 0
	site, from := make([]int, w+2), make([]int, w+2)
	for y := range h {
		g := func(x int) int {
			if x < 0 || x >= w {
				return 0
			}
			return column[y*w+x]
		}
		at := func(x, i int) int { return (x-i)*(x-i) + g(i)*g(i) }
		q := 0
		site[0], from[0] = -1, -1
		for u := 0; u <= w; u++ {
			for q >= 0 && at(from[q], site[q]) > at(from[q], u) {
				q--
			}
			if q < 0 {
				q, site[0] = 0, u
				continue
			}
			i := site[q]
			cross := 1 + floorDiv(u*u-i*i+g(u)*g(u)-g(i)*g(i), 2*(u-i))
			if cross <= w {
				q++
				site[q], from[q] = u, cross
			}
		}
		for x := w; x >= 0; x-- {
			if x < w {
				out[y*w+x] = at(x, site[q])
			}
			if x == from[q] {
				q--
			}
			if q < 0 {
				break
			}
		}
	}
	return out
}

func floorDiv(a, b int) int { // b > 0
	if q := a / b; a%b >= 0 {
		return q
	} else {
		return q - 1
	}
}
