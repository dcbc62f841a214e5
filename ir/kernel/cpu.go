package kernel

import (
	"fmt"
	"os"
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

func choose(setting string) (set, error) {
	have := sets() // from generic to the widest
	best := have[len(have)-1]
	if setting == "" {
		return best, nil
	}
	names := make([]string, len(have))
	for i, s := range have {
		if string(s) == setting {
			return s, nil
		}
		names[i] = string(s)
	}
	return best, fmt.Errorf("SYNCSAM_CPU: have %q, want one of %s on this processor", setting, strings.Join(names, ", "))
}
