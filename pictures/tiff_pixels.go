package pictures

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"

	"golang.org/x/image/ccitt"
	"golang.org/x/image/tiff/lzw"
)

// jpegInTIFF is the compression of Technical Note 2.
const jpegInTIFF = 7

// compressions are those that are read; unreadCompressions have names.
var (
	compressions = map[int]string{1: "uncompressed", 3: "CCITT Group 3", 4: "CCITT Group 4", 5: "LZW", jpegInTIFF: "JPEG", 8: "Deflate", 32773: "PackBits", 32946: "Deflate"}

	unreadCompressions = map[int]string{2: "CCITT RLE", 6: "old-style JPEG", 9: "JBIG", 10: "JBIG", 32766: "NeXT", 32771: "CCITT RLE", 32809: "ThunderScan", 33003: "JPEG 2000", 33005: "JPEG 2000",
		34661: "JBIG", 34676: "SGI Log", 34677: "SGI Log", 34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG of DNG", 34925: "LZMA", 34926: "Zstandard", 34927: "WebP", 34933: "PNG", 34934: "JPEG XR",
		50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL"}
)

// Sample formats.
const (
	unsigned = 1
	signed   = 2
	real     = 3
)

// A tiffPage is how a page's samples lie in the file.
type tiffPage struct {
	d                                               directory
	w, h, samples, bits, format, photometric, alpha int // alpha: the first extra sample's meaning; 0: none, or unknown
	compression, predictor, fill, chunkW, chunkH    int
	planar                                          bool
	offsets, counts                                 []uint64
	tables                                          []byte
}

// layout reads and checks what a page says.
func (d directory) layout() (p tiffPage, err error) {
	n := func(tag uint16, absent int) int { return d.number(tag, absent) }
	p = tiffPage{d: d, w: n(tagWidth, 0), h: n(tagHeight, 0), samples: n(tagSamples, 1), compression: n(tagCompression, 1), predictor: n(tagPredictor, 1),
		fill: n(tagFillOrder, 1), photometric: n(tagPhotometric, noPhotometry), planar: n(tagPlanar, 1) == 2, alpha: n(tagExtraSamples, 0)}
	if compressions[p.compression] == "" {
		return p, fmt.Errorf("compression: have %d (%s), want none, LZW, Deflate, PackBits, CCITT or JPEG: convert it, for example with tiffcp -c lzw", p.compression, or(unreadCompressions[p.compression], "unknown"))
	}
	if name, unread := photometricUnread[p.photometric]; unread || p.photometric > tiffYCbCr {
		return p, fmt.Errorf("photometric interpretation: have %d (%s), want grey, RGB, a palette, CMYK or YCbCr: convert it to RGB", p.photometric, or(name, "unknown"))
	}
	same := func(tag uint16, absent int) (int, error) {
		x, err := d.numbers(tag)
		if err != nil || len(x) == 0 {
			return absent, err
		}
		for _, y := range x {
			if y != x[0] {
				return 0, fmt.Errorf("tag %d: have %d, want the same for all samples", tag, x)
			}
		}
		return int(min(x[0], math.MaxInt32)), nil
	}
	if p.bits, err = same(tagBits, 1); err != nil {
		return p, err
	}
	if p.format, err = same(tagSampleFormat, unsigned); err != nil {
		return p, err
	}
	if p.format == 4 { // undefined
		p.format = unsigned
	}
	switch {
	case p.samples < 1 || p.samples > 1<<10:
		return p, fmt.Errorf("samples: have %d of a pixel, want 1 to 4", p.samples)
	case p.format > real || p.format < unsigned:
		return p, fmt.Errorf("sample format: have %d (complex numbers), want whole or real numbers", p.format)
	case p.format == real && p.bits != 16 && p.bits != 32 && p.bits != 64, p.bits < 1 || p.bits > 16 && p.bits != 32 && p.bits != 64:
		return p, fmt.Errorf("have %d bits a sample, want 1 to 16, 32 or 64 (real numbers 16, 32 or 64)", p.bits)
	case p.photometric >= tiffCMYK && (p.bits != 8 || p.format != unsigned):
		return p, fmt.Errorf("have %d bits a sample of CMYK or YCbCr, want 8: convert it to RGB", p.bits)
	case p.photometric == tiffCMYK && n(tagInkSet, 1) != 1:
		return p, fmt.Errorf("ink set: have %d, want CMYK: convert it to RGB", n(tagInkSet, 1))
	case p.photometric == tiffPalette && p.format != unsigned:
		return p, fmt.Errorf("sample format: have %d of a palette, want whole numbers", p.format)
	case p.fill != 1 && p.fill != 2:
		return p, fmt.Errorf("fill order: have %d, want 1 or 2", p.fill)
	case n(tagImageDepth, 1) != 1:
		return p, fmt.Errorf("image depth: have %d planes in a page, want one: store them as pages", n(tagImageDepth, 1))
	}
	if p.photometric == tiffYCbCr && p.compression != jpegInTIFF {
		sub, err := d.numbers(tagYCbCrSampling)
		if err != nil {
			return p, err
		}
		if len(sub) != 2 || sub[0] != 1 || sub[1] != 1 {
			return p, fmt.Errorf("YCbCr subsampling: have %d outside JPEG, want 1 and 1: convert it to RGB", sub)
		}
	}
	if _, err := within(p.w, p.h, 1, p.samples*p.width()); err != nil {
		return p, err
	}
	return p, p.chunks()
}

// chunks reads where the strips or tiles are.
func (p *tiffPage) chunks() (err error) {
	n := p.d.number
	offsets, counts := uint16(tagStripOffsets), uint16(tagStripBytes)
	p.chunkW, p.chunkH = p.w, min(n(tagRowsPerStrip, p.h), p.h)
	if _, tiled := p.d.fields[tagTileOffsets]; tiled {
		offsets, counts = tagTileOffsets, tagTileBytes
		p.chunkW, p.chunkH = n(tagTileWidth, 0), n(tagTileHeight, 0)
	}
	if p.chunkH < 1 || p.chunkW < 1 {
		return fmt.Errorf("have strips or tiles of %d x %d pixels, want at least one", p.chunkW, p.chunkH)
	}
	if _, err := within(p.chunkW, p.chunkH, 1, p.samples*p.width()); err != nil {
		return fmt.Errorf("strips or tiles: %w", err)
	}
	if p.offsets, err = p.d.numbers(offsets); err != nil {
		return err
	}
	if p.counts, err = p.d.numbers(counts); err != nil {
		return err
	}
	want := p.across() * p.down()
	if p.planar {
		want *= p.samples
	}
	if len(p.counts) == 0 && len(p.offsets) == 1 && p.compression == 1 { // old writers leave it out
		p.counts = []uint64{uint64(p.d.f.size) - min(p.offsets[0], uint64(p.d.f.size))}
	}
	if len(p.offsets) < want || len(p.counts) < want {
		return fmt.Errorf("have %d strips or tiles and %d lengths, want %d", len(p.offsets), len(p.counts), want)
	}
	p.tables, err = p.d.bytes(tagJPEGTables)
	return err
}

func (p *tiffPage) across() int { return (p.w + p.chunkW - 1) / p.chunkW }
func (p *tiffPage) down() int   { return (p.h + p.chunkH - 1) / p.chunkH }

// width is the bytes of a decoded sample.
func (p *tiffPage) width() int {
	switch {
	case p.bits <= 8:
		return 1
	case p.bits <= 16:
		return 2
	case p.bits <= 32:
		return 4
	}
	return 8
}

// holds refuses strips or tiles that lie over each other, or far beyond the page, and a file too small for the page's packed samples, holes left out;
// JPEG's decoder looks by itself. A row of CCITT takes a bit.
func (p *tiffPage) holds() error {
	size, row := p.d.f.size, (p.w*p.samples*p.bits+7)/8
	chunks, filled, stored := p.across()*p.down(), 0, uint64(0)
	if chunks > 2*MaxPixels/(p.chunkW*p.chunkH) && chunks > 1 {
		return fmt.Errorf("have %d strips or tiles of %d x %d pixels for %d x %d, want at most %d million", chunks, p.chunkW, p.chunkH, p.w, p.h, 2*MaxPixels/1_000_000)
	}
	for k, n := range p.counts {
		if stored += min(n, 1<<40); n > 0 || p.offsets[min(k, len(p.offsets)-1)] > 0 {
			filled++
		}
	}
	if stored > 16*uint64(size)+1<<20 {
		return fmt.Errorf("have strips or tiles of %d bytes in a file of %d: they lie over each other", stored, size)
	}
	if filled == 0 {
		return nil
	}
	part := func(all int) int { return all / len(p.counts) * filled } // of what is no hole
	switch p.compression {
	case 1:
		return holds(size, part(row*p.h), 1)
	case 3, 4:
		return holds(size, part(p.h), 8)
	case 5:
		return holds(size, part(row*p.h), lzwRatio)
	case 32773:
		return holds(size, part(row*p.h), packBitsRatio)
	case 8, 32946:
		return holds(size, part(row*p.h), deflateRatio)
	}
	return nil
}

// decode gives access to the page's samples: interleaved, or plane after plane.
func (p *tiffPage) decode() (func(i int) float64, error) {
	width, inChunk, planes := p.width(), p.samples, 1
	if p.planar {
		inChunk, planes = 1, p.samples
	}
	if err := p.holds(); err != nil {
		return nil, err
	}
	out := make([]byte, p.w*p.h*p.samples*width) // little-endian
	for k := range p.across() * p.down() * planes {
		plane, tile := k/(p.across()*p.down()), k%(p.across()*p.down())
		x0, y0 := tile%p.across()*p.chunkW, tile/p.across()*p.chunkH
		rows := p.chunkH
		if _, tiled := p.d.fields[tagTileOffsets]; !tiled {
			rows = min(rows, p.h-y0)
		}
		raw, err := p.chunk(k, rows, inChunk)
		if err != nil {
			return nil, fmt.Errorf("strip or tile %d: %w", k, err)
		}
		stride := (p.chunkW*inChunk*p.bits + 7) / 8
		used := min(p.chunkW, p.w-x0) * inChunk
		for y := range min(rows, p.h-y0) {
			to := out[((plane*p.h+y0+y)*p.w+x0)*inChunk*width:]
			p.unpack(raw[y*stride:][:stride], to[:used*width])
		}
	}
	return p.access(out), nil
}

// access reads decoded samples.
func (p *tiffPage) access(b []byte) func(i int) float64 {
	o := binary.LittleEndian
	var value func(i int) uint64
	switch p.width() {
	case 1:
		value = func(i int) uint64 { return uint64(b[i]) }
	case 2:
		value = func(i int) uint64 { return uint64(o.Uint16(b[2*i:])) }
	case 4:
		value = func(i int) uint64 { return uint64(o.Uint32(b[4*i:])) }
	default:
		value = func(i int) uint64 { return o.Uint64(b[8*i:]) }
	}
	shift := 64 - p.bits
	switch {
	case p.format == signed:
		return func(i int) float64 { return float64(int64(value(i)<<shift) >> shift) }
	case p.format == real && p.bits == 64:
		return func(i int) float64 { return math.Float64frombits(value(i)) }
	case p.format == real && p.bits == 32:
		return func(i int) float64 { return float64(math.Float32frombits(uint32(value(i)))) }
	case p.format == real:
		return func(i int) float64 { return half(uint16(value(i))) }
	}
	return func(i int) float64 { return float64(value(i)) }
}

// half is the value of a float16.
func half(x uint16) float64 {
	sign, exponent, part := 1-2*float64(x>>15), int(x>>10&31), float64(x&1023)
	switch exponent {
	case 0:
		return sign * math.Ldexp(part, -24)
	case 31:
		if part == 0 {
			return sign * math.Inf(1)
		}
		return math.NaN()
	}
	return sign * math.Ldexp(1024+part, exponent-25)
}

// unpack spreads a row of packed samples over little-endian ones.
func (p *tiffPage) unpack(row, to []byte) {
	width, order := p.width(), p.d.f.order
	if p.predictor == 3 {
		order = binary.BigEndian // as the predictor leaves them
	}
	switch p.bits {
	case 8:
		copy(to, row)
		return
	case 16, 32, 64:
		copy(to, row)
		if order == binary.BigEndian {
			for i := 0; i+width <= len(to); i += width {
				for a, b := i, i+width-1; a < b; a, b = a+1, b-1 {
					to[a], to[b] = to[b], to[a]
				}
			}
		}
		return
	}
	at := 0
	for i := 0; i < len(to); i += width {
		x := uint32(0)
		for left := p.bits; left > 0; {
			have := min(8-at%8, left)
			x = x<<have | uint32(row[at/8]>>(8-at%8-have))&(1<<have-1)
			at, left = at+have, left-have
		}
		for k := range width {
			to[i+k] = byte(x >> (8 * k))
		}
	}
}

// chunk gives the packed rows of a strip or tile, the predictor undone.
func (p *tiffPage) chunk(k, rows, samples int) ([]byte, error) {
	stride := (p.chunkW*samples*p.bits + 7) / 8
	want := stride * rows
	from, n := p.offsets[k], p.counts[k]
	if n == 0 && from == 0 { // a hole in a sparse file
		return make([]byte, want), nil
	}
	raw, err := p.d.f.bytes(from, n)
	if err != nil {
		return nil, err
	}
	if p.fill == 2 && p.compression != jpegInTIFF {
		for i, b := range raw {
			raw[i] = bits.Reverse8(b)
		}
	}
	switch p.compression {
	case 1:
		if len(raw) < want {
			return nil, fmt.Errorf("have %d bytes, want %d", len(raw), want)
		}
		raw = raw[:want]
	case jpegInTIFF:
		return p.jpegChunk(raw, rows, samples)
	case 32773:
		if raw, err = unpackBits(raw, want); err != nil {
			return nil, err
		}
	default:
		in, err := p.stream(raw, rows)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer // grows with what is there
		have, err := io.Copy(&b, io.LimitReader(in, int64(want)))
		if have < int64(want) {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("%s: have %d bytes, want %d: %w", compressions[p.compression], have, want, err)
		}
		raw = b.Bytes()
	}
	return raw, p.unpredict(raw, stride, samples)
}

// stream decompresses a strip or tile.
func (p *tiffPage) stream(raw []byte, rows int) (io.Reader, error) {
	in := bytes.NewReader(raw)
	switch p.compression {
	case 5:
		if len(raw) > 1 && raw[0] == 0 && raw[1]&1 == 1 {
			return nil, fmt.Errorf("LZW of the style before TIFF 6.0 is not read: convert it, for example with tiffcp -c lzw")
		}
		return lzw.NewReader(in, lzw.MSB, 8), nil
	case 8, 32946:
		return zlib.NewReader(in)
	}
	// CCITT gives 1 for white; what is stored has 0 for white, whatever the photometric interpretation makes of it.
	if p.bits != 1 || p.samples != 1 {
		return nil, fmt.Errorf("have CCITT compression of %d samples of %d bits, want one of one", p.samples, p.bits)
	}
	options := &ccitt.Options{Invert: true}
	if p.compression == 4 {
		if p.d.number(tagT6Options, 0) != 0 {
			return nil, fmt.Errorf("CCITT Group 4 with options %d is not read: convert it, for example with tiffcp -c lzw", p.d.number(tagT6Options, 0))
		}
		return ccitt.NewReader(in, ccitt.MSB, ccitt.Group4, p.chunkW, rows, options), nil
	}
	if o := p.d.number(tagT4Options, 0); o&^4 != 0 {
		return nil, fmt.Errorf("CCITT Group 3 of two dimensions is not read: convert it, for example with tiffcp -c lzw")
	} else if o&4 != 0 {
		return nil, fmt.Errorf("CCITT Group 3 with fill bits is not read: convert it, for example with tiffcp -c lzw")
	}
	return ccitt.NewReader(in, ccitt.MSB, ccitt.Group3, p.chunkW, rows, options), nil
}

// unpackBits undoes PackBits.
func unpackBits(b []byte, want int) ([]byte, error) {
	out := make([]byte, 0, min(want, 128*len(b)))
	for at := 0; at < len(b) && len(out) < want; {
		n := int(int8(b[at]))
		at++
		switch {
		case n >= 0:
			if at+n+1 > len(b) {
				return nil, fmt.Errorf("PackBits: it ends early")
			}
			out = append(out, b[at:at+n+1]...)
			at += n + 1
		case n > -128 && at < len(b):
			for range 1 - n {
				out = append(out, b[at])
			}
			at++
		}
	}
	if len(out) < want {
		return nil, fmt.Errorf("PackBits: have %d bytes, want %d", len(out), want)
	}
	return out[:want], nil
}

// unpredict undoes horizontal differencing (2) and the floating point predictor of Technical Note 3 (3), row by row.
func (p *tiffPage) unpredict(b []byte, stride, samples int) error {
	order, width := p.d.f.order, p.bits/8
	switch {
	case p.predictor == 1, p.compression == 1, p.compression == 3, p.compression == 4, p.compression == 32773:
		return nil
	case p.predictor == 2 && (p.bits == 8 || p.bits == 16 || p.bits == 32 || p.bits == 64):
		for ; len(b) >= stride; b = b[stride:] {
			row := b[:stride]
			for i := samples * width; i+width <= stride; i += width {
				before := row[i-samples*width:]
				switch width {
				case 1:
					row[i] += before[0]
				case 2:
					order.PutUint16(row[i:], order.Uint16(row[i:])+order.Uint16(before))
				case 4:
					order.PutUint32(row[i:], order.Uint32(row[i:])+order.Uint32(before))
				default:
					order.PutUint64(row[i:], order.Uint64(row[i:])+order.Uint64(before))
				}
			}
		}
		return nil
	case p.predictor == 3 && p.format == real:
		row := make([]byte, stride)
		for ; len(b) >= stride; b = b[stride:] {
			for i := samples; i < stride; i++ {
				b[i] += b[i-samples]
			}
			n := stride / width
			for i := range n {
				for k := range width { // the bytes of equal weight lie together, the heaviest first
					row[i*width+k] = b[k*n+i]
				}
			}
			copy(b, row)
		}
		return nil
	}
	return fmt.Errorf("predictor: have %d with %d bits, want 1, 2 (8, 16, 32 or 64 bits) or 3 (real numbers)", p.predictor, p.bits)
}

// jpegChunk decodes a strip or tile of JPEG, whose tables the page has.
func (p *tiffPage) jpegChunk(raw []byte, rows, samples int) ([]byte, error) {
	if p.bits != 8 || p.format != unsigned {
		return nil, fmt.Errorf("have JPEG of %d bits, want 8", p.bits)
	}
	if t := bytes.TrimSuffix(p.tables, []byte("\xff\xd9")); len(t) > 2 && len(raw) > 2 {
		raw = append(append([]byte(nil), t...), raw[2:]...)
	}
	_, m, err := decodeJPEG(raw)
	if err != nil {
		return nil, err
	}
	if m.W < p.chunkW || m.H < rows {
		return nil, fmt.Errorf("JPEG: have %d x %d pixels, want %d x %d", m.W, m.H, p.chunkW, rows)
	}
	if len(m.Planes) != samples {
		return nil, fmt.Errorf("JPEG: have %d samples, want %d", len(m.Planes), samples)
	}
	out := make([]byte, p.chunkW*rows*samples)
	for y := range rows {
		for x := range p.chunkW {
			to := out[(y*p.chunkW+x)*samples:][:samples]
			for c, plane := range m.Planes { // the page says what they are, not the stream
				to[c] = uint8(plane[y*m.W+x])
			}
			if p.photometric == tiffYCbCr && samples == 3 {
				to[0], to[1], to[2] = ycbcr(to[0], to[1], to[2])
			}
		}
	}
	return out, nil
}
