// Package mutate damages files for tests: their bytes, and what they are made of (archives, pickles, protocol buffers, JSON, headers of pictures), so
// that a reader gets past its first check. The same source of random numbers gives the same file.
package mutate

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
)

// A Func makes a damaged file of a good one, which it leaves as it is.
type Func func(r *rand.Rand, b []byte) []byte

// edges are the numbers at which sizes and offsets go wrong.
var edges = []uint64{0, 1, 2, 3, 7, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x989680, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff, 0x100000000,
	0x7ffffffffffffff8, 0x7fffffffffffffff, 0x8000000000000000, 0xfffffffffffffff8, 0xffffffffffffffff}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// Bytes changes up to eight places: bits, numbers of all widths in both byte orders, runs that are removed, repeated or filled; sometimes it cuts the end.
// Half of the places lie in the first 512 bytes.
func Bytes(r *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	for range 1 + r.IntN(8) {
		if len(b) == 0 {
			return []byte{byte(r.Uint32())}
		}
		at := r.IntN(len(b))
		if r.IntN(2) == 0 {
			at = r.IntN(min(len(b), 512))
		}
		n := min(1+r.IntN(16), len(b)-at)
		switch r.IntN(9) {
		case 0, 1:
			b[at] ^= 1 << r.IntN(8)
		case 2:
			b[at] = byte(r.Uint32())
		case 3, 4:
			number(r, b[at:])
		case 5:
			b = append(b[:at:at], b[at+n:]...)
		case 6:
			b = append(b[:at:at], append(bytes.Repeat(b[at:at+n], 1+r.IntN(3)), b[at:]...)...)
		case 7:
			copy(b[at:at+n], bytes.Repeat([]byte{byte(r.Uint32())}, n))
		case 8:
			if r.IntN(4) == 0 {
				b = b[:at]
			}
		}
	}
	return b
}

// number writes an edge, or one near the number that stands there, over the beginning of b.
func number(r *rand.Rand, b []byte) {
	x, width := pick(r, edges), pick(r, []int{1, 2, 4, 8})
	if width > len(b) {
		return
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if r.IntN(2) == 0 {
		order = binary.BigEndian
	}
	if r.IntN(3) == 0 {
		word := make([]byte, 8)
		if order == binary.ByteOrder(binary.LittleEndian) {
			copy(word, b[:width])
		} else {
			copy(word[8-width:], b[:width])
		}
		x = order.Uint64(word) + uint64(r.IntN(5)) - 2
	}
	word := make([]byte, 8)
	order.PutUint64(word, x)
	if order == binary.ByteOrder(binary.BigEndian) {
		word = word[8-width:]
	}
	copy(b, word[:width])
}

// elsewhere changes a few whole parts of a file: it removes, repeats, exchanges or damages them.
func elsewhere(r *rand.Rand, parts [][]byte, damage Func) [][]byte {
	out := append([][]byte(nil), parts...)
	for range 1 + r.IntN(3) {
		if len(out) == 0 {
			return out
		}
		at, to := r.IntN(len(out)), r.IntN(len(out))
		switch r.IntN(6) {
		case 0:
			out = append(out[:at:at], out[at+1:]...)
		case 1:
			out = append(out[:at:at], append([][]byte{out[at]}, out[at:]...)...)
		case 2:
			out[at], out[to] = out[to], out[at]
		default:
			out[at] = damage(r, out[at])
		}
	}
	return out
}
