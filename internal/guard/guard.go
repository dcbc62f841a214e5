// Package guard keeps a fault where it belongs: what panics in a goroutine, or reads a mapped file that became shorter, is the error of that job and
// not the end of the process.
package guard

import (
	"fmt"
	"os"
	"runtime/debug"
	"sync"

	"syncsam-convert/internal/mapfile"
)

// Do runs f. A panic in it becomes its error, and so does a fault of mapped memory, which without it ends the process.
func Do(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = Error(r)
		}
	}()
	return f()
}

// Func is f under Do, for goroutines that give an error.
func Func(f func() error) func() error { return func() error { return Do(f) } }

// Error is what was recovered as an error: the name of the file for a fault of one, else an internal error, with a stack on standard error where
// GOTRACEBACK asks for it.
func Error(recovered any) error {
	if at, ok := recovered.(interface{ Addr() uintptr }); ok {
		if path := mapfile.At(at.Addr()); path != "" {
			return fmt.Errorf("%s: it became shorter while it was read", path)
		}
	}
	if err, ok := recovered.(passed); ok {
		return err.error
	}
	if os.Getenv("GOTRACEBACK") != "" {
		os.Stderr.Write(debug.Stack())
	}
	return fmt.Errorf("internal error: %v", recovered)
}

// passed is an error on its way from a goroutine to who waits for it.
type passed struct{ error }

// A Group is a sync.WaitGroup for functions that have no error to give: a panic or a fault of one is raised again by Wait.
type Group struct {
	wg    sync.WaitGroup
	mutex sync.Mutex
	first error
}

// Go runs f in a goroutine.
func (g *Group) Go(f func()) {
	g.wg.Go(func() {
		if err := Do(func() error { f(); return nil }); err != nil {
			g.mutex.Lock()
			defer g.mutex.Unlock()
			if g.first == nil {
				g.first = err
			}
		}
	})
}

// Wait waits for all; it panics where one of them did, so that whoever guards the caller sees it.
func (g *Group) Wait() {
	g.wg.Wait()
	if g.first != nil {
		panic(passed{g.first})
	}
}
