package kernel

import (
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// atThreads runs f with so many threads.
func atThreads(n int, f func()) {
	old := runtime.GOMAXPROCS(n)
	defer runtime.GOMAXPROCS(old)
	f()
}

// Limits that are held together are all kept, in whatever order they end.
func TestLimit(t *testing.T) {
	atThreads(8, func() {
		threads := func() int64 {
			var n atomic.Int64
			Parallel(8, 1, func(int, int) { n.Add(1) })
			return n.Load()
		}
		require.EqualValues(t, 8, threads())
		three, two, again, any := Limit(3), Limit(2), Limit(2), Limit(0)
		require.EqualValues(t, 2, threads())
		two()
		any()
		require.EqualValues(t, 2, threads())
		again()
		require.EqualValues(t, 3, threads())
		three()
		require.EqualValues(t, 8, threads())
	})
}
