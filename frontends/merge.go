package frontends

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"syncsam-convert/frontends/blocks"
	"syncsam-convert/ir/tensor"
)

// A merged is a state dict of two files: a base's, some of whose tensors another file changes, replaces or adds to.
type merged struct {
	*view
	names []string
	with  map[string]*tensor.Tensor // what the other file makes of these; nil: the base's has no part in the model
}

func (m *merged) Names() []string { return m.names }

func (m *merged) Get(name string) *tensor.Tensor {
	if t, ok := m.with[name]; ok {
		return t
	}
	return m.view.Get(name)
}

func (m *merged) Kind(name string) string {
	if _, ok := m.with[name]; ok {
		return ""
	}
	return m.view.Kind(name)
}

// finish lists the names in the base's order, then those that the other file adds.
func (m *merged) finish(added []string) *merged {
	for _, name := range m.view.Names() {
		if t, ok := m.with[name]; !ok || t != nil {
			m.names = append(m.names, name)
		}
	}
	for _, name := range added {
		if !slices.Contains(m.names, name) {
			m.names = append(m.names, name)
		}
	}
	return m
}

// merge makes of a base and a LoRA file one state dict, and tells the family where it is not the base's.
func merge(p place, adapter File, o Options) (*merged, *Family, error) {
	m := &merged{view: p.view, with: map[string]*tensor.Tensor{}}
	lora := func(name string) bool { return strings.HasPrefix(name, peftPrefix) }
	switch names := adapter.Names(); {
	case slices.ContainsFunc(names, lora):
		m, err := mergePEFT(m, adapter)
		return m, nil, err
	case adapter.Get("w_a_000") != nil:
		m, err := mergeSAMed(m, p.family, adapter, o)
		return m, &samed, err
	default:
		return nil, nil, fmt.Errorf("it is neither SAMed's LoRA file (w_a_000, ...) nor PEFT's (%s...lora_A.weight): it has %s", peftPrefix, summary(names))
	}
}

// add gives W + scale * (B A), element by element: W [out,...], A [r,...], B [out,r].
func add(w *tensor.Tensor, pairs ...pair) (*tensor.Tensor, error) {
	base := tensor.Cast(w, tensor.Float32)
	return tensor.MapFloat32(base.Dims(), func() []float32 {
		out := slices.Clone(base.Float32s())
		cols := len(out) / int(base.Dims()[0])
		sum := make([]float64, cols)
		for _, p := range pairs {
			a, b := tensor.Cast(p.a, tensor.Float32).Float32s(), tensor.Cast(p.b, tensor.Float32).Float32s()
			r := int(p.a.Dims()[0])
			for i := range len(b) / r {
				clear(sum)
				for k := range r {
					f := float64(b[i*r+k])
					for j, x := range a[k*cols : (k+1)*cols] {
						sum[j] += float64(f * float64(x))
					}
				}
				row := out[(p.first+i)*cols:][:cols]
				for j, x := range sum {
					row[j] += float32(float64(p.scale * x))
				}
			}
		}
		return out
	})
}

// A pair is what LoRA adds to rows from first on.
type pair struct {
	a, b  *tensor.Tensor
	first int
	scale float64
}

var samedName = regexp.MustCompile(`^w_([ab])_(\d{3,})$`)

// mergeSAMed takes the image encoder of a base and all else of SAMed's file: pair 2i adds to the queries of block i, pair 2i+1 to its values, with
// a scale of 1.
func mergeSAMed(m *merged, base *Family, adapter File, o Options) (*merged, error) {
	if base.Name != "sam" && base.Name != samed.Name || m.layout != "" {
		return nil, fmt.Errorf("SAMed's file changes a SAM ViT in SAM's own names; the base is of family %s", base.Name)
	}
	if o.ImageSize == 0 {
		return nil, errors.New("--image-size: missing: neither the base nor SAMed's file tells at which size it was trained (512 is SAMed's default)")
	}
	for _, name := range m.view.Names() {
		if strings.HasPrefix(name, "prompt_encoder.") || strings.HasPrefix(name, "mask_decoder.") {
			m.with[name] = nil
		}
	}
	var added []string
	pairs := 0
	for _, name := range adapter.Names() {
		switch {
		case strings.HasPrefix(name, "prompt_encoder.") || strings.HasPrefix(name, "mask_decoder."):
			m.with[name] = adapter.Get(name)
			added = append(added, name)
		case samedName.MatchString(name):
			if name[2] == 'a' {
				pairs++
			}
		default:
			return nil, fmt.Errorf("unknown key %q of a SAMed file (those with LoRA in the mask decoder, too, are not supported)", name)
		}
	}
	depth := blocks.NewWeights(m.view).Children("image_encoder.blocks.")
	if int64(pairs) != 2*depth {
		return nil, fmt.Errorf("have %d pairs w_a, w_b, want %d: queries and values of each of the base's %d blocks", pairs, 2*depth, depth)
	}
	for i := range depth {
		key := fmt.Sprintf("image_encoder.blocks.%d.attn.qkv.weight", i)
		w := m.view.Get(key)
		if w == nil || len(w.Dims()) != 2 || w.Dims()[0] != 3*w.Dims()[1] {
			return nil, fmt.Errorf("the base's %s: want a tensor [3D,D]", key)
		}
		d := w.Dims()[1]
		var two []pair
		for k := range int64(2) {
			a, b := fmt.Sprintf("w_a_%03d", 2*i+k), fmt.Sprintf("w_b_%03d", 2*i+k)
			q := pair{adapter.Get(a), adapter.Get(b), int(2 * k * d), 1}
			if err := q.check(a, b, d, d); err != nil {
				return nil, err
			}
			two = append(two, q)
		}
		t, err := add(w, two...)
		if err != nil {
			return nil, err
		}
		m.with[key] = t
	}
	return m.finish(added), nil
}

// check refuses a pair whose tensors do not fit a matrix [out,in].
func (p pair) check(a, b string, out, in int64) error {
	switch {
	case p.a == nil:
		return fmt.Errorf("missing %s", a)
	case p.b == nil:
		return fmt.Errorf("missing %s", b)
	case !p.a.DType().IsFloat() || !p.b.DType().IsFloat():
		return fmt.Errorf("%s, %s: have %s and %s, want float types", a, b, p.a.DType(), p.b.DType())
	case len(p.a.Dims()) < 2 || len(p.b.Dims()) < 2 || p.a.Dims()[0] < 1 || p.a.Len() != p.a.Dims()[0]*in:
		return fmt.Errorf("mis-shaped %s: have %v, want [r,%d]: it is of another base", a, p.a.Dims(), in)
	case p.b.Dims()[0] != out || p.b.Len() != out*p.a.Dims()[0]:
		return fmt.Errorf("mis-shaped %s: have %v, want [%d,%d], the rank that %s has", b, p.b.Dims(), out, p.a.Dims()[0], a)
	}
	return nil
}

const peftPrefix = "base_model.model."

// A peftConfig is what adapter_config.json tells.
type peftConfig struct {
	Type   string             `json:"peft_type"`
	R      int64              `json:"r"`
	Alpha  float64            `json:"lora_alpha"`
	RSLoRA bool               `json:"use_rslora"`
	Ranks  map[string]int64   `json:"rank_pattern"`
	Alphas map[string]float64 `json:"alpha_pattern"`
	Init   any                `json:"init_lora_weights"`
	others map[string]any
}

// refusedOptions of PEFT make something else than a sum of the adapter, whatever value but null, false and empty they have.
var refusedOptions = []string{"use_dora", "use_qalora", "use_bdlora", "lora_bias", "fan_in_fan_out", "layer_replication", "target_parameters", "trainable_token_indices", "alora_invocation_tokens"}

func readPEFT(adapter File) (*peftConfig, error) {
	const file = "adapter_config.json"
	data, err := adapter.Beside(file)
	if err != nil {
		return nil, err
	}
	if data == nil {
		return nil, errors.New(file + ": missing beside it: only that tells the adapter's scale")
	}
	c := &peftConfig{}
	err = json.Unmarshal(data, c)
	if err == nil {
		err = json.Unmarshal(data, &c.others)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if c.Type != "LORA" {
		return nil, fmt.Errorf("%s: peft_type: have %q, want \"LORA\"", file, c.Type)
	}
	for _, name := range refusedOptions {
		switch v := c.others[name].(type) {
		case nil:
		case bool:
			if v {
				return nil, fmt.Errorf("%s: %s: have true: it is not a plain sum, and not supported; merge it with PEFT and build the result", file, name)
			}
		default:
			if s := fmt.Sprint(v); s != "[]" && s != "map[]" {
				return nil, fmt.Errorf("%s: %s: have %v: not supported; merge it with PEFT and build the result", file, name, v)
			}
		}
	}
	if s, ok := c.Init.(string); ok && s != "gaussian" && s != "eva" && s != "orthogonal" {
		return nil, fmt.Errorf("%s: init_lora_weights: have %q, which changed the base's weights when training began: the base's file is not the adapter's base", file, s)
	}
	if c.R < 1 || !(math.Abs(c.Alpha) <= math.MaxFloat32) || c.Alpha == 0 {
		return nil, fmt.Errorf("%s: r, lora_alpha: have %d and %g, want positive numbers", file, c.R, c.Alpha)
	}
	return c, nil
}

// of is the rank and alpha of a module: patterns are regular expressions of the ends of names.
func (c *peftConfig) of(module string) (rank int64, alpha float64, err error) {
	r, err := matching(c.Ranks, module, c.R)
	if err != nil {
		return 0, 0, fmt.Errorf("adapter_config.json: rank_pattern: %w", err)
	}
	alpha, err = matching(c.Alphas, module, c.Alpha)
	if err != nil {
		return 0, 0, fmt.Errorf("adapter_config.json: alpha_pattern: %w", err)
	}
	return r, alpha, nil
}

func matching[T comparable](patterns map[string]T, module string, otherwise T) (T, error) {
	found := map[T]bool{}
	value := otherwise
	for p, v := range patterns {
		re, err := regexp.Compile(`^(.*\.)?(` + p + `)$`)
		if err != nil {
			return value, err
		}
		if re.MatchString(module) {
			value, found[v] = v, true
		}
	}
	if len(found) > 1 { // PEFT takes the first in the file's order, which is not kept here
		return value, fmt.Errorf("several patterns of different values fit %s", module)
	}
	return value, nil
}

// mergePEFT adds an adapter of PEFT to its modules and replaces what it saved whole.
func mergePEFT(m *merged, adapter File) (*merged, error) {
	c, err := readPEFT(adapter)
	if err != nil {
		return nil, err
	}
	ours := map[string]string{} // the base's names by its file's
	for _, name := range m.view.Names() {
		ours[m.view.Spell(name)] = name
	}
	seen := map[string]bool{}
	for _, key := range adapter.Names() {
		name, ok := strings.CutPrefix(key, peftPrefix)
		if !ok {
			return nil, fmt.Errorf("unknown key %q: want names that begin with %s", key, peftPrefix)
		}
		module, isA := strings.CutSuffix(name, ".lora_A.weight")
		b, isB := strings.CutSuffix(name, ".lora_B.weight")
		switch {
		case isB:
			if adapter.Get(peftPrefix+b+".lora_A.weight") == nil {
				return nil, fmt.Errorf("missing %s%s.lora_A.weight", peftPrefix, b)
			}
		case isA:
			if err := m.addPEFT(c, adapter, module, ours[module+".weight"]); err != nil {
				return nil, err
			}
		case strings.Contains(name, ".lora_"):
			return nil, fmt.Errorf("unknown key %q: not a plain LoRA; merge it with PEFT and build the result", key)
		default:
			name = strings.ReplaceAll(name, ".base_layer.", ".")
			to, ok := ours[name]
			if !ok {
				return nil, fmt.Errorf("unknown key %q: the base has no %s", key, name)
			}
			t := adapter.Get(key)
			if have := m.view.Get(to); !slices.Equal(have.Dims(), t.Dims()) {
				return nil, fmt.Errorf("mis-shaped %s: have %v, want the base's %v", key, t.Dims(), have.Dims())
			}
			if m.with[to] != nil {
				return nil, fmt.Errorf("%s: the file both replaces and changes it", key)
			}
			m.with[to] = t
		}
		seen[key] = true
	}
	if len(m.with) == 0 {
		return nil, errors.New("it changes nothing")
	}
	return m.finish(nil), nil
}

// addPEFT adds one module's pair to the weight that has this name.
func (m *merged) addPEFT(c *peftConfig, adapter File, module, name string) error {
	if name == "" {
		return fmt.Errorf("unknown target module %q: the base has no %s.weight (have %s)", module, module, summary(m.view.keys))
	}
	rank, alpha, err := c.of(module)
	if err != nil {
		return err
	}
	w := m.view.Get(name)
	a, b := peftPrefix+module+".lora_A.weight", peftPrefix+module+".lora_B.weight"
	p := pair{a: adapter.Get(a), b: adapter.Get(b)}
	if len(w.Dims()) < 2 {
		return fmt.Errorf("target module %q: its weight is %v, want a matrix", module, w.Dims())
	}
	if err := p.check(a, b, w.Dims()[0], w.Len()/w.Dims()[0]); err != nil {
		return err
	}
	if have := p.a.Dims()[0]; have != rank {
		return fmt.Errorf("%s: have rank %d, want %d as adapter_config.json says", a, have, rank)
	}
	if p.scale = alpha / float64(rank); c.RSLoRA {
		p.scale = alpha / math.Sqrt(float64(rank))
	}
	if m.with[name] != nil {
		return fmt.Errorf("%s: the file both replaces and changes %s", a, name)
	}
	m.with[name], err = add(w, p)
	return err
}
