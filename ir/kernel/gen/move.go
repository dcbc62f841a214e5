package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// moves writes what lays out factors: AVX2 serves both targets, because memory is what they wait for.
func moves() {
	TEXT("transpose4", NOSPLIT, "func(k int, x *float32, ldx int, y *float32, ldy int)")
	Pragma("noescape")
	Doc("transpose4 writes four rows of k elements, a multiple of 8 and ldx apart, as k rows of four, ldy apart.")
	k, x, ldx := Load(Param("k"), GP64()), Load(Param("x"), GP64()), Load(Param("ldx"), GP64())
	y, ldy := Load(Param("y"), GP64()), Load(Param("ldy"), GP64())
	SHLQ(Imm(2), ldx)
	SHLQ(Imm(2), ldy)
	ldx3, ldy3 := GP64(), GP64()
	LEAQ(Mem{Base: ldx, Index: ldx, Scale: 2}, ldx3)
	LEAQ(Mem{Base: ldy, Index: ldy, Scale: 2}, ldy3)
	Label("loop")
	r := []reg.VecVirtual{YMM(), YMM(), YMM(), YMM()}
	VMOVUPS(Mem{Base: x}, r[0])
	VMOVUPS(Mem{Base: x, Index: ldx, Scale: 1}, r[1])
	VMOVUPS(Mem{Base: x, Index: ldx, Scale: 2}, r[2])
	VMOVUPS(Mem{Base: x, Index: ldx3, Scale: 1}, r[3])
	t := []reg.VecVirtual{YMM(), YMM(), YMM(), YMM()}
	VUNPCKLPS(r[1], r[0], t[0])
	VUNPCKHPS(r[1], r[0], t[1])
	VUNPCKLPS(r[3], r[2], t[2])
	VUNPCKHPS(r[3], r[2], t[3])
	VSHUFPS(Imm(0x44), t[2], t[0], r[0])
	VSHUFPS(Imm(0xee), t[2], t[0], r[1])
	VSHUFPS(Imm(0x44), t[3], t[1], r[2])
	VSHUFPS(Imm(0xee), t[3], t[1], r[3])
	to := []Mem{{Base: y}, {Base: y, Index: ldy, Scale: 1}, {Base: y, Index: ldy, Scale: 2}, {Base: y, Index: ldy3, Scale: 1}}
	for i := range 4 {
		VMOVUPS(r[i].AsX(), to[i])
	}
	LEAQ(Mem{Base: y, Index: ldy, Scale: 4}, y)
	for i := range 4 {
		VEXTRACTF128(Imm(1), r[i], to[i])
	}
	LEAQ(Mem{Base: y, Index: ldy, Scale: 4}, y)
	ADDQ(Imm(32), x)
	SUBQ(Imm(8), k)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()

	for _, t := range []*target{avx2, avx512} {
		TEXT("copyRows"+t.name, NOSPLIT, "func(k int, x *float32, ldx int, y *float32)")
		Pragma("noescape")
		Doc("copyRows" + t.name + " writes k rows of two vectors, ldx elements apart, side by side.")
		k, x, ldx, y := Load(Param("k"), GP64()), Load(Param("x"), GP64()), Load(Param("ldx"), GP64()), Load(Param("y"), GP64())
		SHLQ(Imm(2), ldx)
		v := []reg.VecVirtual{t.new(), t.new()}
		Label("loop")
		for i := range 2 {
			VMOVUPS(Mem{Base: x, Disp: i * t.bytes}, v[i])
		}
		for i := range 2 {
			VMOVUPS(v[i], Mem{Base: y, Disp: i * t.bytes})
		}
		ADDQ(ldx, x)
		ADDQ(Imm(uint64(2*t.bytes)), y)
		DECQ(k)
		JNZ(LabelRef("loop"))
		VZEROUPPER()
		RET()
	}

	TEXT("addPairs8", NOSPLIT, "func(n int, x, y, z *float32)")
	Pragma("noescape")
	Doc("addPairs8 adds n elements of x, a multiple of 8, to the even elements of z, those of y to the odd ones.")
	n, px, py, pz := Load(Param("n"), GP64()), Load(Param("x"), GP64()), Load(Param("y"), GP64()), Load(Param("z"), GP64())
	Label("loop")
	even, odd, lo, hi, first := YMM(), YMM(), YMM(), YMM(), YMM()
	VMOVUPS(Mem{Base: px}, even)
	VMOVUPS(Mem{Base: py}, odd)
	VUNPCKLPS(odd, even, lo) // of each half
	VUNPCKHPS(odd, even, hi)
	VPERM2F128(Imm(0x20), hi, lo, first)
	VPERM2F128(Imm(0x31), hi, lo, hi)
	VADDPS(Mem{Base: pz}, first, first)
	VADDPS(Mem{Base: pz, Disp: 32}, hi, hi)
	VMOVUPS(first, Mem{Base: pz})
	VMOVUPS(hi, Mem{Base: pz, Disp: 32})
	ADDQ(Imm(32), px)
	ADDQ(Imm(32), py)
	ADDQ(Imm(64), pz)
	SUBQ(Imm(8), n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()

	for _, segments := range []int{2, 4} {
		name := fmt.Sprintf("gather%d", segments)
		TEXT(name, NOSPLIT, "func(k int, x *float32, rows *int, at *[4]int, y *float32)")
		Pragma("noescape")
		Doc(fmt.Sprintf("%s writes k rows of %d elements: eight from x[rows[i]+at[0]] on, eight from x[rows[i]+at[1]] on, and so on.", name, 8*segments))
		k, x, rows, at, y := Load(Param("k"), GP64()), Load(Param("x"), GP64()), Load(Param("rows"), GP64()), Load(Param("at"), GP64()), Load(Param("y"), GP64())
		from, row := make([]reg.GPVirtual, segments), GP64()
		for i := range from {
			from[i] = GP64()
			MOVQ(Mem{Base: at, Disp: 8 * i}, from[i])
			LEAQ(Mem{Base: x, Index: from[i], Scale: 4}, from[i])
		}
		Label("loop")
		MOVQ(Mem{Base: rows}, row)
		v := make([]reg.VecVirtual, segments)
		for i := range v {
			v[i] = YMM()
			VMOVUPS(Mem{Base: from[i], Index: row, Scale: 4}, v[i])
		}
		for i := range v {
			VMOVUPS(v[i], Mem{Base: y, Disp: 32 * i})
		}
		ADDQ(Imm(8), rows)
		ADDQ(Imm(uint64(32*segments)), y)
		DECQ(k)
		JNZ(LabelRef("loop"))
		VZEROUPPER()
		RET()
	}
}
