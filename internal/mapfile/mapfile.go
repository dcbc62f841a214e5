// Package mapfile gives a file's bytes without reading them: mapped where the system can, read whole elsewhere.
package mapfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
	"unsafe"
)

// A File is an open mapping. Data must not be written, nor used after Close.
type File struct {
	Path  string
	Data  []byte
	close func() error
	file  *os.File    // open, so that it is the same file whatever the path names later
	was   fs.FileInfo // when it was mapped
}

// mapped are the mappings of the process.
var mapped sync.Map // *File: struct{}

// At is the path of the file that is mapped to an address, "" where none is.
func At(address uintptr) (path string) {
	mapped.Range(func(key, _ any) bool {
		f := key.(*File)
		start := uintptr(unsafe.Pointer(unsafe.SliceData(f.Data)))
		if address >= start && address-start < uintptr(len(f.Data)) {
			path = f.Path
		}
		return path == ""
	})
	return path
}

// Unchanged is an error when the file was written to since it was mapped.
func (f *File) Unchanged() error {
	info, err := f.file.Stat()
	switch {
	case err != nil:
		return err
	case info.Size() != f.was.Size():
		return fmt.Errorf("%s: it changed while it was read: have %d bytes, want %d of before", f.Path, info.Size(), f.was.Size())
	case !info.ModTime().Equal(f.was.ModTime()):
		return fmt.Errorf("%s: it changed while it was read: it was written to at %s", f.Path, info.ModTime().Format(time.RFC3339))
	}
	return nil
}

// SHA256 is the hash of the bytes that are mapped, in hexadecimal; memory holds a small buffer of them.
func (f *File) SHA256() (string, error) {
	h := sha256.New()
	n, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{io.NewSectionReader(f.file, 0, f.was.Size())}, make([]byte, 1<<20))
	if err == nil && n < f.was.Size() {
		err = fmt.Errorf("%s: it became shorter while it was read", f.Path)
	}
	return hex.EncodeToString(h.Sum(nil)), err
}

// Reader opens a regular file, or a folder. A pipe or a device is refused at once: opening it may block for ever, and it has no size.
func Reader(path string) (*os.File, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() && !info.IsDir() {
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
	info, err := regular(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	m := &File{Path: path, Data: []byte{}, file: f, was: info}
	if info.Size() > 0 {
		if m.Data, m.close, err = mapFile(f, info.Size()); err != nil {
			f.Close()
			return nil, fmt.Errorf("map %s: %w", path, err)
		}
		mapped.Store(m, struct{}{})
	}
	return m, nil
}

// regular is what is known of a file that is no folder.
func regular(f *os.File) (fs.FileInfo, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: f.Name(), Err: errNotRegular}
	}
	return info, err
}

// Close ends the mapping.
func (f *File) Close() error {
	if f.file == nil {
		return nil
	}
	mapped.Delete(f)
	var err error
	if f.close != nil {
		err = f.close()
	}
	err = errors.Join(err, f.file.Close())
	f.Data, f.close, f.file = nil, nil, nil
	return err
}

// ReadAll gives the bytes of a file that is small by its nature: one of more than most bytes is refused before any memory is taken for it.
func ReadAll(path string, most int64) ([]byte, error) {
	f, err := Reader(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := regular(f)
	if err != nil {
		return nil, err
	} else if info.Size() > most {
		return nil, fmt.Errorf("%s: have %d bytes, want at most %d", path, info.Size(), most)
	}
	data := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead)) // a file that grows meanwhile makes it grow
	if _, err = data.ReadFrom(io.LimitReader(f, most+1)); err == nil && int64(data.Len()) > most {
		err = fmt.Errorf("%s: have more than %d bytes", path, most)
	}
	return data.Bytes(), err
}
