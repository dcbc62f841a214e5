package output

import (
	"errors"

	"golang.org/x/sys/unix"
)

// exchange lets two folders take each other's names in one step; can is false where the file system has no such step.
func exchange(a, b string) (can bool, err error) { return renameat2(a, b, unix.RENAME_EXCHANGE) }

// moveNew renames a folder to a name that nothing has, in one step.
func moveNew(a, b string) (can bool, err error) { return renameat2(a, b, unix.RENAME_NOREPLACE) }

func renameat2(a, b string, flags uint) (bool, error) {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, flags)
	for _, missing := range []error{unix.EINVAL, unix.ENOSYS, unix.ENOTSUP, unix.EXDEV} {
		if errors.Is(err, missing) {
			return false, nil
		}
	}
	return true, err
}
