// Package jpegls decodes JPEG-LS (ITU-T T.87), lossless and near-lossless, of 2 to 16 bits and up to 4 components in every interleave.
package jpegls

import (
	"encoding/binary"
	"fmt"
)

// An Image holds a plane of samples for each component, all of W x H, row-major. Near is the largest error of the coding.
type Image struct {
	W, H, Bits, Near int
	Planes           [][]uint16
}

// MaxPixels is the largest picture that is decoded. Rows are laid out as they are decoded, so that memory follows the data.
const MaxPixels = 1 << 27

// Markers (T.87 C.1).
const (
	markSOI   = 0xd8
	markEOI   = 0xd9
	markSOS   = 0xda
	markDRI   = 0xdd
	markAPP8  = 0xe8
	markSOF55 = 0xf7
	markLSE   = 0xf8
)

type preset struct{ maximum, t1, t2, t3, reset int }

// Decode reads one JPEG-LS picture. Bytes behind its end are ignored.
func Decode(b []byte) (*Image, error) {
	if len(b) < 2 || b[0] != 0xff || b[1] != markSOI {
		return nil, fmt.Errorf("not a JPEG-LS stream")
	}
	var m Image
	var ids []byte
	var custom preset
	for at := 2; ; {
		for at < len(b) && b[at] == 0xff && at+1 < len(b) && b[at+1] == 0xff { // fill bytes
			at++
		}
		if len(b)-at < 2 {
			return nil, errShort
		}
		if b[at] != 0xff {
			return nil, fmt.Errorf("at byte %d: have %02X, want a marker", at, b[at])
		}
		mark := b[at+1]
		at += 2
		if mark == markEOI {
			break
		}
		if len(b)-at < 2 {
			return nil, errShort
		}
		n := int(binary.BigEndian.Uint16(b[at:]))
		if n < 2 || n > len(b)-at {
			return nil, fmt.Errorf("marker %02X: have %d bytes, want %d", mark, len(b)-at, n)
		}
		s := b[at+2 : at+n]
		at += n
		switch {
		case mark == markSOF55:
			if m.W != 0 {
				return nil, fmt.Errorf("it has two frames")
			}
			if len(s) < 6 || len(s) < 6+3*int(s[5]) || s[5] < 1 || s[5] > 4 {
				return nil, fmt.Errorf("frame header: damaged")
			}
			m.Bits, m.H, m.W = int(s[0]), int(binary.BigEndian.Uint16(s[1:])), int(binary.BigEndian.Uint16(s[3:]))
			if m.Bits < 2 || m.Bits > 16 || m.W == 0 || m.H == 0 || m.W*m.H > MaxPixels {
				return nil, fmt.Errorf("have %d x %d pixels of %d bits, want at least one and 2 to 16 bits", m.W, m.H, m.Bits)
			}
			for i := range int(s[5]) {
				if s[7+3*i] != 0x11 {
					return nil, fmt.Errorf("it has components of several sizes, which is not read")
				}
				ids = append(ids, s[6+3*i])
			}
			m.Planes = make([][]uint16, len(ids))
		case mark == markLSE:
			if len(s) < 11 || s[0] != 1 {
				return nil, fmt.Errorf("it has a mapping table or large dimensions (LSE), which is not read")
			}
			v := func(i int) int { return int(binary.BigEndian.Uint16(s[1+2*i:])) }
			custom = preset{v(0), v(1), v(2), v(3), v(4)}
		case mark == markDRI:
			for _, x := range s {
				if x != 0 {
					return nil, fmt.Errorf("it has restart intervals, which are not read")
				}
			}
		case mark == markAPP8 && len(s) >= 5 && string(s[:4]) == "mrfx" && s[4] != 0:
			return nil, fmt.Errorf("it has HP's colour transform %d, which is not read", s[4])
		case mark == markSOS:
			used, err := m.scan(s, b[at:], ids, custom)
			if err != nil {
				return nil, err
			}
			at += used
		case mark >= 0xc0 && mark <= 0xcf && mark != 0xc4 && mark != 0xcc:
			return nil, fmt.Errorf("it is another kind of JPEG (SOF%d), want JPEG-LS", mark-0xc0)
		}
	}
	if m.W == 0 {
		return nil, fmt.Errorf("it has no frame")
	}
	for i, p := range m.Planes {
		if len(p) == 0 {
			return nil, fmt.Errorf("component %d has no data", i)
		}
	}
	return &m, nil
}

var errShort = fmt.Errorf("the JPEG-LS stream is cut short")

// scan decodes a scan and gives how many bytes its data have.
func (m *Image) scan(head, data, ids []byte, custom preset) (used int, err error) {
	if m.W == 0 {
		return 0, fmt.Errorf("a scan before the frame header")
	}
	if len(head) < 1 || len(head) < 4+2*int(head[0]) || head[0] < 1 || head[0] > 4 {
		return 0, fmt.Errorf("scan header: damaged")
	}
	n := int(head[0])
	var in []int
	for i := range n {
		at := -1
		for j, id := range ids {
			if id == head[1+2*i] && len(m.Planes[j]) == 0 {
				at = j
				break
			}
		}
		if at < 0 || contains(in, at) {
			return 0, fmt.Errorf("scan header: component %d is unknown or comes twice", head[1+2*i])
		}
		if head[2+2*i] != 0 {
			return 0, fmt.Errorf("it has a mapping table, which is not read")
		}
		in = append(in, at)
	}
	near, interleave, point := int(head[1+2*n]), int(head[2+2*n]), head[3+2*n]
	if interleave > 2 || point != 0 || interleave == 0 && n > 1 || near > min(255, (1<<m.Bits-1)/2) {
		return 0, fmt.Errorf("scan header: have an error of %d, interleave %d of %d components and a point transform of %d", near, interleave, n, point)
	}
	m.Near = max(m.Near, near)
	s, err := newScan(m.Bits, near, custom)
	if err != nil {
		return 0, err
	}
	s.in = bitReader{b: data}
	// A row has a sample on either side, so that every neighbour exists.
	rows := make([][2][]int32, n)
	for i := range rows {
		rows[i] = [2][]int32{make([]int32, m.W+2), make([]int32, m.W+2)}
	}
	runs := make([]int, n)
	for y := range m.H {
		above, row := make([][]int32, n), make([][]int32, n)
		for i := range n {
			above[i], row[i] = rows[i][y%2], rows[i][1-y%2]
			above[i][m.W+1] = above[i][m.W]
			row[i][0] = above[i][1]
		}
		if interleave == 2 && n > 1 {
			err = s.pixels(above, row, m.W)
		} else {
			for i := range n {
				s.run = runs[i]
				if err = s.row(above[i], row[i], m.W); err != nil {
					break
				}
				runs[i] = s.run
			}
		}
		if err != nil {
			return 0, err
		}
		for i, c := range in {
			for _, x := range row[i][1 : m.W+1] {
				m.Planes[c] = append(m.Planes[c], uint16(x))
			}
		}
	}
	return s.in.end(), nil
}

func contains(in []int, x int) bool {
	for _, i := range in {
		if i == x {
			return true
		}
	}
	return false
}

// A bitReader reads a scan's bits; after a byte FF the next has seven.
type bitReader struct {
	b    []byte
	at   int
	bits uint64
	n    int
}

func (r *bitReader) fill() {
	for r.n <= 48 && r.at < len(r.b) {
		x := r.b[r.at]
		if x == 0xff && (r.at+1 >= len(r.b) || r.b[r.at+1] >= 0x80) { // a marker
			return
		}
		if r.at > 0 && r.b[r.at-1] == 0xff {
			r.bits, r.n = r.bits<<7|uint64(x&0x7f), r.n+7
		} else {
			r.bits, r.n = r.bits<<8|uint64(x), r.n+8
		}
		r.at++
	}
}

// end is where the marker behind the data is.
func (r *bitReader) end() int {
	for at := max(r.at-8, 0); at+1 < len(r.b); at++ {
		if r.b[at] == 0xff && r.b[at+1] >= 0x80 {
			return at
		}
	}
	return len(r.b)
}

// read gives n bits, 32 at most.
func (r *bitReader) read(n int) (int, error) {
	if r.n < n {
		if r.fill(); r.n < n {
			return 0, errShort
		}
	}
	r.n -= n
	return int(r.bits >> uint(r.n) & (1<<uint(n) - 1)), nil
}
