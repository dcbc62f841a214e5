//go:build unix

package output

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

func tryLock(f *os.File) attempt {
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case err == nil:
			return locked
		case errors.Is(err, unix.EWOULDBLOCK):
			return held
		case !errors.Is(err, unix.EINTR):
			return unable
		}
	}
}

// openPipe opens a named pipe for writing; one that nobody reads is an error at once.
func openPipe(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENXIO) {
		err = errors.New("no reader")
	}
	return f, err
}

// planted reports whether a link may be a trap: somebody else's, in a folder where everybody may put one.
func planted(path string, link fs.FileInfo) bool {
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil || dir.Mode()&fs.ModeSticky == 0 || dir.Mode().Perm()&0o002 == 0 {
		return false
	}
	owner, folder := link.Sys().(*syscall.Stat_t).Uid, dir.Sys().(*syscall.Stat_t).Uid
	return int(owner) != os.Geteuid() && owner != folder
}

// device is the file system that a folder lies on.
func device(info fs.FileInfo) uint64 { return uint64(info.Sys().(*syscall.Stat_t).Dev) }
