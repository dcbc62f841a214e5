package kernel

import "golang.org/x/sys/cpu"

var hasVNNI = cpu.X86.HasAVX512F && cpu.X86.HasAVX512VNNI

//go:noescape
func vnniTile(k4 int, a *uint8, lda int, b *int8, c *int32)
