package pictures

import (
	"encoding/binary"
	"fmt"
	"image/color"
	"io"
	"math"
)

// Tags of TIFF 6.0, its supplements and BigTIFF that decide what a pixel is.
const (
	tagSubfile       = 254
	tagWidth         = 256
	tagHeight        = 257
	tagBits          = 258
	tagCompression   = 259
	tagPhotometric   = 262
	tagFillOrder     = 266
	tagStripOffsets  = 273
	tagOrientation   = 274
	tagSamples       = 277
	tagRowsPerStrip  = 278
	tagStripBytes    = 279
	tagPlanar        = 284
	tagT4Options     = 292
	tagT6Options     = 293
	tagPredictor     = 317
	tagColorMap      = 320
	tagTileWidth     = 322
	tagTileHeight    = 323
	tagTileOffsets   = 324
	tagTileBytes     = 325
	tagInkSet        = 332
	tagExtraSamples  = 338
	tagSampleFormat  = 339
	tagJPEGTables    = 347
	tagYCbCrSampling = 530
	tagImageDepth    = 32997
)

// Limits of what a directory may claim, and how many there may be.
const (
	maxFields     = 4096
	maxFieldBytes = 8 << 20
	maxPages      = 1 << 16
	maxAllFields  = 1 << 21 // of all pages, which may lie over each other
)

// fieldBytes are the sizes of the field types, by number.
var fieldBytes = [19]int{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}

// A tiffFile is the frame of a TIFF or BigTIFF file.
type tiffFile struct {
	r     io.ReaderAt
	size  int64
	order binary.ByteOrder
	big   bool
	first uint64 // the first directory
}

// A directory has the fields of a page: their raw values.
type directory struct {
	f      *tiffFile
	fields map[uint16]field
}

type field struct {
	kind  uint16
	count uint64
	raw   []byte // the values, or where they are
}

func openTIFF(r io.ReaderAt, size int64) (*tiffFile, error) {
	f := &tiffFile{r: r, size: size, order: binary.LittleEndian}
	head, err := f.bytes(0, 8)
	if err != nil {
		return nil, fmt.Errorf("not a readable picture: TIFF: %w", err)
	}
	if head[0] == 'M' {
		f.order = binary.BigEndian
	}
	switch f.order.Uint16(head[2:]) {
	case 42:
		f.first = uint64(f.order.Uint32(head[4:]))
	case 43:
		if head, err = f.bytes(0, 16); err != nil {
			return nil, fmt.Errorf("not a readable picture: BigTIFF: %w", err)
		}
		if f.big = true; f.order.Uint16(head[4:]) != 8 {
			return nil, fmt.Errorf("not a readable picture: BigTIFF: have offsets of %d bytes, want 8", f.order.Uint16(head[4:]))
		}
		f.first = f.order.Uint64(head[8:])
	default:
		return nil, fmt.Errorf("not a readable picture: not a TIFF file")
	}
	return f, nil
}

// bytes reads n bytes that must be there.
func (f *tiffFile) bytes(at, n uint64) ([]byte, error) {
	if n > uint64(f.size) || at > uint64(f.size)-n {
		return nil, fmt.Errorf("at byte %d: have a file of %d bytes, want %d more", at, f.size, n)
	}
	b := make([]byte, n)
	_, err := f.r.ReadAt(b, int64(at))
	if err == io.EOF {
		err = nil
	}
	return b, err
}

// directory reads the page directory at a place, and where the next is.
func (f *tiffFile) directory(at uint64) (d directory, next uint64, err error) {
	word, entry, inline := uint64(2), uint64(12), uint64(4)
	if f.big {
		word, entry, inline = 8, 20, 8
	}
	b, err := f.bytes(at, word)
	if err != nil {
		return d, 0, err
	}
	n := f.uint(b)
	if n > maxFields {
		return d, 0, fmt.Errorf("at byte %d: have a directory of %d fields, want at most %d", at, n, maxFields)
	}
	if b, err = f.bytes(at+word, n*entry+inline); err != nil {
		return d, 0, err
	}
	d = directory{f, map[uint16]field{}}
	for i := range n {
		e := b[i*entry:]
		x := field{kind: f.order.Uint16(e[2:]), raw: e[entry-inline : entry]}
		if f.big {
			x.count = f.order.Uint64(e[4:])
		} else {
			x.count = uint64(f.order.Uint32(e[4:]))
		}
		if _, twice := d.fields[f.order.Uint16(e)]; !twice {
			d.fields[f.order.Uint16(e)] = x
		}
	}
	return d, f.uint(b[n*entry:][:inline]), nil
}

// uint reads an unsigned number of as many bytes as there are.
func (f *tiffFile) uint(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(f.order.Uint16(b))
	case 4:
		return uint64(f.order.Uint32(b))
	}
	return f.order.Uint64(b)
}

// bytes is a field's content; nil where there is none.
func (d directory) bytes(tag uint16) ([]byte, error) {
	x, ok := d.fields[tag]
	if !ok {
		return nil, nil
	}
	size := 0
	if int(x.kind) < len(fieldBytes) {
		size = fieldBytes[x.kind]
	}
	if size == 0 || x.count > maxFieldBytes/uint64(size) {
		return nil, fmt.Errorf("tag %d: have %d values of type %d", tag, x.count, x.kind)
	}
	n := x.count * uint64(size)
	if n <= uint64(len(x.raw)) {
		return x.raw[:n], nil
	}
	b, err := d.f.bytes(d.f.uint(x.raw), n)
	if err != nil {
		return nil, fmt.Errorf("tag %d: %w", tag, err)
	}
	return b, nil
}

// numbers is a field of whole numbers; empty where there is none.
func (d directory) numbers(tag uint16) ([]uint64, error) {
	b, err := d.bytes(tag)
	if err != nil || b == nil {
		return nil, err
	}
	size := fieldBytes[d.fields[tag].kind]
	switch d.fields[tag].kind {
	case 1, 3, 4, 7, 13, 16, 18:
	default:
		return nil, fmt.Errorf("tag %d: have values of type %d, want whole numbers", tag, d.fields[tag].kind)
	}
	out := make([]uint64, len(b)/size)
	for i := range out {
		out[i] = d.f.uint(b[i*size:][:size])
	}
	return out, nil
}

// number is a field's first number; absent where there is none that fits.
func (d directory) number(tag uint16, absent int) int {
	x, err := d.numbers(tag)
	if err != nil || len(x) == 0 || x[0] > math.MaxInt32 {
		return absent
	}
	return int(x[0])
}

// readTIFF reads a page of a TIFF file; where it has several, one must be named. Thumbnails, masks and smaller versions do not count.
func readTIFF(f *source, frame *int) (*volume, error) {
	t, err := openTIFF(f, f.size)
	if err != nil {
		return nil, err
	}
	var pages, all []uint64 // where their directories are
	fields := 0
	seen := map[uint64]bool{}
	for at := t.first; at != 0; {
		if seen[at] || len(all) == maxPages {
			return nil, fmt.Errorf("not a readable picture: TIFF: its pages have no end")
		}
		seen[at] = true
		d, next, err := t.directory(at)
		if err != nil {
			return nil, fmt.Errorf("not a readable picture: TIFF: page %d: %w", len(all), err)
		}
		if fields += len(d.fields); fields > maxAllFields {
			return nil, fmt.Errorf("not a readable picture: TIFF: page %d: have more than %d fields", len(all), maxAllFields)
		}
		all = append(all, at)
		if d.number(tagSubfile, 0)&(1|4) == 0 { // of a smaller version, and of a mask
			pages = append(pages, at)
		}
		at = next
	}
	if len(pages) == 0 {
		pages = all
	}
	if len(pages) == 0 {
		return nil, fmt.Errorf("not a readable picture: TIFF without a page")
	}
	want, err := chosen(sliceKey, frame, len(pages))
	if err != nil {
		return nil, err
	}
	page, _, err := t.directory(pages[want])
	if err != nil {
		return nil, fmt.Errorf("not a readable picture: TIFF: %w", err)
	}
	v, err := page.picture()
	if err != nil {
		return nil, fmt.Errorf("TIFF: %w", err)
	}
	v.frames = len(pages)
	if v.turn = page.turn(); t.big {
		v.facts.Codec = "Big" + v.facts.Codec
	}
	return v, nil
}

// Photometric interpretations, and why the others are refused.
const (
	whiteIsZero  = 0
	blackIsZero  = 1
	tiffRGB      = 2
	tiffPalette  = 3
	tiffMask     = 4
	tiffCMYK     = 5
	tiffYCbCr    = 6
	noPhotometry = -1
)

var photometricUnread = map[int]string{8: "CIE Lab", 9: "ICC Lab", 10: "ITU Lab", 32803: "a camera's raw pattern", 32844: "LogL", 32845: "LogLuv", 34892: "linear raw", noPhotometry: "nothing"}

// picture decodes a page.
func (d directory) picture() (*volume, error) {
	p, err := d.layout()
	if err != nil {
		return nil, err
	}
	px, err := p.decode()
	if err != nil {
		return nil, err
	}
	v := &volume{w: p.w, h: p.h, d: 1, channels: 1, lossy: p.compression == jpegInTIFF, facts: Facts{Bits: p.bits, Codec: "TIFF, " + compressions[p.compression]}}
	n, top := p.samples, math.Exp2(float64(p.bits))-1
	if p.planar {
		each := p.w * p.h
		interleaved := px
		px = func(i int) float64 { return interleaved(i%n*each + i/n) }
	}
	colours := map[int]int{whiteIsZero: 1, blackIsZero: 1, tiffMask: 1, tiffPalette: 1, tiffRGB: 3, tiffYCbCr: 3, tiffCMYK: 4}[p.photometric]
	if extra := n - colours; extra < 0 || extra > 1 {
		return nil, fmt.Errorf("samples: have %d with photometric interpretation %d, want %d and at most an alpha channel: store the channels as pages", n, p.photometric, colours)
	} else if extra == 1 && p.alpha != 0 {
		v.alpha = func(i int) float64 { return px(i*n+colours) / top }
	}
	switch p.photometric {
	case whiteIsZero:
		if p.format != unsigned {
			return nil, fmt.Errorf("have white as zero in values that are not unsigned, want black")
		}
		v.at = func(i int) float64 { return top - px(i*n) }
	case blackIsZero, tiffMask:
		v.at = func(i int) float64 { return px(i * n) }
	case tiffPalette:
		palette, err := d.palette(p.bits)
		if err != nil {
			return nil, err
		}
		v.channels = 3
		v.paletted(palette, func(i int) int { return int(px(i * n)) })
		v.window, v.facts.Rule = &[2]float64{0, 255}, asStored
		return v, nil
	case tiffRGB:
		v.channels = 3
		v.at = func(i int) float64 { return px(i/3*n + i%3) }
		if p.alpha == 1 && v.alpha != nil {
			v.at = func(i int) float64 {
				x, a := px(i/3*n+i%3), px(i/3*n+3)
				if a == 0 || a == top {
					return x
				}
				return min(math.Floor(top*x/a), top)
			}
		}
	case tiffYCbCr: // JPEG's are converted where they are decoded
		v.channels = 3
		v.at = func(i int) float64 { return px(i/3*n + i%3) }
		if p.compression != jpegInTIFF {
			v.at = func(i int) float64 {
				r, g, b := ycbcr(uint8(px(i/3*n)), uint8(px(i/3*n+1)), uint8(px(i/3*n+2)))
				return float64([3]uint8{r, g, b}[i%3])
			}
		}
	case tiffCMYK:
		v.channels = 3
		v.at = func(i int) float64 { return float64(ink(uint8(px(i/3*n+i%3)), uint8(px(i/3*n+3)))) }
	}
	v.shallow()
	if p.format != unsigned {
		v.window, v.facts.Rule, v.unsigned = nil, "", false
	}
	return v, nil
}

// palette reads a page's colours, of 16 bits, as 8 bits.
func (d directory) palette(bits int) ([]color.NRGBA, error) {
	x, err := d.numbers(tagColorMap)
	if err != nil {
		return nil, err
	}
	if bits > 16 || len(x) != 3<<bits {
		return nil, fmt.Errorf("color map: have %d values, want %d for %d bits", len(x), 3<<min(bits, 16), bits)
	}
	n := len(x) / 3
	out := make([]color.NRGBA, n)
	for i := range out {
		out[i] = color.NRGBA{uint8(x[i] >> 8), uint8(x[n+i] >> 8), uint8(x[2*n+i] >> 8), 255}
	}
	return out, nil
}
