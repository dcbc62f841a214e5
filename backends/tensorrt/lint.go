package tensorrt

import (
	"slices"

	"syncsam-convert/internal/onnxgraph"
	"syncsam-convert/internal/onnxpb"
)

// A Finding is one place that a release of TensorRT refuses, or takes at a price.
type Finding struct {
	Release  string `json:"release"`
	Rule     string `json:"rule"`
	Severity string `json:"severity"` // "error": refused, or wrong results; "warning": slower, or less exact
	Node     string `json:"node"`     // its name, or #index; "" for the whole model
	Op       string `json:"op,omitempty"`
	Problem  string `json:"problem"`
	Way      string `json:"way_out"`
}

// Lint holds a model against a release's rules; findings in the model's order.
func Lint(f *onnxpb.File, r Release) []Finding {
	m := &model{onnxgraph.New(f)}
	out := []Finding{}
	add := func(rule rule, n *node, problem string) {
		if problem == "" {
			return
		}
		found := Finding{Release: r.Name, Rule: rule.Name, Severity: rule.Severity, Problem: problem, Way: rule.Way}
		if n != nil {
			found.Node, found.Op = n.Label, n.GetOpType()
		}
		out = append(out, found)
	}
	for _, rule := range rules {
		if len(rule.Releases) > 0 && !slices.Contains(rule.Releases, r.Name) {
			continue
		}
		if rule.model != nil {
			for _, problem := range rule.model(m, r) {
				add(rule, nil, problem)
			}
		}
	}
	for _, n := range m.Nodes {
		for _, rule := range rules {
			if rule.node != nil && (len(rule.Releases) == 0 || slices.Contains(rule.Releases, r.Name)) {
				add(rule, n, rule.node(m, n, r))
			}
		}
	}
	return out
}

// model is the file that rules look at.
type model struct{ *onnxgraph.Model }

type node = onnxgraph.Node
