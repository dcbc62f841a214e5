// Package frontends turns checkpoints into modules: a table of model families, each recognised by its keys.
package frontends

import (
	"errors"
	"fmt"
	"strings"

	"syncsam-convert/frontends/blocks"
	"syncsam-convert/ir"
)

// A Family is one model architecture of any size.
type Family struct {
	Name    string                                      // what --family takes; a suffix such as "-34" may follow
	Match   func(w *blocks.Weights) bool                // recognises it by key names
	Build   func(w *blocks.Weights) (*ir.Module, error) // lowers it; asks w for every tensor it uses
	Ignored []string                                    // suffixes of keys that inference does not need
}

// families in the order of detection; the first that matches wins.
var families = []Family{syncSAM}

// Names lists the families that --family takes.
func Names() []string {
	var names []string
	for _, f := range families {
		names = append(names, f.Name)
	}
	return names
}

// ErrUnknownFamily says that no family's keys are in a checkpoint.
var ErrUnknownFamily = errors.New("unknown model family")

// Detect finds the family of a checkpoint; a name other than "" chooses it instead.
func Detect(src blocks.Source, name string) (*Family, error) {
	w := blocks.NewWeights(src)
	for i, f := range families {
		if f.Name == name || strings.HasPrefix(name, f.Name+"-") || name == "" && f.Match(w) {
			return &families[i], nil
		}
	}
	if name != "" {
		return nil, fmt.Errorf("%w: have %q, want one of %s", ErrUnknownFamily, name, strings.Join(Names(), ", "))
	}
	keys := src.Names()
	return nil, fmt.Errorf("%w: the %d keys (%s) fit none of %s", ErrUnknownFamily, len(keys), strings.Join(keys[:min(3, len(keys))], ", "), strings.Join(Names(), ", "))
}

// Load lowers a checkpoint to a module. Missing, mis-shaped and unexpected keys are one error that lists them all.
func Load(src blocks.Source, family string) (*ir.Module, error) {
	f, err := Detect(src, family)
	if err != nil {
		return nil, err
	}
	w := blocks.NewWeights(src)
	m, buildErr := f.Build(w)
	if err := w.Account(f.ignores); err != nil && (buildErr == nil || w.Noted()) {
		return nil, fmt.Errorf("family %s: %w", f.Name, err)
	}
	if buildErr != nil {
		return nil, fmt.Errorf("family %s: %w", f.Name, buildErr)
	}
	return m, ir.CheckModule(m)
}

func (f *Family) ignores(name string) bool {
	for _, suffix := range f.Ignored {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}
