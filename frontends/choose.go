package frontends

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"syncsam-convert/frontends/blocks"
	"syncsam-convert/ir/tensor"
)

// File is a checkpoint before its state dict is chosen. Keys are those of nested dicts, joined by dots.
type File interface {
	blocks.Source
	Keys() []string                                 // every tensor's, in file order
	At(key string) *tensor.Tensor                   // nil for none
	Kind(key string) string                         // what lies there and cannot be computed with, "" for what can
	Dict(key string) string                         // path of the dict that holds a key
	Use(where string, names, keys []string) error   // makes Names and Get give these tensors
	Beside(name string) (content []byte, err error) // a small file in the folder of the weights, nil for none
	Dropped() []string                              // what the chosen tensors lost in reading, a line each
}

// bare is a source that is one state dict.
type bare struct{ blocks.Source }

func (b bare) Keys() []string                       { return b.Names() }
func (b bare) At(key string) *tensor.Tensor         { return b.Get(key) }
func (b bare) Kind(string) string                   { return "" }
func (b bare) Dict(string) string                   { return "" }
func (b bare) Use(string, []string, []string) error { return nil }
func (b bare) Beside(string) ([]byte, error)        { return nil, nil }
func (b bare) Dropped() []string                    { return nil }

// A view is a part of a file as one state dict: the keys under a prefix, some under other names.
type view struct {
	file   File
	prefix string
	keys   []string          // those under the prefix, without it
	alias  map[string]string // where names differ from keys: the key of each name; nil where none do
	names  []string
	layout string // whose names the keys are, "" for SAM's
}

func newView(f File, prefix string, keys []string) *view {
	return &view{file: f, prefix: prefix, keys: keys}
}

// renamed gives each key the name that f tells; it fails where two keys get one name.
func (v *view) renamed(f func(key string) string) (*view, error) {
	r := &view{file: v.file, prefix: v.prefix, keys: v.keys, alias: map[string]string{}, layout: v.layout}
	for _, key := range v.keys {
		name := f(key)
		if other, ok := r.alias[name]; ok {
			return nil, fmt.Errorf("%s and %s are both %s", v.prefix+other, v.prefix+key, name)
		}
		r.alias[name] = key
	}
	return r, nil
}

// Spell is a name as the file has it.
func (v *view) Spell(name string) string {
	if key, ok := v.alias[name]; ok {
		return key
	}
	if v.layout == layoutTransformers {
		return theirs(name)
	}
	return name
}

func (v *view) key(name string) (string, bool) {
	if v.alias == nil {
		return v.prefix + name, true
	}
	key, ok := v.alias[name]
	return v.prefix + key, ok
}

// Names lists what can be computed with.
func (v *view) Names() []string {
	if v.names != nil {
		return v.names
	}
	ours := map[string]string{}
	for name, key := range v.alias {
		ours[key] = name
	}
	for _, key := range v.keys {
		if v.file.At(v.prefix+key) == nil {
			continue
		}
		if name, ok := ours[key]; ok {
			key = name
		}
		v.names = append(v.names, key)
	}
	return v.names
}

// Get finds a tensor by its name.
func (v *view) Get(name string) *tensor.Tensor {
	if key, ok := v.key(name); ok {
		return v.file.At(key)
	}
	return nil
}

// Kind says what a name is that cannot be computed with.
func (v *view) Kind(name string) string {
	if key, ok := v.key(name); ok {
		return v.file.Kind(key)
	}
	return ""
}

// where is the place in the file as --weights takes it.
func (v *view) where() string { return strings.TrimSuffix(v.prefix, ".") }

// use tells the file what was chosen.
func (v *view) use() error {
	full := make([]string, len(v.keys))
	for i, key := range v.keys {
		full[i] = v.prefix + key
	}
	return v.file.Use(v.where(), v.keys, full)
}

// A place is where in a file the weights of a family lie.
type place struct {
	*view
	family *Family
	others []string // keys of the file beside the place, in the same dict
}

func (p place) String() string {
	where := p.where()
	if where == "" {
		where = "the top level"
	}
	return fmt.Sprintf("%s (%s)", where, p.family.Name)
}

// Bounds of the search: how deep prefixes are tried, and of how many keys a family has more.
const (
	maxPrefix = 8
	minKeys   = 8
)

// places finds every prefix under which a family's keys lie; what lies under a place that was found is part of it. Neighbours that are
// refused by name count only where no family fits.
func places(f File) (fits, refused []place) {
	keys := f.Keys()
	under := map[string][]string{"": keys}
	prefixes := []string{""}
	for _, key := range keys {
		at := 0
		for range maxPrefix {
			i := strings.IndexByte(key[at:], '.')
			if i < 0 {
				break
			}
			at += i + 1
			if under[key[:at]] == nil {
				prefixes = append(prefixes, key[:at])
			}
			under[key[:at]] = append(under[key[:at]], key[at:])
		}
	}
	depth := func(prefix string) int { return strings.Count(prefix, ".") }
	slices.SortStableFunc(prefixes, func(a, b string) int { return cmp.Compare(depth(a), depth(b)) })
	taken := map[string]bool{} // keys of places that were found
	for _, prefix := range prefixes {
		keys := slices.DeleteFunc(own(f, prefix, under[prefix]), func(key string) bool { return taken[prefix+key] })
		if prefix != "" && len(keys) < minKeys {
			continue
		}
		v, family := recognise(newView(f, prefix, keys))
		switch {
		case family == nil:
		case family.Refuse != "":
			refused = append(refused, place{view: v, family: family})
		default:
			for _, key := range keys {
				taken[prefix+key] = true
			}
			fits = append(fits, place{view: v, family: family})
		}
	}
	return fits, refused
}

// own are the keys under a prefix that make one state dict: those of the dict that the prefix is in, where it holds enough of them, and
// otherwise those of all dicts under it (a dict per module) but an optimizer's.
func own(f File, prefix string, keys []string) []string {
	var here, all []string
	for _, key := range keys {
		if len(f.Dict(prefix+key)) < max(1, len(prefix)) {
			here = append(here, key)
		}
		if !training.MatchString(key) {
			all = append(all, key)
		}
	}
	if len(here) >= minKeys {
		return here
	}
	return all
}

// recognise finds the family of a state dict, in SAM's names or in those of transformers.
func recognise(v *view) (*view, *Family) {
	v = inSAMNames(v)
	w := blocks.NewWeights(v)
	for i, f := range families {
		if f.Match(w) {
			return v, &families[i]
		}
	}
	return v, nil
}

var (
	// averaged matches the names of weights that were averaged over training.
	averaged = regexp.MustCompile(`(?i)(^|[^a-z])(ema|swa|avg|averaged?|shadow|polyak)($|[^a-z])`)
	// training matches what an optimizer keeps.
	training = regexp.MustCompile(`(?i)optim`)
)

// choose finds the weights to use. Where several places fit: the one that --weights names; else the trained weights and not their
// running averages; else, where they differ, none. The notes say what was chosen.
func choose(f File, o Options) (place, []string, error) {
	named, err := byName(o.Family)
	if err != nil {
		return place{}, nil, err
	}
	fits, refused := places(f)
	if o.Weights != "" {
		p, err := at(f, o.Weights, slices.Concat(fits, refused))
		if err != nil {
			return p, nil, err
		}
		if named != nil {
			p.family = named
		}
		p.others = p.beside(fits)
		return p, nil, nil
	}
	fits = slices.DeleteFunc(fits, func(p place) bool { return training.MatchString(p.where()) })
	var trained []place
	for _, p := range fits {
		if !averaged.MatchString(p.where()) {
			trained = append(trained, p)
		}
	}
	best := trained
	if len(trained) == 0 {
		best = fits
	}
	var p place
	var notes []string
	switch {
	case len(best) == 0 && len(refused) > 0 && named == nil:
		return refused[0], nil, nil
	case len(best) == 0 && named == nil:
		return p, nil, unknown(f)
	case len(best) == 0:
		p = place{view: inSAMNames(newView(f, "", f.Keys()))}
		if names := f.Names(); len(names) > 0 { // the largest dict, as the file has chosen
			p.view = inSAMNames(largest(f))
		}
	default:
		p = best[0]
		for _, other := range best[1:] {
			if !same(p, other) {
				return p, nil, fmt.Errorf("several state dicts fit and differ: %s; --weights KEY chooses one", list(best))
			}
		}
		others := slices.DeleteFunc(slices.Clone(fits), func(q place) bool { return q.prefix == p.prefix || same(p, q) })
		if len(others) > 0 {
			notes = append(notes, fmt.Sprintf("the weights of %s are used; %s fits, too: --weights KEY chooses it", p, list(others)))
		} else if len(trained) == 0 {
			notes = append(notes, fmt.Sprintf("the weights of %s are used, which are averages over training", p))
		}
	}
	if named != nil {
		p.family = named
	}
	p.others = p.beside(fits)
	if len(p.others) > 0 {
		notes = append(notes, fmt.Sprintf("the weights of %s are used; left out: %s", p.where(), summary(p.others)))
	}
	return p, notes, nil
}

// at is the place that the user names, whatever lies there.
func at(f File, where string, all []place) (place, error) {
	for _, p := range all {
		if p.where() == where {
			return p, nil
		}
	}
	var keys []string
	for _, key := range f.Keys() {
		if rest, ok := strings.CutPrefix(key, where+"."); ok {
			keys = append(keys, rest)
		}
	}
	hint := summary(f.Keys())
	if len(all) > 0 {
		hint = list(all) + " would fit"
	}
	if len(keys) == 0 {
		return place{}, fmt.Errorf("--weights: have no tensors under %q: %s", where, hint)
	}
	v, family := recognise(newView(f, where+".", keys))
	if family == nil {
		return place{}, fmt.Errorf("--weights: %w: the keys under %q fit no family: %s", ErrUnknownFamily, where, hint)
	}
	return place{view: v, family: family}, nil
}

// largest is the dict that the file chose itself.
func largest(f File) *view {
	for _, key := range f.Keys() {
		if prefix, ok := strings.CutSuffix(key, f.Names()[0]); ok && (prefix == "" || strings.HasSuffix(prefix, ".")) {
			return newView(f, prefix, f.Names())
		}
	}
	return newView(f, "", f.Keys())
}

// same reports whether two places hold the same tensors.
func same(a, b place) bool {
	if a.prefix == b.prefix {
		return true
	}
	names := a.Names()
	if len(names) != len(b.Names()) {
		return false
	}
	for _, name := range names {
		x, y := a.Get(name), b.Get(name)
		if y == nil || !tensor.Equal(x, y) {
			return false
		}
		x.Release()
		y.Release()
	}
	return true
}

// beside lists the tensors that stand in the same dict as a chosen prefix, and under none of the prefixes that fit.
func (p place) beside(fits []place) []string {
	if p.prefix == "" || len(p.keys) == 0 {
		return nil
	}
	dict := p.file.Dict(p.prefix + p.keys[0])
	if dict == p.where() {
		return nil
	}
	var beside []string
	for _, key := range p.file.Keys() {
		under := func(q place) bool { return strings.HasPrefix(key, q.prefix) }
		if !under(p) && !slices.ContainsFunc(fits, under) && p.file.Dict(key) == dict {
			beside = append(beside, key)
		}
	}
	return beside
}

func list(places []place) string {
	var s []string
	for _, p := range places {
		s = append(s, p.String())
	}
	return strings.Join(s, ", ")
}

// unknown says what a file holds that fits no family.
func unknown(f File) error {
	kind := ""
	if c, err := readConfig(f); err == nil && c != nil && c.ModelType != "" {
		kind = fmt.Sprintf(" (config.json: a model of type %q)", c.ModelType)
	}
	return fmt.Errorf("%w: the %d keys%s fit none of %s; the file has %s", ErrUnknownFamily, len(f.Keys()), kind, strings.Join(Names(), ", "), summary(f.Keys()))
}

// summary shortens a list of keys: by their first two steps, with the number of keys under them.
func summary(keys []string) string {
	const show = 12
	var order []string
	count := map[string]int{}
	for _, key := range keys {
		steps := strings.SplitN(key, ".", 3)
		head := key
		if len(steps) > 2 {
			head = steps[0] + "." + steps[1] + ".*"
		}
		if count[head]++; count[head] == 1 {
			order = append(order, head)
		}
	}
	var parts []string
	for _, head := range order[:min(show, len(order))] {
		if count[head] > 1 {
			head = fmt.Sprintf("%s (%d)", head, count[head])
		}
		parts = append(parts, head)
	}
	if len(order) > show {
		parts = append(parts, fmt.Sprintf("%d more", len(order)-show))
	}
	return strings.Join(parts, ", ")
}

// onlyChildren lists the steps of keys that are the only one of their module wherever they stand: what a wrapper of an unknown name puts
// into keys looks so.
func onlyChildren(keys []string) []string {
	children := map[string]map[string]bool{}
	for _, key := range keys {
		for at := 0; ; {
			i := strings.IndexByte(key[at:], '.')
			if i < 0 {
				i = len(key) - at
			}
			parent := key[:at]
			if children[parent] == nil {
				children[parent] = map[string]bool{}
			}
			children[parent][key[at:at+i]] = true
			if at += i + 1; at > len(key) {
				break
			}
		}
	}
	alone, siblings := map[string]bool{}, map[string]bool{}
	var order []string
	for _, key := range keys {
		steps := strings.Split(key, ".")
		at := 0
		for _, s := range steps[:len(steps)-1] {
			if len(children[key[:at]]) > 1 {
				siblings[s] = true
			} else if !alone[s] && at > 0 && strings.Trim(s, "0123456789") != "" {
				alone[s] = true
				order = append(order, s)
			}
			at += len(s) + 1
		}
	}
	return slices.DeleteFunc(order, func(s string) bool { return siblings[s] })
}

// without is a key without a step.
func without(key, step string) string {
	steps := strings.Split(key, ".")
	return strings.Join(slices.DeleteFunc(steps, func(s string) bool { return s == step }), ".")
}
