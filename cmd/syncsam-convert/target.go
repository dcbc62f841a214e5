package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"syncsam-convert/internal/artifact"
	"syncsam-convert/passes"
)

// The targets of a build.
const (
	targetONNX     = "onnx"
	targetTensorRT = "tensorrt"
)

// targets says how a target wants integers: their spelling, and what is rewritten for them before calibration.
var targets = map[string]struct {
	spelling passes.Spelling
	prepare  []passes.Pass
}{
	targetONNX:     {passes.ONNXRuntime, passes.Prepare},
	targetTensorRT: {passes.TensorRT, nil}, // upsampling stays what it is, in float16
}

// planFolder is where the TensorRT target's files are in an artifact; it is an artifact itself, which every engine can run.
const planFolder = "plan"

// needsPeaks reports whether calibration must watch every value's amplitude: float16 will be part of the artifact.
func (f *buildFlags) needsPeaks() bool { return f.peaks || f.precision == "fp16" }

// addPlan compiles the checkpoint again, in TensorRT's dialect, with the quantization plan that the artifact in dir has.
func (f *buildFlags) addPlan(cmd *cobra.Command, path, dir string, man *artifact.Manifest, opts passes.Options, bar *steps) error {
	t := *f
	t.target, t.given, t.planOut = targetTensorRT, f.made, ""
	folder := filepath.Join(dir, planFolder)
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	m, err := t.compile(cmd, path, folder, opts, bar)
	if err != nil {
		return err
	}
	if err := m.Write(folder); err != nil {
		return err
	}
	if t.golden != "" {
		if err := t.prove(cmd, folder, m); err != nil {
			return err
		}
	}
	pin, err := artifact.Describe(dir, filepath.Join(planFolder, artifact.ManifestName))
	if err != nil {
		return err
	}
	man.Target, man.Files = targetTensorRT, append(man.Files, pin)
	return man.Write(dir)
}
