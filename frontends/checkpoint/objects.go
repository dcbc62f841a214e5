package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/nlpodyssey/gopickle/pickle"
	"github.com/nlpodyssey/gopickle/types"

	"syncsam-convert/ir/tensor"
)

// class stands for a class or function that this reader does not know. It is never executed: calling it gives an inert object.
type class struct{ name string }

func (c class) Call(...any) (any, error)  { return &object{class: c.name}, nil }
func (c class) PyNew(...any) (any, error) { return &object{class: c.name}, nil }

// object stands for an instance of an unknown class. It takes whatever the pickle does to it, and keeps the items of a dict-like class.
type object struct {
	class  string
	module bool // its state is that of a torch.nn.Module
	items  types.Dict
}

func (o *object) Call(...any) (any, error)  { return &object{class: o.class}, nil }
func (o *object) PyNew(...any) (any, error) { return &object{class: o.class}, nil }
func (o *object) Set(key, value any)        { o.items.Set(key, value) }
func (o *object) Append(any)                {}
func (o *object) Add(any)                   {}

func (o *object) PySetState(state any) error {
	list, _ := members(state)
	has := func(key string) bool { return slices.ContainsFunc(list, func(m member) bool { return m.key == key }) }
	o.module = has("_parameters") && has("_modules")
	return nil
}

// reconstructor is an allowed function.
type reconstructor func(args []any) (any, error)

func (r reconstructor) Call(args ...any) (any, error)  { return r(args) }
func (r reconstructor) PyNew(args ...any) (any, error) { return r(args) }

// reconstructors is the allow-list: what makes tensors and parameters of storages. Nothing else is ever called.
var reconstructors = map[string]reconstructor{
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

// A machine unpickles one object and remembers the unknown globals it met.
type machine struct {
	globals  map[string]bool    // unknown classes that became inert
	storages map[string]element // element type of every storage that the pickle mentions
}

func newMachine() *machine {
	return &machine{globals: map[string]bool{}, storages: map[string]element{}}
}

func (m *machine) load(data []byte) (v any, rest []byte, err error) {
	n, err := scan(data)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if r := recover(); r != nil { // the machine's own panics on malformed streams
			err = fmt.Errorf("pickle: malformed: %.200v", r)
		}
	}()
	u := pickle.NewUnpickler(bytes.NewReader(data[:n]))
	u.FindClass = m.findClass
	u.PersistentLoad = m.persistentLoad
	if v, err = u.Load(); err != nil {
		return nil, nil, fmt.Errorf("pickle: %.300w", err)
	}
	return v, data[n:], nil
}

func (m *machine) findClass(module, name string) (any, error) {
	full := module + "." + name
	if r, ok := reconstructors[full]; ok {
		return r, nil
	}
	if module == "torch" || module == "torch.storage" || module == "torch.cuda" {
		if e, ok := storageTypes[name]; ok {
			return storage{element: e}, nil
		}
		if e, ok := torchTypes[name]; ok {
			return e, nil
		}
		if slices.Contains(namedTypes, name) {
			return element{kind: name}, nil
		}
	}
	if (module == "__builtin__" || module == "builtins") && name == "dict" {
		return &types.Dict{}, nil
	}
	if full != "torch.Tensor" && full != "torch.nn.parameter.Buffer" { // named by files with nothing unknown in them
		m.globals[full] = true
	}
	return class{full}, nil
}

// persistentLoad reads ("storage", class, key, device, count), or the legacy format's ("module", class, file, source).
func (m *machine) persistentLoad(id any) (any, error) {
	t, ok := id.(*types.Tuple)
	if ok && t.Len() > 1 && t.Get(0) == "module" {
		return t.Get(1), nil
	}
	if !ok || t.Len() < 5 {
		return nil, errors.New("persistent id: want (storage, class, key, device, count)")
	}
	kind, _ := t.Get(0).(string)
	s, okClass := t.Get(1).(storage)
	key, okKey := t.Get(2).(string)
	count, okCount := t.Get(4).(int)
	if kind != "storage" || !okClass || !okKey || !okCount || count < 0 {
		return nil, errors.New("persistent id: want (storage, class, key, device, count)")
	}
	if t.Len() > 5 && t.Get(5) != nil {
		return nil, errors.New("persistent id: legacy storage views are not supported")
	}
	if known, ok := m.storages[key]; ok && known.size != s.size {
		return nil, fmt.Errorf("persistent id: storage %q holds both %s and %s", key, known, s.element)
	}
	s.key = key
	m.storages[key] = s.element
	return s, nil
}

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
	case *types.Dict:
		for _, e := range *d {
			add(e.Key, e.Value)
		}
	case *types.OrderedDict:
		for el := d.List.Front(); el != nil; el = el.Next() {
			e := el.Value.(*types.OrderedDictEntry)
			add(e.Key, e.Value)
		}
	case *object:
		for _, e := range d.items {
			add(e.Key, e.Value)
		}
		return list, len(d.items) > 0
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
	seen    map[any]bool // containers that were visited: one that occurs twice, or within itself, counts once
	entries []entry
}

func flatten(top any, lookup func(s storage) ([]byte, error), release func([]byte)) ([]entry, error) {
	if list, ok := members(top); !ok || len(list) == 0 {
		if _, isList := elements(top); !isList {
			return nil, fmt.Errorf("%w: the pickle holds no dict, but %s", ErrNotCheckpoint, pickled(top))
		}
	}
	f := &flattener{lookup: lookup, release: release, seen: map[any]bool{}}
	err := f.walk(top, "", 0)
	return f.entries, err
}

// elements lists a list's or tuple's entries by their indices.
func elements(v any) (list []member, ok bool) {
	var all []any
	switch l := v.(type) {
	case *types.List:
		all = *l
	case *types.Tuple:
		all = *l
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
	list, ok := members(v)
	if !ok {
		list, _ = elements(v)
	}
	if f.seen[v] || depth > maxDepth {
		return nil
	}
	f.seen[v] = true
	for _, m := range list {
		if len(f.entries) > maxEntries {
			return nil // newCheckpoint refuses it
		}
		e := entry{key: m.key, dict: path}
		if path != "" {
			e.key = path + "." + m.key
		}
		switch x := m.value.(type) {
		case *strided:
			f.view(&e, x)
		case *odd:
			e.kind = x.kind
		case class:
			e.kind, e.object = pickled(x), true
		case *object:
			if len(x.items) > 0 {
				if err := f.walk(x, e.key, depth+1); err != nil {
					return err
				}
				continue
			}
			e.kind, e.object = pickled(x), !isArray(x)
		case *types.Dict, *types.OrderedDict, *types.List, *types.Tuple:
			if err := f.walk(x, e.key, depth+1); err != nil {
				return err
			}
			continue
		default:
			continue // numbers, names and other things that some scripts keep beside the tensors
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
