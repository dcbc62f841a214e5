package pictures

import (
	"fmt"
	"maps"
	"slices"
)

// The most values beside 0 that a picture without loss may have and still be a mask whose edge was blurred, and the share of its pixels that are
// then 0 or the highest value.
const (
	fewLabels   = 16
	blurredEdge = 0.95
)

// MaskLabels lists the labels above 0 of a mask that is a picture (one slice), where it has several: each is a mask of its own. It has none for a
// mask of one label, of colours with one beside black, or of a compression with loss; nor for a file that cannot be read. Masks whose pixels could mean labels or a soft edge, and
// colours without a palette, are errors that say the way out.
func MaskLabels(path string, p Part) ([]int, error) {
	v, err := open(path, p)
	if err != nil {
		return nil, nil // what cannot be read is named when it is read
	}
	if v.lossy || v.d*max(v.n, 1) > 1 && p.Slice == nil {
		return nil, nil
	}
	from, err := v.plane(p)
	if err != nil {
		return nil, named(path, err)
	}
	if v.channels != 1 && v.index == nil {
		return nil, named(path, v.oneColour(from))
	}
	if v.alpha != nil {
		return nil, nil
	}
	value, err := v.labels(from)
	if err != nil {
		return nil, named(path, err)
	}
	count := map[int]int{}
	for i := range v.w * v.h {
		x, err := value(i)
		if err != nil {
			return nil, named(path, err)
		}
		if p.Ignore == nil || x != *p.Ignore {
			count[max(x, 0)]++
		}
	}
	ends := count[0]
	delete(count, 0)
	if len(count) < 2 {
		return nil, nil
	}
	found := slices.Sorted(maps.Keys(count))
	if ends += count[found[len(found)-1]]; len(found) > fewLabels && float64(ends) >= blurredEdge*float64(v.w*v.h) {
		return nil, fmt.Errorf("%s: mask: it has %d values between 0 and %d, most of them at an edge: a mask that was resized with smoothing; store it as 0 and 255", path, len(found)-1, found[len(found)-1])
	}
	return found, nil
}

// oneColour refuses a mask of several colours beside black: which one is an item's is not told.
func (v *volume) oneColour(from int) error {
	var seen [][3]float64
	for i := range v.w * v.h {
		var c [3]float64
		for k := range min(v.channels, 3) {
			c[k] = v.at((from+i)*v.channels + k)
		}
		if c != ([3]float64{}) && !slices.Contains(seen, c) {
			if seen = append(seen, c); len(seen) > 1 {
				return fmt.Errorf("mask: it has several colours beside black, and each would be an item: store them as labels (grey values or a palette), one number a class")
			}
		}
	}
	return nil
}
