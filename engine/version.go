package engine

import (
	"fmt"

	"syncsam-convert/internal/trthost"
	"syncsam-convert/internal/version"
	"syncsam-convert/ir/kernel"
)

// Version says which engine of that name runs here: the library's version, or the program's with the instructions that its kernels use.
func Version(name string, o Options) (string, error) {
	switch name {
	case ONNXRuntime:
		return versionORT(o)
	case TensorRT:
		l, err := trthost.FindLibrary(o.TensorRT)
		if err != nil {
			return "", err
		}
		return l.Version, nil
	case Embedded:
		cpu, err := kernel.CPU()
		return fmt.Sprintf("%s, %s", version.Get().Version, cpu), err
	}
	return "", unknown(name)
}
