package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// folds writes the reductions of n elements, a multiple of 16, in 16 lanes: the maximum, the sum in float64, the sum of squared distances from
// a mean, each distance and its square rounded to float32.
func folds(t *target) {
	fold("largest"+t.name, "float32", "", t, func(x reg.VecVirtual, acc []reg.VecVirtual, _ reg.VecVirtual) { VMAXPS(acc[0], x, acc[0]) })
	fold("sum"+t.name, "float64", "", t, func(x reg.VecVirtual, acc []reg.VecVirtual, _ reg.VecVirtual) { addWide(t, x, acc) })
	fold("squares"+t.name, "float64", ", mean float32", t, func(x reg.VecVirtual, acc []reg.VecVirtual, mean reg.VecVirtual) {
		VSUBPS(mean, x, x)
		VMULPS(x, x, x)
		addWide(t, x, acc)
	})
}

// addWide adds the elements of x in float64.
func addWide(t *target, x reg.VecVirtual, acc []reg.VecVirtual) {
	wide := t.new()
	for i := range 2 {
		if t == avx512 {
			if i == 1 {
				VEXTRACTF64X4(Imm(1), x, x.AsY())
			}
			VCVTPS2PD(x.AsY(), wide)
		} else {
			if i == 1 {
				VEXTRACTF128(Imm(1), x, x.AsX())
			}
			VCVTPS2PD(x.AsX(), wide)
		}
		VADDPD(wide, acc[i], acc[i])
	}
}

func fold(name, lane, more string, t *target, f func(x reg.VecVirtual, acc []reg.VecVirtual, mean reg.VecVirtual)) {
	TEXT(name, NOSPLIT, "func(n int, x *float32, lanes *"+lane+more+")")
	Pragma("noescape")
	Doc(name + " folds n elements, a multiple of 16, into 16 lanes.")
	n, x, lanes := Load(Param("n"), GP64()), Load(Param("x"), GP64()), Load(Param("lanes"), GP64())
	mean := t.new()
	if more != "" {
		m, err := Param("mean").Resolve()
		if err != nil {
			panic(err)
		}
		VBROADCASTSS(m.Addr, mean)
	}
	per := map[string]int{"float32": 64, "float64": 128}[lane] / t.bytes // registers of 16 lanes
	acc := make([]reg.VecVirtual, per)
	for i := range acc {
		acc[i] = t.new()
		VMOVUPS(Mem{Base: lanes, Disp: i * t.bytes}, acc[i])
	}
	vectors := 64 / t.bytes
	Label("loop")
	TESTQ(n, n)
	JZ(LabelRef("done"))
	for i := range vectors {
		v := t.new()
		VMOVUPS(Mem{Base: x, Disp: i * t.bytes}, v)
		f(v, acc[i*per/vectors:(i+1)*per/vectors], mean)
	}
	ADDQ(Imm(64), x)
	SUBQ(Imm(16), n)
	JMP(LabelRef("loop"))
	Label("done")
	for i := range acc {
		VMOVUPS(acc[i], Mem{Base: lanes, Disp: i * t.bytes})
	}
	VZEROUPPER()
	RET()
}
