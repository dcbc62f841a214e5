// Package jpeg decodes JPEG (ITU-T T.81, Huffman coding): sequential and progressive DCT of 8 and 12 bits, and lossless prediction of 2
// to 16 bits (process 14), to the samples of each component before any conversion of colours.
package jpeg

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Markers (T.81 table B.1).
const (
	markSOF0  = 0xc0 // baseline
	markSOF1  = 0xc1 // extended sequential
	markSOF2  = 0xc2 // progressive
	markSOF3  = 0xc3 // lossless
	markDHT   = 0xc4
	markRST0  = 0xd0
	markSOI   = 0xd8
	markEOI   = 0xd9
	markSOS   = 0xda
	markDQT   = 0xdb
	markDRI   = 0xdd
	markAPP0  = 0xe0
	markAPP14 = 0xee
)

// An Image holds a plane of samples for each component, all of W x H, row-major; chroma that is stored smaller is brought to that
// size as libjpeg does by default. IDs are the components' names, JFIF says that the stream has a JFIF marker, Adobe is the transform
// of an Adobe marker, -1 where there is none.
type Image struct {
	W, H, Bits  int
	Planes      [][]uint16
	IDs         []byte
	Progressive bool
	Lossless    bool
	Subsampled  bool // a component is stored smaller
	JFIF        bool
	Adobe       int
}

// MaxPixels is the largest picture that is decoded.
const MaxPixels = 1 << 27

type component struct {
	id, h, v, quant byte
	w, rows         int      // samples that count
	stride, lines   int      // samples that are stored: whole blocks and units
	samples         []uint16 // of stride x lines
	dc, ac          *huffman
	table           *[64]uint16 // the quantization of its first scan
	coefficients    []int16     // of a progressive picture, block after block, each in the order of the stream
	seen            bool
}

type decoder struct {
	b          []byte
	at         int
	quant      [4]*[64]uint16
	tables     [2][4]*huffman
	frame      byte // SOF marker, 0 before it
	w, h, bits int
	hMax, vMax int
	components []component
	restart    int
	jfif       bool
	adobe      int
}

// Decode reads one JPEG picture. Bytes behind its end are ignored.
func Decode(b []byte) (*Image, error) {
	d := &decoder{b: b, adobe: -1}
	if len(b) < 2 || b[0] != 0xff || b[1] != markSOI {
		return nil, fmt.Errorf("not a JPEG stream")
	}
	d.at = 2
	for {
		mark, err := d.marker()
		if err != nil {
			return nil, err
		}
		if mark == markEOI {
			break
		}
		if mark >= markRST0 && mark < markSOI || mark == 0x01 {
			continue
		}
		if len(b)-d.at < 2 {
			return nil, errShort
		}
		n := int(binary.BigEndian.Uint16(b[d.at:]))
		if n < 2 || n > len(b)-d.at {
			return nil, fmt.Errorf("marker %02X: have %d bytes, want %d", mark, len(b)-d.at, n)
		}
		segment := b[d.at+2 : d.at+n]
		d.at += n
		switch {
		case mark == markDQT:
			err = d.quantization(segment)
		case mark == markDHT:
			err = d.huffmanTables(segment)
		case mark == markDRI && len(segment) >= 2:
			d.restart = int(binary.BigEndian.Uint16(segment))
		case mark == markAPP0 && len(segment) >= 5 && string(segment[:5]) == "JFIF\x00":
			d.jfif = true
		case mark == markAPP14 && len(segment) >= 12 && string(segment[:5]) == "Adobe":
			d.adobe = int(segment[11])
		case mark == markSOF0 || mark == markSOF1 || mark == markSOF2 || mark == markSOF3:
			err = d.start(mark, segment)
		case mark == markSOS:
			err = d.scan(segment)
		case mark >= 0xc5 && mark <= 0xcf && mark != 0xc8:
			err = fmt.Errorf("it is hierarchical or has arithmetic coding (SOF%d), want sequential, progressive or lossless JPEG with Huffman coding", mark-0xc0)
		case mark == 0xf7:
			err = fmt.Errorf("it is JPEG-LS, want sequential, progressive or lossless JPEG")
		case mark == 0xdc:
			err = fmt.Errorf("it gives its height behind its data (DNL), which is not read")
		}
		if err != nil {
			return nil, err
		}
	}
	if d.frame == 0 {
		return nil, fmt.Errorf("it has no frame")
	}
	m := &Image{W: d.w, H: d.h, Bits: d.bits, Progressive: d.frame == markSOF2, Lossless: d.frame == markSOF3, Subsampled: d.hMax*d.vMax > 1, JFIF: d.jfif, Adobe: d.adobe}
	for i := range d.components {
		c := &d.components[i]
		if !c.seen {
			return nil, fmt.Errorf("component %d has no data", i)
		}
		if d.frame == markSOF2 {
			d.reconstruct(c)
		}
		m.IDs = append(m.IDs, c.id)
		m.Planes = append(m.Planes, d.full(c))
	}
	return m, nil
}

var errShort = fmt.Errorf("the JPEG stream is cut short")

// marker goes to the next marker, over fill bytes and what is left of a scan's data.
func (d *decoder) marker() (byte, error) {
	for d.at+1 < len(d.b) {
		if d.b[d.at] == 0xff && d.b[d.at+1] != 0 && d.b[d.at+1] != 0xff {
			d.at += 2
			return d.b[d.at-1], nil
		}
		d.at++
	}
	return 0, errShort
}

func (d *decoder) quantization(b []byte) error {
	for len(b) > 0 {
		kind, id := b[0]>>4, b[0]&15
		size := 1 + int(kind)
		if kind > 1 || id > 3 || len(b) < 1+64*size {
			return fmt.Errorf("quantization table: damaged")
		}
		t := new([64]uint16)
		for i := range t {
			if kind == 0 {
				t[zigzag[i]] = uint16(b[1+i])
			} else {
				t[zigzag[i]] = binary.BigEndian.Uint16(b[1+2*i:])
			}
		}
		d.quant[id] = t
		b = b[1+64*size:]
	}
	return nil
}

func (d *decoder) huffmanTables(b []byte) error {
	for len(b) > 0 {
		if len(b) < 17 || b[0]>>4 > 1 || b[0]&15 > 3 {
			return fmt.Errorf("table of Huffman codes: damaged")
		}
		n := 0
		for _, c := range b[1:17] {
			n += int(c)
		}
		if n > 256 || len(b) < 17+n {
			return fmt.Errorf("table of Huffman codes: have %d codes in %d bytes", n, len(b))
		}
		t, err := newHuffman(b[1:17], b[17:17+n])
		if err != nil {
			return err
		}
		d.tables[b[0]>>4][b[0]&15] = t
		b = b[17+n:]
	}
	return nil
}

// start reads a frame header.
func (d *decoder) start(mark byte, b []byte) error {
	if d.frame != 0 {
		return fmt.Errorf("it has two frames")
	}
	if len(b) < 6 || len(b) < 6+3*int(b[5]) || b[5] < 1 || b[5] > 4 {
		return fmt.Errorf("frame header: damaged")
	}
	d.bits, d.h, d.w = int(b[0]), int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
	switch {
	case d.w == 0 || d.h == 0:
		return fmt.Errorf("have %d x %d pixels, want at least one (a height behind the data is not read)", d.w, d.h)
	case mark == markSOF0 && d.bits != 8, (mark == markSOF1 || mark == markSOF2) && d.bits != 8 && d.bits != 12, mark == markSOF3 && (d.bits < 2 || d.bits > 16):
		return fmt.Errorf("have %d bits a sample, want 8, 12 or, lossless, 2 to 16", d.bits)
	}
	least := 8 // samples for a byte at most: a bit each
	if mark != markSOF3 {
		least = 256 // a block of 64 in two bits
	}
	if mark == markSOF2 {
		least = 512
	}
	if d.w*d.h > MaxPixels || d.w*d.h/least > len(d.b) {
		return fmt.Errorf("have %d bytes for %d x %d pixels", len(d.b), d.w, d.h)
	}
	d.hMax, d.vMax = 1, 1
	for i := range int(b[5]) {
		p := b[6+3*i:]
		c := component{id: p[0], h: p[1] >> 4, v: p[1] & 15, quant: p[2]}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.quant > 3 {
			return fmt.Errorf("frame header: component %d is damaged", i)
		}
		if mark == markSOF3 && (c.h != 1 || c.v != 1) && b[5] > 1 {
			return fmt.Errorf("it is lossless with components of several sizes, which is not read")
		}
		if b[5] == 1 { // the factors of one component mean nothing
			c.h, c.v = 1, 1
		}
		d.hMax, d.vMax = max(d.hMax, int(c.h)), max(d.vMax, int(c.v))
		d.components = append(d.components, c)
	}
	for i := range d.components {
		c := &d.components[i]
		c.w, c.rows = up(d.w*int(c.h), d.hMax), up(d.h*int(c.v), d.vMax)
		c.stride, c.lines = c.w, c.rows
		if mark != markSOF3 {
			c.stride, c.lines = up(d.w, 8*d.hMax)*8*int(c.h), up(d.h, 8*d.vMax)*8*int(c.v)
		}
		c.samples = make([]uint16, c.stride*c.lines)
		if mark == markSOF2 {
			c.coefficients = make([]int16, c.stride*c.lines)
		}
	}
	d.frame = mark
	return nil
}

// up is a/b, rounded up.
func up(a, b int) int { return (a + b - 1) / b }

// scan reads a scan's header and its data.
func (d *decoder) scan(b []byte) error {
	if d.frame == 0 {
		return fmt.Errorf("a scan before the frame header")
	}
	if len(b) < 1 || len(b) < 4+2*int(b[0]) || b[0] < 1 || b[0] > 4 {
		return fmt.Errorf("scan header: damaged")
	}
	var in []*component
	for i := range int(b[0]) {
		id, tables := b[1+2*i], b[2+2*i]
		at := -1
		for j := range d.components {
			if d.components[j].id == id && (!d.components[j].seen || d.frame == markSOF2) && !slices.Contains(in, &d.components[j]) {
				at = j
				break
			}
		}
		if at < 0 || tables>>4 > 3 || tables&15 > 3 {
			return fmt.Errorf("scan header: component %d is unknown or comes twice", id)
		}
		c := &d.components[at]
		c.dc, c.ac, c.seen = d.tables[0][tables>>4], d.tables[1][tables&15], true
		if c.table == nil {
			c.table = d.quant[c.quant]
		}
		if d.frame == markSOF2 { // which tables it needs its coefficients say
			if c.table == nil {
				return fmt.Errorf("scan header: component %d has no table", id)
			}
			in = append(in, c)
			continue
		}
		if c.dc == nil || d.frame != markSOF3 && (c.ac == nil || d.quant[c.quant] == nil) {
			return fmt.Errorf("scan header: component %d has no table", id)
		}
		in = append(in, c)
	}
	first, last, point := b[1+2*int(b[0])], b[2+2*int(b[0])], b[3+2*int(b[0])]
	r := &bitReader{b: d.b, at: d.at}
	var err error
	switch d.frame {
	case markSOF2:
		err = d.progressive(r, in, band{int(first), int(last), point >> 4, point & 15})
	case markSOF3:
		if first < 1 || first > 7 || point>>4 != 0 || int(point) >= d.bits {
			return fmt.Errorf("scan header: have predictor %d and point transform %d, want 1 to 7 and less than %d", first, point, d.bits)
		}
		err = d.lossless(r, in, int(first), uint(point))
	default:
		if first != 0 || last != 63 || point != 0 {
			return fmt.Errorf("scan header: have coefficients %d to %d, want 0 to 63", first, last)
		}
		err = d.sequential(r, in)
	}
	d.at = r.at
	return err
}

// atRestart reads the marker between intervals.
func (d *decoder) atRestart(r *bitReader, n int) error {
	d.at = r.at
	mark, err := d.marker()
	if err != nil {
		return err
	}
	if mark != markRST0+byte(n%8) {
		return fmt.Errorf("have marker %02X, want restart %d", mark, n%8)
	}
	*r = bitReader{b: d.b, at: d.at}
	return nil
}
