// Package version says which program this is.
package version

import "runtime/debug"

// Version is the program's; Commit is set by the linker: -X syncsam-convert/internal/version.Commit=HASH.
const Version = "0.6.0"

// Commit is the one that the program was built from, with "-dirty" behind it where files were changed; "" where that is not known.
var Commit = ""

// A Tool is a program's version and commit, as manifests and reports name it.
type Tool struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
}

// Get is this program.
func Get() Tool {
	t := Tool{Version, Commit}
	if info, ok := debug.ReadBuildInfo(); ok && t.Commit == "" {
		dirty := false
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				t.Commit = s.Value
			case "vcs.modified":
				dirty = s.Value == "true"
			}
		}
		if dirty && t.Commit != "" {
			t.Commit += "-dirty"
		}
	}
	return t
}

// String is the version and the first twelve digits of the commit.
func (t Tool) String() string {
	if t.Commit == "" {
		return t.Version + " (commit unknown)"
	}
	short := t.Commit
	if len(short) > 40 { // "-dirty"
		short = short[:12] + short[40:]
	} else if len(short) > 12 {
		short = short[:12]
	}
	return t.Version + " (commit " + short + ")"
}
