package jpeg

import "fmt"

// lossless reads a scan of process 14: each sample is a prediction from its neighbours and a coded difference, modulo 2^16.
func (d *decoder) lossless(r *bitReader, in []*component, predictor int, point uint) error {
	if d.restart%d.w != 0 {
		return fmt.Errorf("have a restart interval of %d, want whole rows of %d", d.restart, d.w)
	}
	rows := 0 // of a restart interval
	if d.restart > 0 {
		rows = d.restart / d.w
	}
	for y := range d.h {
		first := y == 0
		if rows > 0 && y > 0 && y%rows == 0 {
			if err := d.atRestart(r, y/rows-1); err != nil {
				return err
			}
			first = true
		}
		for x := range d.w {
			for _, c := range in {
				i := y*c.stride + x
				var p int32
				switch s := c.samples; {
				case first && x == 0:
					p = 1 << (uint(d.bits) - point - 1)
				case first:
					p = int32(s[i-1])
				case x == 0:
					p = int32(s[i-c.stride])
				default:
					p = predict(predictor, int32(s[i-1]), int32(s[i-c.stride]), int32(s[i-c.stride-1]))
				}
				size, err := c.dc.decode(r)
				if err != nil {
					return err
				}
				var diff int32
				switch {
				case size == 16:
					diff = 1 << 15
				case size > 16:
					return fmt.Errorf("a difference of %d bits, want at most 16", size)
				default:
					if diff, err = r.extended(int(size)); err != nil {
						return err
					}
				}
				c.samples[i] = uint16(p + diff)
			}
		}
	}
	if point > 0 {
		for _, c := range in {
			for i := range c.samples {
				c.samples[i] <<= point
			}
		}
	}
	return nil
}

// predict is T.81 table H.1: a is left of the sample, b above it, c left above.
func predict(predictor int, a, b, c int32) int32 {
	switch predictor {
	case 1:
		return a
	case 2:
		return b
	case 3:
		return c
	case 4:
		return a + b - c
	case 5:
		return a + (b-c)>>1
	case 6:
		return b + (a-c)>>1
	}
	return (a + b) >> 1
}
