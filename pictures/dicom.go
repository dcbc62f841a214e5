package pictures

import (
	"fmt"
	"io"
	"math"
	"os"
	"sync"

	"syncsam-convert/internal/mapfile"
	"syncsam-convert/pictures/internal/dcm"
)

// isDICOM reports whether a file's content is DICOM's, or a folder has such a file.
func isDICOM(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	if info.IsDir() {
		return len(seriesFiles(path)) > 0
	}
	f, err := mapfile.Reader(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 256)
	n, _ := io.ReadFull(f, head)
	return dcm.Is(head[:n])
}

// readDICOM reads the frames of a DICOM file, or of a folder that holds a series, as slices: grey values through the file's Modality
// LUT, shown through its VOI LUT or window; colours as RGB. What it does not understand it refuses by the attribute's name.
func readDICOM(path string) (*volume, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return readSeries(path)
	}
	d, err := openDICOM(path)
	if err != nil {
		return nil, err
	}
	return volumeOf([]*dicomFile{d}), nil
}

// A dicomFile is a DICOM file with its pixels. sample gives sample i of a frame that is loaded: row-major, channels interleaved; grey
// as stored, colours as RGB of 8 bits.
type dicomFile struct {
	*dcm.File
	w, h, frames, channels  int
	allocated, stored, high int
	signed                  bool
	photometric             string
	sample                  func(z, i int) float64
	entry                   func(z, i int) float64    // of a palette, which a pixel takes
	lossy                   bool                      // compression blurred the samples
	compressed              [][]byte                  // frames
	decoded                 [][]byte                  // frames, nil before they are asked for
	lock                    sync.Mutex                // guards decoded
	modality                []func(x float64) float64 // of each frame
	padding                 [2]float64                // stored values that are no picture, inclusive; empty when the first is the larger
	real                    bool                      // Float or Double Float Pixel Data
	stray                   map[dcm.Tag]bool          // sequences of frames' groups that are of more or less frames than the file has
}

func openDICOM(path string) (*dicomFile, error) {
	b, err := mapfile.ReadAll(path, readable())
	if err != nil {
		return nil, err
	}
	f, err := dcm.Parse(b, int(readable()))
	if err != nil {
		return nil, err
	}
	d := &dicomFile{File: f}
	if err := d.header(); err != nil {
		return nil, err
	}
	if err := d.pixels(); err != nil {
		return nil, err
	}
	if d.channels == 1 {
		for z := range d.frames {
			m, err := d.modalityOf(z)
			if err != nil {
				return nil, err
			}
			d.modality = append(d.modality, m)
		}
	}
	return d, nil
}

// whole reads an attribute that is a whole number; absent < 0 says that it must be there.
func (d *dicomFile) whole(t dcm.Tag, absent int) (int, error) {
	if !d.Has(t) {
		if absent < 0 {
			return 0, fmt.Errorf("%s: missing", t)
		}
		return absent, nil
	}
	x, err := d.Number(t, 0)
	if err == nil && (x != math.Trunc(x) || x < 0 || x > math.MaxInt32) {
		err = fmt.Errorf("%s: have %g, want a whole number", t, x)
	}
	return int(x), err
}

// header reads what the pixels' layout is.
func (d *dicomFile) header() error {
	if d.Syntax.Codec == dcm.Unread {
		return fmt.Errorf("attribute Transfer Syntax UID: have %s (%s), which is not read; to convert the file: %s", d.Syntax.UID, d.Syntax.Name, d.Syntax.WayOut())
	}
	if d.Pixels.Tag == 0 {
		return fmt.Errorf("%s: missing; the file has no picture", dcm.PixelData)
	}
	d.real = d.Pixels.Tag != dcm.PixelData
	var representation int
	for _, f := range []struct {
		tag    dcm.Tag
		to     *int
		absent int
	}{
		{dcm.Rows, &d.h, -1}, {dcm.Columns, &d.w, -1}, {dcm.NumberOfFrames, &d.frames, 1}, {dcm.SamplesPerPixel, &d.channels, 1},
		{dcm.BitsAllocated, &d.allocated, -1}, {dcm.BitsStored, &d.stored, 0}, {dcm.HighBit, &d.high, 0}, {dcm.PixelRepresentation, &representation, 0},
	} {
		var err error
		if *f.to, err = d.whole(f.tag, f.absent); err != nil {
			return err
		}
	}
	if d.stored == 0 {
		if !d.real {
			return fmt.Errorf("%s: missing", dcm.BitsStored)
		}
		d.stored = d.allocated
	}
	if !d.Has(dcm.HighBit) {
		d.high = d.stored - 1
	}
	d.signed = representation == 1
	d.photometric = d.Text(dcm.PhotometricInterpretation)
	switch {
	case d.real && (d.Pixels.Tag == dcm.FloatPixelData) != (d.allocated == 32), d.real && d.allocated != 32 && d.allocated != 64:
		return fmt.Errorf("%s: have %d, want 32 with %s or 64 with %s", dcm.BitsAllocated, d.allocated, dcm.FloatPixelData, dcm.DoubleFloatPixelData)
	case d.real && (d.Syntax.Codec != dcm.Native || d.channels != 1):
		return fmt.Errorf("%s: have %d samples a pixel, %s, want one, not compressed", d.Pixels.Tag, d.channels, d.Syntax.Name)
	case !d.real && d.allocated != 1 && d.allocated != 8 && d.allocated != 16 && d.allocated != 32:
		return fmt.Errorf("%s: have %d, want 1, 8, 16 or 32", dcm.BitsAllocated, d.allocated)
	case d.stored > d.allocated:
		return fmt.Errorf("%s: have %d, want at most the %d of %s", dcm.BitsStored, d.stored, d.allocated, dcm.BitsAllocated)
	case d.high < d.stored-1 || d.high >= d.allocated:
		return fmt.Errorf("%s: have %d with %d bits stored of %d", dcm.HighBit, d.high, d.stored, d.allocated)
	case representation > 1:
		return fmt.Errorf("%s: have %d, want 0 or 1", dcm.PixelRepresentation, representation)
	case d.allocated == 1 && (d.Syntax.Codec != dcm.Native || d.channels != 1 || d.signed):
		return fmt.Errorf("%s: have 1 with %s, want pixels of one bit without compression", dcm.BitsAllocated, d.Syntax.Name)
	}
	want := 1
	switch d.photometric {
	case "MONOCHROME1", "MONOCHROME2":
	case "PALETTE COLOR":
		if d.real {
			want = 0
		}
	case "RGB", "YBR_FULL", "YBR_FULL_422":
		want = 3
		if d.signed {
			return fmt.Errorf("%s: have colours with a sign, want 0", dcm.PixelRepresentation)
		}
		if d.photometric != "RGB" && (d.allocated != 8 || d.stored != 8) {
			return fmt.Errorf("%s: have %d with %s, want 8", dcm.BitsStored, d.stored, d.photometric)
		}
	case "":
		return fmt.Errorf("%s: missing", dcm.PhotometricInterpretation)
	default:
		want = 0
	}
	if want == 0 {
		return fmt.Errorf("%s: have %q, which is not read; want MONOCHROME1, MONOCHROME2, PALETTE COLOR, RGB, YBR_FULL or YBR_FULL_422",
			dcm.PhotometricInterpretation, d.photometric)
	}
	if d.channels != want {
		return fmt.Errorf("%s: have %d with %s, want %d", dcm.SamplesPerPixel, d.channels, d.photometric, want)
	}
	if d.frames < 1 || d.frames > maxSlices {
		return fmt.Errorf("%s: have %d, want 1 to %d", dcm.NumberOfFrames, d.frames, maxSlices)
	}
	if groups := d.Items(dcm.PerFrameFunctionalGroups); len(groups) != d.frames {
		d.stray = map[dcm.Tag]bool{}
		for _, g := range groups {
			for _, t := range g.Tags() {
				d.stray[t] = d.stray[t] || len(g.Items(t)) > 0
			}
		}
	}
	shown := max(d.allocated/8, 1)
	if d.photometric == "PALETTE COLOR" {
		shown = 3
	}
	_, err := (&volume{w: d.w, h: d.h, d: d.frames, channels: d.channels}).size(shown)
	return err
}

// pad reads the stored values that stand for no picture.
func (d *dicomFile) pad() error {
	d.padding = [2]float64{1, 0}
	tags := map[bool][]dcm.Tag{false: {dcm.PixelPaddingValue, dcm.PixelPaddingRangeLimit}, true: {dcm.FloatPixelPaddingValue, dcm.DoubleFloatPixelPaddingValue}}[d.real]
	var x []float64
	for _, t := range tags {
		if !d.Has(t) {
			continue
		}
		n, err := d.Numbers(t, d.signed)
		if err != nil || len(n) == 0 {
			return err
		}
		if v := n[0]; d.signed && !d.real && v > math.MaxInt16 { // written as a number without sign
			n[0] = float64(int16(uint16(v)))
		}
		x = append(x, n[0])
	}
	if len(x) > 0 {
		d.padding = [2]float64{min(x[0], x[len(x)-1]), max(x[0], x[len(x)-1])}
	}
	return nil
}

// group is the item of a functional group that holds for a frame: its own, or the one for all frames; nil where there is none.
func (d *dicomFile) group(z int, t dcm.Tag) (*dcm.Dataset, error) {
	frames := d.Items(dcm.PerFrameFunctionalGroups)
	if d.stray[t] {
		return nil, fmt.Errorf("%s: have %d items for %d frames, with a %s", dcm.PerFrameFunctionalGroups, len(frames), d.frames, t)
	}
	if z < len(frames) {
		if items := frames[z].Items(t); len(items) > 0 {
			return items[0], nil
		}
	}
	if shared := d.Items(dcm.SharedFunctionalGroups); len(shared) > 0 {
		if items := shared[0].Items(t); len(items) > 0 {
			return items[0], nil
		}
	}
	return nil, nil
}

// volumeOf puts files of one size together, a frame or more of each.
func volumeOf(files []*dicomFile) *volume {
	first := files[0]
	v := &volume{w: first.w, h: first.h, channels: first.channels, pixel: first.spacing()}
	var frames []dicomFrame
	for _, f := range files {
		for z := range f.frames {
			frames = append(frames, dicomFrame{f, z})
		}
	}
	v.dicom = frames
	if first.photometric == "PALETTE COLOR" {
		v.channels = 3
	}
	v.d = len(frames)
	size := v.w * v.h * v.channels
	v.at = func(i int) float64 {
		f := frames[i/size]
		x := f.sample(f.z, i%size)
		if v.channels == 3 {
			return x
		}
		return f.modality[f.z](x)
	}
	v.padding = func(i int) bool {
		f := frames[i/size]
		if f.padding[0] > f.padding[1] {
			return false
		}
		x := f.sample(f.z, i%size)
		return x >= f.padding[0] && x <= f.padding[1]
	}
	if first.entry != nil {
		v.index = func(p int) int { f := frames[p/(v.w*v.h)]; return int(f.entry(f.z, p%(v.w*v.h))) }
	}
	for _, f := range files {
		v.lossy = v.lossy || f.lossy
	}
	v.load = func(z int) error { return frames[z].load(frames[z].z) }
	v.lowest = true
	v.shade = func(z int, p Part) (shading, error) { return frames[z].shading(frames[z].z, p, v) }
	v.facts = Facts{Bits: first.stored, Codec: "DICOM, " + first.Syntax.Name, Orientation: "as stored"}
	return v
}
