package main

import "math"

// A machine emits the arithmetic of one element (or of a vector of them): every function below is written once, and becomes
// assembly for each target and plain Go. Each operation rounds to float32 by itself; none is fused, so plain Go needs no emulation.
type machine interface {
	num(v float32) value
	bits(v uint32) value
	add(a, b value) value
	sub(a, b value) value
	mul(a, b value) value
	div(a, b value) value
	max(a, b value) value           // a > b ? a : b, so b where one is NaN
	min(a, b value) value           // a < b ? a : b
	less(a, b, yes, no value) value // a < b ? yes : no
	and(a, b value) value           // of bits
	or(a, b value) value            // of bits
	scale(p, n value) value         // p 2^n for a whole number n of [-126, 128]
	addInt(a, b value) value        // of int32
	float(a value) value            // of int32
	integer(a value) value          // of a whole number: int32
}

type value any

// A stream is an argument that moves on with the elements.
type stream int

const (
	floats stream = iota
	ints
	bytes
)

var goType = map[stream]string{floats: "float32", ints: "int32", bytes: "uint8"}

// A function computes one element of a result from one of each stream and from numbers.
type function struct {
	name    string
	doc     string
	in      []stream
	numbers int
	out     stream
	sum     bool // results are also added to 16 sums, by place modulo 16
	f       func(m machine, x, n []value) value
}

var functions = []function{
	{name: "exp", doc: "e^x", in: []stream{floats}, f: func(m machine, x, _ []value) value { return exp(m, x[0]) }},
	{name: "erf", doc: "the error function", in: []stream{floats}, f: func(m machine, x, _ []value) value { return erf(m, x[0]) }},
	{name: "gelu", doc: "x (1 + erf(x/sqrt 2)) / 2", in: []stream{floats}, f: func(m machine, x, _ []value) value {
		return m.mul(m.mul(x[0], m.num(0.5)), m.add(erf(m, m.mul(x[0], m.num(1/math.Sqrt2))), m.num(1)))
	}},
	{name: "geluTanh", doc: "x/2 (1 + tanh u) = x / (1 + e^-2u) for u = sqrt(2/pi) (x + 0.044715 x^3)", in: []stream{floats}, f: func(m machine, x, _ []value) value {
		minus2u := m.mul(x[0], horner(m, m.mul(x[0], x[0]), -2*0.044715*0.7978845608028654, -2*0.7978845608028654))
		return m.div(x[0], m.add(exp(m, minus2u), m.num(1)))
	}},
	{name: "tanh", doc: "the hyperbolic tangent", in: []stream{floats}, f: func(m machine, x, _ []value) value { return tanh(m, x[0]) }},
	{name: "sigmoid", doc: "1 / (1 + e^-x)", in: []stream{floats}, f: func(m machine, x, _ []value) value {
		return m.div(m.num(1), m.add(exp(m, m.mul(x[0], m.num(-1))), m.num(1)))
	}},
	{name: "relu", doc: "x above 0, NaN where it is NaN, else 0", in: []stream{floats}, f: func(m machine, x, _ []value) value {
		return m.add(m.max(m.num(0), x[0]), m.num(0))
	}},
	{name: "expSum", doc: "e^(x - n0), with its sums", in: []stream{floats}, numbers: 1, sum: true, f: func(m machine, x, n []value) value { return exp(m, m.sub(x[0], n[0])) }},
	{name: "add", doc: "x + y", in: []stream{floats, floats}, f: func(m machine, x, _ []value) value { return m.add(x[0], x[1]) }},
	{name: "sub", doc: "x - y", in: []stream{floats, floats}, f: func(m machine, x, _ []value) value { return m.sub(x[0], x[1]) }},
	{name: "mul", doc: "x y", in: []stream{floats, floats}, f: func(m machine, x, _ []value) value { return m.mul(x[0], x[1]) }},
	{name: "div", doc: "x / y", in: []stream{floats, floats}, f: func(m machine, x, _ []value) value { return m.div(x[0], x[1]) }},
	{name: "addOne", doc: "x + n0", in: []stream{floats}, numbers: 1, f: func(m machine, x, n []value) value { return m.add(x[0], n[0]) }},
	{name: "subOne", doc: "x - n0", in: []stream{floats}, numbers: 1, f: func(m machine, x, n []value) value { return m.sub(x[0], n[0]) }},
	{name: "mulOne", doc: "x n0", in: []stream{floats}, numbers: 1, f: func(m machine, x, n []value) value { return m.mul(x[0], n[0]) }},
	{name: "divOne", doc: "x / n0", in: []stream{floats}, numbers: 1, f: func(m machine, x, n []value) value { return m.div(x[0], n[0]) }},
	{name: "oneSub", doc: "n0 - x", in: []stream{floats}, numbers: 1, f: func(m machine, x, n []value) value { return m.sub(n[0], x[0]) }},
	{name: "oneDiv", doc: "n0 / x", in: []stream{floats}, numbers: 1, f: func(m machine, x, n []value) value { return m.div(n[0], x[0]) }},
	{name: "greater", doc: "the greater of x and y, NaN where one is NaN", in: []stream{floats, floats}, f: func(m machine, x, _ []value) value {
		return m.less(x[0], x[1], x[1], m.less(x[1], x[0], x[0], m.or(x[0], x[1]))) // the same number, or NaN
	}},
	{name: "affine", doc: "x n0 + n1", in: []stream{floats}, numbers: 2, f: func(m machine, x, n []value) value { return m.add(m.mul(x[0], n[0]), n[1]) }},
	{name: "norm", doc: "(x - n0) n1 y", in: []stream{floats, floats}, numbers: 2, f: func(m machine, x, n []value) value {
		return m.mul(m.mul(m.sub(x[0], n[0]), n[1]), x[1])
	}},
	{name: "normBias", doc: "(x - n0) n1 y + z", in: []stream{floats, floats, floats}, numbers: 2, f: func(m machine, x, n []value) value {
		return m.add(m.mul(m.mul(m.sub(x[0], n[0]), n[1]), x[1]), x[2])
	}},
	{name: "squareAdd", doc: "(x - y)^2 + z", in: []stream{floats, floats, floats}, f: func(m machine, x, _ []value) value {
		d := m.sub(x[0], x[1])
		return m.add(m.mul(d, d), x[2])
	}},
	{name: "normChannel", doc: "(x - y) z n0 + n1", in: []stream{floats, floats, floats}, numbers: 2, f: func(m machine, x, n []value) value {
		return m.add(m.mul(m.mul(m.sub(x[0], x[1]), x[2]), n[0]), n[1])
	}},
	{name: "quantize", doc: "the low byte of round(x / n0, between n1 and n2) + n3, halves to even; NaN is like what lies below n1", in: []stream{floats}, numbers: 4, out: bytes,
		f: func(m machine, x, n []value) value {
			return m.integer(saturate(m, m.div(x[0], n[0]), n[1], n[2], n[3]))
		}},
	{name: "dequantize", doc: "(x - n0) n1", in: []stream{bytes}, numbers: 2, f: func(m machine, x, n []value) value { return m.mul(m.sub(m.float(x[0]), n[0]), n[1]) }},
	{name: "requantize", doc: "round((x + y) z, between n0 and n1) + n2", in: []stream{ints, ints, floats}, numbers: 3, out: bytes, f: func(m machine, x, n []value) value {
		return m.integer(saturate(m, m.mul(m.float(m.addInt(x[0], x[1])), x[2]), n[0], n[1], n[2]))
	}},
	{name: "rescale", doc: "(x + y) z", in: []stream{ints, ints, floats}, f: func(m machine, x, _ []value) value { return m.mul(m.float(m.addInt(x[0], x[1])), x[2]) }},
}

// horner is c0 x^n + ... + cn.
func horner(m machine, x value, c ...float32) value {
	p := m.num(c[0])
	for _, v := range c[1:] {
		p = m.add(m.mul(p, x), m.num(v))
	}
	return p
}

// roundMagic is 1.5 2^23: adding it to a small float32 and taking it away leaves the nearest integer, half to even.
const roundMagic = 3 << 22

func round(m machine, x value) value { return m.sub(m.add(x, m.num(roundMagic)), m.num(roundMagic)) }

func saturate(m machine, x, least, most, zero value) value {
	return m.add(round(m, m.min(m.max(x, least), most)), zero)
}

// exp is e^x: x = n ln2 + r with |r| <= ln2/2, e^r = 1 + r + r^2 q(r) with q fitted to 3e-9 of the result, scaled by 2^n. Overflow gives
// infinity; results below the least normal number are 0.
func exp(m machine, x value) value {
	const least, most = -87.33654, 89
	z := m.min(m.num(most), m.max(m.num(least), x)) // NaN stays
	n := round(m, m.mul(z, m.num(math.Log2E)))
	r := m.sub(m.sub(z, m.mul(n, m.num(0.693359375))), m.mul(n, m.num(-2.12194440e-4)))
	q := horner(m, r, 0.0013814517296850681, 0.00836875569075346, 0.04166839271783829, 0.1666651964187622, 0.4999999403953552)
	p := m.add(m.add(m.mul(m.mul(q, r), r), r), m.num(1))
	return m.less(x, m.num(least), m.num(0), m.scale(p, n))
}

// erf is x P(x^2) / Q(x^2), fitted by weighted least squares (1.7e-8 in exact arithmetic) on [-3.9, 3.9]; beyond, float32 cannot tell it from
// 1 by more than 4e-7, which is its error.
func erf(m machine, x value) value {
	x = m.min(m.num(3.9), m.max(m.num(-3.9), x)) // NaN stays
	s := m.mul(x, x)
	p := horner(m, s, 2.066493126864232e-06, 2.8505959980922296e-04, 3.738233699397043e-03, 5.266773968667796e-02, 1.896642213951819e-01, 1.128379147716009)
	q := horner(m, s, 3.8270088878756105e-05, 1.1573486938572445e-03, 1.491405353931586e-02, 1.1381788277147822e-01, 5.014183222825889e-01, 1)
	return m.div(m.mul(x, p), q)
}

// tanh is x + x^3 P(x^2) up to 0.625, fitted to 7e-9 of the result, and 1 - 2 / (e^2x + 1) from there.
func tanh(m machine, x value) value {
	size, sign := m.and(x, m.bits(1<<31-1)), m.and(x, m.bits(1<<31))
	s := m.mul(x, x)
	p := horner(m, s, -0.005515121854841709, 0.020469380542635918, -0.053688012063503265, 0.1333083063364029, -0.3333325982093811)
	near := m.add(m.mul(m.mul(p, s), x), x)
	far := m.sub(m.num(1), m.div(m.num(2), m.add(exp(m, m.add(size, size)), m.num(1))))
	return m.less(size, m.num(0.625), near, m.or(far, sign))
}
