//go:build !amd64

package kernel

const hasTile = false

func fmaTile(int, *float32, *float32, *float32, int) { panic("BUG: there is no tile kernel here") }
