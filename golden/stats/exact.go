package stats

import (
	"fmt"
	"math"
	"math/big"
)

// A Sum adds float64 without rounding: a fixed-point number that holds every float64 and 2^60 of the largest. The same numbers give the
// same bits in any order and by any merging of parts (Kulisch's accumulator). The zero value is an empty sum.
type Sum struct {
	limb    [limbs]int64 // 32 bits each from 2^-1074 up, with carries that wait; the last one has the sign
	waiting int          // numbers since the carries were made
	strange float64      // the sum of infinities and NaN
}

const (
	limbs  = 68
	lowest = -1074 // exponent of the smallest float64
)

// Add adds x.
func (s *Sum) Add(x float64) {
	if math.IsInf(x, 0) || math.IsNaN(x) {
		s.strange += x
		return
	}
	word := math.Float64bits(x)
	mantissa, exponent := word&(1<<52-1), int(word>>52&0x7ff)
	if exponent > 0 {
		mantissa, exponent = mantissa|1<<52, exponent-1
	}
	low := mantissa << (exponent % 32)
	parts := [3]int64{int64(low & math.MaxUint32), int64(low >> 32), int64(mantissa >> (64 - exponent%32))}
	at := s.limb[exponent/32:]
	for i, p := range parts {
		if x < 0 {
			p = -p
		}
		at[i] += p
	}
	if s.waiting++; s.waiting == 1<<30 {
		s.carry()
	}
}

// Merge adds everything that t has added.
func (s *Sum) Merge(t *Sum) {
	other := *t
	s.carry()
	other.carry()
	for i := range s.limb {
		s.limb[i] += other.limb[i]
	}
	s.waiting, s.strange = 2, s.strange+other.strange
}

// Float64 is the sum, rounded once to the nearest float64 (to even on a tie).
func (s *Sum) Float64() float64 {
	if s.strange != 0 {
		return s.strange
	}
	x, _ := s.exact().Float64()
	return x
}

// carry leaves 32 bits in every limb but the last.
func (s *Sum) carry() {
	for i := range limbs - 1 {
		s.limb[i+1] += s.limb[i] >> 32
		s.limb[i] &= math.MaxUint32
	}
	s.waiting = 0
}

// units is the sum in units of the smallest float64.
func (s *Sum) units() *big.Int {
	t := *s
	t.carry()
	x := new(big.Int)
	for i := limbs - 1; i >= 0; i-- {
		x.Add(x.Lsh(x, 32), big.NewInt(t.limb[i]))
	}
	return x
}

func (s *Sum) exact() *big.Float {
	x := new(big.Float).SetInt(s.units())
	return x.SetMantExp(x, lowest)
}

// MarshalText writes the exact sum, like 0x.8p+1; equal sums are equal texts.
func (s *Sum) MarshalText() ([]byte, error) {
	if s.strange != 0 {
		return nil, fmt.Errorf("sum: have %g, want a finite number", s.strange)
	}
	return []byte(s.exact().Text('p', 0)), nil
}

// UnmarshalText reads what MarshalText wrote.
func (s *Sum) UnmarshalText(text []byte) error {
	const most = 700 // characters: the longest sum has 32 * limbs / 4 digits
	x, _, err := new(big.Float).SetPrec(32*limbs).Parse(string(text[:min(len(text), most+1)]), 0)
	if err != nil || len(text) > most || x.IsInf() || x.MantExp(nil) > 32*(limbs-2)+lowest {
		return fmt.Errorf("sum: have %.40q, want a hexadecimal number like 0x.8p+1", text)
	}
	units, accuracy := x.SetMantExp(x, -lowest).Int(nil)
	if accuracy != big.Exact {
		return fmt.Errorf("sum: have %.40q, want a multiple of 2^%d", text, lowest)
	}
	*s = Sum{}
	negative := units.Sign() < 0
	words := units.Abs(units).FillBytes(make([]byte, 4*limbs))
	for i := range limbs {
		for _, b := range words[4*(limbs-1-i):][:4] {
			s.limb[i] = s.limb[i]<<8 | int64(b)
		}
		if negative {
			s.limb[i] = -s.limb[i]
		}
	}
	s.carry()
	return nil
}

// Moments are the count, the exact sum and the exact sum of squares of numbers: mean and variance have the same bits in any order and by any
// merging of parts. (A square below 1e-292 may lose bits, the same ones in every order.)
type Moments struct {
	N       int64 `json:"n"`
	Sum     Sum   `json:"sum"`
	Squares Sum   `json:"squares"`
}

// Add adds x.
func (m *Moments) Add(x float64) {
	m.N++
	m.Sum.Add(x)
	square := x * x
	m.Squares.Add(square)
	if !math.IsInf(square, 0) {
		m.Squares.Add(math.FMA(x, x, -square))
	}
}

// Merge adds everything that t has added.
func (m *Moments) Merge(t *Moments) {
	m.N += t.N
	m.Sum.Merge(&t.Sum)
	m.Squares.Merge(&t.Squares)
}

// Mean is the exact mean, rounded once; NaN of nothing.
func (m *Moments) Mean() float64 {
	if m.N == 0 || m.Sum.strange != 0 {
		return m.Sum.strange / float64(m.N)
	}
	return ratio(m.Sum.units(), big.NewInt(m.N), lowest)
}

// Variance is the exact sample variance (divisor N-1), rounded once; NaN of fewer than two numbers.
func (m *Moments) Variance() float64 {
	if m.N < 2 || m.Sum.strange != 0 || m.Squares.strange != 0 {
		return math.NaN()
	}
	n, sum := big.NewInt(m.N), m.Sum.units()
	over := new(big.Int).Lsh(new(big.Int).Mul(n, m.Squares.units()), -lowest) // (N sum x^2 - (sum x)^2) / (N (N-1))
	over.Sub(over, sum.Mul(sum, sum))
	if over.Sign() <= 0 {
		return 0
	}
	return ratio(over, n.Mul(n, big.NewInt(m.N-1)), 2*lowest)
}

// ratio is a/b * 2^exponent, rounded once.
func ratio(a, b *big.Int, exponent int) float64 {
	x, _ := new(big.Rat).SetFrac(a, new(big.Int).Lsh(b, uint(-exponent))).Float64()
	return x
}
