package tensorrt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"syncsam-convert/internal/trthost"
	"syncsam-convert/ir"
)

// The files of a plan folder beside its ONNX models.
const (
	RecipeName = "recipe.json"
	ScriptName = "build-plan.sh"
	PlanSuffix = ".plan"
	// TimingCache is kept between builds.
	TimingCache = "timing.cache"
)

// A Recipe says how a plan folder's models become plans: everything but the GPU and TensorRT.
type Recipe struct {
	Precision         string   `json:"precision"`
	TensorRT          []Series `json:"tensorrt"`
	Device            Device   `json:"device"`
	WorkspaceMiB      int      `json:"workspace_mib"`
	OptimizationLevel int      `json:"optimization_level"` // of the builder, 0 to 5
	Compatibility     string   `json:"hardware_compatibility"`
	Engines           []Engine `json:"engines"`
}

// A Series is a release that takes the models. Its builder flags are no part of a recipe: flagsFor has them.
type Series struct {
	Release string `json:"release"`
	Note    string `json:"note,omitempty"`
}

// series are the releases that plans are built by, with trtexec's flags per precision. A recipe may come from a stranger: it holds values,
// which are checked, and no flag reaches the command line but from here.
var series = []struct {
	Series
	flags map[string][]string
}{
	{Series{"8.6", "weakly typed: the builder may compute in half precision what the model has in float32"},
		map[string][]string{"fp32": {}, "fp16": {"--fp16"}, "int8": {"--fp16", "--int8"}}},
	{Series{"10", ""}, map[string][]string{"fp32": {"--stronglyTyped"}, "fp16": {"--stronglyTyped"}, "int8": {"--stronglyTyped"}}},
	{Series{"11", "always strongly typed"}, map[string][]string{"fp32": {}, "fp16": {}, "int8": {}}},
}

// An Engine is one model, and the plan that it becomes.
type Engine struct {
	ONNX     string    `json:"onnx"`
	SHA256   string    `json:"sha256"`
	Plan     string    `json:"plan"`
	Inputs   []Profile `json:"inputs"`   // of the one optimization profile
	Estimate Estimate  `json:"estimate"` // with optimal sizes; a roofline, not a measurement
}

// A Profile is one input's shapes.
type Profile struct {
	Name string  `json:"name"`
	Min  []int64 `json:"min"`
	Opt  []int64 `json:"opt"`
	Max  []int64 `json:"max"`
}

// A Span is what a dynamic dimension may be, and what the plan is tuned for.
type Span struct{ Min, Opt, Max int64 }

// Spans are the default sizes: N images, B prompts, P points (a box's corners are two; a click and its padding point are, too).
func Spans() map[string]Span {
	return map[string]Span{"N": {1, 1, 4}, "B": {1, 1, 32}, "P": {2, 2, 16}, "T": {1, 77, 77}}
}

// SetSpans changes spans by a text such as "N=1:1:8,B=1:4:64"; a single number is all three.
func SetSpans(spans map[string]Span, text string) error {
	for _, part := range strings.Split(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		if _, ok := spans[name]; !ok {
			return fmt.Errorf("have %q, want NAME=MIN:OPT:MAX with NAME one of B, N, P, T", part)
		}
		var sizes []int64
		for _, text := range strings.Split(value, ":") {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return fmt.Errorf("have %q, want NAME=MIN:OPT:MAX", part)
			}
			sizes = append(sizes, n)
		}
		if len(sizes) == 1 {
			sizes = slices.Repeat(sizes, 3)
		}
		if len(sizes) != 3 {
			return fmt.Errorf("have %q, want NAME=MIN:OPT:MAX", part)
		}
		s := Span{sizes[0], sizes[1], sizes[2]}
		if s.Min < 1 || s.Opt < s.Min || s.Max < s.Opt {
			return fmt.Errorf("%s: have %d:%d:%d, want 1 <= MIN <= OPT <= MAX", name, s.Min, s.Opt, s.Max)
		}
		spans[name] = s
	}
	return nil
}

// NewRecipe makes the recipe of a module compiled for TensorRT, for the releases that take its files; hashes has the models' SHA-256 by
// file name.
func NewRecipe(m *ir.Module, precision string, spans map[string]Span, releases []string, hashes map[string]string) (*Recipe, error) {
	r := &Recipe{Precision: precision, Device: A100, WorkspaceMiB: 4096, OptimizationLevel: 4, Compatibility: "none"}
	for _, known := range series {
		if slices.Contains(releases, known.Release) {
			r.TensorRT = append(r.TensorRT, known.Series)
		}
	}
	for _, g := range m.Graphs {
		e := Engine{ONNX: g.Name + ".onnx", SHA256: hashes[g.Name+".onnx"], Plan: g.Name + PlanSuffix}
		sizes := map[string]int64{}
		for _, v := range g.Inputs() {
			p := Profile{Name: v.Name}
			for _, d := range v.Type.Shape {
				s := Span{d.B, d.B, d.B}
				if !d.IsStatic() {
					span, ok := spans[d.Sym]
					if d.Sym == ir.MaskBatch { // one mask for all prompts, or one for each
						span, ok = spans["B"]
						span.Min = 1
					}
					if !ok {
						return nil, fmt.Errorf("graph %s: input %s: no sizes for dimension %s", g.Name, v.Name, d)
					}
					sizes[d.Sym] = span.Opt
					s = Span{d.A*span.Min + d.B, d.A*span.Opt + d.B, d.A*span.Max + d.B}
				}
				p.Min, p.Opt, p.Max = append(p.Min, s.Min), append(p.Opt, s.Opt), append(p.Max, s.Max)
			}
			e.Inputs = append(e.Inputs, p)
		}
		var err error
		if e.Estimate, err = Roofline(g, sizes, r.Device); err != nil {
			return nil, fmt.Errorf("graph %s: %w", g.Name, err)
		}
		r.Engines = append(r.Engines, e)
	}
	return r, r.check()
}

// JSON is the recipe's file.
func (r *Recipe) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", " ")
	err := e.Encode(r)
	return b.Bytes(), err
}

// dynamic reports whether an engine's profile has more than one shape.
func (e Engine) dynamic() bool {
	return slices.ContainsFunc(e.Inputs, func(p Profile) bool { return !slices.Equal(p.Min, p.Max) })
}

// Arguments are trtexec's for one engine and the release whose flags are given; paths are relative to the plan folder.
func (r *Recipe) Arguments(e Engine, flags []string) []string {
	args := []string{"--onnx=" + e.ONNX, "--saveEngine=" + e.Plan, "--skipInference", fmt.Sprintf("--memPoolSize=workspace:%d", r.WorkspaceMiB),
		"--timingCacheFile=" + TimingCache, fmt.Sprintf("--builderOptimizationLevel=%d", r.OptimizationLevel)}
	if e.dynamic() {
		for _, k := range []struct {
			flag string
			of   func(Profile) []int64
		}{{"min", func(p Profile) []int64 { return p.Min }}, {"opt", func(p Profile) []int64 { return p.Opt }}, {"max", func(p Profile) []int64 { return p.Max }}} {
			var shapes []string
			for _, p := range e.Inputs {
				if !slices.Equal(p.Min, p.Max) {
					shapes = append(shapes, p.Name+":"+trthost.Shape(k.of(p)))
				}
			}
			args = append(args, "--"+k.flag+"Shapes="+strings.Join(shapes, ","))
		}
	}
	return append(args, flags...)
}

// FlagsFor gives a release's flags for the recipe's precision; version is that of libnvinfer, "8.6.1".
func (r *Recipe) FlagsFor(version string) ([]string, error) {
	for _, s := range r.TensorRT {
		if version == s.Release || strings.HasPrefix(version, s.Release+".") {
			return flagsFor(s.Release, r.Precision), nil
		}
	}
	return nil, fmt.Errorf("TensorRT %s: the recipe is not for it", version)
}

// flagsFor gives the flags of a release that check has seen.
func flagsFor(release, precision string) []string {
	for _, known := range series {
		if known.Release == release {
			return known.flags[precision]
		}
	}
	return nil
}

// Script is a shell program that builds every plan: trtexec's exact calls, nothing else needed on the host.
func (r *Recipe) Script() string {
	var b strings.Builder
	b.WriteString(`#!/bin/sh
# Builds this folder's plans on a machine with TensorRT and the GPU that they are for. Needs trtexec: in PATH, or named by TRTEXEC.
# TENSORRT: the series (8.6, 10 or 11), where trtexec does not say.
set -eu
cd "$(dirname "$0")"
trtexec=${TRTEXEC:-trtexec}
command -v "$trtexec" >/dev/null || { echo "build-plan.sh: $trtexec: not found; it comes with TensorRT" >&2; exit 2; }
if [ -z "${TENSORRT:-}" ]; then
  case "$("$trtexec" --help 2>&1 | sed -n 's/.*\[TensorRT v\([0-9]*\)\].*/\1/p' | head -n 1)" in
    86??) TENSORRT=8.6 ;;
    10????) TENSORRT=10 ;;
    11????) TENSORRT=11 ;;
    *) echo "build-plan.sh: $trtexec does not say its version; set TENSORRT to 8.6, 10 or 11" >&2; exit 2 ;;
  esac
fi
case "$TENSORRT" in
`)
	for _, s := range r.TensorRT {
		fmt.Fprintf(&b, "  %s) flags=%q ;;\n", s.Release, strings.Join(flagsFor(s.Release, r.Precision), " "))
	}
	b.WriteString("  *) echo \"build-plan.sh: TENSORRT=$TENSORRT: want 8.6, 10 or 11\" >&2; exit 2 ;;\nesac\n")
	for _, e := range r.Engines {
		fmt.Fprintf(&b, "\"$trtexec\"")
		for _, a := range r.Arguments(e, nil) {
			fmt.Fprintf(&b, " \\\n  %s", a)
		}
		b.WriteString(" \\\n  $flags\n")
	}
	return b.String()
}
