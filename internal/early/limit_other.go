//go:build !unix

package early

// Quiet does nothing where there is no such limit.
func Quiet() {}
