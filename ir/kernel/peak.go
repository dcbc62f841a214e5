package kernel

import (
	"runtime"
	"time"
)

// Peak is what a machine can do at most, in 1e9 operations a second (a multiply-add is two), over some threads.
type Peak struct {
	Instructions string  `json:"instructions"` // the widest that the processor has
	Threads      int     `json:"threads"`
	Float32      float64 `json:"float32_gflops"`
	Int8         float64 `json:"int8_gops"`
}

// MeasurePeak times the widest kernels there are, whatever SYNCSAM_CPU says, on numbers that stay in the first-level cache. No other
// kernel may run meanwhile. threads 0: all.
func MeasurePeak(threads int) Peak {
	defer func(setting set) { use = setting }(use)
	have := sets()
	use = have[len(have)-1]
	if most := runtime.GOMAXPROCS(0); threads <= 0 || threads > most {
		threads = most
	}
	rows, width := tileShape()
	const k = 128
	a, b := make([]float32, rows*k), make([]float32, width*k)
	x, w := make([]uint8, qRows*4*k), make([]int8, qCols*4*k)
	return Peak{string(use), threads,
		fastest(threads, 2*rows*width*k, func() func() {
			c := make([]float32, rows*width)
			return func() { tile(rows, 2, k, a, b, width, c, width, nil, startZero) }
		}),
		fastest(threads, 2*qRows*qCols*4*k, func() func() {
			c := make([]int32, qRows*qCols)
			return func() {
				if !byteTile(k, x, 4*k, w, c) {
					plainByteTile(k, qRows, x, 4*k, w, c)
				}
			}
		})}
}

// fastest is the best of some rounds, in 1e9 operations a second, of threads that each repeat a function of so many.
func fastest(threads, operations int, worker func() func()) (best float64) {
	const round = 10 * time.Millisecond
	for range 8 {
		counts := make([]int, threads)
		start := time.Now()
		Parallel(threads, 1, func(lo, hi int) {
			for t := lo; t < hi; t++ {
				f := worker()
				for time.Since(start) < round {
					for range 16 {
						f()
					}
					counts[t] += 16
				}
			}
		})
		took, done := time.Since(start).Seconds(), 0
		for _, c := range counts {
			done += c
		}
		best = max(best, float64(done)*float64(operations)/took/1e9)
	}
	return best
}
