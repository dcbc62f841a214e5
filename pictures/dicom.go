package pictures

import (
	"bytes"
	"fmt"
	"image"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/suyashkumar/dicom"
	"github.com/suyashkumar/dicom/pkg/frame"
	"github.com/suyashkumar/dicom/pkg/tag"
)

// readDICOM reads the frames of a DICOM file as slices: rescaled, with the file's own window if it has one. Grey frames must be
// stored as they are or as baseline JPEG; colour frames are RGB.
func readDICOM(path string) (v *volume, err error) {
	defer func() {
		if r := recover(); r != nil { // the library, on a hostile file
			v, err = nil, fmt.Errorf("not a readable DICOM file: %v", r)
		}
	}()
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	syntax, err := scanDICOM(file)
	if err != nil {
		return nil, err
	}
	head, err := dicom.Parse(bytes.NewReader(file), int64(len(file)), nil, dicom.SkipPixelData())
	if err != nil {
		return nil, fmt.Errorf("not a readable DICOM file: %w", err)
	}
	d := dicomHeader{&head, syntax}
	if v, err = d.volume(); err != nil {
		return nil, err
	}
	if !d.encapsulated() { // the library allocates what the header says
		if n, err := v.size((int(d.number(tag.BitsAllocated, 0)) + 7) / 8); err != nil {
			return nil, err
		} else if n > len(file) {
			return nil, fmt.Errorf("pixel data: have a file of %d bytes, want %d for %d x %d x %d", len(file), n, v.w, v.h, v.d)
		}
	}
	full, err := dicom.Parse(bytes.NewReader(file), int64(len(file)), nil)
	if err != nil {
		return nil, fmt.Errorf("not a readable DICOM file: %w", err)
	}
	pixels, err := full.FindElementByTag(tag.PixelData)
	if err != nil {
		return nil, fmt.Errorf("pixel data: missing")
	}
	frames := dicom.MustGetPixelDataInfo(pixels.Value).Frames
	if len(frames) != v.d {
		return nil, fmt.Errorf("pixel data: have %d frames, want %d", len(frames), v.d)
	}
	slices := make([]func(i int) float64, v.d)
	for z, f := range frames {
		if slices[z], err = d.frame(f, v); err != nil {
			return nil, fmt.Errorf("frame %d: %w", z, err)
		}
	}
	size := v.w * v.h * v.channels
	slope, inter := d.number(tag.RescaleSlope, 1), d.number(tag.RescaleIntercept, 0)
	if v.channels == 3 {
		slope, inter = 1, 0
	}
	v.at = func(i int) float64 { return slope*slices[i/size](i%size) + inter }
	return v, nil
}

type dicomHeader struct {
	*dicom.Dataset
	syntax string
}

func (d dicomHeader) volume() (*volume, error) {
	v := &volume{
		w: int(d.number(tag.Columns, 0)), h: int(d.number(tag.Rows, 0)),
		d: int(d.number(tag.NumberOfFrames, 1)), channels: int(d.number(tag.SamplesPerPixel, 1)),
	}
	switch kind := d.text(tag.PhotometricInterpretation); {
	case kind == "MONOCHROME1" && v.channels == 1:
		v.shade = func(_ int, p Part) (shading, error) {
			s := v.byWindow(0, p)
			grey := s.grey
			s.grey = func(x float64) float64 { return 255 - grey(x) }
			return s, nil
		}
	case kind == "MONOCHROME2" && v.channels == 1:
	case v.channels == 3 && (kind == "RGB" || strings.HasPrefix(kind, "YBR") && d.encapsulated()): // JPEG's decoder gives RGB
		if d.number(tag.BitsAllocated, 0) != 8 || d.number(tag.PlanarConfiguration, 0) != 0 {
			return nil, fmt.Errorf("have colours by plane or of more than 8 bits, want 8 bits, interleaved")
		}
	default:
		return nil, fmt.Errorf("photometric interpretation: have %q with %d samples, want MONOCHROME1, MONOCHROME2 or RGB", kind, v.channels)
	}
	if _, err := v.size(1); err != nil {
		return nil, err
	}
	if c, w := d.number(tag.WindowCenter, math.NaN()), d.number(tag.WindowWidth, 0); !math.IsNaN(c) && w > 1 && v.channels == 1 {
		v.window = &[2]float64{c - 0.5 - (w-1)/2, c - 0.5 + (w-1)/2} // PS3.3 C.11.2.1.2.1
	}
	return v, nil
}

// frame gives access to the stored values of a frame.
func (d dicomHeader) frame(f *frame.Frame, v *volume) (func(i int) float64, error) {
	if f.IsEncapsulated() {
		m, err := f.GetImage()
		if err != nil {
			return nil, fmt.Errorf("compressed as %s, want no compression or baseline JPEG: %w", d.syntax, err)
		}
		b := m.Bounds()
		if b.Dx() != v.w || b.Dy() != v.h {
			return nil, fmt.Errorf("have %d x %d pixels, want %d x %d", b.Dx(), b.Dy(), v.w, v.h)
		}
		return colours(m, v)
	}
	native, err := f.GetNativeFrame()
	if err != nil {
		return nil, err
	}
	stored, signed := uint(d.number(tag.BitsStored, 0)), d.number(tag.PixelRepresentation, 0) == 1
	if stored < 1 || stored > 32 {
		return nil, fmt.Errorf("bits stored: have %d, want 1 to 32", stored)
	}
	value := func(x uint32) float64 {
		x &= uint32(1<<stored - 1)
		if signed && x>>(stored-1) == 1 {
			return float64(int64(x) - 1<<stored)
		}
		return float64(x)
	}
	want := v.w * v.h * v.channels
	switch raw := native.RawDataSlice().(type) {
	case []uint8:
		return func(i int) float64 { return value(uint32(raw[i])) }, wantLength(len(raw), want)
	case []uint16:
		return func(i int) float64 { return value(uint32(raw[i])) }, wantLength(len(raw), want)
	case []uint32:
		return func(i int) float64 { return value(raw[i]) }, wantLength(len(raw), want)
	}
	return nil, fmt.Errorf("have %d bits a sample, want 8, 16 or 32", native.BitsPerSample())
}

func wantLength(have, want int) error {
	if have != want {
		return fmt.Errorf("have %d values, want %d", have, want)
	}
	return nil
}

func colours(m image.Image, v *volume) (func(i int) float64, error) {
	r, err := jpegRaster(m, true)
	if err != nil {
		return nil, err
	}
	if r.channels != v.channels {
		return nil, fmt.Errorf("have %d samples, want %d", r.channels, v.channels)
	}
	return r.at, nil
}

// encapsulated reports whether the transfer syntax is not one of the two uncompressed ones (PS3.5 A.1, A.2).
func (d dicomHeader) encapsulated() bool {
	return d.syntax != "1.2.840.10008.1.2" && d.syntax != "1.2.840.10008.1.2.1"
}

// text is an element's first string, empty where there is none.
func (d dicomHeader) text(t tag.Tag) string {
	e, err := d.FindElementByTag(t)
	if err != nil {
		return ""
	}
	if s, ok := e.Value.GetValue().([]string); ok && len(s) > 0 {
		return strings.Trim(s[0], " \x00")
	}
	return ""
}

// number is an element's first number, absent where there is none.
func (d dicomHeader) number(t tag.Tag, absent float64) float64 {
	e, err := d.FindElementByTag(t)
	if err != nil {
		return absent
	}
	switch x := e.Value.GetValue().(type) {
	case []int:
		if len(x) > 0 {
			return float64(x[0])
		}
	case []float64:
		if len(x) > 0 {
			return x[0]
		}
	case []string:
		if f, err := strconv.ParseFloat(d.text(t), 64); err == nil {
			return f
		}
	}
	return absent
}
