package pictures

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"

	"golang.org/x/image/webp"
)

// readWebP reads a WebP file; of an animation the first frame.
func readWebP(f *source, frame *int) (*volume, error) {
	chunks, err := f.chunks(12, false)
	if err != nil {
		return nil, err
	}
	turn, frames, w, h, codec := 1, 0, 0, 0, "WebP"
	var still []chunk
	for _, c := range chunks {
		switch c.kind {
		case "VP8X":
			b, err := f.read(c, 10)
			if err != nil || len(b) < 10 {
				return nil, fmt.Errorf("not a readable picture: WebP: it ends early")
			}
			w, h = 1+int(binary.LittleEndian.Uint32(b[4:])&0xffffff), 1+int(binary.LittleEndian.Uint32(b[6:])>>8)
		case "EXIF":
			b, err := f.read(c, maxMetadata)
			if err != nil {
				return nil, err
			}
			turn = exifTurn(bytes.TrimPrefix(b, []byte("Exif\x00\x00")))
		case "ANMF":
			if frames++; frames == 1 {
				if still, err = f.webpFrame(c, w, h); err != nil {
					return nil, err
				}
			}
		case "ALPH", "VP8 ", "VP8L":
			if frames == 0 {
				still = append(still, c)
			}
		}
	}
	if err := onlyFirst(frame, frames); err != nil {
		return nil, err
	}
	b, err := f.riff(still, w, h)
	if err != nil {
		return nil, err
	}
	config, err := webp.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("not a readable picture: %w", err)
	}
	if _, err := within(config.Width, config.Height, 1, 8); err != nil {
		return nil, err
	}
	if pixels := config.Width * config.Height; pixels > freePixels {
		if err := holds(int64(len(b)), pixels, webpRatio); err != nil {
			return nil, err
		}
	}
	m, err := webp.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("not a readable picture: %w", err)
	}
	v, err := webpRaster(m)
	if err != nil {
		return nil, err
	}
	if codec += ", lossless"; v.lossy {
		codec = "WebP, lossy"
	}
	v.turn, v.frames, v.facts.Codec = turn, frames, codec
	return v, nil
}

// webpFrame lists the chunks of an animation's frame, which must cover the canvas.
func (f *source) webpFrame(c chunk, w, h int) ([]chunk, error) {
	b, err := f.read(c, 16)
	if err != nil || len(b) < 16 {
		return nil, fmt.Errorf("not a readable picture: WebP: it ends early")
	}
	u24 := func(at int) int { return int(b[at]) | int(b[at+1])<<8 | int(b[at+2])<<16 }
	if u24(6)+1 != w || u24(9)+1 != h {
		return nil, fmt.Errorf("WebP: the animation's first frame has %d x %d pixels, want the %d x %d of the whole: store it as a picture", u24(6)+1, u24(9)+1, w, h)
	}
	inside := &source{f.File, c.at + c.length}
	all, err := inside.chunks(c.at+16, false)
	var out []chunk
	for _, c := range all {
		if c.kind == "ALPH" || c.kind == "VP8 " || c.kind == "VP8L" {
			out = append(out, c)
		}
	}
	return out, err
}

// riff makes a file of a still picture's chunks.
func (f *source) riff(still []chunk, w, h int) ([]byte, error) {
	var body []byte
	add := func(kind string, data []byte) {
		body = binary.LittleEndian.AppendUint32(append(body, kind...), uint32(len(data)))
		if body = append(body, data...); len(data)%2 == 1 {
			body = append(body, 0)
		}
	}
	if len(still) > 0 && still[0].kind == "ALPH" {
		size := make([]byte, 10)
		size[0] = 1 << 4
		binary.LittleEndian.PutUint32(size[6:], uint32(h-1)<<8)
		size[4], size[5], size[6] = byte(w-1), byte((w-1)>>8), byte((w-1)>>16)
		add("VP8X", size)
	}
	for _, c := range still {
		data, err := f.read(c, f.size)
		if err != nil {
			return nil, err
		}
		add(c.kind, data)
	}
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(4+len(body))), append([]byte("WEBP"), body...)...), nil
}

// webpRaster makes a picture of what the decoder gives: planes of VP8, or colours of the lossless form.
func webpRaster(m image.Image) (*volume, error) {
	var planes *image.YCbCr
	var alpha func(p int) float64
	switch m := m.(type) {
	case *image.YCbCr:
		planes = m
	case *image.NYCbCrA:
		planes = &m.YCbCr
		w := m.Bounds().Dx()
		alpha = func(p int) float64 { return float64(m.A[p/w*m.AStride+p%w]) / 255 }
	default:
		return rasterOf(m)
	}
	b := planes.Bounds()
	w, h := b.Dx(), b.Dy()
	pix, us, vs := make([]uint8, 3*w*h), make([]uint8, w+1), make([]uint8, w+1)
	for y := range h {
		fancyWebP(planes.Cb, planes.CStride, (w+1)/2, (h+1)/2, y, us)
		fancyWebP(planes.Cr, planes.CStride, (w+1)/2, (h+1)/2, y, vs)
		to := pix[3*y*w:][:3*w]
		for x, light := range planes.Y[y*planes.YStride:][:w] {
			to[3*x], to[3*x+1], to[3*x+2] = vp8(light, us[x], vs[x])
		}
	}
	v := &volume{w: w, h: h, d: 1, channels: 3, facts: Facts{Bits: 8}, alpha: alpha, lossy: true, at: func(i int) float64 { return float64(pix[i]) }}
	v.shallow()
	return v, nil
}

// vp8 is libwebp's conversion of video-range YUV: 14 bits of fixed point, of which 8 are dropped early.
func vp8(y, u, v uint8) (r, g, b uint8) {
	high := func(x uint8, k int) int { return int(x) * k >> 8 }
	light := high(y, 19077)
	return clamp8((light + high(v, 26149) - 14234) >> 6), clamp8((light - high(u, 6419) - high(v, 13320) + 8708) >> 6), clamp8((light + high(u, 33050) - 17685) >> 6)
}

// fancyWebP is a row of libwebp's default upsampling of a plane of w x h samples, half of the picture's along both axes: 9, 3, 3 and 1
// sixteenths of the four nearest.
func fancyWebP(plane []uint8, stride, w, h, row int, out []uint8) {
	y := row / 2
	near := y - 1 + row%2*2
	here, other := plane[y*stride:][:w], plane[min(max(near, 0), h-1)*stride:][:w]
	for x := range w {
		for k := range 2 {
			side := min(max(x-1+2*k, 0), w-1)
			out[2*x+k] = uint8((9*int(here[x]) + 3*int(here[side]) + 3*int(other[x]) + int(other[side]) + 8) >> 4)
		}
	}
}
