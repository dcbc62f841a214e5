package tensorrt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Bounds of what a recipe may ask for.
const (
	maxEngines   = 16
	maxInputs    = 64
	maxRank      = 8 // of TensorRT
	maxSize      = 1 << 31
	maxWorkspace = 1 << 20 // MiB
)

// fileName and inputName are what a shell, trtexec's own commas and colons, and a folder take as they are.
var (
	fileName  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$`)
	inputName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./-]{0,99}$`)
)

// ParseRecipe reads a recipe's file. Every value that reaches a command line is checked; fields that it does not know are errors.
func ParseRecipe(text []byte) (*Recipe, error) {
	r := &Recipe{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("%w; build makes the folder anew", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("have something after the recipe")
	}
	return r, r.check()
}

// check holds a recipe's values against what a build can ask for.
func (r *Recipe) check() error {
	switch {
	case len(r.Engines) == 0 || len(r.TensorRT) == 0:
		return errors.New("engines or tensorrt: missing")
	case len(r.Engines) > maxEngines:
		return fmt.Errorf("engines: have %d, want at most %d", len(r.Engines), maxEngines)
	case r.WorkspaceMiB < 1 || r.WorkspaceMiB > maxWorkspace:
		return fmt.Errorf("workspace_mib: have %d, want 1 to %d", r.WorkspaceMiB, maxWorkspace)
	case r.OptimizationLevel < 0 || r.OptimizationLevel > 5:
		return fmt.Errorf("optimization_level: have %d, want 0 to 5", r.OptimizationLevel)
	case r.Compatibility != "none":
		return fmt.Errorf("hardware_compatibility: have %q, want none", r.Compatibility)
	}
	for i, s := range r.TensorRT {
		if flagsFor(s.Release, r.Precision) == nil {
			return fmt.Errorf("tensorrt: have release %q in precision %q, want 8.6, 10 or 11 in fp32, fp16 or int8", s.Release, r.Precision)
		}
		if slices.ContainsFunc(r.TensorRT[:i], func(o Series) bool { return o.Release == s.Release }) {
			return fmt.Errorf("tensorrt: release %s is there twice", s.Release)
		}
	}
	for i, e := range r.Engines {
		if err := e.check(); err != nil {
			return fmt.Errorf("engines: %w", err)
		}
		if slices.ContainsFunc(r.Engines[:i], func(o Engine) bool { return strings.EqualFold(o.ONNX, e.ONNX) }) {
			return fmt.Errorf("engines: %s is there twice", e.ONNX)
		}
	}
	return nil
}

func (e Engine) check() error {
	name, isONNX := strings.CutSuffix(e.ONNX, ".onnx")
	switch {
	case !fileName.MatchString(e.ONNX) || !isONNX:
		return fmt.Errorf("have file %q, want NAME.onnx in the folder", e.ONNX)
	case e.Plan != name+PlanSuffix:
		return fmt.Errorf("%s: have plan %q, want %s", e.ONNX, e.Plan, name+PlanSuffix)
	case len(e.Inputs) == 0 || len(e.Inputs) > maxInputs:
		return fmt.Errorf("%s: have %d inputs, want 1 to %d", e.ONNX, len(e.Inputs), maxInputs)
	}
	for i, p := range e.Inputs {
		if !inputName.MatchString(p.Name) {
			return fmt.Errorf("%s: have input %q, want a name of letters, digits, _ . / and -", e.ONNX, p.Name)
		}
		if slices.ContainsFunc(e.Inputs[:i], func(o Profile) bool { return o.Name == p.Name }) {
			return fmt.Errorf("%s: input %s is there twice", e.ONNX, p.Name)
		}
		if len(p.Min) != len(p.Opt) || len(p.Max) != len(p.Opt) || len(p.Opt) > maxRank {
			return fmt.Errorf("%s: input %s: have %d, %d and %d sizes, want the same number, at most %d", e.ONNX, p.Name, len(p.Min), len(p.Opt), len(p.Max), maxRank)
		}
		for d := range p.Opt {
			if p.Min[d] < 1 || p.Opt[d] < p.Min[d] || p.Max[d] < p.Opt[d] || p.Max[d] >= maxSize {
				return fmt.Errorf("%s: input %s: have %d:%d:%d, want 1 <= min <= opt <= max", e.ONNX, p.Name, p.Min[d], p.Opt[d], p.Max[d])
			}
		}
	}
	return nil
}
