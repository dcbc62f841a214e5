// Package portable knows the operators, forms and attributes that the ONNX backend emits, and which runtimes read which forms wrongly: it
// holds files, ours and anyone's, against both, and against what TensorRT takes.
package portable

import (
	_ "embed"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"syncsam-convert/backends/tensorrt"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/internal/plain"
)

// A Finding is one place that a target refuses or reads wrongly, or takes at a price.
type Finding struct {
	File     string `json:"file,omitempty"` // of a folder
	Target   string `json:"target"`
	Release  string `json:"release,omitempty"` // of TensorRT, or the version of the runtime that was tried
	Rule     string `json:"rule"`
	Severity string `json:"severity"` // "error": refused, or wrong results; "warning": slower, less exact, or nobody tried
	Node     string `json:"node"`     // its name, or #index; "" for the whole model
	Op       string `json:"op,omitempty"`
	Problem  string `json:"problem"`
	Way      string `json:"way_out"`
}

// Vocabulary is the target of what the ONNX backend emits, which the matrix in docs/runtimes.md covers.
const Vocabulary = "onnx"

// Targets lists what files can be held against: the vocabulary, runtimes, and TensorRT (tensorrt-RELEASE is one release of it).
func Targets() []string {
	out := []string{Vocabulary}
	for _, r := range misread {
		for _, target := range r.targets {
			if !slices.Contains(out, target) {
				out = append(out, target)
			}
		}
	}
	return append(out, allTensorRT)
}

// allTensorRT stands for every release.
const (
	allTensorRT = "tensorrt"
	tensorRT    = allTensorRT + "-"
)

// spelled has the releases in place of tensorrt.
func spelled(targets []string) (out []string) {
	for _, t := range targets {
		if t != allTensorRT {
			out = append(out, t)
			continue
		}
		for _, r := range tensorrt.Releases {
			out = append(out, TensorRT(r.Name))
		}
	}
	return out
}

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
		m := newModel(f)
		for _, target := range spelled(targets) {
			found, err := m.hold(f, target)
			if err != nil {
				f.Close()
				return nil, err
			}
			if file != path {
				for i := range found {
					found[i].File = filepath.Base(file)
				}
			}
			out = append(out, found...)
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// hold gives the findings of one target in the file's order.
func (m *model) hold(f *onnxpb.File, target string) ([]Finding, error) {
	if name, ok := strings.CutPrefix(target, tensorRT); ok {
		if i := slices.IndexFunc(tensorrt.Releases, func(r tensorrt.Release) bool { return r.Name == name }); i >= 0 {
			var out []Finding
			for _, x := range tensorrt.Lint(f, tensorrt.Releases[i]) {
				out = append(out, Finding{"", target, x.Release, x.Rule, x.Severity, x.Node, x.Op, x.Problem, x.Way})
			}
			return out, nil
		}
	}
	if !slices.Contains(Targets(), target) {
		return nil, fmt.Errorf("--target: have %q, want one of %s", target, strings.Join(Targets(), ", "))
	}
	var out []Finding
	if target == Vocabulary {
		for _, n := range m.Nodes {
			if problem := m.unknown(n); problem != "" {
				out = append(out, Finding{"", target, "", "vocabulary", "warning", n.Label, n.GetOpType(), problem, "compare the runtime that you need with ONNX Runtime on this file"})
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
				out = append(out, Finding{"", target, r.release(target), r.name, r.severity(), "", "", problem, r.way})
			}
			continue
		}
		for _, n := range m.Nodes {
			if r.form(m, n) {
				out = append(out, Finding{"", target, r.release(target), r.name, r.severity(), n.Label, n.GetOpType(), r.problem, r.way})
			}
		}
	}
	return out, nil
}

// Print writes findings for a person.
func Print(w io.Writer, path string, found []Finding, targets []string) {
	for _, f := range found {
		where := f.Node
		if f.File != "" {
			where = strings.TrimSuffix(f.File+": "+f.Node, ": ")
		}
		plain.Fprintf(w, "%s: %s: %s: %s (%s): %s; %s\n", title(f.Target), f.Severity, where, f.Op, f.Rule, f.Problem, f.Way)
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
	if target == allTensorRT {
		return "TensorRT"
	}
	return target
}

// vocabulary.txt has a line for each operator that the backend emits: its name, the opsets of the files, the attributes that are ever set,
// each with its opsets where these are fewer (axes:17-17) and, of words, all that are written (mode=linear|nearest).
//
//go:embed vocabulary.txt
var vocabularyText string

// A Word is what the backend emits of one operator.
type Word struct {
	First, Last int64 // opsets
	Attributes  map[string]*Word
	Values      []string // of an attribute that is a word
}

// See takes one opset, and of an attribute a value, into a word.
func (w *Word) See(opset int64, value string) {
	if w.First == 0 {
		w.First, w.Last = opset, opset
	}
	w.First, w.Last = min(w.First, opset), max(w.Last, opset)
	if value != "" && !slices.Contains(w.Values, value) {
		w.Values = append(w.Values, value)
	}
}

// Spell is the line of an operator in vocabulary.txt.
func (w *Word) Spell(op string) string {
	line := fmt.Sprintf("%s %d-%d", op, w.First, w.Last)
	for _, name := range slices.Sorted(maps.Keys(w.Attributes)) {
		a := w.Attributes[name]
		line += " " + name
		if a.First != w.First || a.Last != w.Last {
			line += fmt.Sprintf(":%d-%d", a.First, a.Last)
		}
		if len(a.Values) > 0 {
			line += "=" + strings.Join(slices.Sorted(slices.Values(a.Values)), "|")
		}
	}
	return line
}

// parsed reads a line, as Spell writes it.
func parsed(line string) (op string, w *Word, err error) {
	w = &Word{Attributes: map[string]*Word{}}
	fields := strings.Fields(line)
	if _, err := fmt.Sscanf(fields[1], "%d-%d", &w.First, &w.Last); err != nil {
		return "", nil, err
	}
	for _, field := range fields[2:] {
		a := &Word{First: w.First, Last: w.Last}
		field, values, ok := strings.Cut(field, "=")
		if ok {
			a.Values = strings.Split(values, "|")
		}
		name, opsets, ok := strings.Cut(field, ":")
		if ok {
			if _, err := fmt.Sscanf(opsets, "%d-%d", &a.First, &a.Last); err != nil {
				return "", nil, err
			}
		}
		w.Attributes[name] = a
	}
	return fields[0], w, nil
}

var vocabulary = func() map[string]*Word {
	out := map[string]*Word{}
	for line := range strings.Lines(vocabularyText) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		op, w, err := parsed(line)
		if err != nil {
			panic("BUG: vocabulary.txt: " + line)
		}
		out[op] = w
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
	case m.Opset < w.First || m.Opset > w.Last:
		return fmt.Sprintf("opset %d: tried from %d to %d", m.Opset, w.First, w.Last)
	}
	for _, x := range n.Attribute {
		a := w.Attributes[x.GetName()]
		switch {
		case a == nil:
			return fmt.Sprintf("attribute %s is not among those that are tried in every runtime", x.GetName())
		case m.Opset < a.First || m.Opset > a.Last:
			return fmt.Sprintf("attribute %s in opset %d: tried from %d to %d", x.GetName(), m.Opset, a.First, a.Last)
		case x.GetType() == onnxpb.AttributeProto_STRING && !slices.Contains(a.Values, string(x.S)):
			return fmt.Sprintf("attribute %s: have %s, tried with %s", x.GetName(), x.S, strings.Join(a.Values, ", "))
		}
	}
	return ""
}

// escaped is a folder's name for filepath.Glob.
func escaped(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}
