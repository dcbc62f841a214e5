//go:build unix

package mapfile

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func mapFile(f *os.File, size int64) ([]byte, func() error, error) {
	data, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	return data, func() error { return unix.Munmap(data) }, err
}

// Release tells the system that a part of a mapping is not needed for now; only whole pages inside it are given back.
// The bytes stay readable.
func Release(part []byte) {
	page := uintptr(os.Getpagesize())
	start := uintptr(unsafe.Pointer(unsafe.SliceData(part)))
	lo := (start + page - 1) &^ (page - 1)
	hi := (start + uintptr(len(part))) &^ (page - 1)
	if hi > lo {
		_ = unix.Madvise(part[lo-start:hi-start], unix.MADV_DONTNEED) // a hint: nothing depends on it
	}
}
