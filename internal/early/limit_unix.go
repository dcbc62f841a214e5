//go:build unix

package early

import (
	"math"
	"os"
	"syscall"
)

// Quiet starts the program anew where address space is limited, so that memory that is not there is told without the stacks of all goroutines. It
// returns where there is no limit, the user asks for stacks, or it is done.
func Quiet() {
	var space syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_AS, &space) != nil || uint64(space.Cur) >= math.MaxInt64 || os.Getenv("GOTRACEBACK") != "" {
		return
	}
	if self, err := os.Executable(); err == nil {
		_ = syscall.Exec(self, os.Args, append(os.Environ(), "GOTRACEBACK=none")) // else it goes on as it is
	}
}
