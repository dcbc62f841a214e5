// Package engine runs ONNX files: by the embedded evaluator, by ONNX Runtime, or as the TensorRT plans that were built of them.
package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
)

// A Session is one loaded model. Run may be called from several goroutines.
type Session interface {
	Inputs() []string
	Outputs() []string
	// Run takes every input by name and gives every output by name.
	Run(ctx context.Context, inputs map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error)
	Close() error
}

// Options of an engine.
type Options struct {
	Threads  int    // of a run, at most; 0: as many as the machine has
	Trace    string // of onnxruntime: prefix of the trace file that it writes when the session ends; "": none
	TensorRT string // of tensorrt: libnvinfer; "": TENSORRT_LIB, then what the system's loader finds
	Library  string // of onnxruntime: the shared library; "": ONNXRUNTIME_LIB, then build/onnxruntime beside the program or the working directory
}

// The engines' names.
const (
	Embedded    = "go"
	ONNXRuntime = "onnxruntime"
	TensorRT    = "tensorrt" // runs no ONNX file by itself, only one that a plan was built of
)

// A row is one engine.
type row struct {
	name    string
	load    func(path string, o Options) (Session, error)
	version func(o Options) (string, error)
	library func(o Options) string // the file that is loaded, "" where there is none; nil: the engine is part of the program
	profile profiler               // nil: the engine does not tell times by operator
}

// engines in the order they are listed; the first is the default.
var engines = []row{
	{Embedded, loadGo, versionGo, nil, profileGo},
	{ONNXRuntime, loadORT, versionORT, libraryORT, profileORT},
	{TensorRT, loadPlan, versionTensorRT, libraryTensorRT, nil},
}

func find(name string) (row, error) {
	for _, e := range engines {
		if e.name == name {
			return e, nil
		}
	}
	return row{}, fmt.Errorf("engine: have %q, want one of %s", name, strings.Join(Names(), ", "))
}

// Names lists the engines.
func Names() []string {
	var names []string
	for _, e := range engines {
		names = append(names, e.name)
	}
	return names
}

// Load opens a model file with an engine.
func Load(name, path string, o Options) (Session, error) {
	e, err := find(name)
	if err != nil {
		return nil, err
	}
	return e.load(path, o)
}

// Version says which engine of that name runs here: the library's version, or the program's with the instructions that its kernels use.
func Version(name string, o Options) (string, error) {
	e, err := find(name)
	if err != nil {
		return "", err
	}
	return e.version(o)
}

// LibraryOf is the file of an engine that is no part of the program and has told its Version; else "".
func LibraryOf(name string, o Options) string {
	if e, err := find(name); err == nil && e.library != nil {
		return e.library(o)
	}
	return ""
}

// Has reports whether a session takes an input of that name.
func Has(s Session, input string) bool { return slices.Contains(s.Inputs(), input) }

// CPU is the set of instructions that the embedded engine's kernels use, by $SYNCSAM_CPU or the widest that the processor has; the error
// is that the variable names none that is there.
func CPU() (string, error) { return kernel.CPU() }

// CPUs are the sets of instructions that CPU chooses from, from the plainest to the widest.
func CPUs() []string { return kernel.CPUs() }
