package pictures

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"

	"syncsam-convert/internal/output"
	"syncsam-convert/ir"
)

// A Mask is a binary picture, row-major: 1 is foreground.
type Mask struct {
	W, H int
	Pix  []uint8
}

// NewMask is an empty mask.
func NewMask(w, h int) *Mask { return &Mask{w, h, make([]uint8, w*h)} }

// Count is the number of foreground pixels.
func (m *Mask) Count() int {
	n := 0
	for _, p := range m.Pix {
		n += int(p)
	}
	return n
}

// edge reports whether a pixel is foreground and has a 4-neighbour that is not.
func (m *Mask) edge(x, y int) bool {
	in := func(x, y int) bool { return x >= 0 && y >= 0 && x < m.W && y < m.H && m.Pix[y*m.W+x] == 1 }
	return in(x, y) && !(in(x-1, y) && in(x+1, y) && in(x, y-1) && in(x, y+1))
}

// MaskOf makes a mask at the image's size from low-resolution logits of side n (row-major). "bilinear" upsampling has half-pixel
// centres: to S x S, cropped to the resized image, then to the original size; "bilinear_once" goes straight there. A pixel is
// foreground above the threshold.
func MaskOf(logits []float32, n int, f Frame, p ir.Postprocess) (*Mask, error) {
	switch {
	case p.Upsample != "bilinear" && p.Upsample != "bilinear_once":
		return nil, fmt.Errorf("postprocess.upsample: have %q, want bilinear or bilinear_once", p.Upsample)
	case p.Activation != "" && p.Activation != "sigmoid":
		return nil, fmt.Errorf("postprocess.activation: have %q, want sigmoid or nothing", p.Activation)
	case len(logits) != n*n:
		return nil, fmt.Errorf("logits: have %d values, want %d x %d", len(logits), n, n)
	}
	square, w, h, stride := logits, n, n, n
	activate := func(x float32) float32 { return x }
	if p.Activation == "sigmoid" {
		activate = func(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }
	}
	if p.Upsample == "bilinear_once" {
		square = make([]float32, n*n)
		for i, x := range logits {
			square[i] = activate(x)
		}
		activate = func(x float32) float32 { return x }
	} else {
		square, w, h, stride = make([]float32, f.InH*f.S), f.InW, f.InH, f.S
		bilinear(logits, n, n, n, f.S, f.S, func(y int, row []float32) bool {
			if y < f.InH {
				copy(square[y*f.S:], row)
			}
			return y+1 < f.InH
		})
	}
	m := NewMask(f.W, f.H)
	bilinear(square, w, h, stride, f.W, f.H, func(y int, row []float32) bool {
		to := m.Pix[y*f.W:][:f.W]
		for x, v := range row {
			if activate(v) > p.Threshold {
				to[x] = 1
			}
		}
		return true
	})
	return m, nil
}

// A sample is one output coordinate between two input ones.
type sample struct {
	lo, hi int
	part   float32 // weight of hi
}

// halfPixel places out samples over in pixels: (i+0.5)*in/out - 0.5, clamped at the borders, in float32.
func halfPixel(in, out int) []sample {
	scale := float32(in) / float32(out)
	s := make([]sample, out)
	for i := range s {
		at := max(float32((float32(i)+0.5)*scale)-0.5, 0)
		lo := min(int(at), in-1)
		s[i] = sample{lo, min(lo+1, in-1), min(max(at-float32(lo), 0), 1)}
	}
	return s
}

// bilinear resamples w x h values (rows stride apart) to ow x oh, a row at a time, until emit says stop; emit must not keep the row.
func bilinear(x []float32, w, h, stride, ow, oh int, emit func(y int, row []float32) bool) {
	cols, row := halfPixel(w, ow), make([]float32, ow)
	for y, r := range halfPixel(h, oh) {
		top, bottom := x[r.lo*stride:][:w], x[r.hi*stride:][:w]
		for i, c := range cols {
			a := float32(top[c.lo]*(1-c.part)) + float32(top[c.hi]*c.part)
			b := float32(bottom[c.lo]*(1-c.part)) + float32(bottom[c.hi]*c.part)
			row[i] = float32(a*(1-r.part)) + float32(b*r.part)
		}
		if !emit(y, row) {
			return
		}
	}
}

// WriteMask writes a mask as a grey PNG of 0 and 255.
func WriteMask(path string, m *Mask) error { return writePNG(path, m.Picture()) }

// Picture is a mask as grey values of 0 and 255.
func (m *Mask) Picture() image.Image {
	g := image.NewGray(image.Rect(0, 0, m.W, m.H))
	for i, p := range m.Pix {
		g.Pix[i] = p * 255
	}
	return g
}

// WriteLabels writes the labels of w x h pixels as a grey PNG of these values.
func WriteLabels(path string, w, h int, labels []uint8) error {
	return writePNG(path, &image.Gray{Pix: labels, Stride: w, Rect: image.Rect(0, 0, w, h)})
}

// WriteImage writes an image as an RGB PNG of 8 bits.
func WriteImage(path string, m *Image) error { return writePNG(path, m.Picture()) }

// Picture is an image as the standard library has them.
func (m *Image) Picture() image.Image {
	out := image.NewNRGBA(image.Rect(0, 0, m.W, m.H))
	for i := range m.W * m.H {
		copy(out.Pix[4*i:], m.Pix[3*i:3*i+3])
		out.Pix[4*i+3] = 255
	}
	return out
}

// A Mark is something drawn on an overlay, in original-image pixels.
type Mark struct {
	X0, Y0, X1, Y1 float64 // a box; a point when both corners are the same
	Label          int     // of a point: 1 foreground, 0 background
}

// The overlay's colours: what the mask covers, its outline, the ground truth's, a box, points of label 0 and 1.
var (
	fillColor  = color.NRGBA{R: 255, G: 140, B: 0, A: 255}
	lineColor  = color.NRGBA{R: 255, G: 220, B: 0, A: 255}
	truthColor = color.NRGBA{R: 235, G: 20, B: 40, A: 255}
	boxColor   = color.NRGBA{R: 0, G: 200, B: 255, A: 255}
	pointColor = [2]color.NRGBA{{R: 230, G: 30, B: 60, A: 255}, {R: 40, G: 220, B: 80, A: 255}}
)

// Overlay draws a mask (tinted, with an outline), the outline of the ground truth (nil for none) and the prompts over an image.
func Overlay(m *Image, mask, truth *Mask, marks []Mark) image.Image {
	out := image.NewNRGBA(image.Rect(0, 0, m.W, m.H))
	for y := range m.H {
		for x := range m.W {
			p := m.Pix[(y*m.W+x)*3:]
			c := color.NRGBA{p[0], p[1], p[2], 255}
			switch {
			case truth != nil && truth.edge(x, y):
				c = truthColor
			case mask.edge(x, y):
				c = lineColor
			case mask.Pix[y*m.W+x] == 1:
				c = blend(c, fillColor, 90)
			}
			out.SetNRGBA(x, y, c)
		}
	}
	for _, k := range marks {
		if k.X0 == k.X1 && k.Y0 == k.Y1 {
			drawPoint(out, int(k.X0), int(k.Y0), pointColor[min(max(k.Label, 0), 1)], max(2, min(m.W, m.H)/128))
			continue
		}
		x0, y0, x1, y1 := int(k.X0), int(k.Y0), int(k.X1)-1, int(k.Y1)-1
		for x := max(x0, 0); x <= min(x1, m.W-1); x++ {
			out.SetNRGBA(x, y0, boxColor)
			out.SetNRGBA(x, y1, boxColor)
		}
		for y := max(y0, 0); y <= min(y1, m.H-1); y++ {
			out.SetNRGBA(x0, y, boxColor)
			out.SetNRGBA(x1, y, boxColor)
		}
	}
	return out
}

// blend mixes t/255 of b into a.
func blend(a, b color.NRGBA, t int) color.NRGBA {
	mix := func(p, q uint8) uint8 { return uint8((int(p)*(255-t) + int(q)*t) / 255) }
	return color.NRGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 255}
}

// drawPoint draws a disc with a dark rim.
func drawPoint(m *image.NRGBA, cx, cy int, c color.NRGBA, radius int) {
	for dy := -radius - 1; dy <= radius+1; dy++ {
		for dx := -radius - 1; dx <= radius+1; dx++ {
			switch d := dx*dx + dy*dy; {
			case d <= radius*radius:
				m.SetNRGBA(cx+dx, cy+dy, c)
			case d <= (radius+1)*(radius+1):
				m.SetNRGBA(cx+dx, cy+dy, color.NRGBA{A: 255})
			}
		}
	}
}

// WriteOverlay writes Overlay as a PNG.
func WriteOverlay(path string, m *Image, mask, truth *Mask, marks []Mark) error {
	return writePNG(path, Overlay(m, mask, truth, marks))
}

func writePNG(path string, m image.Image) error {
	return output.File(path, func(w io.Writer) error { return png.Encode(w, m) })
}
