package golden

import (
	"context"
	"iter"
	"runtime"

	"syncsam-convert/internal/guard"
)

// inOrder does jobs several at a time and takes their results one after the other in the jobs' order, so that nothing depends on which was
// ready first. The first error, in that order, ends it. Memory holds the results of a few jobs.
func inOrder[J, R any](ctx context.Context, jobs iter.Seq2[J, error], work func(context.Context, J) (R, error), take func(R) error) error {
	type result struct {
		value R
		err   error
	}
	ctx, cancel := context.WithCancel(ctx)
	var workers guard.Group
	defer workers.Wait()
	defer cancel()
	slots := runtime.GOMAXPROCS(0)
	pending, free := make(chan chan result, 2*slots), make(chan struct{}, slots)
	workers.Go(func() {
		defer close(pending)
		for job, err := range jobs {
			one := make(chan result, 1)
			if err != nil {
				one <- result{err: err}
			}
			select {
			case pending <- one:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
			select {
			case free <- struct{}{}:
			case <-ctx.Done():
				one <- result{err: ctx.Err()}
				return
			}
			workers.Go(func() {
				defer func() { <-free }()
				var r result
				r.err = guard.Do(func() (err error) { r.value, err = work(ctx, job); return })
				one <- r
			})
		}
	})
	for one := range pending {
		r := <-one
		if r.err != nil {
			return r.err
		}
		if err := take(r.value); err != nil {
			return err
		}
	}
	return ctx.Err()
}
