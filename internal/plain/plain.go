// Package plain makes text that comes from files harmless where people read it: what is no printable character is spelled out, and what is
// long is shortened.
package plain

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// most is the length, in characters, to which a name or a text within a line is shortened; MostError that of a whole error.
const (
	most      = 1000
	MostError = 1900
)

// Text spells out control characters, line breaks and tabs among them, characters that have no shape or turn others around, and bytes that are
// no UTF-8: as JSON does where it can (\u202e), else as \xff. Of what has more than n characters the middle is left out.
func Text(s string, n int) string {
	if len(cut(s, n)) < len(s) {
		head, tail := cut(s, 2*n/3), cutEnd(s, n/3)
		return spell(head, false) + fmt.Sprintf(" ...(%d bytes)... ", len(s)-len(head)-len(tail)) + spell(tail, false)
	}
	return spell(s, false)
}

// cut gives the longest beginning whose spelling has at most n characters.
func cut(s string, n int) string {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if n -= width(r, size); n < 0 {
			return s[:i]
		}
		i += size
	}
	return s
}

func cutEnd(s string, n int) string {
	for i := len(s); i > 0; {
		r, size := utf8.DecodeLastRuneInString(s[:i])
		if n -= width(r, size); n < 0 {
			return s[i:]
		}
		i -= size
	}
	return s
}

func width(r rune, size int) int {
	switch {
	case r == utf8.RuneError && size == 1:
		return 4
	case strconv.IsPrint(r):
		return 1
	case r > 0xffff:
		return 12
	}
	return 6
}

func spell(s string, lines bool) string {
	if clean(s, lines) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case strconv.IsPrint(r), lines && (r == '\n' || r == '\t'):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += size
	}
	return b.String()
}

func clean(s string, lines bool) bool {
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") || !strconv.IsPrint(r) && !(lines && (r == '\n' || r == '\t')) {
			return false
		}
	}
	return true
}

// Fprintf is fmt's for people: its arguments are names and texts of files, the format alone makes lines and columns.
func Fprintf(w io.Writer, format string, args ...any) {
	for i, a := range args {
		args[i] = argument(a)
	}
	fmt.Fprintf(w, format, args...)
}

func argument(a any) any {
	switch x := a.(type) {
	case nil:
		return a
	case string:
		return Text(x, most)
	case error:
		return Text(x.Error(), most)
	case fmt.Stringer:
		return Text(x.String(), most)
	}
	switch k := reflect.TypeOf(a).Kind(); {
	case k >= reflect.Bool && k <= reflect.Complex128:
		return a
	case k == reflect.String:
		return Text(reflect.ValueOf(a).String(), most)
	}
	return Text(fmt.Sprint(a), most)
}

// A Writer lets lines of text pass, and JSON, XML and HTML, whose meaning stays; control characters and the like it spells out. It remembers the first
// error of what it writes to.
type Writer struct {
	w    io.Writer
	part []byte // of a character that is not whole yet
	err  error
}

// NewWriter is a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write writes text. Its error is that of the writer below.
func (p *Writer) Write(text []byte) (int, error) {
	all := append(p.part, text...)
	whole := len(all)
	for back := 1; back < utf8.UTFMax && back <= len(all); back++ {
		if start := len(all) - back; utf8.RuneStart(all[start]) {
			if !utf8.FullRune(all[start:]) {
				whole = start
			}
			break
		}
	}
	out := spell(string(all[:whole]), true)
	p.part = append([]byte(nil), all[whole:]...)
	if _, err := io.WriteString(p.w, out); err != nil {
		if p.err == nil {
			p.err = err
		}
		return 0, err
	}
	return len(text), nil
}

// Close writes what is left of a character that never became whole, and gives the first error of all writes. The writer below stays open.
func (p *Writer) Close() error {
	if len(p.part) > 0 && p.err == nil {
		_, p.err = io.WriteString(p.w, spell(string(p.part), true))
	}
	p.part = nil
	return p.err
}

// Filter is a Writer for what write writes.
func Filter(to io.Writer, write func(w io.Writer) error) error {
	w := NewWriter(to)
	if err := write(w); err != nil {
		return err
	}
	return w.Close()
}

// Terminal is the file below a Writer, nil where there is none.
func Terminal(w io.Writer) *os.File {
	if p, ok := w.(*Writer); ok {
		w = p.w
	}
	f, _ := w.(*os.File)
	return f
}
