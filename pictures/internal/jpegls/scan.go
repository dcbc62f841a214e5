package jpegls

import (
	"fmt"
	"math/bits"
)

// Contexts of the regular mode, and the two of the end of a run behind them.
const (
	contexts   = 365
	runContext = contexts
)

// runBits is the order of the code of a run's length (T.87 table A.7, J).
var runBits = [32]int{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// A scan is the state of the decoder (T.87 annex A); names follow the recommendation.
type scan struct {
	in                       bitReader
	maximum, near, step      int // step: 2 near + 1
	span, qbpp, limit, reset int
	t1, t2, t3               int
	a, n                     [contexts + 2]int
	b, c                     [contexts]int
	negative                 [2]int // Nn, of the run contexts
	run                      int    // RUNindex
}

func newScan(depth, near int, p preset) (*scan, error) {
	s := &scan{maximum: 1<<depth - 1, near: near, step: 2*near + 1, reset: 64}
	if p.maximum != 0 {
		s.maximum = p.maximum
	}
	if p.reset != 0 {
		s.reset = p.reset
	}
	m := s.maximum
	clamp := func(x, low int) int {
		if x > m || x < low {
			return low
		}
		return x
	}
	if m >= 128 {
		f := (min(m, 4095) + 128) / 256
		s.t1 = clamp(f+2+3*near, near+1)
		s.t2 = clamp(4*f+3+5*near, s.t1)
		s.t3 = clamp(17*f+4+7*near, s.t2)
	} else {
		f := 256 / (m + 1)
		s.t1 = clamp(max(2, 3/f+3*near), near+1)
		s.t2 = clamp(max(3, 7/f+5*near), s.t1)
		s.t3 = clamp(max(4, 21/f+7*near), s.t2)
	}
	for i, t := range []int{p.t1, p.t2, p.t3} {
		if t != 0 {
			*[]*int{&s.t1, &s.t2, &s.t3}[i] = t
		}
	}
	if m > 1<<depth-1 || s.reset < 3 || s.t1 < near+1 || s.t2 < s.t1 || s.t3 < s.t2 || s.t3 > m || near > m/2 {
		return nil, fmt.Errorf("have thresholds %d, %d, %d of at most %d with an error of %d", s.t1, s.t2, s.t3, m, near)
	}
	s.span = (m+2*near)/s.step + 1
	s.qbpp = bits.Len(uint(s.span - 1))
	bpp := max(2, bits.Len(uint(m)))
	s.limit = 2 * (bpp + max(8, bpp))
	for i := range s.a {
		s.a[i], s.n[i] = max(2, (s.span+32)/64), 1
	}
	return s, nil
}

// quantize is the region of a gradient, -4 to 4.
func (s *scan) quantize(d int) int {
	switch {
	case d <= -s.t3:
		return -4
	case d <= -s.t2:
		return -3
	case d <= -s.t1:
		return -2
	case d < -s.near:
		return -1
	case d <= s.near:
		return 0
	case d < s.t1:
		return 1
	case d < s.t2:
		return 2
	case d < s.t3:
		return 3
	}
	return 4
}

// context is the signed context of a sample from its neighbours: a left, b above, c left above, d right above. 0 is a run's.
func (s *scan) context(a, b, c, d int) int {
	return (s.quantize(d-b)*9+s.quantize(b-c))*9 + s.quantize(c-a)
}

// golomb reads a number in the length-limited code of order k.
func (s *scan) golomb(k, limit int) (int, error) {
	zeros := 0
	for {
		bit, err := s.in.read(1)
		if err != nil {
			return 0, err
		}
		if bit == 1 {
			break
		}
		if zeros++; zeros > limit {
			return 0, fmt.Errorf("a code that is too long")
		}
	}
	if zeros < limit-s.qbpp-1 {
		x, err := s.in.read(k)
		return zeros<<uint(k) | x, err
	}
	x, err := s.in.read(s.qbpp)
	return x + 1, err
}

// order is the least k with n * 2^k >= a.
func order(n, a int) int {
	k := 0
	for n<<uint(k) < a && k < 24 {
		k++
	}
	return k
}

// restore is the sample of a prediction and an error.
func (s *scan) restore(p, e int) int {
	x := p + e*s.step
	if x < -s.near {
		x += s.span * s.step
	} else if x > s.maximum+s.near {
		x -= s.span * s.step
	}
	return min(max(x, 0), s.maximum)
}

// regular decodes a sample in its context, which is not 0.
func (s *scan) regular(q, a, b, c int) (int, error) {
	sign := 1
	if q < 0 {
		q, sign = -q, -1
	}
	p := a + b - c
	if c >= max(a, b) {
		p = min(a, b)
	} else if c <= min(a, b) {
		p = max(a, b)
	}
	p = min(max(p+sign*s.c[q], 0), s.maximum)
	k := order(s.n[q], s.a[q])
	m, err := s.golomb(k, s.limit)
	if err != nil {
		return 0, err
	}
	e := m >> 1
	if m&1 == 1 {
		e = -e - 1
	}
	if s.near == 0 && k == 0 && 2*s.b[q] <= -s.n[q] {
		e = -e - 1
	}
	s.b[q] += e * s.step
	s.a[q] += max(e, -e)
	if s.n[q] == s.reset {
		s.a[q], s.b[q], s.n[q] = s.a[q]>>1, s.b[q]>>1, s.n[q]>>1
	}
	s.n[q]++
	if s.b[q] <= -s.n[q] {
		s.b[q] = max(s.b[q]+s.n[q], -s.n[q]+1)
		s.c[q] = max(s.c[q]-1, -128)
	} else if s.b[q] > 0 {
		s.b[q] = min(s.b[q]-s.n[q], 0)
		s.c[q] = min(s.c[q]+1, 127)
	}
	return s.restore(p, sign*e), nil
}

// length reads how many of the room samples left in a row are a run, and whether one that ends it follows.
func (s *scan) length(room int) (n int, ends bool, err error) {
	for n < room {
		bit, err := s.in.read(1)
		if err != nil {
			return 0, false, err
		}
		if bit == 0 {
			rest, err := s.in.read(runBits[s.run])
			if n += rest; err == nil && n >= room {
				err = fmt.Errorf("a run is longer than its row")
			}
			return n, true, err
		}
		if full := 1 << uint(runBits[s.run]); n+full <= room {
			n += full
			s.run = min(s.run+1, 31)
		} else {
			n = room
		}
	}
	return n, false, nil
}

// runEnd decodes the sample that ends a run; kind 1 is for neighbours that are alike.
func (s *scan) runEnd(kind, a, b int) (int, error) {
	q := runContext + kind
	t := s.a[q] + kind*(s.n[q]>>1)
	k := order(s.n[q], t)
	m, err := s.golomb(k, s.limit-runBits[s.run]-1)
	if err != nil {
		return 0, err
	}
	odd := (m+kind)&1 == 1
	e := (m + kind + 1) >> 1
	if odd == (k != 0 || 2*s.negative[kind] >= s.n[q]) {
		e = -e
	}
	if e < 0 {
		s.negative[kind]++
	}
	s.a[q] += (m + 1 - kind) >> 1
	if s.n[q] == s.reset {
		s.a[q], s.n[q], s.negative[kind] = s.a[q]>>1, s.n[q]>>1, s.negative[kind]>>1
	}
	s.n[q]++
	if kind == 1 {
		return s.restore(a, e), nil
	}
	if a > b {
		e = -e
	}
	return s.restore(b, e), nil
}

// row decodes a row of one component; sample x is at x+1.
func (s *scan) row(above, row []int32, width int) error {
	for x := 1; x <= width; {
		a, b, c, d := int(row[x-1]), int(above[x]), int(above[x-1]), int(above[x+1])
		if q := s.context(a, b, c, d); q != 0 {
			v, err := s.regular(q, a, b, c)
			if err != nil {
				return err
			}
			row[x] = int32(v)
			x++
			continue
		}
		n, ends, err := s.length(width + 1 - x)
		if err != nil {
			return err
		}
		for range n {
			row[x] = int32(a)
			x++
		}
		if !ends {
			continue
		}
		b, kind := int(above[x]), 0
		if abs(a-b) <= s.near {
			kind = 1
		}
		v, err := s.runEnd(kind, a, b)
		if err != nil {
			return err
		}
		row[x] = int32(v)
		x++
		s.run = max(s.run-1, 0)
	}
	return nil
}

// pixels decodes a row whose components alternate: they run together.
func (s *scan) pixels(above, row [][]int32, width int) error {
	for x := 1; x <= width; {
		var q [4]int
		flat := true
		for i := range row {
			q[i] = s.context(int(row[i][x-1]), int(above[i][x]), int(above[i][x-1]), int(above[i][x+1]))
			flat = flat && q[i] == 0
		}
		if !flat {
			for i := range row {
				v, err := s.regular(q[i], int(row[i][x-1]), int(above[i][x]), int(above[i][x-1]))
				if err != nil {
					return err
				}
				row[i][x] = int32(v)
			}
			x++
			continue
		}
		n, ends, err := s.length(width + 1 - x)
		if err != nil {
			return err
		}
		for range n {
			for i := range row {
				row[i][x] = row[i][x-1]
			}
			x++
		}
		if !ends {
			continue
		}
		for i := range row {
			v, err := s.runEnd(0, int(row[i][x-1]), int(above[i][x]))
			if err != nil {
				return err
			}
			row[i][x] = int32(v)
		}
		x++
		s.run = max(s.run-1, 0)
	}
	return nil
}

func abs(x int) int { return max(x, -x) }
