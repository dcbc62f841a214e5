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
	Unused  []string                                    // prefixes of modules that the system saves and does not run
	Refuse  string                                      // why a recognised family is not supported
	Assumed string                                      // what was assumed when keys alone chose it, for the user
}

// families in the order of detection; the first that matches wins.
var families = []Family{
	tinyViT, hqDecoder, scribblePromptUNet, imisNet, syncSAM, samHQ, samMed2D, medSAM, scribblePromptSAM, ftSAM, sam,
}

// tinyViT and hqDecoder are neighbours of supported families, told apart so that nobody gets a confusing list of keys.
var (
	tinyViT = Family{
		Name:   "sam-hq-tiny",
		Match:  func(w *blocks.Weights) bool { return w.Has("image_encoder.patch_embed.seq.0.c.weight") },
		Refuse: "SAM with a TinyViT encoder (SAM-HQ's vit_tiny, MobileSAM) is not supported; ViT-B, -L and -H are",
	}
	hqDecoder = Family{
		Name:   "sam-hq-decoder",
		Match:  func(w *blocks.Weights) bool { return w.Has("hf_token.weight") },
		Refuse: "these are the weights of SAM-HQ's decoder alone; build the whole model's checkpoint",
	}
)

// Names lists the families that --family takes.
func Names() []string {
	var names []string
	for _, f := range families {
		if f.Refuse == "" {
			names = append(names, f.Name)
		}
	}
	return names
}

// ErrUnknownFamily says that no family's keys are in a checkpoint.
var ErrUnknownFamily = errors.New("unknown model family")

// Detect finds the family of a checkpoint; a name other than "" chooses it instead.
func Detect(src blocks.Source, name string) (*Family, error) {
	w := blocks.NewWeights(src)
	for i, f := range families {
		if name == "" && f.Match(w) || f.Name == name {
			return &families[i], nil
		}
	}
	for i, f := range families { // sam-vit-b, syncsam-34: the size is in the keys
		if strings.HasPrefix(name, f.Name+"-") {
			return &families[i], nil
		}
	}
	if name != "" {
		return nil, fmt.Errorf("%w: have %q, want one of %s", ErrUnknownFamily, name, strings.Join(Names(), ", "))
	}
	keys := src.Names()
	return nil, fmt.Errorf("%w: the %d keys (%s) fit none of %s", ErrUnknownFamily, len(keys), strings.Join(keys[:min(3, len(keys))], ", "), strings.Join(Names(), ", "))
}

// Options choose what a checkpoint does not tell.
type Options struct {
	Family    string // "": by its keys
	ImageSize int64  // S; 0: the checkpoint's own
}

// Load lowers a checkpoint to a module. Missing, mis-shaped and unexpected keys are one error that lists them all. The line it
// gives says what was assumed, "" for nothing.
func Load(src blocks.Source, o Options) (*ir.Module, string, error) {
	f, err := Detect(src, o.Family)
	if err != nil {
		return nil, "", err
	}
	if f.Refuse != "" {
		return nil, "", fmt.Errorf("%w: %s", ErrUnknownFamily, f.Refuse)
	}
	w := blocks.NewWeights(src)
	w.ImageSize = o.ImageSize
	m, buildErr := f.Build(w)
	if err := w.Account(f.ignores); err != nil && (buildErr == nil || w.Noted()) {
		return nil, "", fmt.Errorf("family %s: %w", f.Name, err)
	}
	if buildErr != nil {
		return nil, "", fmt.Errorf("family %s: %w", f.Name, buildErr)
	}
	assumed := f.Assumed
	if o.Family != "" {
		assumed = ""
	}
	for _, g := range m.Graphs {
		ir.Identify(g)
	}
	return m, assumed, ir.CheckModule(m)
}

func (f *Family) ignores(name string) bool {
	for _, suffix := range f.Ignored {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	for _, prefix := range f.Unused {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
