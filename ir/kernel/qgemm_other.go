//go:build !amd64

package kernel

const hasVNNI = false

func vnniTile(int, *uint8, int, *int8, *int32) { panic("BUG: this processor has no integer tile") }
