//go:build !cgo

package engine

import "errors"

func loadORT(string, Options) (Session, error) {
	return nil, errors.New("engine onnxruntime: this program was built without cgo; build it with CGO_ENABLED=1, or use --engine go")
}

func versionORT(o Options) (string, error) {
	_, err := loadORT("", o)
	return "", err
}
