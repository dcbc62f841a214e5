package pickle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxInteger is the longest integer, in bytes; maxLine the longest argument that ends with its line.
const (
	maxInteger = 1024
	maxLine    = 4096
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

// known is opcodes by index, for the machine's loop.
var known = func() (table [256]*argument) {
	for op, a := range opcodes {
		table[op] = &a
	}
	return table
}()

// body gives an opcode's argument (lines with what separates them, without the last one's end) and the bytes it takes.
func (a *argument) body(data []byte) ([]byte, int, error) {
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
		if a.short && n > maxInteger {
			return nil, 0, fmt.Errorf("integer of %d bytes", n)
		}
		return data[a.size : a.size+int(n)], a.size + int(n), nil
	}
	end := 0
	for range a.lines {
		i := bytes.IndexByte(data[end:min(len(data), end+maxLine)], '\n')
		if i < 0 {
			return nil, 0, errors.New("a line without end")
		}
		end += i + 1
	}
	return data[:max(end-1, 0)], end, nil
}

// literal gives what an opcode with a value of its own pushes, and the bytes of memory that it takes.
func literal(op byte, body []byte) (v any, memory int, err error) {
	switch op {
	case 'N':
		return nil, 0, nil
	case 0x88:
		return true, 0, nil
	case 0x89:
		return false, 0, nil
	case 'K':
		return int(body[0]), 0, nil
	case 'M':
		return int(binary.LittleEndian.Uint16(body)), 8, nil
	case 'J':
		return int(int32(binary.LittleEndian.Uint32(body))), 8, nil
	case 'G':
		return math.Float64frombits(binary.BigEndian.Uint64(body)), 8, nil
	case 0x8a, 0x8b:
		return long(body), 8 + len(body), nil
	case 'F':
		x, err := strconv.ParseFloat(string(body), 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) { // which is an infinity, as in Python
			return nil, 0, errors.New("not a number")
		}
		return x, 8, nil
	case 'I', 'L':
		return decimal(op, string(body))
	case 'S':
		if len(body) < 2 || body[0] != body[len(body)-1] || body[0] != '\'' && body[0] != '"' {
			return nil, 0, errors.New("a string without quotes")
		}
		return string(body[1 : len(body)-1]), 16 + len(body), nil
	case 'V':
		s, err := unescaped(string(body))
		return s, 16 + len(body), err
	case 'B', 'C', 0x8e, 0x96:
		return bytes.Clone(body), 24 + len(body), nil
	case 'X', 0x8c, 0x8d:
		if !utf8.Valid(body) {
			return nil, 0, errors.New("a text that is not UTF-8")
		}
	}
	return string(body), 16 + len(body), nil // text, and strings of Python 2
}

// long reads a little-endian integer in two's complement: an int where it fits, else a *big.Int.
func long(b []byte) any {
	if len(b) == 0 {
		return 0
	}
	big1 := make([]byte, len(b))
	for i, x := range b {
		big1[len(b)-1-i] = x
	}
	n := new(big.Int).SetBytes(big1)
	if b[len(b)-1]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	if n.IsInt64() {
		return int(n.Int64())
	}
	return n
}

// decimal reads the argument of INT, which has two ways to write a bool, or of LONG, which may end with L.
func decimal(op byte, text string) (any, int, error) {
	if op == 'I' && (text == "00" || text == "01") {
		return text == "01", 0, nil
	}
	if op == 'L' {
		text = strings.TrimSuffix(text, "L")
	}
	if len(text) > maxInteger {
		return nil, 0, fmt.Errorf("integer of %d digits", len(text))
	}
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return nil, 0, errors.New("not an integer")
	}
	if n.IsInt64() {
		return int(n.Int64()), 8, nil
	}
	return n, 48 + len(text), nil
}

// unescaped reads Python's raw-unicode-escape: Latin-1 with \uXXXX and \UXXXXXXXX.
func unescaped(text string) (string, error) {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		digits := 0
		if text[i] == '\\' && i+1 < len(text) {
			digits = map[byte]int{'u': 4, 'U': 8}[text[i+1]]
		}
		if digits == 0 {
			out.WriteRune(rune(text[i]))
			continue
		}
		if i+2+digits > len(text) {
			return "", errors.New("an escape without its digits")
		}
		n, err := strconv.ParseUint(text[i+2:i+2+digits], 16, 32)
		if err != nil || n > utf8.MaxRune {
			return "", errors.New("an escape without its digits")
		}
		out.WriteRune(rune(n))
		i += 1 + digits
	}
	return out.String(), nil
}

// memoKey reads the argument of PUT and GET.
func memoKey(op byte, body []byte) (int, error) {
	switch op {
	case 'h', 'q':
		return int(body[0]), nil
	case 'j', 'r':
		return int(binary.LittleEndian.Uint32(body)), nil
	}
	k, err := strconv.Atoi(string(body))
	if err != nil || k < 0 {
		return 0, errors.New("not the number of a memo entry")
	}
	return k, nil
}
