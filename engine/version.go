package engine

import (
	"fmt"

	"syncsam-convert/internal/trthost"
	"syncsam-convert/internal/version"
	"syncsam-convert/ir/kernel"
)

func versionGo(Options) (string, error) {
	cpu, err := kernel.CPU()
	return fmt.Sprintf("%s, %s", version.Get().Version, cpu), err
}

func versionTensorRT(o Options) (string, error) {
	l, err := trthost.FindLibrary(o.TensorRT)
	if err != nil {
		return "", err
	}
	return l.Version, nil
}

func libraryTensorRT(o Options) string {
	l, _ := trthost.FindLibrary(o.TensorRT)
	return l.Path
}
