package pictures

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/suyashkumar/dicom/pkg/tag"
)

// What scanDICOM needs to know of PS3.5: where elements start, lengths that are not given, representations whose length has four
// bytes, and how deep sequences may lie in each other.
const (
	dicomPreamble   = 128
	dicomMagic      = "DICM"
	undefinedLength = 0xffffffff
	maxSequences    = 16
)

var (
	longLengths    = []string{"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
	itemTag        = tag.Tag{Group: 0xfffe, Element: 0xe000}
	itemEndTag     = tag.Tag{Group: 0xfffe, Element: 0xe00d}
	sequenceEndTag = tag.Tag{Group: 0xfffe, Element: 0xe0dd}
)

// scanDICOM checks that no element of a DICOM file claims more bytes than there are, since the library allocates what a length says,
// and gives the transfer syntax.
func scanDICOM(b []byte) (syntax string, err error) {
	if len(b) < dicomPreamble+len(dicomMagic) || string(b[dicomPreamble:][:len(dicomMagic)]) != dicomMagic {
		return "", fmt.Errorf("not a DICOM file")
	}
	s := dicomScan{b: b, at: dicomPreamble + len(dicomMagic), explicit: true}
	for s.at < len(b) {
		if s.at+2 <= len(b) && binary.LittleEndian.Uint16(b[s.at:]) != tag.TransferSyntaxUID.Group && s.explicit && syntax != "" {
			if s.explicit = syntax != "1.2.840.10008.1.2"; !s.explicit {
				continue
			}
		}
		t, value, err := s.element(len(b), 0)
		if err != nil {
			return "", err
		}
		switch {
		case t == tag.TransferSyntaxUID:
			syntax = strings.Trim(string(value), " \x00")
			switch syntax {
			case "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99":
				return "", fmt.Errorf("transfer syntax: have %s, want little endian, not deflated", syntax)
			}
		case t.Group != tag.TransferSyntaxUID.Group && syntax == "":
			return "", fmt.Errorf("transfer syntax: missing")
		}
	}
	return syntax, nil
}

type dicomScan struct {
	b        []byte
	at       int
	explicit bool
}

func (s *dicomScan) take(n, end int) ([]byte, error) {
	if n > end-s.at {
		return nil, fmt.Errorf("at byte %d: have %d bytes, want %d", s.at, end-s.at, n)
	}
	s.at += n
	return s.b[s.at-n : s.at], nil
}

// element reads one element that ends before end, and those in it; its value is empty where it is a sequence.
func (s *dicomScan) element(end, depth int) (t tag.Tag, value []byte, err error) {
	if depth > maxSequences {
		return t, nil, fmt.Errorf("at byte %d: sequences lie deeper than %d", s.at, maxSequences)
	}
	head, err := s.take(8, end)
	if err != nil {
		return t, nil, err
	}
	t = tag.Tag{Group: binary.LittleEndian.Uint16(head), Element: binary.LittleEndian.Uint16(head[2:])}
	length, sequence := int(binary.LittleEndian.Uint32(head[4:])), false
	switch {
	case t.Group == itemTag.Group:
	case s.explicit:
		kind := string(head[4:6])
		length, sequence = int(binary.LittleEndian.Uint16(head[6:])), kind == "SQ"
		if slices.Contains(longLengths, kind) {
			long, err := s.take(4, end)
			if err != nil {
				return t, nil, err
			}
			length = int(binary.LittleEndian.Uint32(long))
		}
	default:
		info, err := tag.Find(t)
		sequence = err == nil && slices.Contains(info.VRs, "SQ")
	}
	switch {
	case length == undefinedLength:
		return t, nil, s.items(end, depth, t == tag.PixelData)
	case length > end-s.at:
		return t, nil, fmt.Errorf("element %v at byte %d: have %d bytes, want %d", t, s.at, end-s.at, length)
	case sequence:
		for stop := s.at + length; s.at < stop; {
			if err := s.item(stop, depth+1); err != nil {
				return t, nil, err
			}
		}
		return t, nil, nil
	}
	value, err = s.take(length, end)
	return t, value, err
}

// items reads the items of a sequence without a length, or the fragments of compressed pixel data.
func (s *dicomScan) items(end, depth int, raw bool) error {
	for {
		if head := s.b[s.at:end]; len(head) >= 8 && binary.LittleEndian.Uint16(head) == sequenceEndTag.Group && binary.LittleEndian.Uint16(head[2:]) == sequenceEndTag.Element {
			s.at += 8
			return nil
		}
		if raw {
			if _, _, err := s.element(end, depth+1); err != nil {
				return err
			}
			continue
		}
		if err := s.item(end, depth+1); err != nil {
			return err
		}
	}
}

// item reads one item of a sequence: a list of elements.
func (s *dicomScan) item(end, depth int) error {
	head, err := s.take(8, end)
	if err != nil {
		return err
	}
	if t := (tag.Tag{Group: binary.LittleEndian.Uint16(head), Element: binary.LittleEndian.Uint16(head[2:])}); t != itemTag {
		return fmt.Errorf("at byte %d: have %v, want an item of a sequence", s.at-8, t)
	}
	length := int(binary.LittleEndian.Uint32(head[4:]))
	stop := s.at + length
	if length == undefinedLength {
		stop = end
	} else if length > end-s.at {
		return fmt.Errorf("item at byte %d: have %d bytes, want %d", s.at, end-s.at, length)
	}
	for s.at < stop {
		t, _, err := s.element(stop, depth+1)
		if err != nil {
			return err
		}
		if t == itemEndTag && length == undefinedLength {
			return nil
		}
	}
	if length == undefinedLength {
		return fmt.Errorf("an item does not end")
	}
	return nil
}
