package tensor

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"unsafe"
)

// A Tensor is an immutable array of static type, little-endian and row-major. It is one of three kinds:
// mapped (a slice of a file), lazy (computed again each time its bytes are asked for, never kept) or dense (in memory).
// Tensors may be shared between goroutines. Nobody may write into the slices it gives.
type Tensor struct {
	typ     Type
	dims    []int64
	len     int64
	data    []byte // nil when lazy
	compute func() []byte
	release func([]byte) // mapped: tells the file that these pages are not needed for now
}

func newTensor(d DType, dims []int64) (*Tensor, error) {
	n, err := Elements(dims)
	if err != nil {
		return nil, err
	}
	return &Tensor{typ: Of(d, dims...), dims: append([]int64{}, dims...), len: n}, nil
}

// New is a dense tensor over data, which it keeps. It fails when data has not exactly the bytes of the type.
func New(d DType, dims []int64, data []byte) (*Tensor, error) {
	return NewMapped(d, dims, data, nil)
}

// NewMapped is a tensor over a slice of a mapped file; release (may be nil) is called on what WriteTo has written.
func NewMapped(d DType, dims []int64, data []byte, release func([]byte)) (*Tensor, error) {
	t, err := newTensor(d, dims)
	if err != nil {
		return nil, err
	}
	if int64(len(data)) != t.NumBytes() {
		return nil, fmt.Errorf("tensor %s: have %d bytes, want %d", t.typ, len(data), t.NumBytes())
	}
	if data == nil {
		data = []byte{}
	}
	t.data, t.release = data, release
	return t, nil
}

// NewLazy is a tensor whose bytes compute gives; compute must give the same bytes each time.
func NewLazy(d DType, dims []int64, compute func() []byte) (*Tensor, error) {
	t, err := newTensor(d, dims)
	if err != nil {
		return nil, err
	}
	t.compute = compute
	return t, nil
}

// number is what a slice of one element type may hold.
type number interface {
	~float32 | ~float64 | ~int64 | ~int32 | ~int16 | ~int8 | ~uint8 | ~uint16
}

func bytesOf[T number](v []T) []byte {
	if len(v) == 0 {
		return []byte{}
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(v[0])))
}

// slice views b as elements; where the processor needs alignment and b has none, it copies.
func slice[T number](b []byte) []T {
	var zero T
	size := int(unsafe.Sizeof(zero))
	if len(b) == 0 {
		return []T{}
	}
	p := unsafe.Pointer(unsafe.SliceData(b))
	if uintptr(p)%uintptr(size) != 0 && runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		c := make([]T, len(b)/size)
		copy(bytesOf(c), b)
		return c
	}
	return unsafe.Slice((*T)(p), len(b)/size)
}

func dense[T number](d DType, dims []int64, v []T) *Tensor {
	t, err := New(d, dims, bytesOf(v))
	if err != nil {
		panic("BUG: " + err.Error()) // the caller sized v itself
	}
	return t
}

// FromFloat32 is a dense float32 tensor that keeps v; len(v) must be the number of elements.
func FromFloat32(dims []int64, v []float32) *Tensor { return dense(Float32, dims, v) }

// FromInt64 is a dense int64 tensor that keeps v.
func FromInt64(dims []int64, v []int64) *Tensor { return dense(Int64, dims, v) }

// FromInt32 is a dense int32 tensor that keeps v.
func FromInt32(dims []int64, v []int32) *Tensor { return dense(Int32, dims, v) }

// FromInt8 is a dense int8 tensor that keeps v.
func FromInt8(dims []int64, v []int8) *Tensor { return dense(Int8, dims, v) }

// FromUint8 is a dense uint8 tensor that keeps v.
func FromUint8(dims []int64, v []uint8) *Tensor { return dense(Uint8, dims, v) }

// FromBool is a dense bool tensor.
func FromBool(dims []int64, v []bool) *Tensor {
	b := make([]uint8, len(v))
	for i, x := range v {
		if x {
			b[i] = 1
		}
	}
	return dense(Bool, dims, b)
}

// Scalar is a float32 tensor of rank 0.
func Scalar(v float32) *Tensor { return FromFloat32([]int64{}, []float32{v}) }

// Type is the tensor's static type.
func (t *Tensor) Type() Type { return t.typ }

// DType is the element type.
func (t *Tensor) DType() DType { return t.typ.DType }

// Dims is the static shape. It must not be written.
func (t *Tensor) Dims() []int64 { return t.dims }

// Len is the number of elements.
func (t *Tensor) Len() int64 { return t.len }

// NumBytes is the size of the tensor's bytes.
func (t *Tensor) NumBytes() int64 { return t.len * t.typ.DType.Size() }

// Bytes gives the elements. A mapped or dense tensor gives its own memory, a lazy one computes them anew.
func (t *Tensor) Bytes() []byte {
	if t.data != nil {
		return t.data
	}
	b := t.compute()
	if int64(len(b)) != t.NumBytes() {
		panic(fmt.Sprintf("BUG: lazy tensor %s computed %d bytes", t.typ, len(b)))
	}
	return b
}

// IsLazy reports whether Bytes computes each time.
func (t *Tensor) IsLazy() bool { return t.data == nil }

// Release tells a mapped file that the tensor's pages are not needed for now. Harmless at any time.
func (t *Tensor) Release() {
	if t.release != nil && len(t.data) > 0 {
		t.release(t.data)
	}
}

const writeChunk = 4 << 20 // bytes written before mapped pages are given back

// WriteTo writes the tensor's bytes; of a mapped tensor only some megabytes are resident at a time.
func (t *Tensor) WriteTo(w io.Writer) (int64, error) {
	if t.release == nil {
		n, err := w.Write(t.Bytes())
		return int64(n), err
	}
	var total int64
	for at := 0; at < len(t.data); at += writeChunk {
		part := t.data[at:min(at+writeChunk, len(t.data))]
		n, err := w.Write(part)
		total += int64(n)
		if err != nil {
			return total, err
		}
		t.release(part)
	}
	return total, nil
}

// Float32s gives the elements as float32: the tensor's own memory when it is float32, a converted copy otherwise.
func (t *Tensor) Float32s() []float32 {
	b := t.Bytes()
	switch t.typ.DType {
	case Float32:
		return slice[float32](b)
	case Float16:
		return convert(slice[uint16](b), Float16ToFloat32)
	case BFloat16:
		return convert(slice[uint16](b), func(u uint16) float32 { return math.Float32frombits(uint32(u) << 16) })
	case Float64:
		return convert(slice[float64](b), func(v float64) float32 { return float32(v) })
	case Int64:
		return convert(slice[int64](b), func(v int64) float32 { return float32(v) })
	case Int32:
		return convert(slice[int32](b), func(v int32) float32 { return float32(v) })
	case Int16:
		return convert(slice[int16](b), func(v int16) float32 { return float32(v) })
	case Int8:
		return convert(slice[int8](b), func(v int8) float32 { return float32(v) })
	}
	return convert(b, func(v uint8) float32 { return float32(v) })
}

// Int64s gives the elements as int64: the tensor's own memory when it is int64, a converted copy otherwise (floats are truncated).
func (t *Tensor) Int64s() []int64 {
	b := t.Bytes()
	switch t.typ.DType {
	case Int64:
		return slice[int64](b)
	case Int32:
		return convert(slice[int32](b), func(v int32) int64 { return int64(v) })
	case Int16:
		return convert(slice[int16](b), func(v int16) int64 { return int64(v) })
	case Int8:
		return convert(slice[int8](b), func(v int8) int64 { return int64(v) })
	case Uint8, Bool:
		return convert(b, func(v uint8) int64 { return int64(v) })
	case Float64:
		return convert(slice[float64](b), func(v float64) int64 { return int64(v) })
	}
	return convert(t.Float32s(), func(v float32) int64 { return int64(v) })
}

// Int8s views an int8 tensor's elements.
func (t *Tensor) Int8s() []int8 { return slice[int8](t.Bytes()) }

// Int32s views an int32 tensor's elements.
func (t *Tensor) Int32s() []int32 { return slice[int32](t.Bytes()) }

// Float64s views a float64 tensor's elements.
func (t *Tensor) Float64s() []float64 { return slice[float64](t.Bytes()) }

func convert[A, B any](in []A, f func(A) B) []B {
	out := make([]B, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}

// FromFloat64 is a dense float64 tensor that keeps v.
func FromFloat64(dims []int64, v []float64) *Tensor { return dense(Float64, dims, v) }

// Dense computes a lazy tensor once and keeps its bytes; others it gives back.
func Dense(t *Tensor) *Tensor {
	if !t.IsLazy() {
		return t
	}
	d := *t
	d.data, d.compute = t.Bytes(), nil
	return &d
}

// Float32View views bytes as float32 without a copy; they are aligned, as all memory that Go gives out in this size is.
func Float32View(b []byte) []float32 { return slice[float32](b) }

// Int8View views bytes as int8 without a copy.
func Int8View(b []byte) []int8 { return slice[int8](b) }

// Clone is a dense copy on memory of its own.
func Clone(t *Tensor) *Tensor {
	c := *Dense(t)
	c.data, c.release = append(make([]byte, 0, len(c.data)), c.data...), nil
	return &c
}
