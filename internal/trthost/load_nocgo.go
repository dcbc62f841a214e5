//go:build !cgo || windows

package trthost

import "errors"

// errUnsupported is the error of programs that cannot load libraries.
var errUnsupported = errors.New("this program was built without cgo; build it with CGO_ENABLED=1, or run build-plan.sh")

func libraryVersion(string) (int, error) { return 0, errUnsupported }

// FindGPU describes the first GPU.
func FindGPU() (GPU, error) { return GPU{}, errUnsupported }
