package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"syncsam-convert/frontends/checkpoint/pickle"
	"syncsam-convert/ir/tensor"
)

// An element is a type of a storage's elements. dtype is Invalid for those that are named and not computed with.
type element struct {
	dtype tensor.DType
	size  int64 // bytes
	kind  string
}

func (e element) String() string {
	if e.kind != "" {
		return e.kind
	}
	return e.dtype.String()
}

func number(d tensor.DType) element { return element{dtype: d, size: d.Size()} }

// storageTypes are the storage classes that a persistent id may name.
var storageTypes = map[string]element{
	"FloatStorage": number(tensor.Float32), "HalfStorage": number(tensor.Float16), "BFloat16Storage": number(tensor.BFloat16),
	"DoubleStorage": number(tensor.Float64), "LongStorage": number(tensor.Int64), "IntStorage": number(tensor.Int32),
	"ShortStorage": number(tensor.Int16), "CharStorage": number(tensor.Int8), "ByteStorage": number(tensor.Uint8), "BoolStorage": number(tensor.Bool),
	"UntypedStorage":       {size: 1, kind: "untyped"},
	"ComplexFloatStorage":  {size: 8, kind: "complex64"},
	"ComplexDoubleStorage": {size: 16, kind: "complex128"},
	"QInt8Storage":         {size: 1, kind: "qint8"},
	"QUInt8Storage":        {size: 1, kind: "quint8"},
	"QInt32Storage":        {size: 4, kind: "qint32"},
	"QUInt4x2Storage":      {size: 1, kind: "quint4x2"},
	"QUInt2x4Storage":      {size: 1, kind: "quint2x4"},
}

// torchTypes are torch's dtype objects, which newer reconstructors name.
var torchTypes = map[string]element{
	"float32": number(tensor.Float32), "float16": number(tensor.Float16), "bfloat16": number(tensor.BFloat16), "float64": number(tensor.Float64),
	"int64": number(tensor.Int64), "int32": number(tensor.Int32), "int16": number(tensor.Int16), "int8": number(tensor.Int8),
	"uint8": number(tensor.Uint8), "bool": number(tensor.Bool),
}

// namedTypes are dtype objects whose tensors are named and not computed with.
var namedTypes = strings.Fields(`uint16 uint32 uint64 complex32 complex64 complex128 bcomplex32 float8_e4m3fn float8_e5m2 float8_e4m3fnuz
	float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2 bits8 bits16 bits1x8 bits2x4 bits4x2 qint8 quint8 qint32 quint4x2 quint2x4
	uint1 uint2 uint3 uint4 uint5 uint6 uint7 int1 int2 int3 int4 int5 int6 int7`)

// storage is what a persistent id stands for; its bytes are looked up when a tensor needs them.
type storage struct {
	key   string
	count int64 // elements, as the pickle says
	element
}

// strided is a tensor as pickled: a view of a storage.
type strided struct {
	storage       storage
	element       element
	offset        int64
	dims, strides []int64
	negative      bool   // the stored elements are the negatives of the tensor's
	dropped       string // class and attributes
	refused       string // metadata that changes values in a way not known here
}

// Memory is what it takes beside the values that the pickle gave.
func (s *strided) Memory() int { return 256 + 16*len(s.dims) + len(s.dropped) + len(s.refused) }

// SetState is how a class changes a tensor by code of its own.
func (s *strided) SetState(any) error {
	s.refused = "a tensor whose class restores it by code of its own (save a plain tensor)"
	return nil
}

// odd is a tensor, or what takes a tensor's place, that cannot be computed with.
type odd struct{ kind string }

// SetState ignores attributes.
func (*odd) SetState(any) error { return nil }

// rebuildTensor takes (storage, offset, shape, stride).
func rebuildTensor(args []any) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("tensor: have %d arguments, want 4 or more", len(args))
	}
	s, okS := args[0].(storage)
	offset, okO := args[1].(int)
	dims, err1 := integers(args[2])
	strides, err2 := integers(args[3])
	if err := cmp.Or(err1, err2); err != nil {
		return nil, fmt.Errorf("tensor: %w", err)
	}
	if !okS || !okO || offset < 0 {
		return nil, errors.New("tensor: want (storage, offset, shape, stride)")
	}
	return &strided{storage: s, element: s.element, offset: int64(offset), dims: dims, strides: strides}, nil
}

// rebuildPlainTensor takes (storage, offset, shape, stride, requires_grad, hooks, metadata).
func rebuildPlainTensor(args []any) (any, error) { return withMetadata(args, 6) }

// rebuildTypedTensor takes (storage, offset, shape, stride, requires_grad, hooks, dtype, metadata).
func rebuildTypedTensor(args []any) (any, error) {
	v, err := withMetadata(args, 7)
	if err != nil {
		return nil, err
	}
	if len(args) < 7 {
		return nil, fmt.Errorf("tensor: have %d arguments, want 7 or more", len(args))
	}
	s := v.(*strided)
	switch d := args[6].(type) {
	case element:
		s.element = d
	case class:
		s.element = element{kind: d.name}
	default:
		return nil, errors.New("tensor: its dtype is not one of torch's")
	}
	return s, nil
}

// withMetadata is rebuildTensor with a dict of flags at an index of the arguments. The negative bit is applied; what else is set and may
// change values refuses the tensor.
func withMetadata(args []any, at int) (any, error) {
	if len(args) < at {
		return nil, fmt.Errorf("tensor: have %d arguments, want %d or more", len(args), at)
	}
	v, err := rebuildTensor(args)
	if err != nil || len(args) <= at || args[at] == nil {
		return v, err
	}
	s := v.(*strided)
	flags, ok := members(args[at])
	if !ok || len(flags) > mostKeys {
		return nil, errors.New("tensor: metadata: want a small dict")
	}
	for _, f := range flags {
		switch {
		case f.value == false || f.value == nil:
		case f.key == "neg" && f.value == true:
			s.negative = true
		case f.key == "conj" && f.value == true:
			s.refused = "a tensor with its conjugate bit set (save it with .resolve_conj())"
		default:
			s.refused = fmt.Sprintf("a tensor with metadata %q, which may change its values (save a plain copy: .clone())", f.key)
		}
	}
	return s, nil
}

// rebuildFromType takes (function, class, its arguments, attributes): a tensor of a subclass, or with attributes. Its values are the
// function's; class and attributes are dropped by name.
func rebuildFromType(args []any) (any, error) {
	if len(args) < 3 {
		return nil, fmt.Errorf("tensor: have %d arguments, want 3 or more", len(args))
	}
	of := "a class"
	if c, ok := args[1].(class); ok {
		of = "class " + c.name
	}
	f, okF := args[0].(reconstructor)
	inner, okA := args[2].(*pickle.Tuple)
	nested := okA && len(inner.Items) > 0 && isFunction(inner.Items[0]) // which no program writes, and could be so a million times
	if !okF || !okA || nested {
		return &odd{"a tensor of " + of + ", made by code of its own (save a plain tensor)"}, nil
	}
	v, err := f(inner.Items)
	if err != nil {
		return nil, err
	}
	if s, ok := v.(*strided); ok {
		attributes := ""
		if len(args) > 3 {
			attributes = attributeNames(args[3])
		}
		if of == "class torch.Tensor" || of == "class torch.nn.parameter.Buffer" || of == "class torch.nn.parameter.Parameter" {
			of = ""
		}
		s.dropped = strings.Trim(of+", "+attributes, ", ")
	}
	return v, nil
}

func isFunction(v any) bool {
	_, ok := v.(reconstructor)
	return ok
}

// rebuildWithState is a parameter with attributes: (tensor, requires_grad, hooks, attributes).
func rebuildWithState(args []any) (any, error) {
	v, err := firstArgument(args)
	if s, ok := v.(*strided); ok && len(args) > 3 {
		s.dropped = attributeNames(args[3])
	}
	return v, err
}

// ownAttributes are those that torch.nn.Buffer always has; they say nothing of values.
var ownAttributes = map[string]bool{"persistent": true, "_is_buffer": true, "_is_param": true}

// attributeNames lists what a tensor's state holds: a dict, or a pair of dicts.
func attributeNames(state any) string {
	var names []string
	parts := []any{state}
	if t, ok := state.(*pickle.Tuple); ok {
		parts = t.Items[:min(len(t.Items), 2)]
	}
	for _, p := range parts {
		names = append(names, slices.DeleteFunc(firstKeys(p), func(k string) bool { return ownAttributes[k] })...)
	}
	switch len(names) {
	case 0:
		return ""
	case 1:
		return "attribute " + names[0]
	}
	return "attributes " + some(names)
}

// rebuildFromCPU takes (tensor, dtype, device, requires_grad), which devices without storages of their own save.
func rebuildFromCPU(args []any) (any, error) {
	if len(args) < 2 {
		return nil, errors.New("tensor: want (tensor, dtype, device, requires_grad)")
	}
	if s, ok := args[0].(*strided); ok && args[1] == s.element {
		return s, nil
	}
	return &odd{"a tensor of another device, saved in another type (save it with .cpu())"}, nil
}

// called makes an allowed function that gives something that cannot be computed with.
func called(kind string) reconstructor {
	return func([]any) (any, error) { return &odd{kind}, nil }
}

func firstArgument(args []any) (any, error) {
	if len(args) == 0 {
		return nil, errors.New("parameter: no arguments")
	}
	return args[0], nil
}

// maxRank is PyTorch's own bound.
const maxRank = 64

func integers(v any) ([]int64, error) {
	t, ok := v.(*pickle.Tuple)
	if !ok {
		return nil, errors.New("want a tuple of integers")
	}
	if len(t.Items) > maxRank {
		return nil, fmt.Errorf("rank: have %d, want at most %d", len(t.Items), maxRank)
	}
	out := make([]int64, len(t.Items))
	for i := range out {
		n, ok := t.Items[i].(int)
		if !ok || n < 0 {
			return nil, errors.New("want a tuple of integers, none negative")
		}
		out[i] = int64(n)
	}
	return out, nil
}

// maxRepeated bounds the elements of a view that has more than its storage (an expanded tensor).
const maxRepeated = 1 << 22

// tensor makes the view: a slice of the storage where it is contiguous, gathered lazily where not.
func (s *strided) tensor(data []byte, release func([]byte)) (*tensor.Tensor, error) {
	dtype, size := s.element.dtype, s.element.size
	n, err := tensor.Elements(s.dims)
	if err != nil {
		return nil, err
	}
	if len(s.strides) != len(s.dims) {
		return nil, fmt.Errorf("shape %v and stride %v differ in rank", s.dims, s.strides)
	}
	if n == 0 {
		return tensor.New(dtype, s.dims, []byte{})
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
	if !contiguous && n > have && n > maxRepeated {
		return nil, fmt.Errorf("shape %v repeats %d stored elements too often", s.dims, have)
	}
	gather := func() []byte { return tensor.Gather(data, int(size), s.offset, s.dims, s.strides) }
	switch {
	case s.negative:
		return tensor.NewLazy(dtype, s.dims, func() []byte { return negated(dtype, gather()) })
	case contiguous:
		return tensor.NewMapped(dtype, s.dims, data[s.offset*size:(s.offset+n)*size], release)
	}
	return tensor.NewLazy(dtype, s.dims, gather)
}

// negated changes every element's sign, in place. Integers wrap as PyTorch's do.
func negated(d tensor.DType, b []byte) []byte {
	size := int(d.Size())
	for at := 0; at < len(b); at += size {
		e := b[at : at+size]
		if d.IsFloat() {
			e[size-1] ^= 0x80
			continue
		}
		carry := 1 // two's complement: the inverse plus one
		for i := range e {
			sum := int(^e[i]) + carry
			e[i], carry = byte(sum), sum>>8
		}
	}
	return b
}
