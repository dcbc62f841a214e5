package dataset

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"
)

// A scanner reads a JSON object of strings, {"mask": "image", ...}, piece by piece: an index of millions of lines is walked through by everyone
// who works on a part of it. encoding/json's tokens take six times as long. A piece of more than maxPiece bytes is an error.
type scanner struct {
	r    *bufio.Reader
	at   int64
	text []byte
}

// next is the first byte that is no blank.
func (s *scanner) next() (byte, error) {
	for n := 0; n < maxPiece; n++ {
		c, err := s.r.ReadByte()
		if err != nil {
			return 0, err
		}
		s.at++
		switch c {
		case ' ', '\t', '\r', '\n':
		default:
			return c, nil
		}
	}
	return 0, errTooLong
}

// want is an error where the next byte is another.
func (s *scanner) want(c byte) error {
	have, err := s.next()
	if err == nil && have != c {
		err = fmt.Errorf("have %q, want %q", have, c)
	}
	return err
}

// rest is the string behind its first quote; it holds until the next piece is read.
func (s *scanner) rest() ([]byte, error) {
	s.text = append(s.text[:0], '"')
	for {
		part, err := s.r.ReadSlice('"')
		s.at += int64(len(part))
		if len(s.text)+len(part) > maxPiece {
			return nil, errTooLong
		}
		s.text = append(s.text, part...)
		if err != nil && err != bufio.ErrBufferFull {
			return nil, err
		}
		if err == nil && !escaped(s.text) {
			break
		}
	}
	inner := s.text[1 : len(s.text)-1]
	if !bytes.ContainsFunc(inner, func(r rune) bool { return r < ' ' || r == '\\' || r == utf8.RuneError }) {
		return inner, nil
	}
	var text string
	err := json.Unmarshal(s.text, &text)
	return []byte(text), err
}

// escaped reports whether the quote at the end belongs to the string.
func escaped(text []byte) bool {
	n := 0
	for i := len(text) - 2; i > 0 && text[i] == '\\'; i-- {
		n++
	}
	return n%2 == 1
}

var errTooLong = fmt.Errorf("have more than %d bytes without an end, want names", maxPiece)

// pairs calls f for each pair, until it is false.
func (s *scanner) pairs(f func(Item) bool) error {
	if err := s.want('{'); err != nil {
		return fmt.Errorf("want an object {mask: image}: %w", err)
	}
	image := ""
	for first := true; ; first = false {
		c, err := s.next()
		if err != nil {
			return err
		}
		switch {
		case c == '}':
			return nil
		case !first && c != ',':
			return fmt.Errorf("have %q, want ',' or '}'", c)
		case !first:
			if c, err = s.next(); err != nil {
				return err
			}
		}
		if c != '"' {
			return fmt.Errorf("have %q, want a mask's name", c)
		}
		text, err := s.rest()
		if err != nil {
			return err
		}
		mask := string(text)
		if err := s.want(':'); err != nil {
			return err
		}
		if err := s.want('"'); err != nil {
			return fmt.Errorf("mask %.200q: want an image's name: %w", mask, err)
		}
		if text, err = s.rest(); err != nil {
			return err
		}
		if string(text) != image { // else the same string again
			image = string(text)
		}
		if mask == "" || image == "" {
			return fmt.Errorf("mask %.200q: have %.200q, want names", mask, image)
		}
		if !f(Item{mask, image}) {
			return nil
		}
	}
}

func newScanner(f io.Reader) *scanner { return &scanner{r: text(f)} }
