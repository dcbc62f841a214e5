package metrics

import (
	"cmp"
	"math"
	"slices"

	"syncsam-convert/golden/edt"
	"syncsam-convert/pictures"
)

// Contours are the contour elements of a true and a predicted mask with their distances from each other. A contour element lies at a
// pixel corner whose four pixels are not all alike (beyond the border is outside), and is as long as marching squares draws it there.
// These are the definitions, and to rounding the values, of DeepMind's surface-distance (Nikolov et al., arXiv:1809.04430).
type Contours struct {
	fromTruth, fromPredicted []element // by distance, then length
}

// An element is a piece of a contour: its distance to the other contour, its length.
type element struct{ distance, length float64 }

// Compare finds the contours of two masks of one size.
func Compare(truth, predicted *pictures.Mask, s Spacing) (*Contours, error) {
	s = s.orPixels()
	if err := cmp.Or(s.check(), checkSizes(truth, predicted)); err != nil {
		return nil, err
	}
	box, ok := bounds(truth, predicted)
	if !ok {
		return &Contours{}, nil
	}
	t, p := corners(truth, box), corners(predicted, box)
	lengths := lengths(s)
	return &Contours{
		fromTruth:     elements(t, p, lengths, s),
		fromPredicted: elements(p, t, lengths, s),
	}, nil
}

// Hausdorff is the percentile (0 to 100) of the distances, weighted by length: the larger one of the two directions. 95 gives HD95, 100
// the Hausdorff distance of the contours. NaN, undefined, when either mask is empty.
func (c *Contours) Hausdorff(percent float64) float64 {
	if len(c.fromTruth) == 0 || len(c.fromPredicted) == 0 {
		return math.NaN()
	}
	return max(percentile(c.fromTruth, percent/100), percentile(c.fromPredicted, percent/100))
}

// NSD is the normalized surface Dice: the share of both contours' length that is within a tolerance of the other contour. 0 when one mask
// is empty; NaN, undefined, when both are.
func (c *Contours) NSD(tolerance float64) float64 {
	within, all := 0.0, 0.0
	for _, list := range [][]element{c.fromTruth, c.fromPredicted} {
		n, _ := slices.BinarySearchFunc(list, tolerance, func(e element, t float64) int {
			if e.distance <= t {
				return -1
			}
			return 1
		})
		within, all = within+pairwise(list[:n]), all+pairwise(list)
	}
	return within / all
}

// HD95 is the 95th percentile of the distance of the contours; see Contours.Hausdorff.
func HD95(truth, predicted *pictures.Mask, s Spacing) (float64, error) {
	c, err := Compare(truth, predicted, s)
	if err != nil {
		return 0, err
	}
	return c.Hausdorff(95), nil
}

// NSD is the normalized surface Dice at a tolerance in units of the spacing; see Contours.NSD.
func NSD(truth, predicted *pictures.Mask, s Spacing, tolerance float64) (float64, error) {
	c, err := Compare(truth, predicted, s)
	if err != nil {
		return 0, err
	}
	return c.NSD(tolerance), nil
}

// percentile is the first distance at which the share of the length reaches q.
func percentile(list []element, q float64) float64 {
	all, sum := pairwise(list), 0.0
	for _, e := range list {
		sum += e.length
		if sum/all >= q {
			return e.distance
		}
	}
	return list[len(list)-1].distance
}

// pairwise adds lengths in NumPy's order, so that a share that reaches the percentile exactly falls on the side on which it falls there.
func pairwise(list []element) float64 {
	n := len(list)
	if n < 8 {
		sum := 0.0
		for _, e := range list {
			sum += e.length
		}
		return sum
	}
	if n > 128 {
		half := n / 2
		half -= half % 8
		return pairwise(list[:half]) + pairwise(list[half:])
	}
	var r [8]float64
	for i := range n - n%8 {
		r[i%8] += list[i].length
	}
	sum := ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]))
	for _, e := range list[n-n%8:] {
		sum += e.length
	}
	return sum
}

// bounds is the bounding box [x0, y0, x1, y1], x1 and y1 exclusive, of the pixels of either mask.
func bounds(a, b *pictures.Mask) (box [4]int, ok bool) {
	box = [4]int{a.W, a.H, 0, 0}
	for i, p := range a.Pix {
		if p|b.Pix[i] != 0 {
			x, y := i%a.W, i/a.W
			box = [4]int{min(box[0], x), min(box[1], y), max(box[2], x+1), max(box[3], y+1)}
		}
	}
	return box, box[2] > box[0]
}

// A grid holds the corners of a box's pixels: which of the four pixels around a corner are foreground (8, 4 above, 2, 1 below).
type grid struct {
	w, h int
	code []uint8
}

const whole = 8 | 4 | 2 | 1

func corners(m *pictures.Mask, box [4]int) grid {
	g := grid{w: box[2] - box[0] + 1, h: box[3] - box[1] + 1}
	g.code = make([]uint8, g.w*g.h)
	for y := box[1]; y < box[3]; y++ {
		for x := box[0]; x < box[2]; x++ {
			if m.Pix[y*m.W+x] != 0 { // the pixel is below right of its first corner, above left of its last
				at := (y-box[1])*g.w + x - box[0]
				g.code[at] |= 1
				g.code[at+1] |= 2
				g.code[at+g.w] |= 4
				g.code[at+g.w+1] |= 8
			}
		}
	}
	return g
}

// lengths is the length of the contour at a corner by its code; 0 for a corner that is not on the contour.
func lengths(s Spacing) (l [16]float64) {
	diagonal := 0.5 * math.Sqrt(s.Y*s.Y+s.X*s.X)
	for code := 1; code < whole; code++ {
		switch code {
		case 8 | 4, 2 | 1:
			l[code] = s.X
		case 8 | 2, 4 | 1:
			l[code] = s.Y
		case 8 | 1, 4 | 2:
			l[code] = 2 * diagonal
		default: // one pixel, or all but one
			l[code] = diagonal
		}
	}
	return l
}

// elements lists the contour of one grid with its distances to the other's: infinite when that has no contour.
func elements(of, to grid, lengths [16]float64, s Spacing) []element {
	site, any := make([]uint8, len(to.code)), false
	for i, c := range to.code {
		if c != 0 && c != whole {
			site[i], any = 1, true
		}
	}
	var near []int32
	if any {
		near = edt.Nearest(to.w, to.h, site, s.X, s.Y)
	}
	var list []element
	for i, c := range of.code {
		if c == 0 || c == whole {
			continue
		}
		e := element{math.Inf(1), lengths[c]}
		if any {
			e.distance = distance(i, int(near[i]), of.w, s)
		}
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b element) int {
		return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.length, b.length))
	})
	return list
}

// distance is the distance of two places of a grid that is w wide.
func distance(a, b, w int, s Spacing) float64 {
	dx, dy := s.X*float64(a%w-b%w), s.Y*float64(a/w-b/w)
	return math.Sqrt(float64(dy*dy) + float64(dx*dx))
}
