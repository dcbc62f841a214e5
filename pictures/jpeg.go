package pictures

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
)

// A jpegHead is what a JPEG stream says before its first scan.
type jpegHead struct {
	w, h, bits int
	process    byte // the marker of its frame: 0xC0 baseline, 0xC2 progressive, ...
	sampling   []byte
	exif       []byte
}

// jpegUnread are the processes that are not read, by marker.
var jpegUnread = map[byte]string{
	0xc3: "lossless JPEG", 0xc5: "hierarchical JPEG", 0xc6: "hierarchical JPEG", 0xc7: "hierarchical JPEG", 0xc9: "JPEG with arithmetic coding",
	0xca: "JPEG with arithmetic coding", 0xcb: "lossless JPEG with arithmetic coding", 0xcd: "hierarchical JPEG", 0xce: "hierarchical JPEG", 0xcf: "hierarchical JPEG", 0xf7: "JPEG-LS",
}

// scanJPEG reads the markers up to the first scan, and refuses what the decoder does not read by its name.
func scanJPEG(b []byte) (head jpegHead, err error) {
	short := fmt.Errorf("not a readable picture: JPEG: it ends early")
	for at := 2; at+4 <= len(b); {
		if b[at] != 0xff {
			at++ // what other readers skip, too
			continue
		}
		marker := b[at+1]
		if marker == 0xff || marker == 0 || marker == 1 || marker >= 0xd0 && marker <= 0xd8 {
			at++
			if marker != 0xff {
				at++
			}
			continue
		}
		n := int(binary.BigEndian.Uint16(b[at+2:]))
		if n < 2 || at+2+n > len(b) {
			return head, short
		}
		data := b[at+4 : at+2+n]
		at += 2 + n
		switch {
		case marker == 0xe1 && head.exif == nil && bytes.HasPrefix(data, []byte("Exif\x00")) && len(data) > 6:
			head.exif = data[6:]
		case marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc || marker == 0xf7:
			if len(data) < 6 || len(data) < 6+3*int(data[5]) {
				return head, short
			}
			head.process, head.bits = marker, int(data[0])
			head.h, head.w = int(binary.BigEndian.Uint16(data[1:])), int(binary.BigEndian.Uint16(data[3:]))
			for c := range int(data[5]) {
				head.sampling = append(head.sampling, data[6+3*c+1])
			}
			if name := jpegUnread[marker]; name != "" {
				return head, fmt.Errorf("it is %s, which is not read: convert it to PNG", name)
			}
			if head.bits != 8 {
				return head, fmt.Errorf("it is JPEG of %d bits, want 8: convert it to PNG or TIFF of 16 bits", head.bits)
			}
		case marker == 0xda || marker == 0xd9:
			if head.process == 0 {
				return head, fmt.Errorf("not a readable picture: JPEG without a frame")
			}
			return head, nil
		}
	}
	return head, short
}

// readJPEG reads a baseline or progressive JPEG file.
func readJPEG(f *source, frame *int) (*volume, error) {
	if err := onlyFirst(frame, 1); err != nil {
		return nil, err
	}
	b, err := f.whole()
	if err != nil {
		return nil, err
	}
	head, m, err := decodeJPEG(b)
	if err != nil {
		return nil, err
	}
	v, err := jpegRaster(m, true)
	if err != nil {
		return nil, err
	}
	v.lossy, v.turn = true, exifTurn(head.exif)
	v.facts.Codec = "JPEG, baseline"
	if head.process == 0xc2 {
		v.facts.Codec = "JPEG, progressive"
	}
	return v, nil
}

// decodeJPEG decodes a stream whose size is within the limits.
func decodeJPEG(b []byte) (head jpegHead, m image.Image, err error) {
	if head, err = scanJPEG(b); err != nil {
		return head, nil, err
	}
	if _, err := within(head.w, head.h, 1, 4*max(len(head.sampling), 1)); err != nil {
		return head, nil, err
	}
	if len(head.sampling) == 4 {
		for _, s := range head.sampling {
			if s != head.sampling[0] {
				return head, nil, fmt.Errorf("JPEG of four colours, of which some are subsampled, is not read: convert it to PNG")
			}
		}
	}
	if m, err = jpeg.Decode(bytes.NewReader(b)); err != nil {
		return head, nil, fmt.Errorf("not a readable picture: JPEG: %w", err)
	}
	return head, m, nil
}

// jpegRaster makes a picture of a decoded JPEG stream; without convert its three channels are taken as they are.
func jpegRaster(m image.Image, convert bool) (*volume, error) {
	if y, ok := m.(*image.YCbCr); ok {
		to := ycbcr
		if !convert {
			to = func(y, cb, cr uint8) (uint8, uint8, uint8) { return y, cb, cr }
		}
		return colourRaster(y.Bounds().Dx(), y.Bounds().Dy(), upsample(y, fancyJPEG, to)), nil
	}
	return rasterOf(m)
}

// colourRaster is a picture of interleaved RGB of 8 bits.
func colourRaster(w, h int, pix []uint8) *volume {
	v := &volume{w: w, h: h, d: 1, channels: 3, facts: Facts{Bits: 8}, at: func(i int) float64 { return float64(pix[i]) }}
	v.shallow()
	return v
}

// ycbcr is JFIF's conversion in the fixed point of libjpeg: 16 bits, rounded where it is added.
func ycbcr(y, cb, cr uint8) (r, g, b uint8) {
	const half = 1 << 15
	u, v, l := int(cb)-128, int(cr)-128, int(y)
	return clamp8(l + (91881*v+half)>>16), clamp8(l + (-22554*u-46802*v+half)>>16), clamp8(l + (116130*u+half)>>16)
}

func clamp8(x int) uint8 { return uint8(min(max(x, 0), 255)) }

// A chromaFilter gives one row of chroma, as wide as the picture, of a plane of w x h samples that are fewer in x and y by fx and fy.
type chromaFilter func(plane []uint8, stride, w, h, fx, fy, row int, out []uint8)

// upsample makes interleaved RGB of planes.
func upsample(m *image.YCbCr, filter chromaFilter, convert func(y, cb, cr uint8) (r, g, b uint8)) []uint8 {
	b := m.Bounds()
	w, h := b.Dx(), b.Dy()
	factors := map[image.YCbCrSubsampleRatio][2]int{
		image.YCbCrSubsampleRatio444: {1, 1}, image.YCbCrSubsampleRatio422: {2, 1}, image.YCbCrSubsampleRatio420: {2, 2},
		image.YCbCrSubsampleRatio440: {1, 2}, image.YCbCrSubsampleRatio411: {4, 1}, image.YCbCrSubsampleRatio410: {4, 2},
	}[m.SubsampleRatio]
	fx, fy := factors[0], factors[1]
	cw, ch := (w+fx-1)/fx, (h+fy-1)/fy
	out := make([]uint8, w*h*3)
	cb, cr := make([]uint8, w+fx), make([]uint8, w+fx)
	for y := range h {
		filter(m.Cb, m.CStride, cw, ch, fx, fy, y, cb)
		filter(m.Cr, m.CStride, cw, ch, fx, fy, y, cr)
		light, to := m.Y[y*m.YStride:][:w], out[y*w*3:][:w*3]
		for x, l := range light {
			to[3*x], to[3*x+1], to[3*x+2] = convert(l, cb[x], cr[x])
		}
	}
	return out
}

// fancyJPEG is libjpeg's default upsampling: a triangle along the axes that have half the samples (rounded up and down in turns),
// replication along others.
func fancyJPEG(plane []uint8, stride, w, h, fx, fy, row int, out []uint8) {
	y := row / fy
	here := plane[y*stride:][:w]
	other := here
	if fy == 2 {
		near := y - 1
		if row%2 == 1 {
			near = y + 1
		}
		other = plane[min(max(near, 0), h-1)*stride:][:w]
	}
	switch {
	case fx == 2 && fy == 2 && w > 2:
		sum := func(x int) int { return 3*int(here[x]) + int(other[x]) }
		for x := range w {
			s := sum(x)
			out[2*x] = uint8((3*s + sum(max(x-1, 0)) + 8) >> 4)
			out[2*x+1] = uint8((3*s + sum(min(x+1, w-1)) + 7) >> 4)
		}
	case fx == 2 && fy == 1 && w > 2:
		for x := range w {
			s := 3 * int(here[x])
			out[2*x] = uint8((s + int(here[max(x-1, 0)]) + 1) >> 2)
			out[2*x+1] = uint8((s + int(here[min(x+1, w-1)]) + 2) >> 2)
		}
	case fx == 1 && fy == 2:
		bias := 1 + row%2
		for x := range w {
			out[x] = uint8((3*int(here[x]) + int(other[x]) + bias) >> 2)
		}
	default:
		for x, c := range here {
			for k := range fx {
				out[x*fx+k] = c
			}
		}
	}
}
