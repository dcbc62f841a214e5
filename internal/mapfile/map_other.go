//go:build !unix

package mapfile

import (
	"io"
	"os"
)

func mapFile(f *os.File, size int64) (*File, error) {
	data := make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, err
	}
	return &File{Data: data}, nil
}

// Release does nothing where files are not mapped.
func Release([]byte) {}
