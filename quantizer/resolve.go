package quantizer

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
)

// Resolve holds a plan to the model that it is for, as it stands before insert-qdq, so that Decide obeys each line of it: source is the
// checkpoint's sha256. It refuses by name another source or scope, values and layers that the model does not have or the scope does not
// name, channels of another number, and layers that are neither in float nor have ranges for what they read and give. It fills in Layers.
func Resolve(m *ir.Module, plan *quant.Plan, source string, scope quant.Scope, spell Spelling) error {
	switch {
	case plan.Source != source:
		return fmt.Errorf("plan: source: it is for checkpoint %.12s, this is %.12s", plan.Source, source)
	case plan.Scope != scope.Name():
		return fmt.Errorf("plan: scope: it is for %q, the build quantizes %q", plan.Scope, scope.Name())
	}
	e := m.Encoder()
	if e == nil {
		e = &ir.Graph{}
	}
	keys, sites := ir.Keys(e), FindSites(e, scope)
	observed := map[string]*ir.Value{}
	for _, v := range sites.Observed() {
		observed[keys[v]] = v
	}
	for _, key := range slices.Sorted(maps.Keys(plan.Values)) {
		v := observed[key]
		if v == nil {
			return fmt.Errorf("plan: value %q: the model has no such value, or nothing of scope %s reads or gives it", key, plan.Scope)
		}
		if err := fits(plan.Values[key], v, sites.ChannelsLast(v)); err != nil {
			return fmt.Errorf("plan: value %q: %w", key, err)
		}
	}
	plan.Layers = layers(keys, sites)
	for _, key := range slices.Sorted(maps.Keys(plan.Float)) {
		if !slices.Contains(plan.Layers, key) {
			return fmt.Errorf("plan: float %q: scope %s has no such convolution or linear layer", key, plan.Scope)
		}
	}
	known := keysOf(m)
	for _, key := range slices.Sorted(maps.Keys(plan.Peaks)) {
		if !known[key] {
			return fmt.Errorf("plan: peak %q: the model has no such value", key)
		}
	}
	return complete(e, plan, scope, spell)
}

// keysOf is the set of all value keys of a model.
func keysOf(m *ir.Module) map[string]bool {
	known := map[string]bool{}
	for _, g := range m.Graphs {
		for _, key := range ir.Keys(g) {
			known[key] = true
		}
	}
	return known
}

// layers lists the keys of a scope's convolutions and linear layers, in graph order of each.
func layers(keys map[*ir.Value]string, s *Sites) []string {
	var all []string
	for _, v := range slices.Concat(s.Convs, s.Linears) {
		all = append(all, keys[v])
	}
	return all
}

// fits checks a range's numbers and the number of its channels.
func fits(r quant.Range, v *ir.Value, last bool) error {
	if err := r.Check(); err != nil {
		return err
	}
	axis := 1
	if last {
		axis = v.Type.Rank() - 1
	}
	for name, x := range map[string][]float32{"mean": r.Mean, "channels": r.Channels} {
		if len(x) > 0 && (axis >= v.Type.Rank() || !v.Type.Shape[axis].Is(int64(len(x)))) {
			return fmt.Errorf("%s: have %d channels, want those of %s", name, len(x), v.Type)
		}
	}
	return nil
}

// complete looks for a range of every value that would become integers.
func complete(e *ir.Graph, plan *quant.Plan, scope quant.Scope, spell Spelling) error {
	full := *plan // as if every range were there: what would be quantized?
	full.Values = maps.Clone(plan.Values)
	if full.Values == nil {
		full.Values = map[string]quant.Range{}
	}
	keys := ir.Keys(e)
	for _, v := range FindSites(e, scope).Observed() {
		if _, ok := full.Values[keys[v]]; !ok {
			full.Values[keys[v]] = quant.Range{Max: 1}
		}
	}
	t, err := Decide(e, &full, scope, spell)
	if err != nil {
		return err
	}
	for _, v := range t.Values {
		if _, ok := plan.Values[v.Key]; !ok {
			return fmt.Errorf("plan: value %q: it has no line, and is to be quantized; a float line for each layer that reads or gives it keeps it in float", v.Key)
		}
	}
	return nil
}

// Make makes of ranges by value key, as calibration gives them, the plan of a model: it takes those that the scope observes and the peaks of
// values that the model has, and holds the rest to Resolve.
func Make(m *ir.Module, ranges *quant.Plan, source string, scope quant.Scope, spell Spelling) (*quant.Plan, error) {
	p := spelledFor(m, ranges, scope)
	p.Source, p.Scope = source, scope.Name()
	observed, known := map[string]bool{}, keysOf(m)
	if e := m.Encoder(); e != nil {
		keys := ir.Keys(e)
		for _, v := range FindSites(e, scope).Observed() {
			observed[keys[v]] = true
		}
	}
	maps.DeleteFunc(p.Values, func(key string, _ quant.Range) bool { return !observed[key] })
	maps.DeleteFunc(p.Peaks, func(key string, _ float32) bool { return !known[key] })
	return p, Resolve(m, p, source, scope, spell)
}

// PlanFor derives, from the plan of a model in whose encoder upsampling is spelled as convolutions, that of the model that keeps its transposed
// convolutions (TensorRT's): what the plan says of those convolutions and their rearrangements goes, and layers that read
// upsampled values stay in float. All else must be there.
func PlanFor(m *ir.Module, plan *quant.Plan, scope quant.Scope, spell Spelling) (*quant.Plan, error) {
	p := spelledFor(m, plan, scope)
	return p, Resolve(m, p, plan.Source, scope, spell)
}

// upscaled are the operators that upscale-to-conv writes for a transposed convolution, the last with its result, under its name.
var upscaled = []string{"Conv", "Reshape", "Transpose", "Reshape#2"}

// spelledFor is a copy of a plan without what only another spelling of the model's upsampling has, and without what the scope does not observe.
func spelledFor(m *ir.Module, plan *quant.Plan, scope quant.Scope) *quant.Plan {
	p := plan.Clone()
	e := m.Encoder()
	if e == nil {
		return p
	}
	keys, live := ir.Keys(e), e.Live()
	maps.DeleteFunc(keys, func(v *ir.Value, _ string) bool { return !live[v] })
	sites := FindSites(e, scope)
	for v, key := range keys {
		result := v.Name + "/" + upscaled[len(upscaled)-1]
		if _, has := plan.Peaks[result]; has && ir.ConvTranspose.Is(v) {
			p.Peaks[key] = plan.Peaks[result]
		}
	}
	for v := range keys {
		if !ir.ConvTranspose.Is(v) {
			continue
		}
		for _, op := range upscaled {
			key := v.Name + "/" + op
			delete(p.Values, key)
			delete(p.Float, key)
			delete(p.Peaks, key)
		}
		if !slices.Contains(sites.Observed(), v.Args[0]) {
			delete(p.Values, keys[v.Args[0]])
		}
	}
	for _, c := range sites.Convs {
		if x := c.Args[0]; ir.ConvTranspose.Is(x) {
			if _, ok := p.Values[keys[x]]; !ok && p.Float[keys[c]] == "" {
				p.Float[keys[c]] = "the plan has no range for " + keys[x]
			}
		}
	}
	return p
}

// KeepFloat puts layers of a resolved plan in float: each by its key, or all below a module by its path.
func KeepFloat(plan *quant.Plan, names ...string) error {
	float := maps.Clone(plan.Float)
	if float == nil {
		float = map[string]string{}
	}
	for _, name := range names {
		found := false
		for _, key := range plan.Layers {
			if path := ir.NameOf(key); key == name || path == name || strings.HasPrefix(path, name+".") {
				found = true
				if _, has := float[key]; !has {
					float[key] = "asked for by " + name
				}
			}
		}
		if !found {
			return fmt.Errorf("scope %s has no convolution or linear layer %q, and no module of that name with one; the plan's text lists them", plan.Scope, name)
		}
	}
	plan.Float = float
	return nil
}
