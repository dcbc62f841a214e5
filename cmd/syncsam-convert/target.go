package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"syncsam-convert/artifact"
	"syncsam-convert/backends/tensorrt"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/ir"
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

// describePlan adds to a folder of models for TensorRT what builds plans of them; releases that refuse a model are left out.
func (f *buildFlags) describePlan(dir string, m *ir.Module, man *artifact.Manifest) error {
	spans := tensorrt.Spans()
	if f.spans != "" {
		if err := tensorrt.SetSpans(spans, f.spans); err != nil {
			return err
		}
	}
	hashes := map[string]string{}
	for _, file := range man.Files {
		hashes[file.Name] = file.SHA256
	}
	var suits []string
	var refused *tensorrt.Finding
	for _, r := range tensorrt.Releases {
		found, err := lintAll(dir, m, r)
		if err != nil {
			return err
		}
		if found == nil {
			suits = append(suits, r.Name)
		} else {
			refused = found
		}
	}
	if len(suits) == 0 {
		return fmt.Errorf("no release of TensorRT takes the model: %s: node %s: %s (%s)", refused.Release, refused.Node, refused.Problem, refused.Rule)
	}
	recipe, err := tensorrt.NewRecipe(m, f.precision, spans, suits, hashes)
	if err != nil {
		return err
	}
	text, err := recipe.JSON()
	if err != nil {
		return err
	}
	for _, out := range []struct {
		name string
		text []byte
		mode os.FileMode
	}{{tensorrt.RecipeName, text, 0o644}, {tensorrt.ScriptName, []byte(recipe.Script()), 0o755}} {
		if err := os.WriteFile(filepath.Join(dir, out.name), out.text, out.mode); err != nil {
			return err
		}
		file, err := artifact.Describe(dir, out.name)
		if err != nil {
			return err
		}
		man.Files = append(man.Files, file)
	}
	return nil
}

// lintAll gives the first finding for which a release refuses one of a module's files, nil for none.
func lintAll(dir string, m *ir.Module, r tensorrt.Release) (*tensorrt.Finding, error) {
	for _, g := range m.Graphs {
		file, err := onnxpb.Open(filepath.Join(dir, g.Name+".onnx"))
		if err != nil {
			return nil, err
		}
		findings := tensorrt.Lint(file, r)
		if err := file.Close(); err != nil {
			return nil, err
		}
		for _, found := range findings {
			if found.Severity == tensorrt.Refused {
				return &found, nil
			}
		}
	}
	return nil, nil
}
