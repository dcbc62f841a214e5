// Package kernel is the reference arithmetic on row-major slices: no graphs, no types. Callers have checked all sizes.
// Results do not depend on the number of threads: GOMAXPROCS, or fewer by Limit.
package kernel

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syncsam-convert/internal/guard"
)

var limits struct {
	sync.Mutex
	held  []int
	least atomic.Int64 // of those held; 0: none is
}

// Limit keeps all kernels to at most so many threads (0: any number) until release is called, once. Where several limits are held at a
// time, by sessions that run beside each other, the least one counts: nobody gets more threads than it asked for.
func Limit(threads int) (release func()) {
	if threads <= 0 {
		return func() {}
	}
	change := func(f func(held []int) []int) {
		limits.Lock()
		defer limits.Unlock()
		limits.held = f(limits.held)
		limits.least.Store(0)
		if len(limits.held) > 0 {
			limits.least.Store(int64(slices.Min(limits.held)))
		}
	}
	change(func(held []int) []int { return append(held, threads) })
	return func() {
		change(func(held []int) []int { i := slices.Index(held, threads); return slices.Delete(held, i, i+1) })
	}
}

// Parallel splits [0, n) into ranges of at least grain and runs f on them, one goroutine a thread.
func Parallel(n, grain int, f func(lo, hi int)) {
	threads := min(runtime.GOMAXPROCS(0), n/max(1, grain))
	if most := int(limits.least.Load()); most > 0 {
		threads = min(threads, most)
	}
	if threads <= 1 {
		if n > 0 {
			f(0, n)
		}
		return
	}
	var wg guard.Group
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
