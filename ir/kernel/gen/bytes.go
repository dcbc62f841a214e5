package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const byteSignature = "func(groups int, a *uint8, lda int, b *int8, c *int32)"

// byteTiles writes the tiles of integer products, c[8][32] = a b over groups of four of k: a holds eight rows of bytes lda apart, b for
// each group 32 columns of four bytes.
func byteTiles() {
	vnniTile()
	avx2ByteTile()
	transposeBytes()
}

type byteTile struct {
	groups, a, lda, b, c reg.GPVirtual
}

func newByteTile(name, doc string) byteTile {
	TEXT(name, NOSPLIT, byteSignature)
	Pragma("noescape")
	Doc(name + " is plainByteTile " + doc + "; groups must not be 0.")
	t := byteTile{groups: GP64(), a: GP64(), lda: GP64(), b: GP64(), c: GP64()}
	Load(Param("groups"), t.groups)
	Load(Param("a"), t.a)
	Load(Param("lda"), t.lda)
	Load(Param("b"), t.b)
	Load(Param("c"), t.c)
	return t
}

// vnniTile keeps 16 accumulators beside two vectors of b.
func vnniTile() {
	t := newByteTile("vnniTile", "with AVX-512 VNNI")
	lda3, lda5, lda7 := GP64(), GP64(), GP64()
	LEAQ(Mem{Base: t.lda, Index: t.lda, Scale: 2}, lda3)
	LEAQ(Mem{Base: t.lda, Index: t.lda, Scale: 4}, lda5)
	LEAQ(Mem{Base: lda3, Index: t.lda, Scale: 4}, lda7)
	rows := []Mem{{Base: t.a}, {Base: t.a, Index: t.lda, Scale: 1}, {Base: t.a, Index: t.lda, Scale: 2}, {Base: t.a, Index: lda3, Scale: 1},
		{Base: t.a, Index: t.lda, Scale: 4}, {Base: t.a, Index: lda5, Scale: 1}, {Base: t.a, Index: lda3, Scale: 2}, {Base: t.a, Index: lda7, Scale: 1}}
	acc := avx512.regs[:16]
	for _, r := range acc {
		VPXORD(r, r, r)
	}
	b0, b1 := avx512.regs[16], avx512.regs[17]
	Label("loop")
	VMOVDQU32(Mem{Base: t.b}, b0)
	VMOVDQU32(Mem{Base: t.b, Disp: 64}, b1)
	for i, row := range rows {
		one := avx512.regs[18+i]
		VPBROADCASTD(row, one)
		VPDPBUSD(b0, one, acc[2*i])
		VPDPBUSD(b1, one, acc[2*i+1])
	}
	ADDQ(Imm(4), t.a)
	ADDQ(Imm(128), t.b)
	DECQ(t.groups)
	JNZ(LabelRef("loop"))
	for i, r := range acc {
		VMOVDQU32(r, Mem{Base: t.c, Disp: 64 * i})
	}
	VZEROUPPER()
	RET()
}

// avx2ByteTile multiplies even and odd bytes by themselves, widened to int16: the instruction for bytes saturates. It goes over a and b four
// times, for four rows and 16 columns each.
func avx2ByteTile() {
	t := newByteTile("avx2ByteTile", "with AVX2")
	lda3, left, a, b := GP64(), GP64(), GP64(), GP64()
	LEAQ(Mem{Base: t.lda, Index: t.lda, Scale: 2}, lda3)
	y := avx2.regs
	acc, even, odd, x, evenX, mask := y[:8], y[8:10], y[10:12], y[12], y[13], y[15]
	t0 := y[14]
	VPCMPEQD(mask, mask, mask)
	VPSRLW(Imm(8), mask, mask)
	for part := range 4 {
		rows, cols := part/2*4, part%2*16
		label := []string{"part0", "part1", "part2", "part3"}[part]
		MOVQ(t.a, a)
		MOVQ(t.b, b)
		MOVQ(t.groups, left)
		if rows > 0 {
			LEAQ(Mem{Base: a, Index: t.lda, Scale: 4}, a)
		}
		for _, r := range acc {
			VPXOR(r, r, r)
		}
		Label(label)
		for j := range 2 {
			VMOVDQU(Mem{Base: b, Disp: 4*cols + 32*j}, x)
			VPSLLW(Imm(8), x, even[j])
			VPSRAW(Imm(8), even[j], even[j])
			VPSRAW(Imm(8), x, odd[j])
		}
		for i, row := range []Mem{{Base: a}, {Base: a, Index: t.lda, Scale: 1}, {Base: a, Index: t.lda, Scale: 2}, {Base: a, Index: lda3, Scale: 1}} {
			VPBROADCASTD(row, x)
			VPAND(mask, x, evenX)
			VPSRLW(Imm(8), x, x)
			for j := range 2 {
				VPMADDWD(even[j], evenX, t0)
				VPADDD(t0, acc[2*i+j], acc[2*i+j])
				VPMADDWD(odd[j], x, t0)
				VPADDD(t0, acc[2*i+j], acc[2*i+j])
			}
		}
		ADDQ(Imm(4), a)
		ADDQ(Imm(128), b)
		DECQ(left)
		JNZ(LabelRef(label))
		for i := range 4 {
			for j := range 2 {
				VMOVDQU(acc[2*i+j], Mem{Base: t.c, Disp: 4*((rows+i)*32+cols) + 32*j})
			}
		}
	}
	VZEROUPPER()
	RET()
}

// transposeBytes interleaves eight rows with each other three times, after which each register holds two columns.
func transposeBytes() {
	TEXT("transpose8", NOSPLIT, "func(n int, x *uint8, ldx int, y *uint8, ldy int)")
	Pragma("noescape")
	Doc("transpose8 writes eight rows of n bytes, a multiple of 16 and ldx apart, as n rows of eight, ldy apart.")
	n, x, ldx := Load(Param("n"), GP64()), Load(Param("x"), GP64()), Load(Param("ldx"), GP64())
	y, ldy := Load(Param("y"), GP64()), Load(Param("ldy"), GP64())
	ldx3, ldx5, ldx7, ldy3 := GP64(), GP64(), GP64(), GP64()
	LEAQ(Mem{Base: ldx, Index: ldx, Scale: 2}, ldx3)
	LEAQ(Mem{Base: ldx, Index: ldx, Scale: 4}, ldx5)
	LEAQ(Mem{Base: ldx3, Index: ldx, Scale: 4}, ldx7)
	LEAQ(Mem{Base: ldy, Index: ldy, Scale: 2}, ldy3)
	Label("loop")
	r := make([]reg.VecVirtual, 8)
	for i, m := range []Mem{{Base: x}, {Base: x, Index: ldx, Scale: 1}, {Base: x, Index: ldx, Scale: 2}, {Base: x, Index: ldx3, Scale: 1},
		{Base: x, Index: ldx, Scale: 4}, {Base: x, Index: ldx5, Scale: 1}, {Base: x, Index: ldx3, Scale: 2}, {Base: x, Index: ldx7, Scale: 1}} {
		r[i] = XMM()
		VMOVDQU(m, r[i])
	}
	for range 3 {
		next := make([]reg.VecVirtual, 8)
		for i := range 4 {
			next[2*i], next[2*i+1] = XMM(), XMM()
			VPUNPCKLBW(r[i+4], r[i], next[2*i])
			VPUNPCKHBW(r[i+4], r[i], next[2*i+1])
		}
		r = next
	}
	for i := range 8 {
		if i%2 == 0 {
			VMOVQ(r[i], Mem{Base: y})
			VPEXTRQ(Imm(1), r[i], Mem{Base: y, Index: ldy, Scale: 1})
		} else {
			VMOVQ(r[i], Mem{Base: y, Index: ldy, Scale: 2})
			VPEXTRQ(Imm(1), r[i], Mem{Base: y, Index: ldy3, Scale: 1})
			LEAQ(Mem{Base: y, Index: ldy, Scale: 4}, y)
		}
	}
	ADDQ(Imm(16), x)
	SUBQ(Imm(16), n)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
