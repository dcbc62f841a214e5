// Package dcm reads the data set of a DICOM file (PS3.5, PS3.10): the attributes that say how pixels are stored and shown, and the
// pixels' bytes. What it keeps are parts of the file's own bytes.
package dcm

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// maxDepth is how deep sequences may lie in each other.
const maxDepth = 16

const (
	preamble        = 128
	magic           = "DICM"
	undefinedLength = 0xffffffff
	itemTag         = Tag(0xfffee000)
	itemEndTag      = Tag(0xfffee00d)
	sequenceEndTag  = Tag(0xfffee0dd)
)

// A File is what a DICOM file holds. Little tells the byte order of its pixels.
type File struct {
	*Dataset
	Syntax Syntax
	Pixels Element // Pixel Data, Float Pixel Data or Double Float Pixel Data; its Tag is 0 where there are none
	Order  binary.ByteOrder
}

// An Element is an attribute's bytes: a value, the items of a sequence, or the fragments of compressed pixels (the first is the
// offset table).
type Element struct {
	Tag       Tag
	VR        string // empty where the file does not say
	Value     []byte
	Items     []*Dataset
	Fragments []Fragment
}

// A Fragment is a part of compressed pixels; At is where its item starts, counted from the first item after the offset table.
type Fragment struct {
	At    uint64
	Bytes []byte
}

// HasMagic reports whether the first bytes of a file (at least 132) have DICOM's magic. What stands before it may be another format's
// head: a TIFF's, whose pixels are DICOM's without what they mean.
func HasMagic(head []byte) bool {
	return len(head) >= preamble+len(magic) && string(head[preamble:][:len(magic)]) == magic
}

// Is reports whether the first bytes of a file (at least 132, or all) are those of a DICOM file: its magic, or, where the preamble is
// missing, a first element that only a data set can start with.
func Is(head []byte) bool {
	if HasMagic(head) {
		return true
	}
	if len(head) < 16 {
		return false
	}
	e := guess(head)
	group, element, length := e.order.Uint16(head), e.order.Uint16(head[2:]), e.order.Uint32(head[4:])
	if e.explicit {
		return known[string(head[4:6])] != 0 && (group == 2 || group == 8)
	}
	return (group == 2 || group == 8) && element < 0x100 && (length <= 64 && length%2 == 0 && (element != 0 || length == 4))
}

// An encoding is how elements are written.
type encoding struct {
	explicit bool
	order    binary.ByteOrder
}

// guess tells the encoding from an element's first bytes: two letters where its representation stands, the group's high byte.
func guess(b []byte) encoding {
	e := encoding{order: binary.LittleEndian}
	if len(b) < 8 {
		return e
	}
	e.explicit = letters(b[4:6])
	if e.order.Uint16(b) >= 0x400 && binary.BigEndian.Uint16(b) < 0x400 {
		e.order = binary.BigEndian
	}
	return e
}

func letters(b []byte) bool { return b[0] >= 'A' && b[0] <= 'Z' && b[1] >= 'A' && b[1] <= 'Z' }

// known are the value representations: the bytes of their length field.
var known = map[string]int{
	"AE": 2, "AS": 2, "AT": 2, "CS": 2, "DA": 2, "DS": 2, "DT": 2, "FD": 2, "FL": 2, "IS": 2, "LO": 2, "LT": 2, "PN": 2, "SH": 2,
	"SL": 2, "SS": 2, "ST": 2, "TM": 2, "UI": 2, "UL": 2, "US": 2,
	"OB": 4, "OD": 4, "OF": 4, "OL": 4, "OV": 4, "OW": 4, "SQ": 4, "SV": 4, "UC": 4, "UN": 4, "UR": 4, "UT": 4, "UV": 4,
}

// Parse reads a DICOM file with or without preamble and file meta information; limit is the most bytes that a deflated data set may
// become. Zeros and broken elements behind the pixels are ignored: nothing there changes them.
func Parse(b []byte, limit int) (*File, error) {
	f := &File{Dataset: &Dataset{}}
	if !Is(b) {
		return nil, fmt.Errorf("not a DICOM file")
	}
	at := 0
	if HasMagic(b) {
		at = preamble + len(magic)
	}
	left := maxItems
	p := parser{b: b, at: at, left: &left}
	if e := guess(b[at:]); len(b)-at >= 8 && e.order.Uint16(b[at:]) == 2 {
		p.encoding = e
		for p.at+2 <= len(b) && p.order.Uint16(b[p.at:]) == 2 {
			e, err := p.element(len(b), 0)
			if err != nil {
				return nil, fmt.Errorf("file meta information: %w", err)
			}
			f.set(e)
		}
	}
	uid := f.Text(TransferSyntaxUID)
	if uid == "" { // a file without meta information
		p.encoding = guess(b[p.at:])
		uid = map[encoding]string{
			{false, binary.LittleEndian}: implicitLittle, {true, binary.LittleEndian}: explicitLittle, {true, binary.BigEndian}: explicitBig,
		}[p.encoding]
	}
	var ok bool
	if f.Syntax, ok = syntaxes[uid]; !ok {
		return nil, fmt.Errorf("attribute Transfer Syntax UID: have %q, which is not known; to convert the file: %s", uid, Syntax{}.WayOut())
	}
	f.Syntax.UID = uid
	if f.Syntax.Deflated {
		r := io.LimitReader(flate.NewReader(bytes.NewReader(b[p.at:])), int64(limit)+1)
		inflated, err := io.ReadAll(r)
		if err != nil {
			return nil, fmt.Errorf("deflated data set: %w", err)
		}
		if len(inflated) > limit {
			return nil, fmt.Errorf("deflated data set: have more than %d bytes", limit)
		}
		p = parser{b: inflated, left: &left}
	}
	f.Order = binary.LittleEndian
	if uid == explicitBig {
		f.Order = binary.BigEndian
	}
	p.encoding = encoding{uid != implicitLittle, f.Order}
	if len(p.b)-p.at >= 8 && p.explicit != letters(p.b[p.at+4:]) { // files whose syntax is not the one they name
		p.explicit = !p.explicit
	}
	f.order = f.Order
	for p.at < len(p.b) {
		e, err := p.element(len(p.b), 0)
		if err != nil {
			if f.Pixels.Tag != 0 {
				break
			}
			return nil, err
		}
		switch {
		case e.Tag == 0 && len(bytes.Trim(p.b[p.at:], "\x00")) == 0:
			return f, nil
		case e.Tag == PixelData || e.Tag == FloatPixelData || e.Tag == DoubleFloatPixelData:
			if f.Pixels.Tag != 0 {
				return nil, fmt.Errorf("have both %s and %s, want one", f.Pixels.Tag, e.Tag)
			}
			f.Pixels = e
		default:
			f.set(e)
		}
	}
	return f, nil
}

type parser struct {
	encoding
	b    []byte
	at   int
	left *int // items of sequences that may come
}

// maxItems is how many items of sequences and fragments of pixels a file may have: each takes more memory than the 8 bytes that it is written in.
const maxItems = 1 << 19

func (p *parser) take(n, end int) ([]byte, error) {
	if n > end-p.at {
		return nil, fmt.Errorf("the file is cut short or damaged: at byte %d: have %d bytes, want %d", p.at, end-p.at, n)
	}
	p.at += n
	return p.b[p.at-n : p.at], nil
}

// element reads one element that ends before end.
func (p *parser) element(end, depth int) (e Element, err error) {
	if depth > maxDepth {
		return e, fmt.Errorf("at byte %d: sequences lie deeper than %d", p.at, maxDepth)
	}
	start := p.at
	head, err := p.take(8, end)
	if err != nil {
		return e, err
	}
	e.Tag = Tag(p.order.Uint16(head))<<16 | Tag(p.order.Uint16(head[2:]))
	length := p.order.Uint32(head[4:])
	if p.explicit && e.Tag>>16 != itemTag>>16 {
		if e.VR = string(head[4:6]); known[e.VR] == 0 && !letters(head[4:]) && e.Tag != 0 {
			return e, fmt.Errorf("%s at byte %d: have the value representation %q", e.Tag, start, e.VR)
		}
		length = uint32(p.order.Uint16(head[6:]))
		if known[e.VR] == 4 {
			long, err := p.take(4, end)
			if err != nil {
				return e, err
			}
			length = p.order.Uint32(long)
		}
	}
	if length == undefinedLength {
		if e.Tag == PixelData {
			e.Fragments, err = p.fragments(end)
			return e, err
		}
		inner := *p
		if e.VR == "UN" {
			inner.encoding = encoding{false, binary.LittleEndian}
		}
		e.Items, err = inner.items(end, depth, true)
		p.at = inner.at
		return e, err
	}
	if uint64(length) > uint64(end-p.at) {
		return e, fmt.Errorf("%s at byte %d: the file is cut short or damaged: have %d bytes, want %d", e.Tag, start, end-p.at, length)
	}
	if e.Value, err = p.take(int(length), end); err != nil || attributes[e.Tag].vr != "SQ" {
		return e, err
	}
	inner := parser{p.encoding, p.b, p.at - int(length), p.left}
	if e.VR == "UN" {
		inner.encoding = encoding{false, binary.LittleEndian}
	}
	e.Items, err = inner.items(p.at, depth, false)
	return e, err
}

// items reads the items of a sequence up to end, or up to its delimiter.
func (p *parser) items(end, depth int, delimited bool) (items []*Dataset, err error) {
	for delimited || p.at < end {
		head, err := p.take(8, end)
		if err != nil {
			return nil, err
		}
		t, length := Tag(p.order.Uint16(head))<<16|Tag(p.order.Uint16(head[2:])), p.order.Uint32(head[4:])
		if t == sequenceEndTag && delimited {
			return items, nil
		}
		if *p.left--; *p.left < 0 {
			return nil, fmt.Errorf("at byte %d: have more than %d items of sequences", p.at-8, maxItems)
		}
		if t != itemTag {
			return nil, fmt.Errorf("at byte %d: have %s, want an item of a sequence", p.at-8, t)
		}
		stop := end
		if length != undefinedLength {
			if uint64(length) > uint64(end-p.at) {
				return nil, fmt.Errorf("item at byte %d: have %d bytes, want %d", p.at-8, end-p.at, length)
			}
			stop = p.at + int(length)
		}
		d := &Dataset{order: p.order}
		ended := length != undefinedLength
		for p.at < stop {
			e, err := p.element(stop, depth+1)
			if err != nil {
				return nil, err
			}
			if e.Tag == itemEndTag && length == undefinedLength {
				ended = true
				break
			}
			d.set(e)
		}
		if !ended {
			return nil, fmt.Errorf("an item does not end")
		}
		items = append(items, d)
	}
	return items, nil
}

// fragments reads the items of compressed pixels up to their delimiter.
func (p *parser) fragments(end int) (out []Fragment, err error) {
	first := 0
	for {
		start := p.at
		head, err := p.take(8, end)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", PixelData, err)
		}
		t, length := Tag(p.order.Uint16(head))<<16|Tag(p.order.Uint16(head[2:])), p.order.Uint32(head[4:])
		switch {
		case t == sequenceEndTag:
			return out, nil
		case t != itemTag:
			return nil, fmt.Errorf("%s: at byte %d: have %s, want a fragment", PixelData, start, t)
		case uint64(length) > uint64(end-p.at):
			return nil, fmt.Errorf("%s: the file is cut short: fragment at byte %d: have %d bytes, want %d", PixelData, start, end-p.at, length)
		}
		if len(out) == 1 {
			first = start
		}
		b, err := p.take(int(length), end)
		if err != nil {
			return nil, err
		}
		if *p.left--; *p.left < 0 {
			return nil, fmt.Errorf("%s: at byte %d: have more than %d fragments", PixelData, start, maxItems)
		}
		f := Fragment{Bytes: b}
		if len(out) > 0 {
			f.At = uint64(start - first)
		}
		out = append(out, f)
	}
}

// Frames gives the bytes of each of n compressed frames, by the offset tables, else a fragment each, else by the marker that every
// frame of the JPEG family starts with.
func (f *File) Frames(n int) ([][]byte, error) {
	if len(f.Pixels.Fragments) == 0 {
		return nil, fmt.Errorf("%s: have none that is compressed, want %s", PixelData, f.Syntax.Name)
	}
	table, fragments := f.Pixels.Fragments[0].Bytes, f.Pixels.Fragments[1:]
	var starts []uint64
	for i := 0; i+4 <= len(table); i += 4 {
		starts = append(starts, uint64(f.Order.Uint32(table[i:])))
	}
	if e := f.at(ExtendedOffsetTable); len(e.Value) >= 8 {
		starts = starts[:0]
		for i := 0; i+8 <= len(e.Value); i += 8 {
			starts = append(starts, f.Order.Uint64(e.Value[i:]))
		}
	}
	isStart := map[uint64]bool{}
	for _, at := range starts {
		isStart[at] = true
	}
	ways := []func(i int, at uint64, b []byte) bool{
		func(i int, _ uint64, _ []byte) bool { return i == 0 },
		func(_ int, at uint64, _ []byte) bool { return isStart[at] },
		func(int, uint64, []byte) bool { return true },
		func(_ int, _ uint64, b []byte) bool { return bytes.HasPrefix(b, []byte{0xff, 0xd8, 0xff}) },
	}
	if len(starts) > 0 && len(starts) != n && (n == 1 || len(fragments) != n) {
		return nil, fmt.Errorf("%s: the offset table has %d frames, want %d", PixelData, len(starts), n)
	}
	for _, begins := range ways {
		var frames [][][]byte
		for i, fragment := range fragments {
			if begins(i, fragment.At, fragment.Bytes) {
				frames = append(frames, nil)
			}
			if len(frames) == 0 { // the first fragment belongs to no frame
				break
			}
			frames[len(frames)-1] = append(frames[len(frames)-1], fragment.Bytes)
		}
		if len(frames) != n {
			continue
		}
		out := make([][]byte, n)
		for i, parts := range frames {
			if out[i] = parts[0]; len(parts) > 1 {
				out[i] = bytes.Join(parts, nil)
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("%s: have %d fragments for %d frames and no offset table that tells them apart; to convert the file: %s", PixelData, len(fragments), n, f.Syntax.WayOut())
}

// trim cuts the padding of a text value.
func trim(b []byte) string { return strings.Trim(string(b), " \x00") }
