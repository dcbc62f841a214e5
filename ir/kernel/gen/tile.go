package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A target is one set of vector instructions.
type target struct {
	name  string
	bytes int // of a vector
	rows  int // of the largest tile: what leaves two registers for b and two for a
	regs  []reg.VecPhysical
}

var (
	avx2 = &target{"AVX2", 32, 6, []reg.VecPhysical{reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7, reg.Y8, reg.Y9,
		reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15}}
	avx512 = &target{"AVX512", 64, 14, []reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9,
		reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15, reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
		reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31}}
)

func (t *target) zero(r reg.VecPhysical) {
	if t == avx512 {
		VPXORD(r, r, r)
	} else {
		VXORPS(r, r, r)
	}
}

// tile writes the micro-kernel of float32 products: one loop over k for each number of rows, with one or two vectors of columns.
func tile(name string, t *target) {
	TEXT(name, NOSPLIT, "func(rows, vectors, k int, a, b *float32, ldb int, c *float32, ldc int, bias *float32, start int)")
	Pragma("noescape")
	Doc(name+" continues the chains of a tile c[rows][vectors] over k: a holds k columns of rows values, b k rows that are ldb elements apart,",
		"c rows that are ldc elements apart. Chains start at 0, at c, or at bias[row]: see the constants start...")
	rows, vectors := GP64(), GP64()
	k, a, b, ldb, c, ldc := GP64(), GP64(), GP64(), GP64(), GP64(), GP64()
	bias, start, at := GP64(), GP64(), GP64()
	Load(Param("rows"), rows)
	Load(Param("vectors"), vectors)
	Load(Param("k"), k)
	Load(Param("a"), a)
	Load(Param("b"), b)
	Load(Param("ldb"), ldb)
	Load(Param("c"), c)
	Load(Param("ldc"), ldc)
	Load(Param("bias"), bias)
	Load(Param("start"), start)
	SHLQ(Imm(2), ldb)
	SHLQ(Imm(2), ldc)
	MOVQ(c, at)
	CMPQ(vectors, Imm(1))
	JEQ(LabelRef("narrow"))
	for _, v := range []int{2, 1} {
		if v == 1 {
			Label("narrow")
		}
		for r := t.rows; r > 1; r-- {
			CMPQ(rows, Imm(uint64(r)))
			JEQ(LabelRef(fmt.Sprintf("tile%dx%d", r, v)))
		}
		JMP(LabelRef(fmt.Sprintf("tile1x%d", v)))
	}
	for _, v := range []int{2, 1} {
		for r := t.rows; r > 0; r-- {
			label := func(s string) string { return fmt.Sprintf("%s%dx%d", s, r, v) }
			acc := func(i, j int) reg.VecPhysical { return t.regs[i*v+j] }
			last := len(t.regs) - 1
			each := func(f func(i, j int)) {
				for i := range r {
					for j := range v {
						f(i, j)
					}
				}
			}
			Label(label("tile"))
			CMPQ(start, Imm(1))
			JEQ(LabelRef(label("load")))
			JA(LabelRef(label("bias")))
			each(func(i, j int) { t.zero(acc(i, j)) })
			JMP(LabelRef(label("go")))
			Label(label("bias"))
			each(func(i, j int) { VBROADCASTSS(Mem{Base: bias, Disp: 4 * i}, acc(i, j)) })
			JMP(LabelRef(label("go")))
			Label(label("load"))
			each(func(i, j int) {
				VMOVUPS(Mem{Base: at, Disp: j * t.bytes}, acc(i, j))
				if j == v-1 && i < r-1 {
					ADDQ(ldc, at)
				}
			})
			Label(label("go"))
			TESTQ(k, k)
			JZ(LabelRef(label("store")))
			Label(label("loop"))
			for j := range v {
				VMOVUPS(Mem{Base: b, Disp: j * t.bytes}, t.regs[last-2-j])
			}
			for i := range r {
				one := t.regs[last-i%2]
				VBROADCASTSS(Mem{Base: a, Disp: 4 * i}, one)
				for j := range v {
					VFMADD231PS(t.regs[last-2-j], one, acc(i, j))
				}
			}
			ADDQ(Imm(uint64(4*r)), a)
			ADDQ(ldb, b)
			DECQ(k)
			JNZ(LabelRef(label("loop")))
			Label(label("store"))
			each(func(i, j int) {
				VMOVUPS(acc(i, j), Mem{Base: c, Disp: j * t.bytes})
				if j == v-1 && i < r-1 {
					ADDQ(ldc, c)
				}
			})
			VZEROUPPER()
			RET()
		}
	}
}
