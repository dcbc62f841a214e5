//go:build cgo

package early

import "C" // links early_linux.c
