package pictures

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// MaxVolumeBytes is the largest volume that is read, decompressed.
const MaxVolumeBytes = 2 << 30

var dicomFormat = volumeFormat{[]string{".dcm", ".dicom"}, readDICOM, true}

// volumeFormats are the files that hold slices; every other file is a picture. Readers name no file in their errors.
var volumeFormats = []volumeFormat{
	{[]string{".nii", ".nii.gz"}, readNIfTI, true},
	dicomFormat,
	{[]string{".npz"}, readSparse, false},
}

type volumeFormat struct {
	suffixes []string
	read     func(path string) (*volume, error)
	pictures bool // a slice may be a picture; else all are masks
}

// VolumeTypes are the ends of the names of files that hold slices.
func VolumeTypes() []string {
	var out []string
	for _, f := range volumeFormats {
		out = append(out, f.suffixes...)
	}
	return out
}

// IsVolume reports whether a file's name is one of a volume.
func IsVolume(path string) bool { return formatOf(path) != nil }

// IsScan reports whether a file's name is one of a volume whose slices may be pictures, not of a label file.
func IsScan(path string) bool {
	f := formatOf(path)
	return f != nil && f.pictures
}

func formatOf(path string) *volumeFormat {
	for i, f := range volumeFormats {
		for _, s := range f.suffixes {
			if strings.HasSuffix(strings.ToLower(path), s) {
				return &volumeFormats[i]
			}
		}
	}
	if !slices.Contains(PictureTypes, strings.ToLower(filepath.Ext(path))) && isDICOM(path) { // IM000001, 1.IMA, a folder of a series
		return &dicomFormat
	}
	return nil
}

// A volume is d slices of h rows of w voxels, the column fastest; channels is 3 for colour, whose values are 0 to 255.
type volume struct {
	w, h, d, channels int
	at                func(i int) float64 // the value of element i
	window            *[2]float64         // the values that become 0 and 255; from the voxels when it is nil
	once              sync.Once

	// What a reader of a format with more to say sets: which elements are no picture, how a slice is shown, and facts beside its size.
	load    func(z int) error // makes a slice's elements readable; nil where all are
	padding func(i int) bool
	lowest  bool // without a window: from the lowest to the highest value, not the middle 99 % of what is not 0
	shade   func(z int, p Part) (shading, error)
	facts   Facts
}

// A shading is how values become grey, 0 to 255, and by what rule; window is nil where no window says it all. Colours need no grey.
type shading struct {
	grey   func(x float64) float64
	window *[2]float64
	rule   string
}

// The rules where neither the name nor the file has a window.
const (
	lowestRange = "its own range, lowest to highest value without padding"
	middleRange = "its own range, the middle 99 % of the voxels that are not 0"
)

func shadingOf(window [2]float64, rule string) shading {
	scale := 255 / max(window[1]-window[0], math.SmallestNonzeroFloat32)
	return shading{func(x float64) float64 { return min(max((x-window[0])*scale, 0), 255) }, &window, rule}
}

// shading is how the values of slice z are shown.
func (v *volume) shading(z int, p Part) (shading, error) {
	if v.shade != nil {
		return v.shade(z, p)
	}
	if v.channels == 3 {
		return shading{rule: "as stored"}, nil
	}
	if p.Window != nil {
		return shadingOf(*p.Window, "window of the name"), nil
	}
	return shadingOf(v.bounds(p), middleRange), nil
}

// Facts says how a part of the volume is shown.
func (v *volume) describe(p Part) (Facts, error) {
	from, err := v.plane(p)
	if err != nil {
		return Facts{}, err
	}
	s, err := v.shading(from/(v.w*v.h*v.channels), p)
	f := v.facts
	f.Width, f.Height, f.Slices, f.Channels, f.Window, f.Rule = v.w, v.h, v.d, v.channels, s.window, s.rule
	return f, err
}

// size refuses volumes that are empty or too large; bytes is the size of an element.
func (v *volume) size(bytes int) (int, error) {
	n := bytes
	for _, d := range [...]int{v.w, v.h, v.d, v.channels} {
		if d < 1 || n > MaxVolumeBytes/d {
			return 0, fmt.Errorf("have %d x %d x %d voxels, want at least one and at most %d MB", v.w, v.h, v.d, MaxVolumeBytes>>20)
		}
		n *= d
	}
	return n, nil
}

// plane gives the first element of the part's slice, which it loads; a file of one slice needs no number.
func (v *volume) plane(p Part) (int, error) {
	z := 0
	if p.Slice != nil {
		z = *p.Slice
	}
	switch {
	case p.Slice == nil && v.d > 1:
		return 0, fmt.Errorf("it has %d slices, want one of them: FILE#%s=K", v.d, sliceKey)
	case z >= v.d:
		return 0, fmt.Errorf("%s: have %d, want less than %d", sliceKey, z, v.d)
	case v.load != nil:
		if err := v.load(z); err != nil {
			return 0, err
		}
	}
	return z * v.h * v.w * v.channels, nil
}

// The share of the voxels that become black and white where a file has no window, and how many voxels decide it at most.
const (
	darkShare, lightShare = 0.005, 0.995
	windowVoxels          = 1 << 20
)

// bounds is the window: the part's, the file's, or the values between which 99 % of the voxels lie that are not 0
// (of at most a million, evenly spaced), or all voxels but padding.
func (v *volume) bounds(p Part) [2]float64 {
	if p.Window != nil {
		return *p.Window
	}
	v.once.Do(func() {
		if v.window != nil {
			return
		}
		n := v.w * v.h * v.d
		if v.lowest {
			low, high := math.Inf(1), math.Inf(-1)
			for i := range n {
				if f := v.at(i); !math.IsNaN(f) && !math.IsInf(f, 0) && !v.padding(i) {
					low, high = min(low, f), max(high, f)
				}
			}
			if low > high { // all is padding
				low, high = 0, 0
			}
			v.window = &[2]float64{low, high}
			return
		}
		step := (n + windowVoxels - 1) / windowVoxels
		var x []float64
		for i := 0; i < n; i += step {
			if f := v.at(i); f != 0 && !math.IsNaN(f) && !math.IsInf(f, 0) {
				x = append(x, f)
			}
		}
		if len(x) == 0 {
			x = []float64{0}
		}
		slices.Sort(x)
		at := func(share float64) float64 { return x[int(share*float64(len(x)-1)+0.5)] }
		v.window = &[2]float64{at(darkShare), at(lightShare)}
	})
	return *v.window
}

func (v *volume) picture(p Part) (*Image, error) {
	from, err := v.plane(p)
	if err != nil {
		return nil, err
	}
	out := &Image{W: v.w, H: v.h, Pix: make([]uint8, v.w*v.h*3)}
	shade, err := v.shading(from/(v.w*v.h*v.channels), p)
	if err != nil {
		return nil, err
	}
	if v.channels == 3 {
		for i := range out.Pix {
			out.Pix[i] = uint8(v.at(from + i))
		}
		return out, nil
	}
	for i := range v.w * v.h {
		x := shade.grey(v.at(from + i))
		if math.IsNaN(x) {
			x = 0
		}
		grey := uint8(x + 0.5)
		out.Pix[3*i], out.Pix[3*i+1], out.Pix[3*i+2] = grey, grey, grey
	}
	return out, nil
}

func (v *volume) mask(p Part) (*Mask, error) {
	from, err := v.plane(p)
	if err != nil {
		return nil, err
	}
	out := NewMask(v.w, v.h)
	for i := range out.Pix {
		for c := range v.channels {
			if x := v.at(from + i*v.channels + c); p.Label == nil && x != 0 || p.Label != nil && x == float64(*p.Label) {
				out.Pix[i] = 1
			}
		}
	}
	return out, nil
}

// cachedVolumes is how many volumes stay in memory: a scan and its labels, so that slices in turns read each file once.
const cachedVolumes = 2

var cache struct {
	sync.Mutex
	kept []cached // the last used first
}

type cached struct {
	path     string
	modified time.Time
	volume   *volume
}

func openVolume(path string) (*volume, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	cache.Lock()
	defer cache.Unlock()
	for i, c := range cache.kept {
		if c.path == path && c.modified.Equal(info.ModTime()) {
			cache.kept = slices.Insert(slices.Delete(cache.kept, i, i+1), 0, c)
			return c.volume, nil
		}
	}
	format := formatOf(path)
	if format == nil {
		return nil, fmt.Errorf("%s: not a file or folder of slices", path)
	}
	v, err := format.read(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	cache.kept = slices.Insert(cache.kept, 0, cached{path, info.ModTime(), v})
	cache.kept = cache.kept[:min(len(cache.kept), cachedVolumes)]
	return v, nil
}

// Slices is the number of slices of a volume. Errors name the file.
func Slices(path string) (int, error) {
	v, err := openVolume(path)
	if err != nil {
		return 0, err
	}
	return v.d, nil
}

// Labels lists the masks that a file of labels holds, slice by slice: one for each value that is not 0 and covers at least
// minPixels pixels. Planes of a sparse matrix are one mask each. Errors name the file.
func Labels(path string, minPixels int) ([]Part, error) {
	v, err := openVolume(path)
	if err != nil {
		return nil, err
	}
	var out []Part
	for z := range v.d {
		if _, err := v.plane(Part{Slice: &z}); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		count := map[int]int{}
		for i := z * v.w * v.h; i < (z+1)*v.w*v.h; i++ {
			if x := v.at(i); x > 0 && x == math.Trunc(x) {
				count[int(x)]++
			} else if x != 0 {
				return nil, fmt.Errorf("%s: slice %d: have the value %g, want labels: whole numbers of 0 or more", path, z, x)
			}
		}
		for _, label := range slices.Sorted(maps.Keys(count)) {
			if count[label] >= minPixels {
				out = append(out, Part{Slice: &z, Label: &label})
			}
		}
	}
	return out, nil
}
