package jpeg

import "fmt"

// zigzag gives the place of each coefficient in the order of a stream.
var zigzag = [64]byte{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

// sequential reads a scan of DCT blocks.
func (d *decoder) sequential(r *bitReader, in []*component) error {
	across, down := up(d.w, 8*d.hMax), up(d.h, 8*d.vMax)
	alone := len(in) == 1 // then a unit is a block, and only blocks with pixels are coded
	if alone {
		across, down = up(in[0].w, 8), up(in[0].rows, 8)
	}
	last := make([]int32, len(in))
	for unit := range across * down {
		if d.restart > 0 && unit > 0 && unit%d.restart == 0 {
			if err := d.atRestart(r, unit/d.restart-1); err != nil {
				return err
			}
			clear(last)
		}
		for i, c := range in {
			h, v := int(c.h), int(c.v)
			if alone {
				h, v = 1, 1
			}
			for block := range h * v {
				var co [64]int32
				if err := d.block(r, c, &last[i], &co); err != nil {
					return err
				}
				x, y := unit%across*h+block%h, unit/across*v+block/h
				d.inverse(&co, c.samples[8*(y*c.stride+x):], c.stride)
			}
		}
	}
	return nil
}

// block reads a block's coefficients, dequantized.
func (d *decoder) block(r *bitReader, c *component, last *int32, co *[64]int32) error {
	quant := c.table
	size, err := c.dc.decode(r)
	if err != nil {
		return err
	}
	if size > 16 {
		return fmt.Errorf("a coefficient of %d bits", size)
	}
	diff, err := r.extended(int(size))
	if err != nil {
		return err
	}
	*last = int32(int16(*last + diff))
	co[0] = *last * int32(quant[0])
	for k := 1; k < 64; k++ {
		code, err := c.ac.decode(r)
		if err != nil {
			return err
		}
		run, size := int(code>>4), int(code&15)
		if size == 0 {
			if run != 15 {
				return nil
			}
			k += 15
			continue
		}
		if k += run; k > 63 {
			return fmt.Errorf("a block of more than 64 coefficients")
		}
		x, err := r.extended(size)
		if err != nil {
			return err
		}
		at := zigzag[k]
		co[at] = x * int32(quant[at])
	}
	return nil
}

// The cosines of the inverse transform, in units of 2^-13 (Loeffler, Ligtenberg and Moschytz, 1989): products of sums of cosines that
// the even and the odd half of eight inputs take.
const (
	unit = 13
	e0   = 4433  // sqrt 2 * cos(6 pi/16)
	e1   = 6270  // sqrt 2 * (cos(2 pi/16) - cos(6 pi/16))
	e2   = 15137 // sqrt 2 * (cos(2 pi/16) + cos(6 pi/16))
	o0   = 2446
	o1   = 16819
	o2   = 25172
	o3   = 12299
	p0   = 7373
	p1   = 20995
	p2   = 16069
	p3   = 3196
	p4   = 9633
)

// eight transforms eight values that lie step apart, in place, without the last shift.
func eight(v *[64]int64, at, step int) {
	x := func(i int) int64 { return v[at+i*step] }
	z := (x(2) + x(6)) * e0
	low, high := z-x(6)*e2, z+x(2)*e1
	sum, difference := (x(0)+x(4))<<unit, (x(0)-x(4))<<unit
	even := [4]int64{sum + high, difference + low, difference - low, sum - high}
	a, b, c, d := x(7), x(5), x(3), x(1)
	z1, z2, z3, z4 := -(a+d)*p0, -(b+c)*p1, (a + c), (b + d)
	z5 := (z3 + z4) * p4
	z3, z4 = z5-z3*p2, z5-z4*p3
	odd := [4]int64{d*o3 + z1 + z4, c*o2 + z2 + z3, b*o1 + z2 + z4, a*o0 + z1 + z3}
	for i := range 4 {
		v[at+i*step], v[at+(7-i)*step] = even[i]+odd[i], even[i]-odd[i]
	}
}

// inverse makes the samples of a block: columns, then rows, with the roundings of libjpeg's accurate transform, so that results are
// the same to the bit.
func (d *decoder) inverse(co *[64]int32, to []uint16, stride int) {
	extra := 2 // bits kept between the passes
	if d.bits > 8 {
		extra = 1
	}
	var v [64]int64
	flat := true
	for i, c := range co {
		v[i] = int64(c)
		flat = flat && (i == 0 || c == 0)
	}
	middle, most := int64(1)<<(d.bits-1), int64(1)<<d.bits-1
	if flat {
		x := uint16(min(max((v[0]<<extra+1<<(extra+2))>>(extra+3)+middle, 0), most))
		for y := range 8 {
			row := to[y*stride:][:8]
			for i := range row {
				row[i] = x
			}
		}
		return
	}
	for x := range 8 {
		eight(&v, x, 8)
	}
	half := int64(1) << (unit - extra - 1)
	for i := range v {
		v[i] = (v[i] + half) >> (unit - extra)
	}
	shift := unit + extra + 3
	half = 1 << (shift - 1)
	for y := range 8 {
		eight(&v, 8*y, 1)
		row := to[y*stride:][:8]
		for x := range row {
			row[x] = uint16(min(max((v[8*y+x]+half)>>shift+middle, 0), most))
		}
	}
}

// full brings a component's samples to the picture's size: chroma of half the width, the height, or both, by a triangle filter; other
// ratios repeat samples.
func (d *decoder) full(c *component) []uint16 {
	h, v := d.hMax/int(c.h), d.vMax/int(c.v)
	out := make([]uint16, d.w*d.h)
	whole := d.hMax%int(c.h) == 0 && d.vMax%int(c.v) == 0
	smooth := whole && (c.w > 2 && h == 2 && v <= 2 || h == 1 && v == 2)
	for y := range d.h {
		to := out[y*d.w:][:d.w]
		switch {
		case !smooth:
			row := c.samples[y*int(c.v)/d.vMax*c.stride:]
			for x := range to {
				to[x] = row[x*int(c.h)/d.hMax]
			}
		case h == 1:
			far, round := min(max(y/2-1+y%2*2, 0), c.rows-1), int32(1+y%2)
			a, b := c.samples[y/2*c.stride:], c.samples[far*c.stride:]
			for x := range to {
				to[x] = uint16((3*int32(a[x]) + int32(b[x]) + round) >> 2)
			}
		case v == 1:
			row := c.samples[y*c.stride:]
			for x := range to {
				at, side, round := x/2, x/2-1, int32(1)
				if x%2 == 1 {
					side, round = x/2+1, 2
				}
				if side < 0 || side >= c.w {
					to[x] = row[at]
					continue
				}
				to[x] = uint16((3*int32(row[at]) + int32(row[side]) + round) >> 2)
			}
		default:
			near, far := y/2, y/2-1
			if y%2 == 1 {
				far = y/2 + 1
			}
			far = min(max(far, 0), c.rows-1)
			a, b := c.samples[near*c.stride:], c.samples[far*c.stride:]
			column := func(x int) int32 { return 3*int32(a[x]) + int32(b[x]) }
			for x := range to {
				at, side, round := x/2, x/2-1, int32(8)
				if x%2 == 1 {
					side, round = x/2+1, 7
				}
				if side < 0 || side >= c.w {
					side = at
				}
				to[x] = uint16((3*column(at) + column(side) + round) >> 4)
			}
		}
	}
	return out
}
