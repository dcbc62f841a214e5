package kernel

import "runtime"

// atThreads runs f with so many threads.
func atThreads(n int, f func()) {
	old := runtime.GOMAXPROCS(n)
	defer runtime.GOMAXPROCS(old)
	f()
}
