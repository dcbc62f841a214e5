package checkpoint

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"syncsam-convert/internal/guard"
	"syncsam-convert/ir/tensor"
)

// CheckSums reads the tensors' bytes once and compares them with the sums that an archive has of them.
func (c *Checkpoint) CheckSums(ctx context.Context) error {
	if err := inParallel(ctx, len(c.sums), func(i int) error { return c.sums[i]() }); err != nil {
		return fmt.Errorf("%s: %w", c.path, err)
	}
	return nil
}

// CheckFinite reads every floating-point weight once and reports each tensor with NaN or infinite elements, in one error.
func (c *Checkpoint) CheckFinite(ctx context.Context) error {
	bad := make([]int, len(c.names))
	err := inParallel(ctx, len(c.names), func(i int) error {
		t := c.Get(c.names[i])
		bad[i] = tensor.NonFinite(t.DType(), t.Bytes())
		t.Release()
		return nil
	})
	if err != nil {
		return err
	}
	var list []string
	for i, n := range bad {
		if n > 0 {
			list = append(list, fmt.Sprintf("%s (%d of %d)", c.names[i], n, c.Get(c.names[i]).Len()))
		}
	}
	if len(list) == 0 {
		return nil
	}
	return fmt.Errorf("%s: NaN or infinite weights in %s", c.path, strings.Join(list, ", "))
}

// inParallel does n jobs and gives the first's error.
func inParallel(ctx context.Context, n int, job func(i int) error) error {
	errs := make([]error, n)
	next := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				errs[i] = guard.Do(func() error { return job(i) })
			}
		})
	}
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	return cmp.Or(append([]error{ctx.Err()}, errs...)...)
}
