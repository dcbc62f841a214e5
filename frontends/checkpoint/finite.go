package checkpoint

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"syncsam-convert/internal/guard"
	"syncsam-convert/ir/tensor"
)

// A masked exponent is all ones exactly for NaN and the infinities; in each word every lane is tested at once.
var exponents = map[tensor.DType]struct {
	mask uint64 // the exponent's bits in each lane
	one  uint64 // the lowest exponent bit in each lane: mask + one carries out of a lane exactly when it is all ones
	bits uint   // of a lane
}{
	tensor.Float32:  {0x7f8000007f800000, 0x0080000000800000, 32},
	tensor.Float16:  {0x7c007c007c007c00, 0x0400040004000400, 16},
	tensor.BFloat16: {0x7f807f807f807f80, 0x0080008000800080, 16},
	tensor.Float64:  {0x7ff0000000000000, 0x0010000000000000, 64},
}

// CheckFinite reads every floating-point weight once and reports each tensor with NaN or infinite elements, in one error, and entries of an archive
// whose bytes are not those of their sums.
func (c *Checkpoint) CheckFinite(ctx context.Context) error {
	if err := inParallel(ctx, len(c.sums), func(i int) error { return c.sums[i]() }); err != nil {
		return fmt.Errorf("%s: %w", c.path, err)
	}
	bad := make([]int, len(c.names))
	err := inParallel(ctx, len(c.names), func(i int) error {
		t := c.Get(c.names[i])
		bad[i] = countNonFinite(t)
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

func countNonFinite(t *tensor.Tensor) int {
	e, ok := exponents[t.DType()]
	if !ok {
		return 0
	}
	data := t.Bytes()
	var top uint64 // the sign bit of each lane, where the carry lands
	for s := e.bits - 1; s < 64; s += e.bits {
		top |= 1 << s
	}
	count := 0
	for len(data) >= 8 {
		if w := (binary.LittleEndian.Uint64(data)&e.mask + e.one) & top; w != 0 {
			for ; w != 0; w &= w - 1 {
				count++
			}
		}
		data = data[8:]
	}
	if len(data) > 0 { // a part of a word: pad with zeros, which are finite
		var last [8]byte
		copy(last[:], data)
		for w := (binary.LittleEndian.Uint64(last[:])&e.mask + e.one) & top; w != 0; w &= w - 1 {
			count++
		}
	}
	return count
}
