package pictures

import (
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
	"sync"
)

// A volume is what a file holds: n times d slices of h rows of w pixels, the column fastest; a picture is one slice.
type volume struct {
	w, h, d, n int // n: volumes in the file; 0 is 1
	channels   int // 1 grey, 3 colour
	at         func(i int) float64
	window     *[2]float64         // the values that become 0 and 255; from the values when it is nil
	affine     *[3][4]float64      // from column, row, slice to millimetres right, anterior, superior; nil: the file does not say
	pixel      *[2]float64         // width and height of a pixel in mm, where affine is nil; nil: the file does not say
	step       float64             // how far a stored label may lie from a whole number
	facts      Facts               // Bits, Codec, Orientation, Slices where they are known; Rule says where window comes from
	alpha      func(p int) float64 // opacity of pixel p; nil: opaque
	index      func(p int) int     // palette index of pixel p; nil: no palette
	lossy      bool                // compression blurred the values: a mask's foreground begins in the middle
	unsigned   bool                // whole numbers from 0, as pictures of more than 8 bits are
	lowest     bool                // without a window: the bits that the values need, or lowest to highest, not the middle 99 % of what is not 0
	turn       int                 // orientation 1 to 8 as EXIF counts; 0 is 1
	once       sync.Mutex          // guards found
	found      map[int]*[2]float64 // window of each volume, once it is known
	onlyLabels bool                // no slice is a picture
	frames     int                 // pictures in the file, of which this is one; 0 is 1

	// What a reader sets whose file has more to say: how a slice is loaded, which elements are no picture, and how a slice is shown.
	load    func(z int) error // makes a slice's elements readable; nil where all are
	padding func(i int) bool
	shade   func(z int, p Part) (shading, error)

	header *niftiHeader // of a NIfTI file
	dicom  []dicomFrame // of DICOM files, a slice each
}

// size refuses volumes that are empty or too large; bytes is the size of an element.
func (v *volume) size(bytes int) (int, error) {
	return within(v.w, v.h, v.d*max(v.n, 1), bytes*v.channels)
}

// plane gives the first pixel of the part's slice, which it loads; a file of one slice needs no number.
func (v *volume) plane(p Part) (int, error) {
	volume, err := chosen(volumeKey, p.Volume, max(v.n, 1))
	if err != nil {
		return 0, err
	}
	slice, err := chosen(sliceKey, p.Slice, v.d)
	if v.frames > 1 { // the reader chose
		slice, err = 0, nil
	}
	if z := volume*v.d + slice; err == nil && v.load != nil {
		err = v.load(z)
	}
	return (volume*v.d + slice) * v.h * v.w, err
}

// chosen is which of n slices, pages or volumes a name means.
func chosen(key string, have *int, n int) (int, error) {
	switch {
	case have == nil && n > 1:
		return 0, fmt.Errorf("it has %d %ss, want one of them: FILE#%s=K", n, key, key)
	case have == nil:
		return 0, nil
	case *have >= n:
		return 0, fmt.Errorf("%s: have %d, want less than %d", key, *have, n)
	}
	return *have, nil
}

// The share of the voxels that become black and white where a file has no window, and how many voxels decide it at most.
const (
	darkShare, lightShare = 0.005, 0.995
	windowVoxels          = 1 << 20
)

// leastShare: values that take less than this part of the range of the bits that they need (a CT with an offset of 32768) are shown by
// their own range.
const leastShare = 4

// Rules of how values become grey, as Facts has them.
const (
	asStored    = "as stored"
	nameWindow  = "window of the name"
	fileWindow  = "window of the file"
	bitRange    = "the %d bits that its values need"
	lowestRange = "its own range, lowest to highest value without padding"
	middleRange = "its own range, the middle 99 % of the voxels that are not 0"
)

// A shading is how values become grey, 0 to 255, and by what rule; window is nil where they are taken as they are.
type shading struct {
	grey   func(x float64) float64
	window *[2]float64
	rule   string
}

// shadingOf shows a window from black to white.
func shadingOf(window [2]float64, rule string) shading {
	scale := 255 / max(window[1]-window[0], math.SmallestNonzeroFloat32)
	s := shading{grey: func(x float64) float64 { return min(max((x-window[0])*scale, 0), 255) }, rule: rule}
	if rule != asStored {
		s.window = &window
	}
	return s
}

// shading is how the slice at a pixel is shown.
func (v *volume) shading(from int, p Part) (shading, error) {
	if v.shade != nil {
		return v.shade(from/(v.w*v.h), p)
	}
	return v.byWindow(from, p), nil
}

// byWindow shows a slice by the name's window, else by the file's, else by the range of the values.
func (v *volume) byWindow(from int, p Part) shading {
	switch {
	case p.Window != nil:
		return shadingOf(*p.Window, nameWindow)
	case v.window != nil:
		return shadingOf(*v.window, or(v.facts.Rule, fileWindow))
	case v.channels > 1 && v.facts.Bits <= 8:
		return shadingOf([2]float64{0, 255}, asStored)
	case v.lowest:
		window := v.rangeOf(from)
		if n := max(bits.Len64(uint64(max(window[1], 0))), 8); v.unsigned && window[1]-window[0] >= math.Exp2(float64(n))/leastShare {
			return shadingOf([2]float64{0, math.Exp2(float64(n)) - 1}, fmt.Sprintf(bitRange, n))
		}
		return shadingOf(window, lowestRange)
	}
	return shadingOf(v.rangeOf(from), middleRange)
}

// bounds is the range of the values of the part's volume.
func (v *volume) bounds(p Part) [2]float64 {
	first, err := chosen(volumeKey, p.Volume, max(v.n, 1))
	if err != nil {
		first = 0
	}
	return v.rangeOf(first * v.w * v.h * v.d)
}

// rangeOf is the range of the values of the volume that a pixel is in: of all, or of the middle of at most a million, evenly spaced.
func (v *volume) rangeOf(from int) [2]float64 {
	v.once.Lock()
	defer v.once.Unlock()
	first, n := from/(v.w*v.h*v.d), v.w*v.h*v.d*v.channels
	if known := v.found[first]; known != nil {
		return *known
	}
	step := 1
	if !v.lowest {
		step = (n + windowVoxels - 1) / windowVoxels
	}
	var x []float64
	low, high := math.Inf(1), math.Inf(-1)
	for i := first * n; i < (first+1)*n; i += step {
		f := v.at(i)
		if math.IsNaN(f) || math.IsInf(f, 0) || v.padding != nil && v.padding(i) {
			continue
		}
		if low, high = min(low, f), max(high, f); !v.lowest && f != 0 {
			x = append(x, f)
		}
	}
	switch {
	case len(x) > 0:
		slices.Sort(x)
		at := func(share float64) float64 { return x[int(float64(share*float64(len(x)-1))+0.5)] }
		low, high = at(darkShare), at(lightShare)
	case low > high || !v.lowest:
		low, high = 0, 0
	}
	if v.found == nil {
		v.found = map[int]*[2]float64{}
	}
	v.found[first] = &[2]float64{low, high}
	return *v.found[first]
}

// picture shows the part's slice in 8 bits.
func (v *volume) picture(p Part) (*Image, Facts, error) {
	facts := v.describe()
	from, err := v.plane(p)
	if err != nil {
		return nil, facts, err
	}
	shade, err := v.shading(from, p)
	if err != nil {
		return nil, facts, err
	}
	facts.Rule, facts.Window = shade.rule, shade.window
	pixel := func(i int) uint8 {
		x := v.at(i)
		if shade.grey != nil {
			x = shade.grey(x)
		}
		if math.IsNaN(x) {
			x = 0
		}
		return uint8(x + 0.5)
	}
	out := &Image{W: v.w, H: v.h, Pix: make([]uint8, v.w*v.h*3)}
	for i := range v.w * v.h {
		to := out.Pix[3*i:][:3]
		to[0] = pixel((from + i) * v.channels)
		to[1], to[2] = to[0], to[0]
		if v.channels > 1 {
			to[1], to[2] = pixel((from+i)*v.channels+1), pixel((from+i)*v.channels+2)
		}
	}
	out.Pix, out.W, out.H = turned(out.Pix, out.W, out.H, 3, v.turn)
	facts.note(v)
	return out, facts, nil
}

// describe gives the facts that do not depend on what is asked for.
func (v *volume) describe() Facts {
	f := v.facts
	f.Width, f.Height, f.Channels = v.w, v.h, v.channels
	if v.alpha != nil {
		f.Channels++
	}
	f.Spacing = v.spacing()
	if v.turn > 4 {
		f.Width, f.Height = v.h, v.w
	}
	f.Slices = max(v.d, v.frames)
	if v.turn > 1 {
		f.Orientation = turns[v.turn]
	}
	if f.Orientation == "" {
		f.Orientation = asStored
	}
	return f
}

// note adds to the rule that the picture is one of several frames which nobody chose.
func (f *Facts) note(v *volume) {
	if v.frames > 1 && v.d == 1 && f.Slices == v.frames {
		f.Rule += fmt.Sprintf("; one of %d frames, the first unless a slice is named", v.frames)
	}
}

// Slices is the number of slices of a volume. Errors name the file.
func Slices(path string) (int, error) {
	v, err := open(path, Part{})
	if err != nil {
		return 0, err
	}
	return v.d, nil
}

// Extent is how many slices, pages or frames a volume of a file has, and how many volumes the file. Errors name the file.
func Extent(path string) (slices, volumes int, err error) {
	v, err := open(path, Part{Slice: new(int)})
	if err != nil {
		return 0, 0, err
	}
	return max(v.d, v.frames), max(v.n, 1), nil
}

// maxLabels is how many labels a slice may have, maxMasks how many masks a file: what has more is no file of labels.
const maxLabels, maxMasks = 1 << 16, 1 << 20

// Labels lists the masks that a file of labels holds, slice by slice: one for each value above 0 that covers at least minPixels
// pixels; p names the volume of a file of several, and the label to ignore. Planes of a sparse matrix are one mask each. Errors name
// the file.
func Labels(path string, p Part, minPixels int) ([]Part, error) {
	v, err := open(path, p)
	if err != nil {
		return nil, err
	}
	var out []Part
	for z := range v.d {
		p.Slice = &z
		from, err := v.plane(p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		value, err := v.labels(from)
		if err != nil {
			return nil, fmt.Errorf("%s: slice %d: %w", path, z, err)
		}
		count := map[int]int{}
		for i := range v.w * v.h {
			x, err := value(i)
			if err != nil {
				return nil, fmt.Errorf("%s: slice %d: %w", path, z, err)
			}
			if x > 0 && (p.Ignore == nil || x != *p.Ignore) {
				if count[x]++; len(count) > maxLabels {
					return nil, fmt.Errorf("%s: slice %d: have more than %d different values, want labels: is it a picture?", path, z, maxLabels)
				}
			}
		}
		for _, label := range slices.Sorted(maps.Keys(count)) {
			if count[label] >= minPixels {
				if out = append(out, Part{Slice: &z, Volume: p.Volume, Label: &label}); len(out) > maxMasks {
					return nil, fmt.Errorf("%s: have more than %d masks, want less of a file", path, maxMasks)
				}
			}
		}
	}
	return out, nil
}
