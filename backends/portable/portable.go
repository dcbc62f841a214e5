// Package portable knows the operators, forms and attributes that the ONNX backend emits, and which runtimes read which forms wrongly: it
// holds files, ours and anyone's, against both, and against what TensorRT takes.
package portable

import (
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"syncsam-convert/backends/tensorrt"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/internal/plain"
)

// A Finding is one place that a target refuses or reads wrongly, or takes at a price.
type Finding struct {
	Target   string `json:"target"`
	Release  string `json:"release,omitempty"` // of TensorRT
	Rule     string `json:"rule"`
	Severity string `json:"severity"` // "error": refused, or wrong results; "warning": slower, less exact, or nobody tried
	Node     string `json:"node"`     // its name, or #index; "" for the whole model
	Op       string `json:"op,omitempty"`
	Problem  string `json:"problem"`
	Way      string `json:"way_out"`
}

// Vocabulary is the target of what the ONNX backend emits, which the matrix in docs/runtimes.md covers.
const Vocabulary = "onnx"

// Targets lists what files can be held against: the vocabulary, runtimes, and TensorRT's releases.
func Targets() []string {
	out := []string{Vocabulary}
	for _, r := range misread {
		for _, target := range r.targets {
			if !slices.Contains(out, target) {
				out = append(out, target)
			}
		}
	}
	for _, r := range tensorrt.Releases {
		out = append(out, TensorRT(r.Name))
	}
	return out
}

const tensorRT = "tensorrt-"

// TensorRT is the target of a release.
func TensorRT(release string) string { return tensorRT + release }

// Lint holds an ONNX file, or those of a folder, against targets.
func Lint(path string, targets []string) ([]Finding, error) {
	files := []string{path}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		if files, err = filepath.Glob(filepath.Join(escaped(path), "*.onnx")); err != nil || len(files) == 0 {
			return nil, fmt.Errorf("%s: it has no .onnx file", path)
		}
	}
	out := []Finding{}
	for _, file := range files {
		f, err := onnxpb.Open(file)
		if err != nil {
			return nil, err
		}
		for _, target := range targets {
			found, err := hold(f, target)
			if err != nil {
				f.Close()
				return nil, err
			}
			out = append(out, found...)
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// hold gives the findings of one target in the model's order.
func hold(f *onnxpb.File, target string) ([]Finding, error) {
	if name, ok := strings.CutPrefix(target, tensorRT); ok {
		if i := slices.IndexFunc(tensorrt.Releases, func(r tensorrt.Release) bool { return r.Name == name }); i >= 0 {
			var out []Finding
			for _, x := range tensorrt.Lint(f, tensorrt.Releases[i]) {
				out = append(out, Finding{target, x.Release, x.Rule, x.Severity, x.Node, x.Op, x.Problem, x.Way})
			}
			return out, nil
		}
	}
	if !slices.Contains(Targets(), target) {
		return nil, fmt.Errorf("--target: have %q, want one of %s", target, strings.Join(Targets(), ", "))
	}
	m := newModel(f)
	var out []Finding
	if target == Vocabulary {
		for _, n := range m.nodes {
			if problem := m.unknown(n); problem != "" {
				out = append(out, Finding{target, "", "vocabulary", "warning", n.label, n.GetOpType(), problem, "compare the runtime that you need with ONNX Runtime on this file"})
			}
		}
		return out, nil
	}
	for _, r := range misread {
		if !slices.Contains(r.targets, target) {
			continue
		}
		if r.model != nil {
			if problem := r.model(m); problem != "" {
				out = append(out, Finding{target, "", r.name, "error", "", "", problem, r.way})
			}
			continue
		}
		for _, n := range m.nodes {
			if r.form(m, n) {
				out = append(out, Finding{target, "", r.name, "error", n.label, n.GetOpType(), r.problem, r.way})
			}
		}
	}
	return out, nil
}

// Print writes findings for a person.
func Print(w io.Writer, path string, found []Finding, targets []string) {
	for _, f := range found {
		plain.Fprintf(w, "%s: %s: %s: %s (%s): %s; %s\n", title(f.Target), f.Severity, f.Node, f.Op, f.Rule, f.Problem, f.Way)
	}
	names := make([]string, len(targets))
	for i, t := range targets {
		if names[i] = title(t); i > 0 && strings.HasPrefix(t, tensorRT) && strings.HasPrefix(targets[i-1], tensorRT) {
			names[i] = strings.TrimPrefix(t, tensorRT)
		}
	}
	plain.Fprintf(w, "%s: %d findings for %s\n", path, len(found), strings.Join(names, ", "))
}

// Errors counts what a target refuses or reads wrongly.
func Errors(found []Finding) (n int) {
	for _, f := range found {
		if f.Severity == "error" {
			n++
		}
	}
	return n
}

func title(target string) string {
	if name, ok := strings.CutPrefix(target, tensorRT); ok {
		return "TensorRT " + name
	}
	return target
}

// vocabulary.txt has a line for each operator that the backend emits: its name, the opsets of the files, the attributes that are ever set.
//
//go:embed vocabulary.txt
var vocabularyText string

type word struct {
	first, last int64
	attributes  []string
}

var vocabulary = func() map[string]word {
	out := map[string]word{}
	for line := range strings.Lines(vocabularyText) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		from, to, _ := strings.Cut(fields[1], "-")
		first, err := strconv.ParseInt(from, 10, 64)
		last, err2 := strconv.ParseInt(to, 10, 64)
		if err != nil || err2 != nil {
			panic("BUG: vocabulary.txt: " + line)
		}
		out[fields[0]] = word{first, last, fields[2:]}
	}
	return out
}()

// unknown says how a node leaves the vocabulary, "" where it does not.
func (m *model) unknown(n *node) string {
	w, ok := vocabulary[n.GetOpType()]
	switch {
	case n.GetDomain() != "" && n.GetDomain() != "ai.onnx":
		return fmt.Sprintf("domain %q", n.GetDomain())
	case !ok:
		return "the operator is not among those that are tried in every runtime"
	case m.opset < w.first || m.opset > w.last:
		return fmt.Sprintf("opset %d: tried from %d to %d", m.opset, w.first, w.last)
	}
	for _, a := range n.Attribute {
		if !slices.Contains(w.attributes, a.GetName()) {
			return fmt.Sprintf("attribute %s is not among those that are tried in every runtime", a.GetName())
		}
	}
	return ""
}

// escaped is a folder's name for filepath.Glob.
func escaped(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}
