package pictures

import (
	"fmt"
	"image"
	"image/color"
)

// rasterOf makes a picture of what a decoder of the standard library or x/image gives: colours as stored, not multiplied by alpha.
func rasterOf(m image.Image) (*volume, error) {
	b := m.Bounds()
	v := &volume{w: b.Dx(), h: b.Dy(), d: 1, channels: 3, facts: Facts{Bits: 8}}
	at := func(p int) (x, y int) { return b.Min.X + p%v.w, b.Min.Y + p/v.w }
	switch m := m.(type) {
	case *image.Gray:
		v.channels = 1
		v.at = func(i int) float64 { return float64(m.Pix[m.PixOffset(at(i))]) }
	case *image.Gray16:
		v.channels, v.facts.Bits = 1, 16
		v.at = func(i int) float64 { x, y := at(i); return float64(m.Gray16At(x, y).Y) }
	case *image.NRGBA:
		v.at = func(i int) float64 { return float64(m.Pix[m.PixOffset(at(i/3))+i%3]) }
		v.alpha = func(p int) float64 { return float64(m.Pix[m.PixOffset(at(p))+3]) / 255 }
	case *image.RGBA: // of decoders that know no alpha
		v.at = func(i int) float64 { return float64(m.Pix[m.PixOffset(at(i/3))+i%3]) }
	case *image.NRGBA64:
		v.facts.Bits = 16
		v.at = deep(m.Pix, m.PixOffset, at)
		v.alpha = func(p int) float64 {
			o := m.PixOffset(at(p)) + 6
			return float64(int(m.Pix[o])<<8|int(m.Pix[o+1])) / 65535
		}
	case *image.RGBA64:
		v.facts.Bits = 16
		v.at = deep(m.Pix, m.PixOffset, at)
	case *image.CMYK:
		v.at = func(i int) float64 {
			p := m.Pix[m.PixOffset(at(i/3)):]
			return float64(ink(p[i%3], p[3]))
		}
	case *image.Paletted:
		palette := make([]color.NRGBA, 256)
		for i := range palette {
			palette[i].A = 255
		}
		for i, c := range m.Palette {
			palette[i&255] = color.NRGBAModel.Convert(c).(color.NRGBA)
		}
		v.paletted(palette, func(p int) int { return int(m.Pix[m.PixOffset(at(p))]) })
	default:
		return nil, fmt.Errorf("have pixels of kind %T, want grey, colours or a palette", m)
	}
	v.shallow()
	return v, nil
}

// shallow says that values of up to 8 bits are shown as they are; those of more are shown by their range.
func (v *volume) shallow() {
	v.lowest, v.unsigned = true, true
	if v.facts.Bits <= 8 {
		v.window, v.facts.Rule = &[2]float64{0, float64(int(1)<<v.facts.Bits - 1)}, asStored
	}
}

// paletted makes the colours of a palette, of 8 bits, those of the pixels.
func (v *volume) paletted(palette []color.NRGBA, index func(p int) int) {
	v.index = index
	v.at = func(i int) float64 {
		c := palette[index(i/3)&(len(palette)-1)]
		return float64([3]uint8{c.R, c.G, c.B}[i%3])
	}
	for _, c := range palette {
		if c.A < 255 {
			v.alpha = func(p int) float64 { return float64(palette[index(p)&(len(palette)-1)].A) / 255 }
			break
		}
	}
}

// deep gives access to interleaved colours of 16 bits, big-endian, four to a pixel.
func deep(pix []uint8, offset func(x, y int) int, at func(p int) (x, y int)) func(i int) float64 {
	return func(i int) float64 {
		o := offset(at(i/3)) + 2*(i%3)
		return float64(int(pix[o])<<8 | int(pix[o+1]))
	}
}

// ink is the light that a colour's ink and black ink leave.
func ink(c, black uint8) uint8 {
	light := 255 - int(black)
	return uint8(max(0, light-div255(int(c)*light)))
}

// div255 is x/255 rounded to nearest, for x up to 65025.
func div255(x int) int { x += 128; return (x + x>>8) >> 8 }

// firstChannel makes a grey picture of one whose three channels are the same.
func (v *volume) firstChannel() {
	if all := v.at; v.channels == 3 {
		v.channels = 1
		v.at = func(i int) float64 { return all(3 * i) }
	}
}
