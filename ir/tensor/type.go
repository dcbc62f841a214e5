package tensor

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// A Dim is A*Sym + B elements along one axis; Sym "" makes it static (A is 0 then).
// Dims are comparable: two that print alike are equal.
type Dim struct {
	Sym  string
	A, B int64
}

// Static is a dimension of n elements.
func Static(n int64) Dim { return Dim{B: n} }

// Symbol is a dimension known only when the graph runs.
func Symbol(name string) Dim { return Dim{Sym: name, A: 1} }

// IsStatic reports whether d is known now.
func (d Dim) IsStatic() bool { return d.Sym == "" }

// Is reports whether d is the static dimension n.
func (d Dim) Is(n int64) bool { return d.Sym == "" && d.B == n }

// Add is d + e; they must not carry two different symbols.
func (d Dim) Add(e Dim) (Dim, error) {
	if d.Sym != "" && e.Sym != "" && d.Sym != e.Sym {
		return Dim{}, fmt.Errorf("dimension %s + %s: two symbols", d, e)
	}
	sym := d.Sym
	if sym == "" {
		sym = e.Sym
	}
	return canonical(Dim{sym, d.A + e.A, d.B + e.B}), nil
}

// MaxDim is the most elements along an axis that operators have: sums and products of two such numbers fit 64 bits.
const MaxDim = 1<<31 - 1

// Measurable reports whether a shape's numbers are within MaxDim, and the elements of a static one countable.
func (t Type) Measurable() error {
	for _, d := range t.Shape {
		if max(d.B, -d.B) > MaxDim || max(d.A, -d.A) > MaxDim || d.B == math.MinInt64 || d.A == math.MinInt64 {
			return fmt.Errorf("%s has more than %d elements along an axis", t, MaxDim)
		}
	}
	if dims, ok := t.Static(); ok {
		_, err := Elements(dims)
		return err
	}
	return nil
}

// Times is n*d.
func (d Dim) Times(n int64) Dim { return canonical(Dim{d.Sym, d.A * n, d.B * n}) }

// Over is d/n, when n divides it exactly.
func (d Dim) Over(n int64) (Dim, bool) {
	if n == 0 || d.A%n != 0 || d.B%n != 0 {
		return Dim{}, false
	}
	return canonical(Dim{d.Sym, d.A / n, d.B / n}), true
}

// Eval gives the dimension's size under a binding of symbols.
func (d Dim) Eval(syms map[string]int64) (int64, error) {
	if d.Sym == "" {
		return d.B, nil
	}
	n, ok := syms[d.Sym]
	if !ok {
		return 0, fmt.Errorf("dimension %s: symbol %q is not bound", d, d.Sym)
	}
	if !fits(d.A, n) || !fits(d.B, 1) {
		return 0, fmt.Errorf("dimension %s: %s = %d: too many elements", d, d.Sym, n)
	}
	return d.A*n + d.B, nil
}

func canonical(d Dim) Dim {
	if d.A == 0 {
		d.Sym = ""
	}
	return d
}

// String prints "3", "N", "4*N", "P+1" or "2*P+1".
func (d Dim) String() string {
	if d.Sym == "" {
		return strconv.FormatInt(d.B, 10)
	}
	s := d.Sym
	if d.A != 1 {
		s = fmt.Sprintf("%d*%s", d.A, d.Sym)
	}
	if d.B != 0 {
		s += fmt.Sprintf("%+d", d.B)
	}
	return s
}

// ParseDim is the inverse of Dim.String.
func ParseDim(s string) (Dim, error) {
	bad := fmt.Errorf("dimension: have %q, want the form 3, N, 4*N or P+1", s)
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return Static(n), nil
	}
	d := Dim{A: 1}
	if a, rest, ok := strings.Cut(s, "*"); ok {
		n, err := strconv.ParseInt(a, 10, 64)
		if err != nil {
			return Dim{}, bad
		}
		d.A, s = n, rest
	}
	if i := strings.LastIndexAny(s, "+-"); i > 0 {
		n, err := strconv.ParseInt(s[i:], 10, 64)
		if err != nil {
			return Dim{}, bad
		}
		d.B, s = n, s[:i]
	}
	if !IsIdent(s) {
		return Dim{}, bad
	}
	d.Sym = s
	return canonical(d), nil
}

// IsIdent reports whether s may name a symbol: a letter or '_', then letters, digits or '_'.
func IsIdent(s string) bool {
	for i, c := range s {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// A Type is an element type and a shape, nothing else. Shapes are shared: never write into one.
type Type struct {
	DType DType
	Shape []Dim
}

// Of is the static type with the given dimensions.
func Of(d DType, dims ...int64) Type { return Type{d, Dims(dims...)} }

// Dims makes a static shape.
func Dims(dims ...int64) []Dim {
	s := make([]Dim, len(dims))
	for i, n := range dims {
		s[i] = Static(n)
	}
	return s
}

// Equal reports whether both types are the same.
func (t Type) Equal(u Type) bool { return t.DType == u.DType && slices.Equal(t.Shape, u.Shape) }

// Rank is the number of axes.
func (t Type) Rank() int { return len(t.Shape) }

// Static gives the dimensions when all are static.
func (t Type) Static() ([]int64, bool) {
	dims := make([]int64, len(t.Shape))
	for i, d := range t.Shape {
		if d.Sym != "" {
			return nil, false
		}
		dims[i] = d.B
	}
	return dims, true
}

// Elements is the number of elements of a static shape; it fails on negative dimensions and overflow.
func Elements(dims []int64) (int64, error) {
	n := int64(1)
	for _, d := range dims {
		if d < 0 {
			return 0, fmt.Errorf("shape %v: negative dimension", dims)
		}
		hi, lo := bits.Mul64(uint64(n), uint64(d))
		if hi != 0 || lo > math.MaxInt64/16 {
			return 0, fmt.Errorf("shape %v: too many elements", dims)
		}
		n = int64(lo)
	}
	return n, nil
}

// String prints "float32[N,3,256,256]".
func (t Type) String() string { return t.DType.String() + ShapeString(t.Shape) }

// ShapeString prints "[N,3,256,256]".
func ShapeString(shape []Dim) string {
	parts := make([]string, len(shape))
	for i, d := range shape {
		parts[i] = d.String()
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// ParseType is the inverse of Type.String.
func ParseType(s string) (Type, error) {
	name, rest, ok := strings.Cut(s, "[")
	if !ok || !strings.HasSuffix(rest, "]") {
		return Type{}, fmt.Errorf("type: have %q, want the form float32[N,3]", s)
	}
	d, err := ParseDType(name)
	if err != nil {
		return Type{}, err
	}
	shape, err := ParseShape("[" + rest)
	return Type{d, shape}, err
}

// ParseShape is the inverse of ShapeString.
func ParseShape(s string) ([]Dim, error) {
	if len(s) < 2 || s[0] != '[' || s[len(s)-1] != ']' {
		return nil, fmt.Errorf("shape: have %q, want the form [N,3]", s)
	}
	shape := []Dim{}
	if s = s[1 : len(s)-1]; s == "" {
		return shape, nil
	}
	for _, part := range strings.Split(s, ",") {
		d, err := ParseDim(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		shape = append(shape, d)
	}
	return shape, nil
}

var errShapeProduct = errors.New("the number of elements differs")

// SameElements reports whether two shapes hold the same number of elements for every binding of their symbols.
// Axes that both have are cancelled first; of the rest each side may have one symbolic axis.
func SameElements(a, b []Dim) error {
	if slices.ContainsFunc(a, Dim.zero) && slices.ContainsFunc(b, Dim.zero) {
		return nil
	}
	pa, errA := product(without(a, b))
	pb, errB := product(without(b, a))
	if err := cmp.Or(errA, errB); err != nil {
		return err
	}
	if pa != pb {
		return fmt.Errorf("%w: %s of %s, %s of %s", errShapeProduct, pa, ShapeString(a), pb, ShapeString(b))
	}
	return nil
}

// Missing gives the dimension x that makes known*x hold as many elements as all.
func Missing(all, known []Dim) (Dim, error) {
	p, err := product(without(all, known))
	if err != nil {
		return Dim{}, err
	}
	q, err := product(without(known, all))
	if err != nil {
		return Dim{}, err
	}
	if d, ok := p.Over(q.B); ok && q.IsStatic() {
		return d, nil
	}
	if !q.IsStatic() && q.Times(p.A/q.A) == p { // both have the symbol: the ratio is static
		return Static(p.A / q.A), nil
	}
	return Dim{}, fmt.Errorf("%s cannot be divided into %s", ShapeString(all), ShapeString(known))
}

// fits reports whether a product of two numbers is one of 64 bits, with room to spare.
func fits(a, b int64) bool {
	hi, lo := bits.Mul64(uint64(max(a, -a)), uint64(max(b, -b)))
	return hi == 0 && lo <= math.MaxInt64/16 && a != math.MinInt64 && b != math.MinInt64
}

func (d Dim) zero() bool { return d.Is(0) }

// without gives the dims of a that remain after cancelling those of b, one for one.
func without(a, b []Dim) []Dim {
	rest := slices.Clone(b)
	var out []Dim
	for _, d := range a {
		if i := slices.Index(rest, d); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
		} else {
			out = append(out, d)
		}
	}
	return out
}

func product(dims []Dim) (Dim, error) {
	p := Static(1)
	for _, d := range dims {
		if !fits(d.A, p.B) || !fits(d.B, p.A) || !fits(d.B, p.B) {
			return Dim{}, fmt.Errorf("product of %s and %s: too many elements", p, d)
		}
		switch {
		case d.IsStatic():
			p = p.Times(d.B)
		case p.IsStatic():
			p = d.Times(p.B)
		default:
			return Dim{}, fmt.Errorf("product of %s and %s: two symbolic dimensions", p, d)
		}
	}
	return p, nil
}
