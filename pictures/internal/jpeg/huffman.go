package jpeg

import "fmt"

// A bitReader reads a scan's bits up to the next marker.
type bitReader struct {
	b     []byte
	at    int
	bits  uint64 // the last n are valid
	n     int
	ended bool // a marker is next
}

// fill gets at least 32 bits, if there are as many.
func (r *bitReader) fill() {
	for r.n <= 48 && !r.ended {
		if r.at >= len(r.b) {
			r.ended = true
			return
		}
		x := r.b[r.at]
		if x == 0xff {
			if r.at+1 >= len(r.b) || r.b[r.at+1] != 0 {
				r.ended = true
				return
			}
			r.at++
		}
		r.at++
		r.bits, r.n = r.bits<<8|uint64(x), r.n+8
	}
}

// peek gives the next n bits (16 at most), with zeros behind the last.
func (r *bitReader) peek(n int) uint32 {
	if r.n < n {
		if r.fill(); r.n < n {
			return uint32(r.bits<<uint(n-r.n)) & (1<<uint(n) - 1)
		}
	}
	return uint32(r.bits>>uint(r.n-n)) & (1<<uint(n) - 1)
}

func (r *bitReader) skip(n int) error {
	if n > r.n {
		return errShort
	}
	r.n -= n
	return nil
}

// extended reads a number of n bits as T.81 F.2.2.1 codes it: the upper half is positive.
func (r *bitReader) extended(n int) (int32, error) {
	if n == 0 {
		return 0, nil
	}
	x := int32(r.peek(n))
	if x < 1<<uint(n-1) {
		x += -1<<uint(n) + 1
	}
	return x, r.skip(n)
}

const lookBits = 9

// A huffman table decodes codes of up to 16 bits; those of up to lookBits at once: length<<8 | value, 0 where there is none.
type huffman struct {
	look   [1 << lookBits]uint16
	limit  [18]uint32 // codes of a length are below it, left-aligned to 16 bits
	offset [18]int32  // of a code's value among the values
	values []byte
}

func newHuffman(counts, values []byte) (*huffman, error) {
	t := &huffman{values: values}
	code, at := uint32(0), 0
	for length := 1; length <= 16; length++ {
		n := int(counts[length-1])
		t.offset[length] = int32(at) - int32(code)
		for range n {
			if length <= lookBits {
				for i := range 1 << uint(lookBits-length) {
					if k := code<<uint(lookBits-length) | uint32(i); int(k) < len(t.look) {
						t.look[k] = uint16(length)<<8 | uint16(values[at])
					}
				}
			}
			code++
			at++
		}
		if code > 1<<uint(length) {
			return nil, fmt.Errorf("table of Huffman codes: too many codes of %d bits", length)
		}
		t.limit[length] = code << uint(16-length)
		code <<= 1
	}
	return t, nil
}

func (t *huffman) decode(r *bitReader) (byte, error) {
	if e := t.look[r.peek(lookBits)]; e != 0 {
		return byte(e), r.skip(int(e >> 8))
	}
	x := r.peek(16)
	for length := lookBits + 1; length <= 16; length++ {
		if x < t.limit[length] {
			i := int32(x>>uint(16-length)) + t.offset[length]
			if i < 0 || int(i) >= len(t.values) {
				break
			}
			return t.values[i], r.skip(length)
		}
	}
	if r.n < 16 {
		return 0, errShort
	}
	return 0, fmt.Errorf("a code that is not in the Huffman table")
}
