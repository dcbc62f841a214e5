package pictures

import "math"

// area is OpenCV's resize with INTER_AREA on 8 bits a channel. Where both sides shrink each pixel is the mean of the rectangle of the image that it
// covers, rounded half to even, half up where both are halved. Where one grows it is interpolation between two pixels a side in fixed point, at
// places that follow areas.
func area(m *Image, w, h int) *Image {
	switch {
	case w == m.W && h == m.H:
		return m
	case w > m.W || h > m.H:
		return areaGrow(m, w, h)
	case m.W == 2*w && m.H == 2*h:
		out, row := &Image{W: w, H: h, Pix: make([]uint8, w*h*3)}, 3*m.W
		for y := range h {
			for x := range w {
				for c := range 3 {
					p := m.Pix[2*y*row+6*x+c:]
					out.Pix[(y*w+x)*3+c] = uint8((int(p[0]) + int(p[3]) + int(p[row]) + int(p[row+3]) + 2) >> 2)
				}
			}
		}
		return out
	}
	cols, rows := covered(m.W, w), covered(m.H, h)
	out, sums := &Image{W: w, H: h, Pix: make([]uint8, w*h*3)}, make([]float64, 3*w)
	for y, r := range rows {
		clear(sums)
		for k, b := range r.part {
			line := m.Pix[(r.first+k)*m.W*3:][:m.W*3]
			for x, t := range cols {
				for c := range 3 {
					sum := 0.0
					for i, a := range t.part {
						sum += float64(a * float64(line[(t.first+i)*3+c]))
					}
					sums[3*x+c] += float64(b * sum)
				}
			}
		}
		for i, s := range sums {
			out.Pix[y*3*w+i] = uint8(min(max(math.RoundToEven(s), 0), 255))
		}
	}
	return out
}

// A cover is what one output pixel covers along an axis: shares of the input's pixels from first on, which add up to 1.
type cover struct {
	first int
	part  []float64
}

func covered(in, out int) []cover {
	all := make([]cover, out)
	scale := float64(in) / float64(out)
	for i := range all {
		lo, hi := float64(float64(i)*scale), min(float64(float64(i+1)*scale), float64(in))
		first := int(lo)
		all[i].first = first
		for k := first; k < in && float64(k) < hi-1e-9; k++ {
			all[i].part = append(all[i].part, (min(hi, float64(k+1))-max(lo, float64(k)))/(hi-lo))
		}
	}
	return all
}

// A between is an output pixel between two of the input's: part/2048 of the second.
type between struct{ first, second, part int }

func betweens(in, out int) []between {
	all := make([]between, out)
	for d := range all {
		s := int(float64(d) * (float64(in) / float64(out)))
		f := float64(float32(float64(d+1) - float64(float64(s+1)*(float64(out)/float64(in)))))
		if f <= 0 {
			f = 0
		} else {
			f -= math.Floor(f)
		}
		if s >= in-1 {
			s, f = in-1, 0
		}
		all[d] = between{s, min(s+1, in-1), int(math.RoundToEven(f * 2048))}
	}
	return all
}

func areaGrow(m *Image, w, h int) *Image {
	cols, rows := betweens(m.W, w), betweens(m.H, h)
	out := &Image{W: w, H: h, Pix: make([]uint8, w*h*3)}
	for y, r := range rows {
		one, two := m.Pix[r.first*m.W*3:], m.Pix[r.second*m.W*3:]
		for x, t := range cols {
			for c := range 3 {
				a := (2048-t.part)*int(one[t.first*3+c]) + t.part*int(one[t.second*3+c])
				b := (2048-t.part)*int(two[t.first*3+c]) + t.part*int(two[t.second*3+c])
				out.Pix[(y*w+x)*3+c] = uint8(((((2048 - r.part) * (a >> 4)) >> 16) + ((r.part * (b >> 4)) >> 16) + 2) >> 2)
			}
		}
	}
	return out
}
