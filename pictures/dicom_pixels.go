package pictures

import (
	"encoding/binary"
	"fmt"
	"math"

	"syncsam-convert/pictures/internal/dcm"
	"syncsam-convert/pictures/internal/jpeg"
	"syncsam-convert/pictures/internal/jpegls"
)

// pixels finds the frames and decodes the first; the others are decoded when they are asked for.
func (d *dicomFile) pixels() error {
	if err := d.pad(); err != nil {
		return err
	}
	planar, err := d.whole(dcm.PlanarConfiguration, 0)
	if err != nil {
		return err
	}
	if planar > 1 {
		return fmt.Errorf("%s: have %d, want 0 or 1", dcm.PlanarConfiguration, planar)
	}
	size := d.w * d.h * d.channels
	if d.Syntax.Codec == dcm.Native {
		raw, err := d.native()
		if err != nil {
			return err
		}
		return d.samples(func(z int) ([]byte, int) { return raw, z * size }, d.Order, planar == 1 && d.channels > 1)
	}
	if d.compressed, err = d.Frames(d.frames); err != nil {
		return err
	}
	d.decoded = make([][]byte, d.frames)
	if err := d.load(0); err != nil {
		return err
	}
	return d.samples(func(z int) ([]byte, int) { return d.decoded[z], 0 }, binary.LittleEndian, false)
}

// load decodes a frame, unless it is there.
func (d *dicomFile) load(z int) (err error) {
	d.lock.Lock()
	defer d.lock.Unlock()
	if z >= len(d.decoded) || d.decoded[z] != nil {
		return nil
	}
	photometric := d.photometric
	if d.decoded[z], err = d.decompress(d.compressed[z]); err == nil && z > 0 && d.photometric != photometric {
		err = fmt.Errorf("have %s, want %s as in frame 0", d.photometric, photometric)
		d.photometric, d.decoded[z] = photometric, nil
	}
	if err != nil {
		return fmt.Errorf("%s: frame %d: %s: %w", dcm.PixelData, z, d.Syntax.Name, err)
	}
	return nil
}

// native gives the bytes of uncompressed frames.
func (d *dicomFile) native() ([]byte, error) {
	raw := d.Pixels.Value
	if len(d.Pixels.Fragments) > 0 {
		return nil, fmt.Errorf("%s: have fragments with %s, want no compression", d.Pixels.Tag, d.Syntax.Name)
	}
	samples := d.w * d.h * d.frames * d.channels
	want := (samples*d.allocated + 7) / 8
	if d.photometric == "YBR_FULL_422" {
		if d.w%2 != 0 {
			return nil, fmt.Errorf("%s: have %d with YBR_FULL_422, want an even number", dcm.Columns, d.w)
		}
		if len(raw) >= samples {
			return nil, fmt.Errorf("%s: have %d bytes, want the %d of YBR_FULL_422; is %s YBR_FULL or RGB?", d.Pixels.Tag, len(raw), samples/3*2, dcm.PhotometricInterpretation)
		}
		want = samples / 3 * 2
	}
	if len(raw) < want {
		return nil, fmt.Errorf("%s: the file is cut short or damaged: have %d bytes, want %d for %d frames of %d x %d with %d samples of %d bits",
			d.Pixels.Tag, len(raw), want, d.frames, d.w, d.h, d.channels, d.allocated)
	}
	if more := len(raw) - want; more >= max(want/d.frames, 2) {
		return nil, fmt.Errorf("%s: have %d bytes, want %d: there are more frames than the %d of %s", d.Pixels.Tag, len(raw), want, d.frames, dcm.NumberOfFrames)
	}
	if d.Order == binary.BigEndian && d.allocated == 8 && d.Pixels.VR == "OW" { // bytes in words whose high byte comes first
		swapped := make([]byte, len(raw)&^1)
		for i := range swapped {
			swapped[i] = raw[i^1]
		}
		raw = swapped
	}
	if len(raw) < want {
		return nil, fmt.Errorf("%s: have %d bytes, want %d", d.Pixels.Tag, len(raw), want)
	}
	if d.photometric == "YBR_FULL_422" {
		full := make([]byte, 0, samples)
		for i := 0; i < want; i += 4 { // two pixels share their chroma
			full = append(full, raw[i], raw[i+2], raw[i+3], raw[i+1], raw[i+2], raw[i+3])
		}
		return full, nil
	}
	return raw[:want], nil
}

// samples makes d.sample; at gives the bytes that hold a frame, and the number of its first sample in them.
func (d *dicomFile) samples(at func(z int) ([]byte, int), order binary.ByteOrder, planar bool) error {
	if d.real {
		size := d.allocated / 8
		d.sample = func(z, i int) float64 {
			raw, first := at(z)
			if size == 4 {
				return float64(math.Float32frombits(order.Uint32(raw[4*(first+i):])))
			}
			return math.Float64frombits(order.Uint64(raw[8*(first+i):]))
		}
		return nil
	}
	mask, sign, shift := uint32(1<<d.stored-1), int64(1)<<d.stored, uint(d.high+1-d.stored)
	signed, stored := d.signed, uint(d.stored)
	value := func(x uint32) float64 {
		x = x >> shift & mask
		if signed && x>>(stored-1) == 1 {
			return float64(int64(x) - sign)
		}
		return float64(x)
	}
	number := map[int]func(raw []byte, i int) uint32{
		1:  func(raw []byte, i int) uint32 { return uint32(raw[i/8] >> (i % 8) & 1) },
		8:  func(raw []byte, i int) uint32 { return uint32(raw[i]) },
		16: func(raw []byte, i int) uint32 { return uint32(order.Uint16(raw[2*i:])) },
		32: func(raw []byte, i int) uint32 { return order.Uint32(raw[4*i:]) },
	}[d.allocated]
	plane := d.w * d.h
	d.sample = func(z, i int) float64 {
		raw, first := at(z)
		if planar {
			i = i%3*plane + i/3
		}
		return value(number(raw, first+i))
	}
	return d.colours()
}

// decompress decodes a frame to samples as wide as Bits Allocated says, little endian, interleaved.
func (d *dicomFile) decompress(b []byte) ([]byte, error) {
	var planes [][]uint16
	var w, h, bits int
	var lossless bool
	if head, _ := scanJPEG(b); d.Syntax.Codec != dcm.RLE && head.w > 0 && head.h > 0 && (head.w != d.w || head.h != d.h) { // before it is decoded
		return nil, d.otherSize(head.w, head.h)
	}
	switch d.Syntax.Codec {
	case dcm.RLE:
		return unpackRLE(b, d.w*d.h, d.channels, d.allocated/8)
	case dcm.JPEG:
		m, err := jpeg.Decode(b)
		if err == nil && m.Progressive {
			err = fmt.Errorf("it is progressive, want sequential or lossless JPEG")
		}
		if err != nil {
			return nil, err
		}
		planes, w, h, bits, lossless = m.Planes, m.W, m.H, m.Bits, m.Lossless
		if d.channels == 3 && len(planes) == 3 {
			if err := d.conform(m); err != nil {
				return nil, err
			}
		}
	default:
		m, err := jpegls.Decode(b)
		if err != nil {
			return nil, err
		}
		planes, w, h, bits, lossless = m.Planes, m.W, m.H, m.Bits, m.Near == 0
	}
	switch {
	case w != d.w || h != d.h:
		return nil, d.otherSize(w, h)
	case len(planes) != d.channels:
		return nil, fmt.Errorf("have %d samples a pixel, want the %d of %s", len(planes), d.channels, dcm.SamplesPerPixel)
	case d.high != d.stored-1:
		return nil, fmt.Errorf("%s: have %d, want %d in compressed pixels", dcm.HighBit, d.high, d.stored-1)
	case bits > d.allocated || d.allocated > 16:
		return nil, fmt.Errorf("have %d bits, want at most the %d of %s", bits, d.allocated, dcm.BitsAllocated)
	}
	d.lossy = d.lossy || !lossless
	size := d.allocated / 8
	out := make([]byte, w*h*len(planes)*size)
	for c, plane := range planes {
		for i, x := range plane {
			if bits != d.stored {
				v, err := d.fit(x, bits, lossless)
				if err != nil {
					return nil, err
				}
				x = v
			}
			if at := (i*len(planes) + c) * size; size == 1 {
				out[at] = uint8(x)
			} else {
				binary.LittleEndian.PutUint16(out[at:], x)
			}
		}
	}
	return out, nil
}

func (d *dicomFile) otherSize(w, h int) error {
	return fmt.Errorf("have %d x %d pixels, want the %d x %d of %s and %s", w, h, d.w, d.h, dcm.Columns, dcm.Rows)
}

// conform corrects the colours by what the stream itself says: components named R, G, B, or a JFIF marker, which stands for YBR.
// Where the stream contradicts otherwise, nobody can know.
func (d *dicomFile) conform(m *jpeg.Image) error {
	ybr, says := d.photometric != "RGB", ""
	switch ids := string(m.IDs); {
	case ids == "RGB" || ids == "rgb":
		d.photometric = "RGB"
	case m.JFIF && !ybr:
		d.photometric = "YBR_FULL"
	case m.Adobe == 0 && ybr:
		says = "an Adobe marker for RGB"
	case m.Adobe == 1 && !ybr:
		says = "an Adobe marker for YBR"
	case m.Subsampled && !ybr:
		says = "components of several sizes, as YBR has"
	}
	if says != "" {
		return fmt.Errorf("have %s, want colours as in %s %s; correct the attribute: dcmodify -m 0028,0004=%s FILE", says, dcm.PhotometricInterpretation, d.photometric,
			map[bool]string{true: "RGB", false: "YBR_FULL"}[ybr])
	}
	return nil
}

// fit gives a sample of other bits the Bits Stored: what is past them is an error, or the last step of a lossy compression.
func (d *dicomFile) fit(x uint16, bits int, lossless bool) (uint16, error) {
	low, high, v := int64(0), int64(1)<<d.stored-1, int64(x)
	if d.signed {
		low, high = -int64(1)<<(d.stored-1), int64(1)<<(d.stored-1)-1
		if v>>(bits-1) != 0 {
			v -= 1 << bits
		}
	}
	switch {
	case d.signed && bits < d.stored && v < 0:
		return 0, fmt.Errorf("have %d bits with %s 1 and %s %d: where the sign is cannot be told", bits, dcm.PixelRepresentation, dcm.BitsStored, d.stored)
	case lossless && (v < low || v > high):
		return 0, fmt.Errorf("have a sample of %d, want at most the %d bits of %s", v, d.stored, dcm.BitsStored)
	}
	return uint16(min(max(v, low), high)), nil
}

// unpackRLE decodes a frame of RLE (PS3.5 annex G): a segment for each byte of each channel, the high bytes first.
func unpackRLE(b []byte, pixels, channels, size int) ([]byte, error) {
	if len(b) < 64 {
		return nil, fmt.Errorf("have %d bytes, want a header of 64", len(b))
	}
	n := int(binary.LittleEndian.Uint32(b))
	if n != channels*size {
		return nil, fmt.Errorf("have %d segments, want %d", n, channels*size)
	}
	if pixels > 64*len(b) {
		return nil, fmt.Errorf("have %d bytes for %d pixels", len(b), pixels)
	}
	out := make([]byte, pixels*channels*size)
	for s := range n {
		from, to := int(binary.LittleEndian.Uint32(b[4+4*s:])), len(b)
		if s+1 < n {
			to = int(binary.LittleEndian.Uint32(b[8+4*s:]))
		}
		if from < 64 || to < from || to > len(b) {
			return nil, fmt.Errorf("segment %d: have bytes %d to %d of %d", s, from, to, len(b))
		}
		at := s/size*size + size - 1 - s%size // little endian
		step, left := channels*size, pixels
		for in := b[from:to]; left > 0; {
			if len(in) < 2 {
				return nil, fmt.Errorf("segment %d is cut short: %d pixels are missing", s, left)
			}
			code := int(int8(in[0]))
			if code == -128 {
				in = in[1:]
				continue
			}
			count := code + 1
			if code < 0 {
				count = 1 - code
			} else if len(in) < 1+count {
				return nil, fmt.Errorf("segment %d is cut short", s)
			}
			if count > left {
				return nil, fmt.Errorf("segment %d has more than %d pixels", s, pixels)
			}
			for i := range count {
				if code < 0 {
					out[at] = in[1]
				} else {
					out[at] = in[1+i]
				}
				at += step
			}
			left -= count
			in = in[1+map[bool]int{true: 1, false: count}[code < 0]:]
		}
	}
	return out, nil
}
