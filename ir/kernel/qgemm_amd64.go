package kernel

//go:noescape
func vnniTile(k4 int, a *uint8, lda int, b *int8, c *int32)
