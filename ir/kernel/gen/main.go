// Command gen writes the assembly and the tables of ir/kernel: run it with `make generate`.
package main

import (
	"flag"

	"github.com/mmcloughlin/avo/build"
)

func main() {
	for name, value := range map[string]string{"out": "../kernels_amd64.s", "stubs": "../kernels_amd64.go", "pkg": "kernel"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	build.ConstraintExpr("amd64")
	tile("tileAVX2", avx2)
	tile("tileAVX512", avx512)
	for _, f := range functions {
		f.assembly(avx2)
		f.assembly(avx512)
	}
	byteTiles()
	moves()
	folds(avx2)
	folds(avx512)
	build.Generate()
	plainFunctions()
	neonTile()
}
