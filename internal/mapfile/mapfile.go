// Package mapfile gives a file's bytes without reading them: mapped where the system can, read whole elsewhere.
package mapfile

import (
	"fmt"
	"os"
)

// A File is an open mapping. Data must not be written, nor used after Close.
type File struct {
	Path  string
	Data  []byte
	close func() error
}

// Open maps a regular file.
func Open(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open %s: not a regular file", path)
	}
	if info.Size() == 0 {
		return &File{Path: path, Data: []byte{}}, nil
	}
	data, closeMap, err := mapFile(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	return &File{path, data, closeMap}, nil
}

// Close ends the mapping.
func (f *File) Close() error {
	if f.close == nil {
		return nil
	}
	err := f.close()
	f.Data, f.close = nil, nil
	return err
}
