package memory

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
)

// percent is how much garbage there may be for what is in use, while a run is tight: what is in use are large arrays then, which cost the
// collector little.
const percent = 25

var tight struct {
	sync.Mutex
	runs   int
	before int
}

// Tight makes the collector allow less garbage until the function that it gives is called, and collects then, for work that holds a model's weights in
// memory and makes much garbage beside them. A GOGC of the user's stays.
func Tight() (end func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	tight.Lock()
	defer tight.Unlock()
	if tight.runs++; tight.runs == 1 {
		tight.before = debug.SetGCPercent(percent)
	}
	return sync.OnceFunc(func() {
		tight.Lock()
		defer tight.Unlock()
		if tight.runs--; tight.runs == 0 {
			debug.SetGCPercent(tight.before)
			runtime.GC() // what was in use a moment ago would be the measure of what may be garbage
		}
	})
}
