// Package kernel is the reference arithmetic on row-major slices: no graphs, no types. Callers have checked all sizes.
// Results do not depend on the number of threads (GOMAXPROCS).
package kernel

import (
	"runtime"
	"sync"
)

// Parallel splits [0, n) into ranges of at least grain and runs f on them, one goroutine a thread.
func Parallel(n, grain int, f func(lo, hi int)) {
	threads := min(runtime.GOMAXPROCS(0), n/max(1, grain))
	if threads <= 1 {
		if n > 0 {
			f(0, n)
		}
		return
	}
	var wg sync.WaitGroup
	for t := range threads {
		wg.Go(func() { f(n*t/threads, n*(t+1)/threads) })
	}
	wg.Wait()
}

// grain is how many cheap elements are worth a goroutine; vectorGrain is that of functions in vectors.
const (
	grain       = 1 << 14
	vectorGrain = 1 << 16
)

var scratchPool = sync.Pool{New: func() any { return new([]float32) }}

// scratch gives f a buffer of n elements with arbitrary contents, from a pool.
func scratch(n int, f func(buf []float32)) {
	p := scratchPool.Get().(*[]float32)
	if cap(*p) < n {
		*p = make([]float32, n)
	}
	f((*p)[:n])
	scratchPool.Put(p)
}
