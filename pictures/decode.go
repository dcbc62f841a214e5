// Package pictures turns picture files into network inputs, and logits into masks, as the models' own pipelines do.
package pictures

import (
	"bufio"
	"fmt"
	"image"
	"image/color"
	_ "image/gif"  // decoder
	_ "image/jpeg" // decoder
	_ "image/png"  // decoder
	"os"
	"path/filepath"
	"strings"

	_ "golang.org/x/image/bmp"  // decoder
	_ "golang.org/x/image/tiff" // decoder
	_ "golang.org/x/image/webp" // decoder
)

// PictureTypes are the ends of the names of files that hold one picture.
var PictureTypes = []string{".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp"}

// MaxPixels is the largest picture that is decoded; a larger one is refused before its pixels are read.
const MaxPixels = 100_000_000

// An Image is RGB, 8 bits a channel, interleaved, row-major: Pix[(y*W+x)*3+c].
type Image struct {
	W, H int
	Pix  []uint8
}

// Read decodes a picture: a PNG, JPEG, GIF, BMP, TIFF or WebP file, or a slice of a volume (NIfTI-1, DICOM; SplitName says how it
// is named). Grey becomes three equal channels, 16-bit channels keep their high byte, a volume's values are mapped by its window,
// alpha is dropped (not multiplied in), CMYK is converted without a colour profile. Errors name the file.
func Read(name string) (*Image, error) {
	path, part, err := SplitName(name)
	if err != nil {
		return nil, err
	}
	if IsVolume(path) && !IsScan(path) {
		return nil, fmt.Errorf("%s: it holds labels, not pictures", path)
	}
	if IsVolume(path) {
		return fromVolume(path, func(v *volume) (*Image, error) { return v.picture(part) })
	}
	if part != (Part{}) {
		return nil, fmt.Errorf("%s: a picture has no slices, labels or windows", name)
	}
	m, err := decode(path)
	if err != nil {
		return nil, err
	}
	b := m.Bounds()
	out := &Image{W: b.Dx(), H: b.Dy(), Pix: make([]uint8, b.Dx()*b.Dy()*3)}
	at := rgbAt(m)
	for y := range out.H {
		for x := range out.W {
			p := out.Pix[(y*out.W+x)*3:]
			p[0], p[1], p[2] = at(b.Min.X+x, b.Min.Y+y)
		}
	}
	return out, nil
}

func fromVolume[T any](path string, get func(v *volume) (T, error)) (out T, err error) {
	v, err := openVolume(path)
	if err != nil {
		return out, err
	}
	if out, err = get(v); err != nil {
		return out, fmt.Errorf("%s: %w", path, err)
	}
	return out, nil
}

// jpegForeground is the darkest foreground of a mask stored as JPEG, whose compression blurs black and white.
const jpegForeground = 128

// ReadMask decodes a mask: a pixel is foreground when a colour channel is not 0 (128 or more in a JPEG file), a voxel when it has
// the label that the name asks for, or any where it asks for none. Errors name the file.
func ReadMask(name string) (*Mask, error) {
	path, part, err := SplitName(name)
	if err != nil {
		return nil, err
	}
	if IsVolume(path) {
		return fromVolume(path, func(v *volume) (*Mask, error) { return v.mask(part) })
	}
	m, err := Read(name)
	if err != nil {
		return nil, err
	}
	lowest := uint8(1)
	if ext := strings.ToLower(filepath.Ext(path)); ext == ".jpg" || ext == ".jpeg" {
		lowest = jpegForeground
	}
	out := NewMask(m.W, m.H)
	for i := range out.Pix {
		if max(m.Pix[3*i], m.Pix[3*i+1], m.Pix[3*i+2]) >= lowest {
			out.Pix[i] = 1
		}
	}
	return out, nil
}

func decode(path string) (m image.Image, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	defer func() {
		if r := recover(); r != nil { // a decoder that a hostile file broke
			m, err = nil, fmt.Errorf("%s: not a readable picture: %v", path, r)
		}
	}()
	config, _, err := image.DecodeConfig(bufio.NewReader(f))
	if err != nil {
		return nil, fmt.Errorf("%s: not a readable picture: %w", path, err)
	}
	if config.Width <= 0 || config.Height <= 0 {
		return nil, fmt.Errorf("%s: have %d x %d pixels, want at least one", path, config.Width, config.Height)
	}
	if config.Width > MaxPixels/config.Height {
		return nil, fmt.Errorf("%s: have %d x %d pixels, want at most %d million", path, config.Width, config.Height, MaxPixels/1_000_000)
	}
	if _, err := f.Seek(0, 0); err != nil {
		return nil, err
	}
	if m, _, err = image.Decode(bufio.NewReader(f)); err != nil {
		return nil, fmt.Errorf("%s: not a readable picture: %w", path, err)
	}
	return m, nil
}

// rgbAt gives access to a decoded picture's colours as stored.
func rgbAt(m image.Image) func(x, y int) (r, g, b uint8) {
	switch m := m.(type) {
	case *image.Gray:
		return func(x, y int) (uint8, uint8, uint8) { v := m.GrayAt(x, y).Y; return v, v, v }
	case *image.Gray16:
		return func(x, y int) (uint8, uint8, uint8) { v := uint8(m.Gray16At(x, y).Y >> 8); return v, v, v }
	case *image.NRGBA:
		return func(x, y int) (uint8, uint8, uint8) { p := m.Pix[m.PixOffset(x, y):]; return p[0], p[1], p[2] }
	case *image.NRGBA64:
		return func(x, y int) (uint8, uint8, uint8) { p := m.Pix[m.PixOffset(x, y):]; return p[0], p[2], p[4] }
	case *image.RGBA:
		return func(x, y int) (uint8, uint8, uint8) { p := m.Pix[m.PixOffset(x, y):]; return p[0], p[1], p[2] }
	case *image.RGBA64:
		return func(x, y int) (uint8, uint8, uint8) { p := m.Pix[m.PixOffset(x, y):]; return p[0], p[2], p[4] }
	case *image.CMYK:
		return func(x, y int) (uint8, uint8, uint8) {
			p := m.Pix[m.PixOffset(x, y):]
			light := 255 - int(p[3])
			ink := func(c uint8) uint8 { return uint8(max(0, light-div255(int(c)*light))) }
			return ink(p[0]), ink(p[1]), ink(p[2])
		}
	case *image.Paletted:
		palette := make([][3]uint8, len(m.Palette))
		for i, c := range m.Palette {
			n := color.NRGBAModel.Convert(c).(color.NRGBA)
			palette[i] = [3]uint8{n.R, n.G, n.B}
		}
		return func(x, y int) (uint8, uint8, uint8) {
			if i := int(m.ColorIndexAt(x, y)); i < len(palette) {
				return palette[i][0], palette[i][1], palette[i][2]
			}
			return 0, 0, 0
		}
	}
	return func(x, y int) (uint8, uint8, uint8) {
		n := color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA)
		return n.R, n.G, n.B
	}
}

// div255 is x/255 rounded to nearest, for x up to 65025.
func div255(x int) int { x += 128; return (x + x>>8) >> 8 }
