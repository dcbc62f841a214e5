// Package mapfile gives a file's bytes without reading them: mapped where the system can, read whole elsewhere.
package mapfile

import (
	"fmt"
	"io"
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
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // before opening, which a FIFO without a writer blocks
		return nil, fmt.Errorf("open %s: not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
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

// ReadAll gives the bytes of a file that is small by its nature: one of more than most bytes is refused before any memory is taken for it.
func ReadAll(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular(): // before opening, which a FIFO without a writer blocks
		return nil, fmt.Errorf("%s: not a regular file", path)
	case info.Size() > most:
		return nil, fmt.Errorf("%s: have %d bytes, want at most %d", path, info.Size(), most)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s: have more than %d bytes", path, most)
	}
	return data, err
}
