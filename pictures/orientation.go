package pictures

import (
	"bytes"
	"encoding/binary"
)

// turns says what EXIF's orientations 2 to 8 do to what is stored.
var turns = [9]string{
	2: "EXIF 2, mirrored left to right", 3: "EXIF 3, turned 180 degrees", 4: "EXIF 4, mirrored top to bottom", 5: "EXIF 5, mirrored and turned 90 degrees counterclockwise",
	6: "EXIF 6, turned 90 degrees clockwise", 7: "EXIF 7, mirrored and turned 90 degrees clockwise", 8: "EXIF 8, turned 90 degrees counterclockwise",
}

// turned gives the pixels of w x h, so many bytes each, as an orientation shows them.
func turned(pix []uint8, w, h, bytes, turn int) ([]uint8, int, int) {
	if turn < 2 || turn > 8 {
		return pix, w, h
	}
	toW, toH := w, h
	if turn > 4 {
		toW, toH = h, w
	}
	out := make([]uint8, len(pix))
	for y := range toH {
		for x := range toW {
			fx, fy := x, y
			switch turn {
			case 2:
				fx = w - 1 - x
			case 3:
				fx, fy = w-1-x, h-1-y
			case 4:
				fy = h - 1 - y
			case 5:
				fx, fy = y, x
			case 6:
				fx, fy = y, h-1-x
			case 7:
				fx, fy = w-1-y, h-1-x
			case 8:
				fx, fy = w-1-y, x
			}
			copy(out[(y*toW+x)*bytes:][:bytes], pix[(fy*w+fx)*bytes:])
		}
	}
	return out, toW, toH
}

// exifTurn reads the orientation of an EXIF block, which is a TIFF file without pixels; 1 where it says none.
func exifTurn(b []byte) int {
	f, err := openTIFF(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return 1
	}
	d, _, err := f.directory(f.first)
	if err != nil {
		return 1
	}
	return d.turn()
}

// turn is the directory's orientation, 1 where it has none.
func (d directory) turn() int {
	if n := d.number(tagOrientation, 1); n >= 1 && n <= 8 {
		return n
	}
	return 1
}

// chunk is a part of a PNG file or of a RIFF file, by its four letters.
type chunk struct {
	kind   string
	at     int64 // of its data
	length int64
}

// maxChunks is how many chunks a file may have.
const maxChunks = 1 << 20

// chunks lists a file's chunks from a place on: PNG's have a check sum of 4 bytes, RIFF's are padded to 2.
func (f *source) chunks(from int64, png bool) (out []chunk, err error) {
	var b [8]byte
	for at := from; at+8 <= f.size && len(out) < maxChunks; {
		if _, err := f.ReadAt(b[:], at); err != nil {
			return nil, err
		}
		c := chunk{at: at + 8}
		if png {
			c.kind, c.length = string(b[4:]), int64(binary.BigEndian.Uint32(b[:]))
			at = c.at + c.length + 4
		} else {
			c.kind, c.length = string(b[:4]), int64(binary.LittleEndian.Uint32(b[4:]))
			at = c.at + c.length + c.length&1
		}
		c.length = min(c.length, f.size-c.at)
		out = append(out, c)
	}
	return out, nil
}

// maxMetadata is the longest chunk of metadata that is looked at.
const maxMetadata = 1 << 20

// read gives a chunk's data, at most most bytes.
func (f *source) read(c chunk, most int64) ([]byte, error) {
	b := make([]byte, min(c.length, most))
	_, err := f.ReadAt(b, c.at)
	return b, err
}
