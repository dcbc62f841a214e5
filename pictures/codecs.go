package pictures

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"io"

	"golang.org/x/image/bmp"
)

// stream reads a file from its start.
func (f *source) stream() io.Reader {
	return bufio.NewReaderSize(io.NewSectionReader(f, 0, f.size), 1<<16)
}

// PNG's colour types of one channel: grey, a palette, grey with alpha.
const pngGrey, pngPalette, pngGreyAlpha = 0, 3, 4

// pngSamples are the samples of a pixel, by colour type.
var pngSamples = map[byte]int{pngGrey: 1, 2: 3, pngPalette: 1, pngGreyAlpha: 2, 6: 4}

// readPNG reads a PNG file; of an animated one the still picture, which is its first frame.
func readPNG(f *source, frame *int) (*volume, error) {
	chunks, err := f.chunks(8, true)
	if err != nil {
		return nil, err
	}
	if len(chunks) == 0 || chunks[0].kind != "IHDR" || chunks[0].length != 13 {
		return nil, fmt.Errorf("not a readable picture: PNG without a header")
	}
	head, err := f.read(chunks[0], 13)
	if err != nil {
		return nil, err
	}
	w, h, depth, kind := binary.BigEndian.Uint32(head), binary.BigEndian.Uint32(head[4:]), int(head[8]), head[9]
	if _, err := within(int(w), int(h), 1, 8); err != nil {
		return nil, err
	}
	turn, frames := 1, 1
	for _, c := range chunks {
		switch c.kind {
		case "eXIf":
			b, err := f.read(c, maxMetadata)
			if err != nil {
				return nil, err
			}
			turn = exifTurn(b)
		case "acTL":
			if b, err := f.read(c, 4); err == nil && len(b) == 4 {
				frames = int(binary.BigEndian.Uint32(b))
			}
		}
	}
	if err := onlyFirst(frame, frames); err != nil {
		return nil, err
	}
	packed := int64(0)
	for _, c := range chunks {
		if c.kind == "IDAT" {
			packed += c.length
		}
	}
	if err := holds(packed, (int(w)*int(depth)*pngSamples[kind]+7)/8*int(h), deflateRatio); err != nil {
		return nil, err
	}
	m, err := png.Decode(f.stream())
	if err != nil {
		return nil, fmt.Errorf("not a readable picture: %w", err)
	}
	v, err := rasterOf(m)
	if err != nil {
		return nil, err
	}
	v.turn, v.frames = turn, frames
	if kind == pngGrey || kind == pngGreyAlpha {
		v.firstChannel()
	}
	if kind == pngGrey && depth < 8 { // the decoder spreads the values over 8 bits
		spread, step := v.at, float64(255/(int(1)<<depth-1))
		v.at = func(i int) float64 { return spread(i) / step }
		v.facts.Bits = depth
		v.shallow()
	} else if kind == pngPalette {
		v.facts.Bits = depth
	}
	return v, nil
}

// onlyFirst refuses frames of an animation that are not read.
func onlyFirst(frame *int, frames int) error {
	if frame != nil && *frame >= max(frames, 1) {
		return fmt.Errorf("%s: have %d, want less than %d", sliceKey, *frame, max(frames, 1))
	}
	if frame != nil && *frame > 0 {
		return fmt.Errorf("%s: have %d, want 0: of an animation of this kind only the first frame is read; store the frames as pictures", sliceKey, *frame)
	}
	return nil
}

// readBMP reads an uncompressed BMP file.
func readBMP(f *source, frame *int) (*volume, error) {
	if err := onlyFirst(frame, 1); err != nil {
		return nil, err
	}
	config, err := bmp.DecodeConfig(f.stream())
	if err == nil {
		if _, err := within(config.Width, config.Height, 1, 4); err != nil {
			return nil, err
		}
		var bits [2]byte
		if _, err := f.ReadAt(bits[:], 28); err != nil {
			return nil, fmt.Errorf("not a readable picture: BMP: %w", err)
		}
		if err := holds(f.size, config.Width*config.Height*int(binary.LittleEndian.Uint16(bits[:]))/8, 1); err != nil {
			return nil, err
		}
	}
	var m image.Image
	if err == nil {
		m, err = bmp.Decode(f.stream())
	}
	if err == bmp.ErrUnsupported {
		var head [34]byte
		if _, err := f.ReadAt(head[:], 0); err != nil {
			return nil, fmt.Errorf("not a readable picture: BMP: %w", err)
		}
		return nil, fmt.Errorf("BMP: have %d bits and compression %d, want 1 to 8, 24 or 32 bits and none: store it as PNG", binary.LittleEndian.Uint16(head[28:]), binary.LittleEndian.Uint32(head[30:]))
	}
	if err != nil {
		return nil, fmt.Errorf("not a readable picture: %w", err)
	}
	return rasterOf(m)
}

// A gifFrame is what a GIF file says of a frame.
type gifFrame struct {
	palette     []color.NRGBA
	transparent int // -1: none
}

// readGIF reads a frame of a GIF file, the first if none is named.
func readGIF(f *source, frame *int) (*volume, error) {
	b, err := f.whole()
	if err != nil {
		return nil, err
	}
	w, h, frames, start, err := gifFrames(b)
	if err != nil {
		return nil, fmt.Errorf("not a readable picture: GIF: %w", err)
	}
	want, err := chosen(sliceKey, first(frame), frames)
	if err != nil {
		return nil, err
	}
	if want > 0 {
		return gifLater(f, w, h, frames, want)
	}
	if _, err := within(w, h, 1, 1); err != nil {
		return nil, err
	}
	if err := holds(f.size, w*h, lzwRatio); err != nil {
		return nil, err
	}
	m, err := gif.Decode(f.stream())
	if err != nil {
		return nil, fmt.Errorf("not a readable picture: %w", err)
	}
	p := m.(*image.Paletted)
	outside := max(start.transparent, 0)
	v := &volume{w: w, h: h, d: 1, channels: 3, facts: Facts{Bits: 8}, frames: frames}
	v.paletted(start.palette, func(i int) int {
		if at := image.Pt(i%w, i/w); at.In(p.Rect) {
			return int(p.Pix[p.PixOffset(at.X, at.Y)])
		}
		return outside
	})
	v.shallow()
	return v, nil
}

// first is the frame that a name means, the first if it means none.
func first(frame *int) *int {
	if frame == nil {
		return new(int)
	}
	return frame
}

// gifLater composes the frames up to the wanted one, as the file says they replace each other.
func gifLater(f *source, w, h, frames, want int) (*volume, error) {
	if _, err := within(w, h, frames, 4); err != nil {
		return nil, err
	}
	if err := holds(f.size, w*h, lzwRatio); err != nil {
		return nil, err
	}
	g, err := gif.DecodeAll(f.stream())
	if err != nil {
		return nil, fmt.Errorf("not a readable picture: %w", err)
	}
	canvas := image.NewNRGBA(image.Rect(0, 0, w, h))
	for k, p := range g.Image[:want+1] {
		before := append([]uint8(nil), canvas.Pix...)
		for y := p.Rect.Min.Y; y < p.Rect.Max.Y; y++ {
			for x := p.Rect.Min.X; x < p.Rect.Max.X; x++ {
				if c := color.NRGBAModel.Convert(p.At(x, y)).(color.NRGBA); c.A > 0 {
					canvas.SetNRGBA(x, y, c)
				}
			}
		}
		if k == want {
			break
		}
		switch g.Disposal[k] {
		case gif.DisposalBackground:
			for y := p.Rect.Min.Y; y < p.Rect.Max.Y; y++ {
				for x := p.Rect.Min.X; x < p.Rect.Max.X; x++ {
					canvas.SetNRGBA(x, y, color.NRGBA{})
				}
			}
		case gif.DisposalPrevious:
			copy(canvas.Pix, before)
		}
	}
	v, err := rasterOf(canvas)
	if err != nil {
		return nil, err
	}
	v.frames = frames
	return v, nil
}

// gifFrames walks a GIF file's blocks: the canvas, the number of frames, the first one's palette. The decoder forgets the colour of what is transparent.
func gifFrames(b []byte) (w, h, frames int, first gifFrame, err error) {
	short := fmt.Errorf("it ends early")
	if len(b) < 13 {
		return 0, 0, 0, first, short
	}
	w, h = int(binary.LittleEndian.Uint16(b[6:])), int(binary.LittleEndian.Uint16(b[8:]))
	at := 13
	table := func(flags byte) ([]color.NRGBA, bool) {
		if flags&0x80 == 0 {
			return nil, true
		}
		n := 2 << (flags & 7)
		if at+3*n > len(b) {
			return nil, false
		}
		palette := make([]color.NRGBA, 256)
		for i := range palette {
			palette[i].A = 255
		}
		for i := range n {
			palette[i] = color.NRGBA{b[at+3*i], b[at+3*i+1], b[at+3*i+2], 255}
		}
		at += 3 * n
		return palette, true
	}
	blocks := func() bool { // skips data blocks up to the empty one
		for at < len(b) {
			n := int(b[at])
			if at += 1 + n; n == 0 {
				return at <= len(b)
			}
		}
		return false
	}
	global, ok := table(b[10])
	if !ok {
		return 0, 0, 0, first, short
	}
	for transparent := -1; at < len(b); {
		switch b[at] {
		case 0x21: // an extension
			if at+6 < len(b) && b[at+1] == 0xf9 && b[at+3]&1 == 1 {
				transparent = int(b[at+6])
			}
			if at += 2; !blocks() {
				return w, h, frames, first, nil // the decoder says what is wrong
			}
		case 0x2c: // a frame
			if at+10 > len(b) {
				return 0, 0, 0, first, short
			}
			flags := b[at+9]
			at += 10
			palette, ok := table(flags)
			if !ok {
				return 0, 0, 0, first, short
			}
			if palette == nil {
				palette = global
			}
			if palette == nil {
				return 0, 0, 0, first, fmt.Errorf("it has no palette")
			}
			if frames++; frames == 1 {
				first = gifFrame{append([]color.NRGBA(nil), palette...), transparent}
				if transparent >= 0 {
					first.palette[transparent].A = 0
				}
			}
			if at, transparent = at+1, -1; !blocks() {
				return w, h, frames, first, nil
			}
		default: // the trailer, or what other readers ignore
			at = len(b)
		}
	}
	if frames == 0 {
		return 0, 0, 0, first, fmt.Errorf("it has no picture")
	}
	return w, h, frames, first, nil
}
