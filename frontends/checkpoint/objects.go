package checkpoint

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/nlpodyssey/gopickle/pickle"
	"github.com/nlpodyssey/gopickle/types"

	"syncsam-convert/ir/tensor"
)

// storageTypes are the storage classes that a persistent id may name.
var storageTypes = map[string]tensor.DType{
	"FloatStorage": tensor.Float32, "HalfStorage": tensor.Float16, "BFloat16Storage": tensor.BFloat16, "DoubleStorage": tensor.Float64,
	"LongStorage": tensor.Int64, "IntStorage": tensor.Int32, "ShortStorage": tensor.Int16, "CharStorage": tensor.Int8,
	"ByteStorage": tensor.Uint8, "BoolStorage": tensor.Bool, "UntypedStorage": tensor.Invalid,
}

// torchTypes are torch's dtype objects, which newer reconstructors name.
var torchTypes = map[string]tensor.DType{
	"float32": tensor.Float32, "float16": tensor.Float16, "bfloat16": tensor.BFloat16, "float64": tensor.Float64, "int64": tensor.Int64,
	"int32": tensor.Int32, "int16": tensor.Int16, "int8": tensor.Int8, "uint8": tensor.Uint8, "bool": tensor.Bool,
}

// storage is what a persistent id stands for; its bytes are looked up when a tensor needs them.
type storage struct {
	key   string
	dtype tensor.DType // Invalid: bytes of no type
	count int64        // elements, bytes when untyped
}

// strided is a tensor as pickled: a view of a storage.
type strided struct {
	storage       storage
	dtype         tensor.DType
	offset        int64
	dims, strides []int64
}

// inert stands for a class, function or instance that this reader does not know. It takes whatever the pickle does to it and keeps nothing.
type inert struct{}

func (inert) Call(...any) (any, error)  { return inert{}, nil }
func (inert) PyNew(...any) (any, error) { return inert{}, nil }
func (inert) PySetState(any) error      { return nil }
func (inert) Set(any, any)              {}
func (inert) Append(any)                {}
func (inert) Add(any)                   {}

// reconstructor is an allowed function.
type reconstructor func(args []any) (any, error)

func (r reconstructor) Call(args ...any) (any, error) { return r(args) }

// reconstructors is the allow-list: what makes tensors and parameters of storages. Nothing else is ever called.
var reconstructors = map[string]reconstructor{
	"torch._utils._rebuild_tensor":               rebuildTensor,
	"torch._utils._rebuild_tensor_v2":            rebuildTensor,
	"torch._utils._rebuild_tensor_v3":            rebuildTypedTensor,
	"torch._utils._rebuild_parameter":            firstArgument,
	"torch._utils._rebuild_parameter_with_state": firstArgument,
}

// A machine unpickles one object and remembers the unknown globals it met.
type machine struct {
	globals  map[string]bool         // unknown classes that became inert
	storages map[string]tensor.DType // element type of every storage that the pickle mentions
}

func newMachine() *machine {
	return &machine{globals: map[string]bool{}, storages: map[string]tensor.DType{}}
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
	if module == "torch" || module == "torch.storage" {
		if d, ok := storageTypes[name]; ok {
			return storage{dtype: d}, nil
		}
		if d, ok := torchTypes[name]; ok {
			return d, nil
		}
	}
	if module == "__builtin__" && name == "dict" {
		return &types.Dict{}, nil
	}
	m.globals[full] = true
	return inert{}, nil
}

// persistentLoad reads ("storage", class, key, device, count).
func (m *machine) persistentLoad(id any) (any, error) {
	t, ok := id.(*types.Tuple)
	if !ok || t.Len() < 5 {
		return nil, errors.New("persistent id: want (storage, class, key, device, count)")
	}
	kind, _ := t.Get(0).(string)
	class, okClass := t.Get(1).(storage)
	key, okKey := t.Get(2).(string)
	count, okCount := t.Get(4).(int)
	if kind != "storage" || !okClass || !okKey || !okCount || count < 0 {
		return nil, errors.New("persistent id: want (storage, class, key, device, count)")
	}
	if t.Len() > 5 && t.Get(5) != nil {
		return nil, errors.New("persistent id: legacy storage views are not supported")
	}
	class.key, class.count = key, int64(count)
	m.storages[key] = class.dtype
	return class, nil
}

// rebuildTensor takes (storage, offset, shape, stride, ...).
func rebuildTensor(args []any) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("tensor: have %d arguments, want 4 or more", len(args))
	}
	s, okS := args[0].(storage)
	offset, okO := args[1].(int)
	dims, err1 := integers(args[2])
	strides, err2 := integers(args[3])
	if err := errors.Join(err1, err2); err != nil || !okS || !okO {
		return nil, errors.New("tensor: want (storage, offset, shape, stride)")
	}
	return strided{s, s.dtype, int64(offset), dims, strides}, nil
}

// rebuildTypedTensor takes (storage, offset, shape, stride, requires_grad, hooks, dtype, ...).
func rebuildTypedTensor(args []any) (any, error) {
	v, err := rebuildTensor(args)
	if err != nil {
		return nil, err
	}
	s := v.(strided)
	if len(args) < 7 {
		return nil, fmt.Errorf("tensor: have %d arguments, want 7 or more", len(args))
	}
	d, ok := args[6].(tensor.DType)
	if !ok {
		return nil, errors.New("tensor: its dtype is not supported")
	}
	s.dtype = d
	return s, nil
}

func firstArgument(args []any) (any, error) {
	if len(args) == 0 {
		return nil, errors.New("parameter: no arguments")
	}
	return args[0], nil
}

func integers(v any) ([]int64, error) {
	t, ok := v.(*types.Tuple)
	if !ok {
		return nil, errors.New("want a tuple of integers")
	}
	out := make([]int64, t.Len())
	for i := range out {
		n, ok := t.Get(i).(int)
		if !ok || n < 0 {
			return nil, errors.New("want a tuple of integers, none negative")
		}
		out[i] = int64(n)
	}
	return out, nil
}

// item is one entry of an unpickled dict with string keys.
type item struct {
	key   string
	value any
}

// items lists a dict's entries with string keys; ok is false for anything that is not a dict.
func items(v any) (list []item, ok bool) {
	switch d := v.(type) {
	case *types.Dict:
		for _, e := range *d {
			if k, ok := e.Key.(string); ok {
				list = append(list, item{k, e.Value})
			}
		}
		return list, true
	case *types.OrderedDict:
		for el := d.List.Front(); el != nil; el = el.Next() {
			e := el.Value.(*types.OrderedDictEntry)
			if k, ok := e.Key.(string); ok {
				list = append(list, item{k, e.Value})
			}
		}
		return list, true
	}
	return nil, false
}

// wrappers are the keys that training scripts save a state dict under, in order of preference.
var wrappers = []string{"model_state_dict", "model", "state_dict"}

// stateDict finds the state dict in what was saved: under a wrapper's key, or the top level itself.
func stateDict(top any) (dict []item, wrapper string, err error) {
	dict, ok := items(top)
	if !ok {
		return nil, "", fmt.Errorf("%w: the pickle holds no dict", ErrNotCheckpoint)
	}
	for _, key := range wrappers {
		for _, e := range dict {
			if e.key != key {
				continue
			}
			if inner, ok := items(e.value); ok && hasTensor(inner) {
				return inner, key, nil
			}
		}
	}
	if !hasTensor(dict) {
		return nil, "", fmt.Errorf("%w: the dict holds no tensors", ErrNotCheckpoint)
	}
	return dict, "", nil
}

func hasTensor(dict []item) bool {
	for _, e := range dict {
		if _, ok := e.value.(strided); ok {
			return true
		}
	}
	return false
}

// build makes the tensors of a state dict over storages that lookup finds.
func build(dict []item, lookup func(s storage) ([]byte, error), release func([]byte)) ([]entry, error) {
	var out []entry
	for _, e := range dict {
		s, ok := e.value.(strided)
		if !ok {
			continue // numbers, names and other things that some scripts keep beside the tensors
		}
		data, err := lookup(s.storage)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", e.key, err)
		}
		t, err := s.tensor(data, release)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", e.key, err)
		}
		view := fmt.Sprint(s.storage.key, s.dtype, s.offset, s.dims, s.strides)
		out = append(out, entry{e.key, t, view})
	}
	return out, nil
}

// maxRepeated bounds the elements of a view that has more than its storage (an expanded tensor).
const maxRepeated = 1 << 24

// tensor makes the view: a slice of the storage where it is contiguous, gathered lazily where not.
func (s strided) tensor(data []byte, release func([]byte)) (*tensor.Tensor, error) {
	size := s.dtype.Size()
	if size == 0 {
		return nil, errors.New("its storage has no element type")
	}
	n, err := tensor.Elements(s.dims)
	if err != nil {
		return nil, err
	}
	if len(s.strides) != len(s.dims) {
		return nil, fmt.Errorf("shape %v and stride %v differ in rank", s.dims, s.strides)
	}
	if n == 0 {
		return tensor.New(s.dtype, s.dims, []byte{})
	}
	last, contiguous, step := s.offset, true, int64(1)
	have := int64(len(data)) / size
	for i := len(s.dims) - 1; i >= 0; i-- {
		if s.dims[i] == 1 {
			continue
		}
		contiguous = contiguous && s.strides[i] == step
		step *= s.dims[i]
		if s.strides[i] > 0 && s.dims[i]-1 > have/s.strides[i] { // also keeps the sum from overflowing
			return nil, fmt.Errorf("storage %q is too short: have %d elements, want more", s.storage.key, have)
		}
		last += (s.dims[i] - 1) * s.strides[i]
	}
	if s.offset > have || last >= have {
		return nil, fmt.Errorf("storage %q is too short: have %d elements, want %d", s.storage.key, have, last+1)
	}
	if contiguous {
		return tensor.NewMapped(s.dtype, s.dims, data[s.offset*size:(s.offset+n)*size], release)
	}
	if n > have && n > maxRepeated {
		return nil, fmt.Errorf("shape %v repeats %d stored elements too often", s.dims, have)
	}
	return tensor.NewLazy(s.dtype, s.dims, func() []byte { return tensor.Gather(data, int(size), s.offset, s.dims, s.strides) })
}
