package golden

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Results come in the jobs' order, whichever was ready first; the first error in that order ends it, and nothing runs on.
func TestInOrder(t *testing.T) {
	jobs := make([]int, 50)
	for i := range jobs {
		jobs[i] = i
	}
	work := func(bad int) func(context.Context, int) (int, error) {
		return func(_ context.Context, i int) (int, error) {
			time.Sleep(time.Duration((i*7)%5) * time.Millisecond)
			if i >= bad {
				return 0, errors.New("bad")
			}
			return i, nil
		}
	}
	var have []int
	take := func(i int) error { have = append(have, i); return nil }
	require.NoError(t, inOrder(t.Context(), values(jobs), work(50), take))
	require.Equal(t, jobs, have)
	have = nil
	require.ErrorContains(t, inOrder(t.Context(), values(jobs), work(20), take), "bad")
	require.Equal(t, jobs[:20], have)
	have = nil
	stop := errors.New("stop")
	require.ErrorIs(t, inOrder(t.Context(), values(jobs), work(50), func(i int) error {
		if i == 3 {
			return stop
		}
		return take(i)
	}), stop)
	require.Equal(t, jobs[:3], have)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, inOrder(ctx, values(jobs), work(50), take), context.Canceled)
}
