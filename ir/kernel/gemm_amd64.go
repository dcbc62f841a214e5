package kernel

import "golang.org/x/sys/cpu"

// hasTile reports whether fmaTile can run here.
var hasTile = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// fmaTile adds the product of two packed panels to a tile of tileRows x tileCols at c, whose rows are ldc elements apart.
//
//go:noescape
func fmaTile(k int, a, b, c *float32, ldc int)
