package ir

import (
	"slices"
	"sync"
	"unsafe"

	"syncsam-convert/ir/tensor"
)

// A pool keeps the memory of dead values for the next ones, in one run and from one run to the next: fresh memory costs a page fault
// for every 4 KiB, more than the arithmetic of most operators.
type pool struct {
	mu   sync.Mutex
	free [][]byte // by capacity
}

// smallest is the size in bytes from which memory is worth keeping.
const smallest = 1 << 14

// get lends n bytes with arbitrary contents; of what is free the smallest that fits, when it is no larger than twice as much.
func (p *pool) get(n int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, _ := slices.BinarySearchFunc(p.free, n, func(b []byte, n int) int { return cap(b) - n })
	if at == len(p.free) || cap(p.free[at]) > 2*n {
		return make([]byte, n)
	}
	b := p.free[at][:n]
	p.free = slices.Delete(p.free, at, at+1)
	return b
}

func (p *pool) put(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, _ := slices.BinarySearchFunc(p.free, cap(b), func(b []byte, n int) int { return cap(b) - n })
	p.free = slices.Insert(p.free, at, b)
}

// leases are the buffers of one run, and which of its values lie in them.
type leases struct {
	pool  *pool
	lent  map[*byte]*lease  // by first byte
	owner map[*Value]*lease // of values that lie in a buffer of the run
}

type lease struct {
	data  []byte
	users int // living values
}

func newLeases(p *pool) *leases {
	return &leases{p, map[*byte]*lease{}, map[*Value]*lease{}}
}

// rubbish is what tests put into new memory, to see that operators fill their results.
var rubbish byte

// bytes gives memory with arbitrary contents for a result; without leases it is fresh.
func (l *leases) bytes(n int) []byte {
	if l == nil || n < smallest {
		b := make([]byte, n)
		for i := 0; rubbish != 0 && i < n; i++ {
			b[i] = rubbish
		}
		return b
	}
	b := l.pool.get(n)
	l.lent[unsafe.SliceData(b)] = &lease{data: b}
	return b
}

// born notes where a value's tensor lies: in a buffer of its own, or in one of its arguments' (a view).
func (l *leases) born(v *Value, t *tensor.Tensor) {
	b := t.Bytes()
	if l == nil || len(b) == 0 {
		return
	}
	at := unsafe.SliceData(b)
	owner := l.lent[at]
	for _, a := range v.Args {
		if o := l.owner[a]; owner == nil && o != nil {
			start := uintptr(unsafe.Pointer(unsafe.SliceData(o.data)))
			if p := uintptr(unsafe.Pointer(at)); p >= start && p < start+uintptr(len(o.data)) {
				owner = o
			}
		}
	}
	if owner != nil {
		owner.users++
		l.owner[v] = owner
	}
}

// dies takes a value's buffer back when no other value lies in it.
func (l *leases) dies(v *Value) {
	if l == nil || l.owner[v] == nil {
		return
	}
	o := l.owner[v]
	delete(l.owner, v)
	if o.users--; o.users == 0 {
		delete(l.lent, unsafe.SliceData(o.data))
		l.pool.put(o.data)
	}
}
