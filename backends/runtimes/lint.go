// Package runtimes knows what runtimes and converters make of ONNX files: it lints a file for them, and holds the vocabulary that our own keep to.
package runtimes

import (
	"fmt"
	"slices"
	"strings"

	"syncsam-convert/backends/lint"
	"syncsam-convert/backends/tensorrt"
	"syncsam-convert/internal/onnxpb"
)

// Portable is the target of files for every runtime: what OpenVINO, OpenCV, ONNX Runtime or the reference evaluator reads wrongly, and
// what leaves the vocabulary.
const Portable = "onnx"

// TensorRT is the target whose rules are package tensorrt's, by release.
const TensorRT = "tensorrt"

// Targets are what a file can be linted for.
func Targets() []string {
	out := []string{Portable, TensorRT}
	for _, r := range rules {
		if !slices.Contains(out, r.Target) {
			out = append(out, r.Target)
		}
	}
	return out
}

// A Report is what was found for a target.
type Report struct {
	Target   string // with releases, where findings are by release
	Findings []lint.Finding
}

// Refused is how many findings are errors: the target refuses the file there, or its results are wrong.
func (r Report) Refused() int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == lint.Refused {
			n++
		}
	}
	return n
}

// Lint holds a file against a target's rules. Releases are for TensorRT alone; none are all.
func Lint(f *onnxpb.File, target string, releases []string) (Report, error) {
	report := Report{Target: target, Findings: []lint.Finding{}}
	switch {
	case !slices.Contains(Targets(), target):
		return report, fmt.Errorf("--target: have %q, want one of %s", target, strings.Join(Targets(), ", "))
	case target != TensorRT && len(releases) > 0:
		return report, fmt.Errorf("--release: only with --target %s", TensorRT)
	case target != TensorRT:
		report.Findings = check(lint.NewModel(f), target)
		return report, nil
	}
	var known []string
	for _, r := range tensorrt.Releases {
		known = append(known, r.Name)
	}
	if len(releases) == 0 {
		releases = known
	}
	for _, name := range releases {
		i := slices.Index(known, name)
		if i < 0 {
			return report, fmt.Errorf("--release: have %q, want one of %s", name, strings.Join(known, ", "))
		}
		report.Findings = append(report.Findings, tensorrt.Lint(f, tensorrt.Releases[i])...)
	}
	report.Target = "TensorRT " + strings.Join(releases, ", ")
	return report, nil
}

// check holds a model against the table of rules, and for Portable against the vocabulary; findings of the whole model first.
func check(m *lint.Model, target string) []lint.Finding {
	out := []lint.Finding{}
	var asked []rule
	for _, r := range rules {
		if r.Target == target || target == Portable && r.Portable {
			asked = append(asked, r)
		}
	}
	add := func(r rule, node, op, problem string) {
		if problem != "" {
			out = append(out, lint.Finding{Target: r.Target, Release: r.Releases, Rule: r.Name, Severity: r.Severity, Node: node, Op: op, Problem: problem, Way: r.Way})
		}
	}
	for _, r := range asked {
		if r.model != nil {
			add(r, "", "", r.model(m))
		}
	}
	for _, n := range m.Nodes {
		for _, r := range asked {
			if r.node != nil {
				add(r, n.Label, n.GetOpType(), r.node(m, n))
			}
		}
		if target == Portable {
			add(outside, n.Label, n.GetOpType(), Leaves(m, n))
		}
	}
	return out
}
