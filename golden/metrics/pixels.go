package metrics

import (
	"cmp"
	"math"
	"slices"

	"syncsam-convert/golden/edt"
	"syncsam-convert/pictures"
)

// HausdorffPixels is the Hausdorff distance of the foreground pixels themselves, as scikit-image's hausdorff_distance defines it.
// NaN when either mask is empty.
func HausdorffPixels(a, b *pictures.Mask, s Spacing) (float64, error) { return hausdorff(a, b, s, 100) }

// HausdorffEdges is the percentile (0 to 100, interpolated) of the distances of the edge pixels, foreground with a 4-neighbour that is not:
// the larger one of the two directions, as MONAI's compute_hausdorff_distance defines it. It differs from HD95, whose contour
// runs between the pixels and is weighted by length. NaN when either mask is empty.
func HausdorffEdges(a, b *pictures.Mask, s Spacing, percent float64) (float64, error) {
	if err := checkSizes(a, b); err != nil {
		return 0, err
	}
	return hausdorff(edges(a), edges(b), s, percent)
}

func hausdorff(a, b *pictures.Mask, s Spacing, percent float64) (float64, error) {
	s = s.orPixels()
	if err := cmp.Or(s.check(), checkSizes(a, b)); err != nil {
		return 0, err
	}
	if a.Count() == 0 || b.Count() == 0 {
		return math.NaN(), nil
	}
	farthest := 0.0
	for _, pair := range [][2]*pictures.Mask{{a, b}, {b, a}} {
		near := edt.Nearest(a.W, a.H, pair[1].Pix, s.X, s.Y)
		var list []float64
		for i, p := range pair[0].Pix {
			if p != 0 {
				list = append(list, distance(i, int(near[i]), a.W, s))
			}
		}
		slices.Sort(list)
		at := percent / 100 * float64(len(list)-1)
		lo := int(at)
		hi := min(lo+1, len(list)-1)
		farthest = max(farthest, list[lo]+(at-float64(lo))*(list[hi]-list[lo]))
	}
	return farthest, nil
}

func edges(m *pictures.Mask) *pictures.Mask {
	in := func(x, y int) bool { return x >= 0 && y >= 0 && x < m.W && y < m.H && m.Pix[y*m.W+x] != 0 }
	out := pictures.NewMask(m.W, m.H)
	for i, p := range m.Pix {
		if x, y := i%m.W, i/m.W; p != 0 && !(in(x-1, y) && in(x+1, y) && in(x, y-1) && in(x, y+1)) {
			out.Pix[i] = 1
		}
	}
	return out
}
