// Package memory says how much memory a run may take for what its inputs unpack to: a small file can hold a large picture.
package memory

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// share of the machine's memory that a run takes unless it is told otherwise, and what is assumed of a machine that does not say.
const (
	share   = 4
	unknown = 8 << 30
	least   = 64 << 20 // what a small picture and a small model take
)

var (
	set       atomic.Int64 // 0: not set
	byDefault = sync.OnceValue(func() int64 {
		if n := machine(); n > 0 {
			return max(n/share, least)
		}
		return unknown / share
	})
)

// Limit is how many bytes a run may take: what Set said, else a quarter of the machine's memory.
func Limit() int64 {
	if n := set.Load(); n > 0 {
		return n
	}
	return byDefault()
}

// Machine is how much memory the machine has, or the container that the process runs in; 0 where it does not say.
func Machine() int64 { return machine() }

// Set changes the limit; 0 is the default again.
func Set(bytes int64) { set.Store(bytes) }

// Fits is an error when so many bytes are more than a part of the limit, 1/parts; what says what they are for.
func Fits(what string, bytes int64, parts int64) error {
	if most := Limit() / parts; bytes < 0 || bytes > most {
		return fmt.Errorf("%s: it would take %d MB of memory, want at most %d MB; --max-memory allows more", what, uint64(bytes)>>20, most>>20)
	}
	return nil
}

// A Flag is the limit as a command line's flag.
type Flag struct{}

// String is the limit, as Set reads it; empty where it is the default.
func (Flag) String() string {
	if n := set.Load(); n > 0 {
		return strconv.FormatInt(n>>20, 10) + "MB"
	}
	return ""
}

// Type names the value in a usage text.
func (Flag) Type() string { return "size" }

var units = []struct {
	suffix string
	bytes  float64
}{{"KB", 1 << 10}, {"MB", 1 << 20}, {"GB", 1 << 30}, {"TB", 1 << 40}}

// Set reads a size, such as 2GB or 512MB.
func (Flag) Set(text string) error {
	n, err := Bytes(text, least)
	if err == nil {
		Set(n)
	}
	return err
}

// Bytes reads a size, such as 2GB or 512MB, of so many bytes at least.
func Bytes(text string, least int64) (int64, error) {
	number, unit := strings.TrimSpace(strings.ToUpper(strings.Replace(strings.ToUpper(text), "IB", "B", 1))), 1.0
	for _, u := range units {
		if s, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = strings.TrimSpace(s), u.bytes
		}
	}
	x, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(x) || x*unit < float64(least) || x*unit > math.MaxInt64/2 {
		return 0, fmt.Errorf("have %q, want a size of at least %d MB, such as 2GB", text, least>>20)
	}
	return int64(x * unit), nil
}
