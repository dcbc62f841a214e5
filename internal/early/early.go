// Package early says in one line what ends a Go program before its own code begins, or beyond its reach: a limit on address space under which the
// runtime cannot work, and a GOMEMLIMIT that it cannot read. With cgo (early_linux.c) it looks before the runtime does; without, the runtime's own
// message is what there is.
package early
