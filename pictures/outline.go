package pictures

import (
	"strconv"
)

// Outline is the border of a mask's foreground as SVG path data, in pixels: closed loops along pixel edges, the foreground at the right hand.
// A mask with a side of more than most pixels is traced in blocks, which are foreground where at least half of their pixels are.
func (m *Mask) Outline(most int) string {
	step := (max(m.W, m.H) + most - 1) / most
	w, h := (m.W+step-1)/step, (m.H+step-1)/step
	on := m.blocks(step, w, h)
	in := func(x, y int) bool { return x >= 0 && y >= 0 && x < w && y < h && on[y*w+x] }
	t := tracer{in: in, w: w, done: make([]bool, (w+1)*(h+1)), x: func(i int) int { return min(i*step, m.W) }, y: func(i int) int { return min(i*step, m.H) }}
	for y := range h {
		for x := range w {
			if in(x, y) && !in(x, y-1) && !t.done[y*(w+1)+x] {
				t.loop(x, y)
			}
		}
	}
	return string(t.out)
}

func (m *Mask) blocks(step, w, h int) []bool {
	on := make([]bool, w*h)
	for y := range h {
		for x := range w {
			n, all := 0, 0
			for v := y * step; v < min((y+1)*step, m.H); v++ {
				for u := x * step; u < min((x+1)*step, m.W); u++ {
					n, all = n+int(m.Pix[v*m.W+u]), all+1
				}
			}
			on[y*w+x] = 2*n >= all && n > 0
		}
	}
	return on
}

// A tracer follows borders from corner to corner.
type tracer struct {
	in   func(x, y int) bool
	w    int
	done []bool // edges to the right, above foreground, by the corner where they start
	x, y func(i int) int
	out  []byte
}

// Directions in the order of right turns, and the block at the right hand of one who leaves a corner that way.
var (
	steps = [4][2]int{{1, 0}, {0, 1}, {-1, 0}, {0, -1}}
	right = [4][2]int{{0, 0}, {-1, 0}, {-1, -1}, {0, -1}}
)

// loop follows the border that has the edge above a block. Blocks that touch at a corner are one: it turns left there.
func (t *tracer) loop(x0, y0 int) {
	x, y, d := x0, y0, 0
	t.out = append(t.out, 'M')
	t.out = strconv.AppendInt(t.out, int64(t.x(x)), 10)
	t.out = append(t.out, ' ')
	t.out = strconv.AppendInt(t.out, int64(t.y(y)), 10)
	for {
		fromX, fromY := x, y
		for turned := false; !turned; {
			if d == 0 {
				t.done[y*(t.w+1)+x] = true
			}
			x, y = x+steps[d][0], y+steps[d][1]
			turned = true
			for _, turn := range [3]int{3, 0, 1} { // left, straight on, right
				if e := (d + turn) % 4; t.edge(x, y, e) {
					turned = e != d
					if turned || x == x0 && y == y0 && d == 0 {
						t.line(d, fromX, fromY, x, y)
						fromX, fromY = x, y
					}
					d = e
					break
				}
			}
			if x == x0 && y == y0 && d == 0 {
				t.out = append(t.out, 'z')
				return
			}
		}
	}
}

// edge reports whether a border leaves a corner in a direction: foreground at its right hand, none at its left.
func (t *tracer) edge(x, y, d int) bool {
	l := (d + 3) % 4
	return t.in(x+right[d][0], y+right[d][1]) && !t.in(x+right[l][0], y+right[l][1])
}

func (t *tracer) line(d, x0, y0, x1, y1 int) {
	if d%2 == 0 {
		t.out = strconv.AppendInt(append(t.out, 'h'), int64(t.x(x1)-t.x(x0)), 10)
	} else {
		t.out = strconv.AppendInt(append(t.out, 'v'), int64(t.y(y1)-t.y(y0)), 10)
	}
}
