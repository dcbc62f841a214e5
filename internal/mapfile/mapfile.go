// Package mapfile gives a file's bytes without reading them: mapped where the system can, read whole elsewhere.
package mapfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// A File is an open mapping. Data must not be written, nor used after Close.
type File struct {
	Path  string
	Data  []byte
	close func() error
}

// Reader opens a regular file. A pipe or a device is refused at once: opening it may block for ever, and it has no size.
func Reader(path string) (*os.File, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errNotRegular}
	}
	return os.Open(path)
}

var errNotRegular = errors.New("not a regular file")

// Open maps a regular file.
func Open(path string) (*File, error) {
	f, err := Reader(path)
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
	f, err := Reader(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if info.Size() > most {
		return nil, fmt.Errorf("%s: have %d bytes, want at most %d", path, info.Size(), most)
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s: have more than %d bytes", path, most)
	}
	return data, err
}
