package pictures

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"syncsam-convert/pictures/internal/jpeg"
)

// A jpegHead is what a JPEG stream says before its first scan.
type jpegHead struct {
	w, h, bits, samples int
	process             byte // the marker of its frame: 0xC0 baseline, 0xC2 progressive, ...
	exif                []byte
}

// jpegUnread are the processes that are not read, by marker.
var jpegUnread = map[byte]string{
	0xc3: "lossless JPEG", 0xc5: "hierarchical JPEG", 0xc6: "hierarchical JPEG", 0xc7: "hierarchical JPEG", 0xc9: "JPEG with arithmetic coding",
	0xca: "JPEG with arithmetic coding", 0xcb: "lossless JPEG with arithmetic coding", 0xcd: "hierarchical JPEG", 0xce: "hierarchical JPEG", 0xcf: "hierarchical JPEG", 0xf7: "JPEG-LS",
}

// scanJPEG reads the markers up to the first scan, and refuses what the decoder does not read by its name.
func scanJPEG(b []byte) (head jpegHead, err error) {
	short := fmt.Errorf("not a readable picture: JPEG: it ends early")
	for at := 2; at+4 <= len(b); {
		if b[at] != 0xff {
			at++ // what other readers skip, too
			continue
		}
		marker := b[at+1]
		if marker == 0xff || marker == 0 || marker == 1 || marker >= 0xd0 && marker <= 0xd8 {
			at++
			if marker != 0xff {
				at++
			}
			continue
		}
		n := int(binary.BigEndian.Uint16(b[at+2:]))
		if n < 2 || at+2+n > len(b) {
			return head, short
		}
		data := b[at+4 : at+2+n]
		at += 2 + n
		switch {
		case marker == 0xe1 && head.exif == nil && bytes.HasPrefix(data, []byte("Exif\x00")) && len(data) > 6:
			head.exif = data[6:]
		case marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc || marker == 0xf7:
			if len(data) < 6 || len(data) < 6+3*int(data[5]) {
				return head, short
			}
			head.process, head.bits = marker, int(data[0])
			head.h, head.w = int(binary.BigEndian.Uint16(data[1:])), int(binary.BigEndian.Uint16(data[3:]))
			head.samples = int(data[5])
			if name := jpegUnread[marker]; name != "" {
				return head, fmt.Errorf("it is %s, which is not read: convert it to PNG", name)
			}
			if head.bits != 8 {
				return head, fmt.Errorf("it is JPEG of %d bits, want 8: convert it to PNG or TIFF of 16 bits", head.bits)
			}
		case marker == 0xda || marker == 0xd9:
			if head.process == 0 {
				return head, fmt.Errorf("not a readable picture: JPEG without a frame")
			}
			return head, nil
		}
	}
	return head, short
}

// readJPEG reads a sequential or progressive JPEG file.
func readJPEG(f *source, frame *int) (*volume, error) {
	if err := onlyFirst(frame, 1); err != nil {
		return nil, err
	}
	b, err := f.whole()
	if err != nil {
		return nil, err
	}
	head, m, err := decodeJPEG(b)
	if err != nil {
		return nil, err
	}
	v, err := jpegColours(m)
	if err != nil {
		return nil, err
	}
	v.lossy, v.turn = true, exifTurn(head.exif)
	v.facts.Codec = "JPEG, sequential"
	if m.Progressive {
		v.facts.Codec = "JPEG, progressive"
	}
	return v, nil
}

// decodeJPEG decodes a stream whose size is within the limits.
func decodeJPEG(b []byte) (head jpegHead, m *jpeg.Image, err error) {
	if head, err = scanJPEG(b); err != nil {
		return head, nil, err
	}
	if _, err := within(head.w, head.h, 1, 4*max(head.samples, 1)); err != nil {
		return head, nil, err
	}
	if m, err = jpeg.Decode(b); err != nil {
		return head, nil, fmt.Errorf("not a readable picture: JPEG: %w", err)
	}
	return head, m, nil
}

// jpegColours makes a picture of a file's components. What they are the markers say, and the components' names, as libjpeg takes them.
func jpegColours(m *jpeg.Image) (*volume, error) {
	switch n := len(m.Planes); {
	case n == 1:
		return planar(m, nil), nil
	case n == 3 && !m.JFIF && (m.Adobe == 0 || m.Adobe < 0 && string(m.IDs) == "RGB"):
		return planar(m, nil), nil
	case n == 3:
		return planar(m, ycbcr), nil
	case n == 4 && m.Adobe >= 0: // stored inverted, as Adobe does: 255 is no ink
		convert := ycbcr
		if m.Adobe == 0 {
			convert = func(c, m, y uint8) (uint8, uint8, uint8) { return 255 - c, 255 - m, 255 - y }
		}
		v := planar(m, convert)
		colour := v.at
		v.at = func(i int) float64 { return float64(ink(uint8(colour(i)), 255-uint8(m.Planes[3][i/3]))) }
		return v, nil
	case n == 4:
		return nil, fmt.Errorf("JPEG of four components without an Adobe marker, which would say whether 0 or 255 is no ink: convert it to RGB")
	}
	return nil, fmt.Errorf("JPEG of %d components, want 1, 3 or 4: convert it to RGB", len(m.Planes))
}

// planar makes a picture of the first one or three planes of 8 bits, converted unless convert is nil.
func planar(m *jpeg.Image, convert func(a, b, c uint8) (uint8, uint8, uint8)) *volume {
	v := &volume{w: m.W, h: m.H, d: 1, channels: 1, facts: Facts{Bits: 8}}
	v.shallow()
	if len(m.Planes) == 1 {
		v.at = func(i int) float64 { return float64(m.Planes[0][i]) }
		return v
	}
	v.channels = 3
	if convert == nil {
		v.at = func(i int) float64 { return float64(m.Planes[i%3][i/3]) }
		return v
	}
	pix := make([]uint8, 3*m.W*m.H)
	for i, a := range m.Planes[0] {
		pix[3*i], pix[3*i+1], pix[3*i+2] = convert(uint8(a), uint8(m.Planes[1][i]), uint8(m.Planes[2][i]))
	}
	v.at = func(i int) float64 { return float64(pix[i]) }
	return v
}

// ycbcr is JFIF's conversion in the fixed point of libjpeg: 16 bits, rounded where it is added.
func ycbcr(y, cb, cr uint8) (r, g, b uint8) {
	const half = 1 << 15
	u, v, l := int(cb)-128, int(cr)-128, int(y)
	return clamp8(l + (91881*v+half)>>16), clamp8(l + (-22554*u-46802*v+half)>>16), clamp8(l + (116130*u+half)>>16)
}

func clamp8(x int) uint8 { return uint8(min(max(x, 0), 255)) }
