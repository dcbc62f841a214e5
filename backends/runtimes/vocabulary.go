package runtimes

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"syncsam-convert/backends/lint"
	"syncsam-convert/internal/onnxpb"
)

//go:embed vocabulary.txt
var vocabularyText string

// A form is one line of the vocabulary: an operator in a range of opsets, the types of its data, and its attributes with the words that
// they may be (none: any value).
type form struct {
	least, most int64
	types       []string
	attrs       map[string][]string
}

var vocabulary = func() map[string][]form {
	all := map[string][]form{}
	for line := range strings.Lines(vocabularyText) {
		f := strings.Fields(line)
		if len(f) != 4 || f[0] == "#" {
			continue
		}
		least, most, _ := strings.Cut(f[1], "-")
		entry := form{types: strings.Split(f[2], ","), attrs: map[string][]string{}}
		entry.least, _ = strconv.ParseInt(least, 10, 64)
		entry.most, _ = strconv.ParseInt(most, 10, 64)
		if f[3] != "-" {
			for _, a := range strings.Split(f[3], ",") {
				name, words, _ := strings.Cut(a, "=")
				entry.attrs[name] = nil
				if words != "" {
					entry.attrs[name] = strings.Split(words, "|")
				}
			}
		}
		all[f[0]] = append(all[f[0]], entry)
	}
	return all
}()

// at is the argument whose type an operator's line tells.
var at = map[string]int{"Where": 1}

// Leaves says where a node leaves the vocabulary, "" where it does not.
func Leaves(m *lint.Model, n *lint.Node) string {
	if d := n.GetDomain(); d != "" && d != "ai.onnx" {
		return fmt.Sprintf("domain %s", d)
	}
	forms, ok := vocabulary[n.GetOpType()]
	if !ok {
		return "the vocabulary has no such operator"
	}
	i := slices.IndexFunc(forms, func(f form) bool { return f.least <= m.Opset && m.Opset <= f.most })
	if i < 0 {
		return fmt.Sprintf("the vocabulary does not have it at opset %d", m.Opset)
	}
	if t := lint.TypeNames[m.Types[n.In(at[n.GetOpType()])]]; t != "" && !slices.Contains(forms[i].types, t) {
		return fmt.Sprintf("have %s, want one of %s", t, strings.Join(forms[i].types, ", "))
	}
	for _, a := range n.Attribute {
		words, ok := forms[i].attrs[a.GetName()]
		if !ok {
			return fmt.Sprintf("the vocabulary has no attribute %s at opset %d", a.GetName(), m.Opset)
		}
		if have := spelled(a); words != nil && !slices.Contains(words, have) {
			return fmt.Sprintf("%s: have %s, want one of %s", a.GetName(), have, strings.Join(words, ", "))
		}
	}
	return ""
}

// spelled is a word or a number as text.
func spelled(a *onnxpb.AttributeProto) string {
	if len(a.S) > 0 {
		return string(a.S)
	}
	return strconv.FormatInt(a.GetI(), 10)
}
