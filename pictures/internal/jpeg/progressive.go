package jpeg

import "fmt"

// A band is what a scan of a progressive picture refines: coefficients first to last, from bit high (0: none yet) to bit low.
type band struct {
	first, last int
	high, low   byte
}

// progressive reads a scan of a progressive picture into the coefficients (T.81 annex G).
func (d *decoder) progressive(r *bitReader, in []*component, b band) error {
	if b.first > b.last || b.last > 63 || b.first == 0 && b.last != 0 || b.first > 0 && len(in) > 1 || b.low > 13 || b.high != 0 && b.high != b.low+1 {
		return fmt.Errorf("scan header: have coefficients %d to %d of %d components from bit %d to %d", b.first, b.last, len(in), b.high, b.low)
	}
	for _, c := range in {
		if b.first == 0 && b.high == 0 && c.dc == nil || b.first > 0 && c.ac == nil {
			return fmt.Errorf("scan header: component %d has no table", c.id)
		}
	}
	across, down := up(d.w, 8*d.hMax), up(d.h, 8*d.vMax)
	alone := len(in) == 1
	if alone {
		across, down = up(in[0].w, 8), up(in[0].rows, 8)
	}
	last := make([]int32, len(in))
	run := 0 // blocks whose band is at its end
	for unit := range across * down {
		if d.restart > 0 && unit > 0 && unit%d.restart == 0 {
			if err := d.atRestart(r, unit/d.restart-1); err != nil {
				return err
			}
			clear(last)
			run = 0
		}
		for i, c := range in {
			h, v := int(c.h), int(c.v)
			if alone {
				h, v = 1, 1
			}
			for block := range h * v {
				x, y := unit%across*h+block%h, unit/across*v+block/h
				co := c.coefficients[64*(y*(c.stride/8)+x):][:64]
				var err error
				switch {
				case b.first == 0 && b.high == 0:
					err = firstDC(r, c, &last[i], co, b.low)
				case b.first == 0:
					if r.peek(1) == 1 {
						co[0] |= 1 << b.low
					}
					err = r.skip(1)
				case b.high == 0:
					err = firstAC(r, c, b, &run, co)
				default:
					err = refineAC(r, c, b, &run, co)
				}
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func firstDC(r *bitReader, c *component, last *int32, co []int16, low byte) error {
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
	co[0] = int16(*last << low)
	return nil
}

// ends reads how many more blocks end with this one.
func ends(r *bitReader, bits int) (int, error) {
	if bits == 0 {
		return 0, nil
	}
	more := int(r.peek(bits))
	return 1<<bits + more - 1, r.skip(bits)
}

func firstAC(r *bitReader, c *component, b band, run *int, co []int16) error {
	if *run > 0 {
		*run--
		return nil
	}
	for k := b.first; k <= b.last; k++ {
		code, err := c.ac.decode(r)
		if err != nil {
			return err
		}
		zeros, size := int(code>>4), int(code&15)
		if size == 0 && zeros < 15 {
			*run, err = ends(r, zeros)
			return err
		}
		if k += zeros; size == 0 {
			continue
		}
		if k > b.last {
			return fmt.Errorf("a block of more than 64 coefficients")
		}
		x, err := r.extended(size)
		if err != nil {
			return err
		}
		co[k] = int16(x << b.low)
	}
	return nil
}

// refineAC adds a bit to the coefficients that are not 0, and new ones between them (T.81 G.1.2.3).
func refineAC(r *bitReader, c *component, b band, run *int, co []int16) error {
	one := int16(1) << b.low
	correct := func(k int) error {
		if r.peek(1) == 1 && co[k]&one == 0 {
			if co[k] > 0 {
				co[k] += one
			} else {
				co[k] -= one
			}
		}
		return r.skip(1)
	}
	k := b.first
	for ; *run == 0 && k <= b.last; k++ {
		code, err := c.ac.decode(r)
		if err != nil {
			return err
		}
		zeros, fresh := int(code>>4), int16(0)
		switch size := code & 15; {
		case size == 1:
			if fresh = -one; r.peek(1) == 1 {
				fresh = one
			}
			if err := r.skip(1); err != nil {
				return err
			}
		case size > 1:
			return fmt.Errorf("a refinement of %d bits", size)
		case zeros < 15:
			if *run, err = ends(r, zeros); err != nil {
				return err
			}
			*run++ // this block is one of them
		}
		if *run > 0 {
			break
		}
		for ; k <= b.last; k++ {
			if co[k] == 0 {
				if zeros == 0 {
					break
				}
				zeros--
			} else if err := correct(k); err != nil {
				return err
			}
		}
		if fresh != 0 {
			if k > b.last {
				return fmt.Errorf("a block of more than 64 coefficients")
			}
			co[k] = fresh
		}
	}
	if *run > 0 {
		for ; k <= b.last; k++ {
			if co[k] != 0 {
				if err := correct(k); err != nil {
					return err
				}
			}
		}
		*run--
	}
	return nil
}

// reconstruct makes a component's samples of its coefficients.
func (d *decoder) reconstruct(c *component) {
	across := c.stride / 8
	for block := range len(c.coefficients) / 64 {
		var co [64]int32
		for k, x := range c.coefficients[64*block:][:64] {
			at := zigzag[k]
			co[at] = int32(x) * int32(c.table[at])
		}
		d.inverse(&co, c.samples[8*(block/across*c.stride+block%across):], c.stride)
	}
	c.coefficients = nil
}
