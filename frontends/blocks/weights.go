// Package blocks builds the parts that model families share (ViT, ResNet, prompt encoder, two-way transformer) from a
// checkpoint's named tensors, and accounts for every tensor of the checkpoint.
package blocks

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
)

// Source is a checkpoint: names in file order, and a tensor per name (nil when absent).
type Source interface {
	Names() []string
	Get(name string) *tensor.Tensor
}

// A Kinder is a source that can say what stands at a name and cannot be computed with ("a sparse tensor"); "" for what can, or for nothing.
type Kinder interface{ Kind(name string) string }

// A Speller is a source whose file has other names than those that are asked for.
type Speller interface{ Spell(name string) string }

// Weights hands out a checkpoint's tensors and remembers what was asked for, so that missing, mis-shaped and unexpected
// keys are reported together.
type Weights struct {
	ImageSize int64 // S that the model is built for; 0: the checkpoint's own
	// EpsViT and EpsTwoWay are what the layers' norms add to variances, in the blocks of the ViT and of the two-way transformer: SAM's
	// unless the file's own package has others.
	EpsViT, EpsTwoWay float32

	src      Source
	used     map[string]bool
	missing  []string
	problems []string
}

// NewWeights starts the accounting.
func NewWeights(src Source) *Weights {
	return &Weights{src: src, used: map[string]bool{}, EpsViT: EpsViT, EpsTwoWay: EpsDecoder}
}

// Has reports whether the checkpoint holds a key; it does not count as use.
func (w *Weights) Has(name string) bool { return w.src.Get(name) != nil || w.kind(name) != "" }

func (w *Weights) kind(name string) string {
	if k, ok := w.src.(Kinder); ok {
		return k.Kind(name)
	}
	return ""
}

// spell is a name as the file has it.
func (w *Weights) spell(name string) string {
	if s, ok := w.src.(Speller); ok {
		return s.Spell(name)
	}
	return name
}

// absent notes a key that is not there, or is nothing that can be computed with.
func (w *Weights) absent(name string) {
	if kind := w.kind(name); kind != "" {
		w.note("unusable %s: it is %s", w.spell(name), kind)
		return
	}
	w.missing = append(w.missing, name)
	w.note("missing %s", w.spell(name))
}

// Missing lists the keys that were asked for and are not there.
func (w *Weights) Missing() []string { return w.missing }

// Take gives a key's tensor as it is, nil when there is none, and counts it as used.
func (w *Weights) Take(name string) *tensor.Tensor {
	w.used[name] = true
	return w.src.Get(name)
}

// Named lists the keys whose last step is the given one.
func (w *Weights) Named(last string) []string {
	var names []string
	for _, name := range w.src.Names() {
		if name == last || strings.HasSuffix(name, "."+last) {
			names = append(names, name)
		}
	}
	return names
}

// Shape gives a key's shape, which must have the given rank. A missing key is noted, and a shape of ones returned.
func (w *Weights) Shape(name string, rank int) []int64 {
	t := w.src.Get(name)
	switch {
	case t == nil:
		w.absent(name)
	case len(t.Dims()) != rank:
		w.note("mis-shaped %s: have %v, want rank %d", w.spell(name), t.Dims(), rank)
	default:
		return t.Dims()
	}
	return slices.Repeat([]int64{1}, rank)
}

// A Dimension is one axis of a key of known rank.
type Dimension struct {
	Key        string
	Rank, Axis int
}

// Size gives a dimension that several keys tell: the first one that is there decides, so that one missing key does not
// make all others look mis-shaped. When none is there the first is noted, and 1 returned.
func (w *Weights) Size(told ...Dimension) int64 {
	for _, d := range told {
		if t := w.src.Get(d.Key); t != nil && len(t.Dims()) == d.Rank {
			return t.Dims()[d.Axis]
		}
	}
	return w.Shape(told[0].Key, told[0].Rank)[told[0].Axis]
}

// Tensor gives a key's tensor as float32, which must have the given shape. A missing or mis-shaped key is noted, and
// zeros returned so that the rest of the model can be checked.
func (w *Weights) Tensor(name string, dims ...int64) *tensor.Tensor {
	t := w.src.Get(name)
	w.used[name] = true
	switch {
	case t == nil:
		w.absent(name)
	case !slices.Equal(t.Dims(), dims):
		w.note("mis-shaped %s: have %v, want %v", w.spell(name), t.Dims(), dims)
	case !t.DType().IsFloat():
		w.note("mis-typed %s: have %s, want a float type", w.spell(name), t.DType())
	default:
		return tensor.Cast(t, tensor.Float32)
	}
	zeros, err := tensor.MapFloat32(dims, func() []float32 { n, _ := tensor.Elements(dims); return make([]float32, n) })
	if err != nil {
		w.note("mis-shaped %s: %v", w.spell(name), err)
		return tensor.Scalar(0)
	}
	return zeros
}

func (w *Weights) note(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(w.problems, s) {
		w.problems = append(w.problems, s)
	}
}

// Problems are the missing, mis-shaped and unusable keys that were asked for so far, nil for none.
func (w *Weights) Problems() *Misfit {
	if len(w.problems) == 0 {
		return nil
	}
	return &Misfit{slices.Clone(w.problems)}
}

// Account reports every missing and mis-shaped key and every key of the checkpoint that was neither used nor ignored, in one error.
func (w *Weights) Account(ignored func(name string) bool) error {
	problems := slices.Clone(w.problems)
	for _, name := range w.src.Names() {
		if !w.used[name] && !ignored(name) && !w.counts(name) {
			problems = append(problems, "unexpected "+w.spell(name))
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return &Misfit{problems}
}

// counts reports whether a key is a whole number beside the modules, as training code keeps (n_averaged, step): no weight.
func (w *Weights) counts(name string) bool {
	t := w.src.Get(name)
	return !strings.Contains(name, ".") && t.Len() == 1 && !t.DType().IsFloat()
}

// A Misfit is the keys of a checkpoint that do not fit its family. The error has their number by kind and the first few.
type Misfit struct{ Problems []string }

// shownKeys is how many keys the error of a Misfit names.
const shownKeys = 8

func (m *Misfit) Error() string {
	problems := m.Problems
	text := fmt.Sprintf("%d keys do not fit: %s", len(problems), strings.Join(problems[:min(shownKeys, len(problems))], "; "))
	if len(problems) <= shownKeys {
		return text
	}
	count, kinds := map[string]int{}, []string{}
	for _, p := range problems {
		kind, _, _ := strings.Cut(p, " ")
		if kind != "missing" && kind != "unexpected" {
			kind = "of another shape or type"
		}
		count[kind]++
	}
	for _, kind := range slices.Sorted(maps.Keys(count)) {
		kinds = append(kinds, fmt.Sprintf("%d %s", count[kind], kind))
	}
	return fmt.Sprintf("%s; and %d more (%s in all); inspect --json lists them", text, len(problems)-shownKeys, strings.Join(kinds, ", "))
}

// Children counts the consecutive integers n = 0, 1, ... for which a key starts with prefix + n + ".".
func (w *Weights) Children(prefix string) int64 {
	have := map[string]bool{}
	for _, name := range w.src.Names() {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			if head, _, ok := strings.Cut(rest, "."); ok {
				have[head] = true
			}
		}
	}
	n := int64(0)
	for have[strconv.FormatInt(n, 10)] {
		n++
	}
	return n
}

// A Scope is a place in the module tree: what it builds is named by its path, which is also the key prefix of its weights.
type Scope struct {
	*ir.Builder
	W    *Weights
	Path string
}

// NewScope starts at the root of a module.
func NewScope(b *ir.Builder, w *Weights) Scope { return Scope{b, w, ""} }

// In goes into a child module.
func (s Scope) In(child string) Scope {
	path := child
	if s.Path != "" {
		path = s.Path + "." + child
	}
	return Scope{s.Builder.As(path), s.W, path}
}

// Key is the checkpoint key of one of the scope's parameters.
func (s Scope) Key(name string) string {
	if s.Path == "" {
		return name
	}
	return s.Path + "." + name
}

// Param is one of the scope's parameters as a constant of the given shape.
func (s Scope) Param(name string, dims ...int64) *ir.Value {
	return s.Builder.As(s.Key(name)).Const(s.W.Tensor(s.Key(name), dims...))
}

// Const adds a constant that the model's code, not its checkpoint, defines.
func (s Scope) Float32(name string, dims []int64, v []float32) *ir.Value {
	return s.Builder.As(s.Key(name)).Const(tensor.FromFloat32(dims, v))
}
