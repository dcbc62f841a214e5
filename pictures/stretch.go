package pictures

import "math"

// values are the pixels as numbers.
func values(m *Image) []float32 {
	x := make([]float32, len(m.Pix))
	for i, p := range m.Pix {
		x[i] = float32(p)
	}
	return x
}

// grey replaces the channels by their mean, rounded to 8 bits.
func grey(m *Image) *Image {
	out := &Image{W: m.W, H: m.H, Pix: make([]uint8, len(m.Pix))}
	for i := 0; i < len(m.Pix); i += 3 {
		sum := int(m.Pix[i]) + int(m.Pix[i+1]) + int(m.Pix[i+2])
		g := uint8((2*sum + 3) / 6)
		out.Pix[i], out.Pix[i+1], out.Pix[i+2] = g, g, g
	}
	return out
}

// pilNearest and cvNearest give the input position of each of out positions: floor((i + 0.5) * in/out) and floor(i * in/out), rounded
// where PIL (which adds in/out to itself) and OpenCV (which inverts out/in) round, so that ties fall on their side.
func pilNearest(in, out int) []int {
	pos := make([]int, out)
	step := float64(in) / float64(out)
	at := step * 0.5
	for i := range pos {
		pos[i] = min(int(at), in-1)
		at += step
	}
	return pos
}

func cvNearest(in, out int) []int {
	pos := make([]int, out)
	step := 1 / (float64(out) / float64(in))
	for i := range pos {
		pos[i] = min(int(float64(i)*step), in-1)
	}
	return pos
}

// nearest takes the input pixels at the positions of a rule.
func nearest(m *Image, w, h int, at func(in, out int) []int) *Image {
	out := &Image{W: w, H: h, Pix: make([]uint8, 0, w*h*3)}
	cols := at(m.W, w)
	for _, y := range at(m.H, h) {
		row := m.Pix[y*m.W*3:][:m.W*3]
		for _, x := range cols {
			out.Pix = append(out.Pix, row[3*x:3*x+3]...)
		}
	}
	return out
}

// stretchBilinear is PyTorch's interpolate(mode="bilinear"): half-pixel centres, no antialiasing, in float32 on [0,1].
func stretchBilinear(m *Image, w, h int) []float32 {
	out := make([]float32, w*h*3)
	plane := make([]float32, m.W*m.H)
	for c := range 3 {
		for i := range plane {
			plane[i] = float32(m.Pix[3*i+c]) / 255
		}
		bilinear(plane, m.W, m.H, m.W, w, h, func(y int, row []float32) bool {
			for x, v := range row {
				out[(y*w+x)*3+c] = v * 255
			}
			return true
		})
	}
	return out
}

// stretchCubic is scikit-image's resize(order=3, anti_aliasing=True, preserve_range=True) truncated to 8 bits, as MedSAM prepares its
// images: a Gaussian of sigma (f-1)/2 along an axis that shrinks by f, then a cubic spline, mirrored at the borders, clipped to
// the input's range.
func stretchCubic(m *Image, w, h int) []float32 {
	out := make([]float32, w*h*3)
	lo, hi := 255.0, 0.0
	for _, p := range m.Pix {
		lo, hi = min(lo, float64(p)), max(hi, float64(p))
	}
	for c := range 3 {
		plane := make([]float64, m.W*m.H)
		for i := range plane {
			plane[i] = float64(m.Pix[3*i+c])
		}
		plane = alongColumns(plane, m.W, m.H, h, stretchLine)
		plane = alongRows(plane, m.W, h, w, stretchLine)
		for i, v := range plane {
			out[3*i+c] = float32(math.Trunc(min(max(v, lo), hi)))
		}
	}
	return out
}

// alongRows applies a line function to every row of w values; each gives n.
func alongRows(x []float64, w, h, n int, f func(line, out []float64)) []float64 {
	out := make([]float64, n*h)
	for y := range h {
		f(x[y*w:][:w], out[y*n:][:n])
	}
	return out
}

// alongColumns is alongRows over columns of h values; each gives n.
func alongColumns(x []float64, w, h, n int, f func(line, out []float64)) []float64 {
	out := make([]float64, w*n)
	line, result := make([]float64, h), make([]float64, n)
	for c := range w {
		for y := range h {
			line[y] = x[y*w+c]
		}
		f(line, result)
		for y, v := range result {
			out[y*w+c] = v
		}
	}
	return out
}

// stretchLine smooths a line when it shrinks and samples its cubic spline.
func stretchLine(line, out []float64) {
	scale := float64(len(line)) / float64(len(out))
	if sigma := (scale - 1) / 2; sigma > 0 {
		line = gaussian(line, sigma)
	}
	spline := splineCoefficients(line)
	for i := range out {
		out[i] = splineAt(spline, float64((float64(i)+0.5)*scale)-0.5)
	}
}

// zoomCubic is what SAMed makes of a slice: scipy.ndimage.zoom of order 3 to 224 x 224 where it is not of that size, then to w x h. Values may leave 0..255.
func zoomCubic(m *Image, w, h int) []float32 {
	const between = 224
	out := make([]float32, w*h*3)
	for c := range 3 {
		plane, pw, ph := make([]float64, m.W*m.H), m.W, m.H
		for i := range plane {
			plane[i] = float64(m.Pix[3*i+c])
		}
		for _, to := range [][2]int{{between, between}, {w, h}} {
			if pw == to[0] && ph == to[1] {
				continue
			}
			plane = alongColumns(plane, pw, ph, to[1], zoomLine)
			plane = alongRows(plane, pw, to[1], to[0], zoomLine)
			pw, ph = to[0], to[1]
			for i, v := range plane {
				plane[i] = float64(float32(v))
			}
		}
		for i, v := range plane {
			out[3*i+c] = float32(v)
		}
	}
	return out
}

// zoomLine samples a line's cubic spline with the ends aligned.
func zoomLine(line, out []float64) {
	spline, step := splineCoefficients(line), 0.0
	if len(out) > 1 {
		step = float64(len(line)-1) / float64(len(out)-1)
	}
	for i := range out {
		out[i] = splineAt(spline, float64(float64(i)*step))
	}
}

// splineAt is a mirrored cubic spline's value.
func splineAt(spline []float64, at float64) float64 {
	first := int(math.Floor(at))
	t := at - float64(first)
	weights := [4]float64{(1 - t) * (1 - t) * (1 - t) / 6, (float64(t*t*(t-2)*3) + 4) / 6, 0, t * t * t / 6}
	weights[2] = 1 - weights[0] - weights[1] - weights[3]
	sum := 0.0
	for k, wt := range weights {
		sum += float64(wt * spline[mirror(first-1+k, len(spline))])
	}
	return sum
}

// mirror reflects an index at the centres of the first and last sample.
func mirror(i, n int) int {
	if n == 1 {
		return 0
	}
	period := 2 * (n - 1)
	i = ((i % period) + period) % period
	return min(i, period-i)
}

// gaussian filters a line, mirrored, with a kernel of radius 4 sigma.
func gaussian(line []float64, sigma float64) []float64 {
	radius := int(float64(4*sigma) + 0.5)
	kernel, sum := make([]float64, 2*radius+1), 0.0
	for i := range kernel {
		d := float64(i - radius)
		kernel[i] = math.Exp(-0.5 / (sigma * sigma) * d * d)
		sum += kernel[i]
	}
	out := make([]float64, len(line))
	for i := range out {
		for k, wt := range kernel {
			out[i] += float64(wt / sum * line[mirror(i+k-radius, len(line))])
		}
	}
	return out
}

// splineCoefficients makes the cubic B-spline that passes through a mirrored line (recursive filter with pole sqrt(3) - 2).
func splineCoefficients(line []float64) []float64 {
	n := len(line)
	c := make([]float64, n)
	if n == 1 {
		c[0] = line[0]
		return c
	}
	z := math.Sqrt(3) - 2
	gain := (1 - z) * (1 - 1/z)
	for i, v := range line {
		c[i] = v * gain
	}
	last := math.Pow(z, float64(n-1))
	sum, up, down := c[0]+float64(last*c[n-1]), z, last*last/z
	for i := 1; i < n-1; i++ {
		sum += float64((up + down) * c[i])
		up, down = up*z, down/z
	}
	c[0] = sum / (1 - float64(last*last))
	for i := 1; i < n; i++ {
		c[i] += float64(z * c[i-1])
	}
	c[n-1] = (float64(z*c[n-2]) + c[n-1]) * z / (float64(z*z) - 1)
	for i := n - 2; i >= 0; i-- {
		c[i] = z * (c[i+1] - c[i])
	}
	return c
}
