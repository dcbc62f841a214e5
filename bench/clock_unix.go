//go:build unix

package bench

import (
	"syscall"
	"time"
)

// computed is the processor time of the process so far.
func computed() (time.Duration, bool) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}
