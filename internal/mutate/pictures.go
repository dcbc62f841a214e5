package mutate

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
)

// TIFF changes fields of the first directory: their tags, types, counts and values.
func TIFF(r *rand.Rand, b []byte) []byte {
	if len(b) < 10 {
		return Bytes(r, b)
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if b[0] == 'M' {
		order = binary.BigEndian
	}
	at := int(order.Uint32(b[4:]))
	if order.Uint16(b[2:]) != 42 || at > len(b)-2 {
		return Bytes(r, b)
	}
	b = bytes.Clone(b)
	n := int(order.Uint16(b[at:]))
	for range 1 + r.IntN(3) {
		if e := at + 2 + 12*r.IntN(max(n, 1)); e+12 <= len(b) {
			switch r.IntN(4) {
			case 0:
				order.PutUint16(b[e+2:], uint16(r.IntN(20)))
			case 1:
				order.PutUint32(b[e+4:], uint32(pick(r, edges)))
			default: // a short number stands in the first half
				if x := uint32(pick(r, edges)); order.Uint16(b[e+2:]) == 3 {
					order.PutUint16(b[e+8:], uint16(x))
				} else {
					order.PutUint32(b[e+8:], x)
				}
			}
		}
	}
	return b
}

// JPEG changes bytes of marker segments, which come before the scan, and sizes of the frame.
func JPEG(r *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	var segments [][]byte
	for at := 2; at+4 <= len(b) && b[at] == 0xff; {
		n := 2 + int(binary.BigEndian.Uint16(b[at+2:]))
		if at+n > len(b) {
			break
		}
		segments = append(segments, b[at:at+n])
		if at += n; b[at-n+1] == 0xda {
			break
		}
	}
	if len(segments) == 0 {
		return Bytes(r, b)
	}
	for range 1 + r.IntN(3) {
		s := pick(r, segments)
		if s[1]&0xf0 == 0xc0 && len(s) > 9 && r.IntN(2) == 0 {
			number(r, s[5+2*r.IntN(2):])
		} else {
			number(r, s[1+r.IntN(len(s)-1):])
		}
	}
	return b
}

// Records changes numbers of a header of fixed records: NIfTI, GIF, BMP, RIFF.
func Records(size int) Func {
	return func(r *rand.Rand, b []byte) []byte {
		b = bytes.Clone(b)
		for range 1 + r.IntN(4) {
			if n := min(size, len(b)); n > 0 {
				number(r, b[r.IntN(n)&^1:])
			}
		}
		return b
	}
}

// DICOM changes lengths, types and values of elements with explicit types, little endian; some are removed or repeated.
func DICOM(r *rand.Rand, b []byte) []byte {
	if len(b) < 140 || string(b[128:132]) != "DICM" {
		return Bytes(r, b)
	}
	var parts [][]byte
	at := 132
	for at+12 <= len(b) {
		n := 8 + int(binary.LittleEndian.Uint16(b[at+6:]))
		switch string(b[at+4 : at+6]) {
		case "OB", "OW", "OF", "OD", "SQ", "UN", "UT", "UC", "UR", "OL":
			n = 12 + int(binary.LittleEndian.Uint32(b[at+8:]))
		}
		if n < 8 || n > len(b)-at {
			break
		}
		parts = append(parts, b[at:at+n])
		at += n
	}
	out := bytes.Clone(b[:132])
	for _, p := range elsewhere(r, parts, func(r *rand.Rand, p []byte) []byte {
		p = bytes.Clone(p)
		switch kind := string(p[4:6]); {
		case r.IntN(5) == 0:
			number(r, p[4+r.IntN(4):])
		case (kind == "DS" || kind == "IS") && len(p) > 8:
			text := digits(r, p[8:])
			text = append(text, make([]byte, len(text)%2)...)
			p = append(p[:8:8], text...)
			binary.LittleEndian.PutUint16(p[6:], uint16(len(text)))
		case len(p) > 8:
			number(r, p[8+r.IntN(len(p)-8)&^1:])
		}
		return p
	}) {
		out = append(out, p...)
	}
	return append(out, b[at:]...)
}
