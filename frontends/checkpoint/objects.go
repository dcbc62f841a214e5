package checkpoint

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"syncsam-convert/frontends/checkpoint/pickle"
	"syncsam-convert/internal/mapfile"
	"syncsam-convert/ir/tensor"
)

// class stands for a class or function that this reader does not know. It is never executed: calling it gives an inert object.
type class struct{ name string }

// Call is an instance.
func (c class) Call([]any) (any, error) { return &object{class: c.name}, nil }

// object stands for an instance of an unknown class. It takes whatever the pickle does to it, and keeps the items of a dict-like class.
type object struct {
	class  string
	module bool // its state is that of a torch.nn.Module
	items  pickle.Dict
}

// Call is what a callable instance would give.
func (o *object) Call([]any) (any, error) { return &object{class: o.class}, nil }

// Set keeps an item.
func (o *object) Set(key, value any) { o.items.Set(key, value) }

// Append keeps nothing.
func (o *object) Append(any) {}

// Add keeps nothing.
func (o *object) Add(any) {}

// SetState knows a module by its attributes.
func (o *object) SetState(state any) error {
	names := firstKeys(state)
	o.module = slices.Contains(names, "_parameters") && slices.Contains(names, "_modules")
	return nil
}

// mostKeys bounds the work over a dict that many objects may share.
const mostKeys = 256

// firstKeys are the first keys of a dict.
func firstKeys(v any) (names []string) {
	if d, ok := v.(*pickle.Dict); ok {
		for _, e := range d.Items[:min(len(d.Items), mostKeys)] {
			if name, ok := e.Key.(string); ok {
				names = append(names, name)
			}
		}
	}
	return names
}

// reconstructor is an allowed function.
type reconstructor func(args []any) (any, error)

// Call calls it.
func (r reconstructor) Call(args []any) (any, error) { return r(args) }

// reconstructors is the allow-list: what makes dicts, and tensors and parameters of storages. Nothing else is ever called.
var reconstructors = map[string]reconstructor{
	"collections.OrderedDict":                             newDict,
	"builtins.dict":                                       newDict,
	"__builtin__.dict":                                    newDict,
	"torch._utils._rebuild_tensor":                        rebuildTensor,
	"torch._utils._rebuild_tensor_v2":                     rebuildPlainTensor,
	"torch._utils._rebuild_tensor_v3":                     rebuildTypedTensor,
	"torch._utils._rebuild_parameter":                     firstArgument,
	"torch._utils._rebuild_parameter_with_state":          rebuildWithState,
	"torch.nn.parameter.Parameter":                        firstArgument,
	"torch.Size":                                          firstArgument,
	"torch._tensor._rebuild_from_type_v2":                 rebuildFromType,
	"torch._tensor._rebuild_from_type":                    rebuildFromType,
	"torch.tensor._rebuild_from_type":                     rebuildFromType,
	"copy_reg._reconstructor":                             instance,
	"copyreg._reconstructor":                              instance,
	"torch._utils._rebuild_device_tensor_from_cpu_tensor": rebuildFromCPU,
	"torch._utils._rebuild_device_tensor_from_numpy":      called("a tensor of another device, saved as a NumPy array (save it with .cpu())"),
	"torch._utils._rebuild_xla_tensor":                    called("a tensor of another device, saved as a NumPy array (save it with .cpu())"),
	"torch._utils._rebuild_meta_tensor_no_storage":        called("a tensor of the meta device, which has no values"),
	"torch._utils._rebuild_sparse_tensor":                 called("a sparse tensor (save it with .to_dense())"),
	"torch._utils._rebuild_sparse_csr_tensor":             called("a sparse tensor (save it with .to_dense())"),
	"torch._utils._rebuild_qtensor":                       called("a quantized tensor (save it with .dequantize())"),
	"torch._utils._rebuild_nested_tensor":                 called("a nested tensor (save plain tensors)"),
	"torch._utils._rebuild_wrapper_subclass":              called("a tensor of a class that keeps its values elsewhere (save a plain tensor)"),
}

// newDict makes an empty dict; none of PyTorch's is made of arguments.
func newDict(args []any) (any, error) {
	if len(args) > 0 {
		return &object{class: "dict with arguments"}, nil
	}
	return &pickle.Dict{}, nil
}

// instance takes (class, base, state), as protocols 0 and 1 make objects.
func instance(args []any) (any, error) {
	if len(args) > 0 {
		if c, ok := args[0].(class); ok {
			return &object{class: c.name}, nil
		}
	}
	return &object{class: "of no name"}, nil
}

// A machine unpickles objects and remembers the unknown globals and the storages that it met.
type machine struct {
	pickle.Machine
	globals  map[string]bool    // unknown classes that became inert
	storages map[string]storage // every one that the pickle mentions
}

// newMachine reads pickles of a file; length is that of the first, which bounds the memory of all.
func newMachine(length int) *machine {
	m := &machine{globals: map[string]bool{}, storages: map[string]storage{}}
	m.Machine = pickle.Machine{Find: m.findClass, Persistent: m.persistentLoad, Budget: pickle.NewBudget(length)}
	return m
}

func (m *machine) findClass(module, name string) any {
	full := module + "." + name
	if r, ok := reconstructors[full]; ok {
		return r
	}
	if module == "torch" || module == "torch.storage" || module == "torch.cuda" {
		if e, ok := storageTypes[name]; ok {
			return storage{element: e}
		}
		if e, ok := torchTypes[name]; ok {
			return e
		}
		if slices.Contains(namedTypes, name) {
			return element{kind: name}
		}
	}
	if full != "torch.Tensor" && full != "torch.nn.parameter.Buffer" { // named by files with nothing unknown in them
		m.globals[full] = true
	}
	return class{full}
}

// persistentLoad reads ("storage", class, key, device, count), or the legacy format's ("module", class, file, source).
func (m *machine) persistentLoad(id any) (any, error) {
	t, ok := id.(*pickle.Tuple)
	if !ok {
		return nil, errStorage
	}
	if len(t.Items) > 1 && t.Items[0] == "module" {
		return t.Items[1], nil
	}
	if len(t.Items) < 5 {
		return nil, errStorage
	}
	kind, _ := t.Items[0].(string)
	s, okClass := t.Items[1].(storage)
	key, okKey := t.Items[2].(string)
	count, okCount := t.Items[4].(int)
	if kind != "storage" || !okClass || !okKey || !okCount || count < 0 || int64(count) > math.MaxInt64/s.size {
		return nil, errStorage
	}
	if len(t.Items) > 5 && t.Items[5] != nil {
		return nil, errors.New("persistent id: legacy storage views are not supported")
	}
	s.key, s.count = key, int64(count)
	known, ok := m.storages[key]
	if ok && known.element != s.element {
		return nil, fmt.Errorf("persistent id: storage %q holds both %s and %s", key, known.element, s.element)
	}
	if ok && known.count != s.count {
		return nil, fmt.Errorf("persistent id: storage %q has both %d and %d elements", key, known.count, s.count)
	}
	m.storages[key] = s
	return s, m.Budget.Take(len(key) + storageBytes)
}

var errStorage = errors.New("persistent id: want (storage, class, key, device, count)")

// storageBytes is the memory of a storage's entry, entryBytes that of a tensor's, in maps and lists as they grow.
const (
	storageBytes = 200
	entryBytes   = 400
)

// A member is one entry of an unpickled dict; numbers as keys are written out.
type member struct {
	key   string
	value any
}

// members lists a dict's entries whose keys are strings or whole numbers; ok is false for anything that is not a dict.
func members(v any) (list []member, ok bool) {
	add := func(key, value any) {
		switch k := key.(type) {
		case string:
			list = append(list, member{k, value})
		case int:
			list = append(list, member{strconv.Itoa(k), value})
		}
	}
	switch d := v.(type) {
	case *pickle.Dict:
		for _, e := range d.Items {
			add(e.Key, e.Value)
		}
	case *object:
		for _, e := range d.items.Items {
			add(e.Key, e.Value)
		}
		return list, len(d.items.Items) > 0
	default:
		return nil, false
	}
	return list, true
}

// Bounds of a file: entries, and dicts within dicts. Real checkpoints have some thousands, in three.
const (
	maxEntries = 1 << 17
	maxDepth   = 16
)

// A flattener lists what nested dicts and lists hold: tensors, over storages that lookup finds, and what else is named.
type flattener struct {
	lookup  func(s storage) ([]byte, error)
	release func([]byte)
	budget  *pickle.Budget
	seen    map[any]bool // containers that were visited: one that occurs twice, or within itself, counts once
	entries []entry
}

func flatten(top any, budget *pickle.Budget, lookup func(s storage) ([]byte, error)) ([]entry, error) {
	if list, ok := members(top); !ok || len(list) == 0 {
		if _, isList := elements(top); !isList {
			return nil, fmt.Errorf("%w: the pickle holds no dict, but %s", ErrNotCheckpoint, pickled(top))
		}
	}
	f := &flattener{lookup: lookup, release: mapfile.Release, budget: budget, seen: map[any]bool{}}
	err := f.walk(top, "", 0)
	return f.entries, err
}

// elements lists a list's or tuple's entries by their indices.
func elements(v any) (list []member, ok bool) {
	var all []any
	switch l := v.(type) {
	case *pickle.List:
		all = l.Items
	case *pickle.Tuple:
		all = l.Items
	default:
		return nil, false
	}
	for i, e := range all {
		list = append(list, member{strconv.Itoa(i), e})
	}
	return list, true
}

// walk adds what a container holds; path is where it lies.
func (f *flattener) walk(v any, path string, depth int) error {
	if f.seen[v] || depth > maxDepth {
		return nil
	}
	f.seen[v] = true
	list, ok := members(v)
	if !ok {
		list, _ = elements(v)
	}
	for _, m := range list {
		if len(f.entries) > maxEntries {
			return nil // newCheckpoint refuses it
		}
		e := entry{key: m.key, dict: path}
		if path != "" {
			e.key = path + "." + m.key
		}
		if err := f.budget.Take(len(e.key)); err != nil {
			return err
		}
		switch x := m.value.(type) {
		case *strided:
			f.view(&e, x)
		case *odd:
			e.kind = x.kind
		case class:
			e.kind, e.object, e.class = pickled(x), true, x.name
		case *object:
			if len(x.items.Items) > 0 {
				if err := f.walk(x, e.key, depth+1); err != nil {
					return err
				}
				continue
			}
			e.kind, e.object, e.class = pickled(x), !isArray(x), x.class
		case *pickle.Dict, *pickle.List, *pickle.Tuple:
			if err := f.walk(x, e.key, depth+1); err != nil {
				return err
			}
			continue
		default:
			continue // numbers, names and other things that some scripts keep beside the tensors
		}
		if err := f.budget.Take(entryBytes + len(e.kind) + len(e.view)); err != nil {
			return err
		}
		f.entries = append(f.entries, e)
	}
	return nil
}

// view makes an entry's tensor.
func (f *flattener) view(e *entry, s *strided) {
	e.dropped = s.dropped
	switch {
	case s.refused != "":
		e.kind = s.refused
		return
	case s.element.dtype == tensor.Invalid:
		e.kind = fmt.Sprintf("a %s tensor %v", s.element, s.dims)
		return
	}
	data, err := f.lookup(s.storage)
	if err == nil {
		e.t, err = s.tensor(data, f.release)
	}
	e.err = err
	e.view = fmt.Sprint(s.storage.key, s.element, s.offset, s.dims, s.strides, s.negative)
}
