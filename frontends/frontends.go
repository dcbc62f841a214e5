// Package frontends turns checkpoints into modules: a table of model families, each recognised by its keys.
package frontends

import (
	"errors"
	"fmt"
	"slices"
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
	tinyHQ, liteMedSAM, mobileSAM, hqDecoder, sam2, sam3, repViT, transformersHQ, transformersVision, scribblePromptUNet, imisNet, syncSAM, samHQ, medicalSAMAdapter, samMed2D, medSAM, scribblePromptSAM, ftSAM, samed, sam,
}

// tinyHQ and hqDecoder are neighbours of supported families, told apart so that nobody gets a confusing list of keys.
var (
	tinyHQ = Family{
		Name:   "sam-hq-tiny",
		Match:  func(w *blocks.Weights) bool { return tinyViT(w) && w.Has("mask_decoder.hf_token.weight") },
		Refuse: "SAM-HQ with a TinyViT encoder (its vit_tiny) is not supported; ViT-B, -L and -H are, and MobileSAM",
	}
	hqDecoder = Family{
		Name:   "sam-hq-decoder",
		Match:  func(w *blocks.Weights) bool { return w.Has("hf_token.weight") },
		Refuse: "these are the weights of SAM-HQ's decoder alone; build the whole model's checkpoint",
	}
)

// sam2, sam3, repViT and those of transformers are told apart by what SAM's models do not have.
var (
	sam2 = Family{
		Name: "sam2",
		Match: func(w *blocks.Weights) bool {
			return w.Has("image_encoder.trunk.patch_embed.proj.weight") || w.Has("vision_encoder.backbone.pos_embed_window") || w.Has("backbone.pos_embed_window")
		},
		Refuse: "SAM 2 (a Hiera encoder and a memory) is not supported; SAM is",
	}
	repViT = Family{
		Name:   "edge-sam",
		Match:  func(w *blocks.Weights) bool { return w.Has("image_encoder.features.0.0.c.weight") },
		Refuse: "SAM with a RepViT encoder (EdgeSAM, RepViT-SAM) is not supported; ViT-B, -L and -H are",
	}
	sam3 = Family{
		Name:   "sam3",
		Match:  func(w *blocks.Weights) bool { return w.Has("detr_decoder.presence_token.weight") },
		Refuse: "SAM 3 is not supported; SAM is",
	}
	transformersHQ = Family{
		Name: "transformers-sam-hq",
		Match: func(w *blocks.Weights) bool {
			return w.Has("mask_decoder.hq_token.weight") && w.Has("vision_encoder.patch_embed.projection.weight")
		},
		Refuse: "SAM-HQ in transformers' layout (SamHQModel) is not supported; SAM-HQ's own checkpoints are",
	}
	transformersVision = Family{
		Name: "transformers-sam-vision",
		Match: func(w *blocks.Weights) bool {
			return w.Has("vision_encoder.patch_embed.projection.weight") && !w.Has("mask_decoder.iou_token.weight") && !w.Has("prompt_encoder.no_mask_embed.weight")
		},
		Refuse: "SAM's vision encoder alone (SamVisionModel) is not supported; save the whole SamModel",
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

// byName finds the family that --family names, nil for "". A suffix such as "-vit-b" or "-34" is in the keys already.
func byName(name string) (*Family, error) {
	if name == "" {
		return nil, nil
	}
	for i, f := range families {
		if f.Name == name {
			return &families[i], nil
		}
	}
	for i, f := range families {
		if strings.HasPrefix(name, f.Name+"-") {
			return &families[i], nil
		}
	}
	return nil, fmt.Errorf("%w: have %q, want one of %s", ErrUnknownFamily, name, strings.Join(Names(), ", "))
}

// Options choose what a checkpoint does not tell.
type Options struct {
	Family    string // "": by its keys
	ImageSize int64  // S; 0: the checkpoint's own
	Merge     string // a LoRA file that is merged into the weights, "" for none; who calls Load opens it
	Adapter   File   // the same, opened
	Weights   string // key or prefix that the state dict lies under, where several fit; "": by the rule of choose
}

// Load lowers a checkpoint to a module; of a File it chooses the state dict. Missing, mis-shaped and unexpected keys are one error that
// lists them. The notes say what was chosen, assumed and dropped, for the user.
func Load(src blocks.Source, o Options) (*ir.Module, []string, error) {
	file, ok := src.(File)
	if !ok {
		file = bare{src}
	}
	p, notes, err := choose(file, o)
	if err != nil {
		return nil, nil, err
	}
	f := p.family
	if f.Refuse != "" {
		return nil, nil, fmt.Errorf("%w: %s", ErrUnknownFamily, f.Refuse)
	}
	if err := p.use(); err != nil {
		return nil, nil, err
	}
	if p.empty() {
		return nil, nil, errors.New("the tensors are empty: the weights are in other files, as DeepSpeed's ZeRO stage 3 leaves them; its zero_to_fp32.py puts them together")
	}
	w := blocks.NewWeights(p.view)
	if o.Adapter != nil {
		both, family, err := merge(p, o.Adapter, o)
		if err != nil {
			return nil, nil, fmt.Errorf("--merge %s: %w", o.Merge, err)
		}
		w, notes = blocks.NewWeights(both), append(notes, o.Adapter.Dropped()...)
		if family != nil {
			if o.Family != "" && o.Family != family.Name {
				return nil, nil, fmt.Errorf("--family: have %q, want %s, as the file at --merge is", o.Family, family.Name)
			}
			p.family, f = family, family
		}
	}
	m, more, err := p.build(w, o)
	if err != nil && o.Adapter != nil {
		return nil, nil, fmt.Errorf("family %s, merged: %w", f.Name, err)
	}
	if err != nil {
		unwrapped, step, again := p.withoutWrapper(o, w.Missing())
		if unwrapped == nil {
			return nil, nil, fmt.Errorf("family %s: %w", f.Name, err)
		}
		m, more = unwrapped, append(again, fmt.Sprintf("%q is taken for a wrapper's name and left out of the keys", step))
	}
	notes = slices.Concat(notes, more, file.Dropped())
	if o.Family == "" && f.Assumed != "" {
		notes = append(notes, f.Assumed)
	}
	for _, g := range m.Graphs {
		ir.Identify(g)
	}
	return m, notes, ir.CheckModule(m)
}

// empty reports whether the tensors have no elements.
func (p place) empty() bool {
	for _, name := range p.Names() {
		if p.Get(name).Len() > 1 {
			return false
		}
	}
	return len(p.Names()) > minKeys
}

// build lowers the weights at a place, and gives notes.
func (p place) build(w *blocks.Weights, o Options) (*ir.Module, []string, error) {
	w.ImageSize = o.ImageSize
	config, err := p.configure(w)
	if err != nil {
		return nil, nil, err
	}
	m, buildErr := p.family.Build(w)
	saved := readConstants(w, p)
	if buildErr != nil { // what is unexpected is not known: building did not get to every key
		if problems := w.Problems(); problems != nil {
			return nil, nil, fmt.Errorf("%w; the file has %s", problems, summary(p.keys))
		}
		return nil, nil, buildErr
	}
	if err := w.Account(p.family.ignores); err != nil {
		return nil, nil, err
	}
	if p.layout == layoutTransformers {
		if err := config.check(m, o); err != nil {
			return nil, nil, err
		}
		theirs, err := readProcessor(p.file)
		if err != nil {
			return nil, nil, err
		}
		saved = append(saved, theirs...)
		config.describe(m)
	}
	notes, err := takeConstants(m, saved)
	if config != nil && config.assumed {
		notes = append(notes, "no config.json of a SamModel is beside the weights; what transformers has by default is assumed")
	}
	return m, notes, err
}

// withoutWrapper lowers the weights after leaving out one step that looks like a wrapper's wherever it stands, where that makes
// everything fit; nil where it does not. Only a step is tried without which a missing key is there.
func (p place) withoutWrapper(o Options, missing []string) (*ir.Module, string, []string) {
	const tries = 32
	steps := onlyChildren(p.keys)
	for _, step := range steps[:min(tries, len(steps))] {
		v, err := newView(p.file, p.prefix, p.keys).renamed(func(key string) string { return without(key, step) })
		if err != nil || !slices.ContainsFunc(missing, func(name string) bool { return v.Get(name) != nil }) {
			continue
		}
		q := place{v, p.family, p.others}
		if m, notes, err := q.build(blocks.NewWeights(q.view), o); err == nil {
			return m, step, notes
		}
	}
	return nil, "", nil
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
