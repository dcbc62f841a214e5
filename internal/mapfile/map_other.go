//go:build !unix

package mapfile

import (
	"io"
	"os"
)

func mapFile(f *os.File, size int64) ([]byte, func() error, error) {
	data := make([]byte, size)
	_, err := io.ReadFull(f, data)
	return data, nil, err
}

// Release does nothing where files are not mapped.
func Release([]byte) {}
