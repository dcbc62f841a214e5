// Package doctor says what this program can use on this machine, and what stands in the way.
package doctor

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"syncsam-convert/backends/onnx"
	"syncsam-convert/backends/tensorrt"
	"syncsam-convert/engine"
	"syncsam-convert/internal/memory"
	"syncsam-convert/internal/output"
	"syncsam-convert/internal/plain"
	"syncsam-convert/internal/version"
	"syncsam-convert/registry"
)

// A Report is what was found.
type Report struct {
	Usable    bool         `json:"usable"` // the engines that are needed work
	Tool      version.Tool `json:"tool"`
	Go        string       `json:"go"` // the compiler's version
	Processor Processor    `json:"processor"`
	Engines   []Engine     `json:"engines"`
	Memory    Memory       `json:"memory"`
	Opsets    Opsets       `json:"opsets"`
	TensorRT  []string     `json:"tensorrt_releases"` // that rules are known for
	Folders   []Folder     `json:"folders"`
}

// A Processor is what the embedded engine can use of it.
type Processor struct {
	OS      string   `json:"os"`
	Arch    string   `json:"arch"`
	CPUs    int      `json:"cpus"`
	Kernels []string `json:"kernels"` // from the plainest to the widest that are here
	Picked  string   `json:"picked"`
}

// An Engine works, and has a version, or has a problem with the way out.
type Engine struct {
	Name    string `json:"name"`
	Needed  bool   `json:"needed"`
	Version string `json:"version,omitempty"`
	Library string `json:"library,omitempty"` // where it is not part of the program
	Problem string `json:"problem,omitempty"`
}

// Memory in bytes.
type Memory struct {
	Machine int64 `json:"machine_bytes"` // or the container; 0: it does not say
	Limit   int64 `json:"limit_bytes"`   // what --max-memory is
}

// Opsets that build writes.
type Opsets struct {
	Default int `json:"default"`
	Least   int `json:"least"`
	Most    int `json:"most"`
}

// A Folder that the program writes by itself.
type Folder struct {
	Purpose string `json:"purpose"`
	Path    string `json:"path"`
	Problem string `json:"problem,omitempty"`
}

// Look examines this machine; needed are engines that must work. It is an error to need one that does not exist.
func Look(needed []string, o engine.Options) (*Report, error) {
	for _, name := range needed {
		if !slices.Contains(engine.Names(), name) {
			return nil, fmt.Errorf("engine: have %q, want one of %s", name, strings.Join(engine.Names(), ", "))
		}
	}
	picked, err := engine.CPU()
	if err != nil {
		return nil, err
	}
	r := &Report{Usable: true, Tool: version.Get(), Go: runtime.Version(), Processor: Processor{runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), engine.CPUs(), picked},
		Memory: Memory{memory.Machine(), memory.Limit()}, Opsets: Opsets{onnx.DefaultOpset, onnx.MinOpset, onnx.MaxOpset}, TensorRT: tensorrt.ReleaseNames(), Folders: folders()}
	for _, name := range engine.Names() {
		e := Engine{Name: name, Needed: slices.Contains(needed, name)}
		if e.Version, err = engine.Version(name, o); err != nil {
			e.Version, e.Problem = "", strings.TrimPrefix(err.Error(), "engine "+name+": ")
			r.Usable = r.Usable && !e.Needed
		} else {
			e.Library = engine.LibraryOf(name, o)
		}
		r.Engines = append(r.Engines, e)
	}
	return r, nil
}

// folders are those of the system that are written without being named: a problem of one spoils what it is for and nothing else.
func folders() []Folder {
	temporary := Folder{Purpose: "temporary files (plan build, bench, serve)", Path: os.TempDir()}
	if err := output.Creatable(filepath.Join(temporary.Path, "doctor")); err != nil {
		temporary.Problem = fmt.Sprintf("%v; set %s to a folder that can be written", err, map[bool]string{true: "TMP", false: "TMPDIR"}[runtime.GOOS == "windows"])
	}
	cache := Folder{Purpose: "cache of oci:// references"}
	path, err := registry.CacheFolder()
	if err == nil {
		cache.Path, err = path, output.CreatableFolder(filepath.Join(path, "doctor"))
	}
	if err != nil {
		cache.Problem = fmt.Sprintf("%v; set %s to a folder that can be written, or pull into a folder", err, map[bool]string{true: "XDG_CACHE_HOME", false: "HOME"}[runtime.GOOS == "linux"])
	}
	return []Folder{temporary, cache}
}

// Err names the engines that are needed and do not work.
func (r *Report) Err() error {
	for _, e := range r.Engines {
		if e.Needed && e.Problem != "" {
			return fmt.Errorf("engine %s: %s", e.Name, e.Problem)
		}
	}
	return nil
}

// Print writes it for people.
func (r *Report) Print(w io.Writer) {
	p := r.Processor
	plain.Fprintf(w, "%-20s%s, %s\n", "syncsam-convert", r.Tool, r.Go)
	plain.Fprintf(w, "%-20s%s/%s, %d processors\n", "machine", p.OS, p.Arch, p.CPUs)
	plain.Fprintf(w, "%-20s%s, of %s (SYNCSAM_CPU picks)\n", "kernels", p.Picked, strings.Join(p.Kernels, ", "))
	has := "of a machine that does not say how much it has"
	if r.Memory.Machine > 0 {
		has = fmt.Sprintf("of %d MB", r.Memory.Machine>>20)
	}
	plain.Fprintf(w, "%-20s%d MB for what inputs unpack to, %s (--max-memory)\n", "memory", r.Memory.Limit>>20, has)
	for _, e := range r.Engines {
		says := e.Version
		if e.Library != "" {
			says += ", " + e.Library
		}
		if e.Problem != "" {
			says = "not usable: " + e.Problem
		}
		plain.Fprintf(w, "%-20s%s\n", "engine "+e.Name, says)
	}
	plain.Fprintf(w, "%-20s%d to %d, %d by default\n", "opsets", r.Opsets.Least, r.Opsets.Most, r.Opsets.Default)
	plain.Fprintf(w, "%-20s%s\n", "TensorRT's rules", strings.Join(r.TensorRT, ", "))
	for _, f := range r.Folders {
		says := f.Path
		if f.Problem != "" {
			says = "not usable: " + f.Problem
		}
		plain.Fprintf(w, "%-20s%s\n", "folder", says+": "+f.Purpose)
	}
}
