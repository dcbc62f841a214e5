package pictures

import (
	"encoding/binary"
	"fmt"
	"math"

	"syncsam-convert/pictures/internal/dcm"
)

// colours makes the samples of a colour picture RGB of 8 bits: through the palette, from YBR, or by the full range of their bits.
func (d *dicomFile) colours() error {
	sample := d.sample
	switch d.photometric {
	case "PALETTE COLOR":
		palette, first, err := d.palette()
		if err != nil {
			return err
		}
		last := len(palette[0]) - 1
		d.entry = sample
		d.sample = func(z, i int) float64 {
			return float64(palette[i%3][int(min(max(sample(z, i/3)-first, 0), float64(last)))])
		}
	case "RGB":
		if d.stored != 8 {
			scale := 255 / float64(uint64(1)<<d.stored-1)
			d.sample = func(z, i int) float64 { return math.Floor(float64(sample(z, i)*scale) + 0.5) }
		}
	case "YBR_FULL", "YBR_FULL_422":
		d.sample = func(z, i int) float64 {
			p := i - i%3
			y, b, r := float32(sample(z, p)), float32(sample(z, p+1))-128, float32(sample(z, p+2))-128
			var x float32
			switch i % 3 { // PS3.3 C.7.6.3.1.2, inverted
			case 0:
				x = y + float32(1.402*r)
			case 1:
				x = y - float32((0.114*1.772/0.587)*b) - float32((0.299*1.402/0.587)*r)
			default:
				x = y + float32(1.772*b)
			}
			return float64(min(max(float32(math.Floor(float64(x+0.5))), 0), 255))
		}
	}
	return nil
}

// palette gives the tables of red, green and blue, of 8 bits, and the pixel value that the first entries are for.
func (d *dicomFile) palette() (tables [3][]uint8, first float64, err error) {
	for c, tags := range [3][3]dcm.Tag{
		{dcm.RedPaletteDescriptor, dcm.RedPaletteData, dcm.SegmentedRedPaletteData},
		{dcm.GreenPaletteDescriptor, dcm.GreenPaletteData, dcm.SegmentedGreenPaletteData},
		{dcm.BluePaletteDescriptor, dcm.BluePaletteData, dcm.SegmentedBluePaletteData},
	} {
		l, err := d.descriptor(d.Dataset, tags[0])
		if err != nil {
			return tables, 0, err
		}
		if c > 0 && l.first != first {
			return tables, 0, fmt.Errorf("%s: have a first value of %g, want the %g of red", tags[0], l.first, first)
		}
		first = l.first
		var entries []float64
		switch {
		case d.Has(tags[1]):
			entries, err = l.entries(d.Dataset, tags[1])
		case d.Has(tags[2]):
			entries, err = l.segments(d.Dataset, tags[2])
		default:
			err = fmt.Errorf("%s: missing", tags[1])
		}
		if err != nil {
			return tables, 0, err
		}
		most := float64(uint(1)<<l.bits - 1)
		for _, x := range entries {
			tables[c] = append(tables[c], uint8(x*255/most+0.5))
		}
	}
	if len(tables[0]) != len(tables[1]) || len(tables[0]) != len(tables[2]) {
		return tables, 0, fmt.Errorf("%s: have tables of %d, %d and %d entries, want the same", dcm.RedPaletteDescriptor, len(tables[0]), len(tables[1]), len(tables[2]))
	}
	return tables, first, nil
}

// A lookup says how a table of a DICOM file is laid out (PS3.3 C.7.6.3.1.5, C.11.1.1).
type lookup struct {
	n     int
	first float64 // the value that the first entry is for
	bits  int     // of an entry
}

// descriptor reads a table's descriptor: entries, the first value, bits of an entry.
func (d *dicomFile) descriptor(of *dcm.Dataset, t dcm.Tag) (l lookup, err error) {
	x, err := of.Numbers(t, d.signed)
	if err != nil {
		return l, err
	}
	if len(x) != 3 {
		return l, fmt.Errorf("%s: have %d values, want 3", t, len(x))
	}
	unsigned := func(f float64) int { return int(uint16(int32(f))) }
	if l.n = unsigned(x[0]); l.n == 0 {
		l.n = 1 << 16
	}
	l.first, l.bits = x[1], unsigned(x[2])
	if l.bits < 8 || l.bits > 16 {
		return l, fmt.Errorf("%s: have entries of %d bits, want 8 to 16", t, l.bits)
	}
	return l, nil
}

// entries reads a table's data: bytes, or words whatever the bits of an entry are.
func (l *lookup) entries(of *dcm.Dataset, t dcm.Tag) ([]float64, error) {
	b, _ := of.Bytes(t)
	out := make([]float64, 0, min(l.n, len(b)))
	switch {
	case len(b) >= 2*l.n && len(b) < 2*l.n+2:
		for i := range l.n {
			out = append(out, float64(of.Order().Uint16(b[2*i:])))
		}
		if l.bits == 8 { // bytes in words: the file's own depth is the data's
			for _, x := range out {
				if x > 255 {
					l.bits = 16
				}
			}
		}
	case l.bits == 8 && (len(b) == l.n || len(b) == l.n+1):
		for i := range l.n {
			at := i
			if of.Order() == binary.BigEndian && !single(of, t) { // two in a word
				at = i ^ 1
			}
			if at >= len(b) {
				return nil, fmt.Errorf("%s: have %d bytes, want %d", t, len(b), l.n+l.n%2)
			}
			out = append(out, float64(b[at]))
		}
	default:
		return nil, fmt.Errorf("%s: have %d bytes, want %d entries of %d bits", t, len(b), l.n, l.bits)
	}
	most := float64(uint(1)<<l.bits - 1)
	for i, x := range out {
		if x > most {
			return nil, fmt.Errorf("%s: have %g in entry %d, want at most %g: %d bits", t, x, i, most, l.bits)
		}
	}
	return out, nil
}

func single(of *dcm.Dataset, t dcm.Tag) bool {
	_, yes := of.Bytes(t)
	return yes
}

// segments expands a table that is stored as runs (PS3.3 C.7.9.2).
func (l *lookup) segments(of *dcm.Dataset, t dcm.Tag) ([]float64, error) {
	b, _ := of.Bytes(t)
	var words []int
	if l.bits == 8 {
		for i := range b {
			at := i
			if of.Order() == binary.BigEndian && !single(of, t) && i^1 < len(b) {
				at = i ^ 1
			}
			words = append(words, int(b[at]))
		}
	} else {
		for i := 0; i+2 <= len(b); i += 2 {
			words = append(words, int(of.Order().Uint16(b[i:])))
		}
	}
	var out []float64
	for at := 0; at+1 < len(words); {
		kind, n := words[at], words[at+1]
		at += 2
		switch {
		case kind == 0 && n <= len(words)-at: // as they are
			for _, x := range words[at : at+n] {
				out = append(out, float64(x))
			}
			at += n
		case kind == 1 && at < len(words) && len(out) > 0: // a line from the last entry
			from, to := out[len(out)-1], float64(words[at])
			for i := 1; i <= n; i++ {
				out = append(out, math.RoundToEven(from+(to-from)*float64(i)/float64(n)))
			}
			at++
		case kind == 2:
			return nil, fmt.Errorf("%s: it has indirect segments, which are not read", t)
		default:
			return nil, fmt.Errorf("%s: segment at entry %d is damaged", t, len(out))
		}
		if len(out) > l.n {
			return nil, fmt.Errorf("%s: have more than %d entries", t, l.n)
		}
	}
	if len(out) != l.n {
		return nil, fmt.Errorf("%s: have %d entries, want %d", t, len(out), l.n)
	}
	return out, nil
}
