package kernel

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
)

// A set names vector instructions that kernels are written for. All sets give the same bits.
type set string

// generic kernels are plain Go and run everywhere.
const generic set = "generic"

// use is the set that kernels run on.
var use, settingError = choose(os.Getenv("SYNCSAM_CPU"))

// CPU tells which instructions the kernels use: those named by the environment variable SYNCSAM_CPU, else the widest that the processor
// has. It is an error when the variable asks for others than there are.
func CPU() (string, error) { return string(use), settingError }

// CPUs are the instructions that CPU chooses from, from generic to the widest.
func CPUs() (names []string) {
	for _, s := range sets() {
		names = append(names, string(s))
	}
	return names
}

func choose(setting string) (set, error) {
	have := CPUs()
	best := set(have[len(have)-1])
	if setting == "" || slices.Contains(have, setting) {
		return cmp.Or(set(setting), best), nil
	}
	return best, fmt.Errorf("SYNCSAM_CPU: have %q, want one of %s on this processor", setting, strings.Join(have, ", "))
}
