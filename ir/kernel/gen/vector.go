package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// vector is the machine that emits assembly for whole vectors.
type vector struct{ *target }

var constants = map[uint32]Mem{}

func (t *target) new() reg.VecVirtual {
	if t == avx512 {
		return ZMM()
	}
	return YMM()
}

// constant is a vector of equal bits in memory.
func (v vector) bits(b uint32) value {
	m, ok := constants[b]
	if !ok {
		m = GLOBL(fmt.Sprintf("all%08x", b), 8|16) // RODATA, NOPTR
		for i := range 16 {
			DATA(4*i, U32(b))
		}
		constants[b] = m
	}
	return m
}

func (v vector) num(x float32) value { return v.bits(math.Float32bits(x)) }

func (v vector) reg(a value) reg.Register {
	if r, ok := a.(reg.Register); ok {
		return r
	}
	r := v.new()
	VMOVUPS(a.(Mem), r)
	return r
}

// either puts a constant second, where operations read memory.
func either(a, b value) (value, value) {
	if _, ok := a.(Mem); ok {
		return b, a
	}
	return a, b
}

func (v vector) op(f func(...Op), a, b value) value {
	r := v.new()
	f(b.(Op), v.reg(a), r)
	return r
}

func (v vector) add(a, b value) value { a, b = either(a, b); return v.op(VADDPS, a, b) }
func (v vector) mul(a, b value) value { a, b = either(a, b); return v.op(VMULPS, a, b) }
func (v vector) sub(a, b value) value { return v.op(VSUBPS, a, b) }
func (v vector) div(a, b value) value { return v.op(VDIVPS, a, b) }
func (v vector) max(a, b value) value { return v.op(VMAXPS, a, b) }
func (v vector) min(a, b value) value { return v.op(VMINPS, a, b) }

func (v vector) less(a, b, yes, no value) value {
	r := v.new()
	if v.target == avx512 {
		k := K()
		VCMPPS(Imm(0x11), b.(Op), v.reg(a), k)
		VBLENDMPS(yes.(Op), v.reg(no), k, r)
		return r
	}
	k := v.new()
	VCMPPS(Imm(0x11), b.(Op), v.reg(a), k)
	VBLENDVPS(k, yes.(Op), v.reg(no), r)
	return r
}

func (v vector) and(a, b value) value {
	a, b = either(a, b)
	r := v.new()
	if v.target == avx512 {
		VPANDD(b.(Op), v.reg(a), r)
	} else {
		VPAND(b.(Op), v.reg(a), r)
	}
	return r
}

func (v vector) or(a, b value) value {
	a, b = either(a, b)
	r := v.new()
	if v.target == avx512 {
		VPORD(b.(Op), v.reg(a), r)
	} else {
		VPOR(b.(Op), v.reg(a), r)
	}
	return r
}

func (v vector) addInt(a, b value) value {
	a, b = either(a, b)
	r := v.new()
	VPADDD(b.(Op), v.reg(a), r)
	return r
}

func (v vector) float(a value) value   { r := v.new(); VCVTDQ2PS(a.(Op), r); return r }
func (v vector) integer(a value) value { r := v.new(); VCVTPS2DQ(a.(Op), r); return r }

// scale multiplies by 2^n: at once, or by two halves of it, which differ from that in no normal result.
func (v vector) scale(p, n value) value {
	r := v.new()
	if v.target == avx512 {
		VSCALEFPS(n.(Op), v.reg(p), r)
		return r
	}
	whole, half, power := v.integer(n).(reg.VecVirtual), v.new(), v.new()
	VPSRAD(Imm(1), whole, half)
	VPSUBD(half, whole, whole)
	for i, part := range []reg.VecVirtual{half, whole} {
		VPADDD(v.bits(127).(Op), part, power)
		VPSLLD(Imm(23), power, power)
		VMULPS(power, []reg.Register{v.reg(p), r}[i], r)
	}
	return r
}

// assembly writes one function for one target: whole vectors, then what is left with a mask.
func (f function) assembly(t *target) {
	name := f.name + t.name
	signature := "func(n int"
	for i, s := range f.in {
		signature += fmt.Sprintf(", x%d *%s", i, goType[s])
	}
	signature += ", z *" + goType[f.out]
	if f.sum {
		signature += ", sums *float32"
	}
	for i := range f.numbers {
		signature += fmt.Sprintf(", n%d float32", i)
	}
	TEXT(name, NOSPLIT, signature+")")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s computes %s, of n elements.", name, f.doc))
	v, lanes := vector{t}, t.bytes/4
	left := Load(Param("n"), GP64()).(reg.GPVirtual)
	var in []reg.Register
	for i := range f.in {
		in = append(in, Load(Param(fmt.Sprintf("x%d", i)), GP64()))
	}
	out := Load(Param("z"), GP64())
	var numbers []value
	for i := range f.numbers {
		n := t.new()
		m, err := Param(fmt.Sprintf("n%d", i)).Resolve()
		if err != nil {
			panic(err)
		}
		VBROADCASTSS(m.Addr, n)
		numbers = append(numbers, n)
	}
	// sums hold 16 lanes, in two registers of AVX2: vectors take turns
	var sums []reg.VecVirtual
	var sumsAt reg.Register
	if f.sum {
		sumsAt = Load(Param("sums"), GP64())
		for i := range 16 / lanes {
			sums = append(sums, t.new())
			VMOVUPS(Mem{Base: sumsAt, Disp: i * t.bytes}, sums[i])
		}
	}
	var mask reg.Register
	body := func(part int, masked bool) {
		var x []value
		for i, s := range f.in {
			at := Mem{Base: in[i]}
			r := t.new()
			switch {
			case s == bytes:
				VPMOVZXBD(at, r)
			case !masked:
				VMOVUPS(at, r)
			case t == avx512:
				VMOVUPS_Z(at, mask, r)
			default:
				VMASKMOVPS(at, mask, r)
			}
			x = append(x, r)
		}
		y := f.f(v, x, numbers).(reg.VecVirtual)
		at := Mem{Base: out}
		switch {
		case f.out == bytes && t == avx512:
			VPMOVDB(y, at)
		case f.out == bytes:
			high := XMM()
			VPAND(v.bits(255).(Op), y, y)
			VEXTRACTI128(Imm(1), y, high)
			VPACKUSDW(high, y.AsX(), high)
			VPACKUSWB(high, high, high)
			VMOVQ(high, at)
		case !masked:
			VMOVUPS(y, at)
		case t == avx512:
			VMOVUPS(y, mask, at)
		default:
			VMASKMOVPS(y, mask, at)
		}
		if f.sum {
			switch {
			case !masked:
				VADDPS(y, sums[part], sums[part])
			case t == avx512:
				VADDPS(y, sums[part], mask, sums[part])
			default:
				VPAND(mask, y, y)
				VADDPS(y, sums[part], sums[part])
			}
		}
	}
	next := func() {
		for i, s := range f.in {
			ADDQ(Imm(uint64(lanes*size(s))), in[i])
		}
		ADDQ(Imm(uint64(lanes*size(f.out))), out)
	}
	tail := func(part int) {
		TESTQ(left, left)
		JZ(LabelRef("done"))
		if t == avx512 {
			bits, count := GP32(), left
			MOVL(U32(1<<16-1), bits)
			SHLXL(count.As32(), bits, bits)
			NOTL(bits)
			k := K()
			KMOVW(bits, k)
			mask = k
		} else {
			base, m := GP64(), YMM()
			LEAQ(laneMasks(), base)
			NEGQ(left)
			VMOVUPS(Mem{Base: base, Index: left, Scale: 4, Disp: 32}, m)
			NEGQ(left)
			mask = m
		}
		body(part, true)
	}
	parts := max(1, len(sums))
	Label("loop")
	CMPQ(left, Imm(uint64(lanes*parts)))
	JLT(LabelRef("rest"))
	for p := range parts {
		body(p, false)
		next()
	}
	SUBQ(Imm(uint64(lanes*parts)), left)
	JMP(LabelRef("loop"))
	Label("rest")
	if parts == 2 {
		CMPQ(left, Imm(uint64(lanes)))
		JLT(LabelRef("first"))
		body(0, false)
		next()
		SUBQ(Imm(uint64(lanes)), left)
		tail(1)
		JMP(LabelRef("done"))
		Label("first")
	}
	if !f.inBytes() {
		tail(0)
	}
	Label("done")
	for i := range sums {
		VMOVUPS(sums[i], Mem{Base: sumsAt, Disp: i * t.bytes})
	}
	VZEROUPPER()
	RET()
}

var masks *Mem

// laneMasks is eight lanes of ones and eight of zeros: n lanes are on from 8-n on.
func laneMasks() Mem {
	if masks == nil {
		m := GLOBL("laneMasks", 8|16)
		masks = &m
		for i := range 16 {
			bits := uint32(0)
			if i < 8 {
				bits = 1<<32 - 1
			}
			DATA(4*i, U32(bits))
		}
	}
	return *masks
}

func size(s stream) int {
	if s == bytes {
		return 1
	}
	return 4
}
