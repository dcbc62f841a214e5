package tensorrt

import (
	"slices"

	"syncsam-convert/backends/lint"
	"syncsam-convert/internal/onnxpb"
)

// Lint holds a model against a release's rules; findings in the model's order.
func Lint(f *onnxpb.File, r Release) []lint.Finding {
	m := lint.NewModel(f)
	out := []lint.Finding{}
	add := func(rule rule, n *lint.Node, problem string) {
		if problem == "" {
			return
		}
		found := lint.Finding{Target: "tensorrt", Release: r.Name, Rule: rule.Name, Severity: rule.Severity, Problem: problem, Way: rule.Way}
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
