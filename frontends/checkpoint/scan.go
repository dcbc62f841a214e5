package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// Bounds of a pickle. Real checkpoints stay two orders of magnitude below them.
const (
	maxPickle  = 32 << 20 // bytes
	maxOps     = 8 << 20
	maxMarks   = 10_000 // open at a time
	maxInteger = 1024   // bytes of one integer
)

// argument says what follows an opcode in the stream.
type argument struct {
	fixed int  // bytes
	size  int  // bytes of a little-endian length that so many bytes follow
	lines int  // lines
	short bool // the counted bytes are an integer
}

// opcodes of pickle protocols 0 to 5 that a checkpoint may contain. Extension codes and out-of-band buffers are not among them.
var opcodes = map[byte]argument{
	'(': {}, '.': {}, '0': {}, '1': {}, '2': {}, 'N': {}, 'Q': {}, 'R': {}, 'a': {}, 'b': {}, 'd': {}, '}': {}, 'e': {}, 'l': {},
	']': {}, 'o': {}, 's': {}, 't': {}, ')': {}, 'u': {}, 0x81: {}, 0x85: {}, 0x86: {}, 0x87: {}, 0x88: {}, 0x89: {},
	0x8f: {}, 0x90: {}, 0x91: {}, 0x92: {}, 0x93: {}, 0x94: {},
	'K': {fixed: 1}, 'M': {fixed: 2}, 'J': {fixed: 4}, 'G': {fixed: 8}, 0x80: {fixed: 1}, 0x95: {fixed: 8},
	'h': {fixed: 1}, 'j': {fixed: 4}, 'q': {fixed: 1}, 'r': {fixed: 4},
	'F': {lines: 1}, 'I': {lines: 1}, 'L': {lines: 1}, 'P': {lines: 1}, 'S': {lines: 1}, 'V': {lines: 1}, 'g': {lines: 1}, 'p': {lines: 1},
	'c': {lines: 2}, 'i': {lines: 2},
	'U': {size: 1}, 'T': {size: 4}, 'X': {size: 4}, 'B': {size: 4}, 'C': {size: 1}, 0x8c: {size: 1}, 0x8d: {size: 8}, 0x8e: {size: 8}, 0x96: {size: 8},
	0x8a: {size: 1, short: true}, 0x8b: {size: 4, short: true},
}

// scan walks a pickle's opcodes without executing anything and gives the length of the pickle up to its STOP. It fails
// on what the machine that runs next would not survive: lengths past the end, unknown opcodes, reads of memo entries
// that were never written, integers, nesting and streams past the bounds above.
func scan(data []byte) (int, error) {
	if len(data) > maxPickle {
		data = data[:maxPickle]
	}
	memo := map[int]bool{}
	marks, at := 0, 0
	for range maxOps {
		if at >= len(data) {
			return 0, errors.New("pickle: it ends without STOP")
		}
		op := data[at]
		arg, ok := opcodes[op]
		if !ok {
			return 0, fmt.Errorf("pickle: opcode 0x%02x at byte %d is not allowed", op, at)
		}
		start := at
		at++
		body, n, err := arg.body(data[at:])
		if err != nil {
			return 0, fmt.Errorf("pickle: opcode 0x%02x at byte %d: %w", op, start, err)
		}
		at += n
		switch op {
		case '.':
			return at, nil
		case '(':
			if marks++; marks > maxMarks {
				return 0, fmt.Errorf("pickle: more than %d marks are open", maxMarks)
			}
		case '1', 'd', 'e', 'i', 'l', 'o', 't', 'u', 0x90, 0x91:
			marks--
		case 'q', 'r', 'p':
			k, err := memoKey(op, body)
			if err != nil {
				return 0, err
			}
			memo[k] = true
		case 0x94:
			memo[len(memo)] = true
		case 'h', 'j', 'g':
			k, err := memoKey(op, body)
			if err != nil {
				return 0, err
			}
			if !memo[k] {
				return 0, fmt.Errorf("pickle: memo entry %d at byte %d was never written", k, start)
			}
		case 0x95:
			if n := binary.LittleEndian.Uint64(body); n > uint64(len(data)-at) {
				return 0, fmt.Errorf("pickle: frame of %d bytes at byte %d, have %d", n, start, len(data)-at)
			}
		}
	}
	return 0, fmt.Errorf("pickle: more than %d opcodes", maxOps)
}

func memoKey(op byte, body []byte) (int, error) {
	switch op {
	case 'h', 'q':
		return int(body[0]), nil
	case 'j', 'r':
		return int(binary.LittleEndian.Uint32(body)), nil
	}
	k, err := strconv.Atoi(string(body))
	if err != nil || k < 0 {
		return 0, fmt.Errorf("pickle: memo entry %q", body)
	}
	return k, nil
}

// body gives an opcode's argument (without line end) and the bytes it takes.
func (a argument) body(data []byte) ([]byte, int, error) {
	short := func(want uint64) error { return fmt.Errorf("have %d bytes, want %d", len(data), want) }
	switch {
	case a.fixed > 0:
		if len(data) < a.fixed {
			return nil, 0, short(uint64(a.fixed))
		}
		return data[:a.fixed], a.fixed, nil
	case a.size > 0:
		if len(data) < a.size {
			return nil, 0, short(uint64(a.size))
		}
		var b [8]byte
		copy(b[:], data[:a.size])
		n := binary.LittleEndian.Uint64(b[:])
		if n > uint64(len(data)-a.size) {
			return nil, 0, short(n)
		}
		if a.short && (n == 0 || n > maxInteger) {
			return nil, 0, fmt.Errorf("integer of %d bytes", n)
		}
		return data[a.size : a.size+int(n)], a.size + int(n), nil
	}
	end := 0
	var body []byte
	for range a.lines {
		i := bytes.IndexByte(data[end:], '\n')
		if i < 0 || i > maxInteger*4 {
			return nil, 0, errors.New("a line without end")
		}
		body = data[end : end+i]
		end += i + 1
	}
	if a.lines == 1 && len(body) == 0 {
		return nil, 0, errors.New("an empty line")
	}
	return body, end, nil
}
