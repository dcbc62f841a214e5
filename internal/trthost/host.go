// Package trthost finds what a machine has of TensorRT (the library, the driver, trtexec) and runs trtexec.
package trthost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syncsam-convert/internal/mapfile"
	"syncsam-convert/internal/output"
)

// LibraryVariable names libnvinfer, TrtexecVariable trtexec, where they are not where the system looks.
const (
	LibraryVariable = "TENSORRT_LIB"
	TrtexecVariable = "TRTEXEC"
)

// libraries are the names under which the system's loader is asked for TensorRT, newest first.
var libraries = []string{"libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer.so.8", "libnvinfer.so"}

// A Library is a libnvinfer that could be loaded.
type Library struct {
	Path    string
	Version string // "8.6.1", as the library itself says
}

// A GPU as its driver describes it.
type GPU struct {
	Name              string
	ComputeCapability string // "8.0"
	Driver            string // the newest CUDA version that the driver knows, "12.4"
}

// where ends the errors of a machine that cannot build: what else can be done.
const where = "; a plan is built on a machine that has TensorRT 8.6, 10 or 11 and the GPU: copy the plan folder there and run build-plan.sh"

// A Host can build plans and run them.
type Host struct {
	Library Library
	GPU     GPU
	trtexec string
}

// Find looks for everything that a plan needs; given is libnvinfer's path, "" to look for it. The error says what is missing.
func Find(given string) (*Host, error) {
	h := &Host{}
	var err error
	if h.Library, err = FindLibrary(given); err != nil {
		return nil, fmt.Errorf("%w%s", err, where)
	}
	if h.GPU, err = FindGPU(); err != nil {
		return nil, fmt.Errorf("TensorRT %s (%s): %w%s", h.Library.Version, h.Library.Path, err, where)
	}
	name := os.Getenv(TrtexecVariable)
	if name == "" {
		name = "trtexec"
	}
	if h.trtexec, err = exec.LookPath(name); err != nil {
		return nil, fmt.Errorf("TensorRT %s, %s: %s: not found in PATH; name it by %s", h.Library.Version, h.GPU.Name, name, TrtexecVariable)
	}
	return h, nil
}

// FindLibrary loads libnvinfer: the given one, the environment's, or what the system's loader finds.
func FindLibrary(given string) (Library, error) {
	if given == "" {
		given = os.Getenv(LibraryVariable)
	}
	names := libraries
	if given != "" {
		if _, err := os.Stat(given); err != nil {
			return Library{}, fmt.Errorf("TensorRT: %w", err)
		}
		names = []string{given}
	}
	var first error
	for _, name := range names {
		n, err := libraryVersion(name)
		if err == nil {
			return Library{name, versionText(n)}, nil
		}
		if first == nil || errors.Is(err, errUnsupported) {
			first = err
		}
	}
	if given == "" && !errors.Is(first, errUnsupported) {
		return Library{}, fmt.Errorf("TensorRT: %s: not found by the system's loader; name it by --tensorrt-lib or %s", strings.Join(libraries, ", "), LibraryVariable)
	}
	return Library{}, fmt.Errorf("TensorRT: %w", first)
}

// versionText spells getInferLibVersion's number: 8601 is 8.6.1, 101303 is 10.13.3.
func versionText(n int) string {
	major := 1000
	if n >= 100000 {
		major = 10000
	}
	return fmt.Sprintf("%d.%d.%d", n/major, n%major/100, n%100)
}

// Build runs trtexec in dir so that it makes the file plan there; on an error nothing is left. lines sees what trtexec prints.
func (h *Host) Build(ctx context.Context, dir, plan string, args []string, lines io.Writer) error {
	if err := h.run(ctx, dir, args, lines); err != nil {
		os.Remove(filepath.Join(dir, plan))
		return fmt.Errorf("%s: %w", filepath.Join(dir, plan), err)
	}
	if _, err := os.Stat(filepath.Join(dir, plan)); err != nil {
		return fmt.Errorf("trtexec ended well and left no plan: %w", err)
	}
	return nil
}

// run runs trtexec; its error holds what it printed last on its own errors.
func (h *Host) run(ctx context.Context, dir string, args []string, lines io.Writer) error {
	cmd := exec.CommandContext(ctx, h.trtexec, args...)
	cmd.Dir = dir
	var said bytes.Buffer
	cmd.Stdout = io.MultiWriter(&said, lines)
	cmd.Stderr = cmd.Stdout
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		last := ""
		for line := range strings.Lines(said.String()) {
			if _, problem, ok := strings.Cut(line, "[E] "); ok {
				last = ": " + strings.TrimSpace(problem)
			}
		}
		return fmt.Errorf("trtexec: %w%s", err, last)
	}
	return nil
}

// A Sidecar says what a plan is bound to. It stands beside the plan and is checked before the plan is loaded.
type Sidecar struct {
	TensorRT          string `json:"tensorrt"`
	GPU               string `json:"gpu"`
	ComputeCapability string `json:"compute_capability"`
	Driver            string `json:"driver"`
	ONNX              string `json:"onnx_sha256"`
	Plan              string `json:"plan_sha256"`
	Bytes             int64  `json:"bytes"`
}

// SidecarOf is the name of a plan's sidecar.
func SidecarOf(plan string) string { return plan + ".json" }

// Write puts the sidecar beside its plan.
func (s Sidecar) Write(plan string) error {
	text, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	return output.File(SidecarOf(plan), func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}

// ReadSidecar reads a plan's sidecar.
func ReadSidecar(plan string) (Sidecar, error) {
	var s Sidecar
	text, err := mapfile.ReadAll(SidecarOf(plan), 1<<20)
	if errors.Is(err, os.ErrNotExist) {
		return s, fmt.Errorf("%s: a plan without its sidecar %s cannot be trusted; build it with plan build", plan, filepath.Base(SidecarOf(plan)))
	}
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("%s: %w", SidecarOf(plan), err)
	}
	if s.TensorRT == "" || s.Plan == "" {
		return s, fmt.Errorf("%s: tensorrt or plan_sha256: missing", SidecarOf(plan))
	}
	return s, nil
}

// Suits reports why a host cannot load a plan, nil when it can: plans are bound to TensorRT's version and the GPU's architecture.
func (s Sidecar) Suits(l Library, g GPU) error {
	if s.TensorRT != l.Version {
		return fmt.Errorf("it was built by TensorRT %s, here is %s", s.TensorRT, l.Version)
	}
	if s.ComputeCapability != g.ComputeCapability {
		return fmt.Errorf("it was built for compute capability %s (%s), here is %s (%s)", s.ComputeCapability, s.GPU, g.ComputeCapability, g.Name)
	}
	return nil
}
