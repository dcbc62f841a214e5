package onnxpb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"syncsam-convert/internal/mapfile"
	"syncsam-convert/ir/tensor"
)

// Field numbers of the messages that are walked, not unmarshalled (onnx.proto).
const (
	modelGraph       = 7
	graphInitializer = 5
	tensorDims       = 1
	tensorDataType   = 2
	tensorName       = 8
	tensorRawData    = 9
)

// dtypes of tensors that this project computes with, by ONNX's numbers.
var dtypes = map[int32]tensor.DType{
	int32(TensorProto_FLOAT): tensor.Float32, int32(TensorProto_FLOAT16): tensor.Float16, int32(TensorProto_BFLOAT16): tensor.BFloat16,
	int32(TensorProto_DOUBLE): tensor.Float64, int32(TensorProto_INT64): tensor.Int64, int32(TensorProto_INT32): tensor.Int32,
	int32(TensorProto_INT16): tensor.Int16, int32(TensorProto_INT8): tensor.Int8, int32(TensorProto_UINT8): tensor.Uint8, int32(TensorProto_BOOL): tensor.Bool,
}

// DTypeOf translates ONNX's number of an element type.
func DTypeOf(n int32) (tensor.DType, error) {
	if d, ok := dtypes[n]; ok {
		return d, nil
	}
	return tensor.Invalid, fmt.Errorf("element type %s is not supported", TensorProto_DataType(n))
}

// NumberOf is ONNX's number of an element type.
func NumberOf(d tensor.DType) int32 {
	for n, t := range dtypes {
		if t == d {
			return n
		}
	}
	return 0
}

// An Initializer is a constant tensor of a graph.
type Initializer struct {
	Name   string
	Tensor *tensor.Tensor
}

// A File is an open model: the messages without the main graph's initializers, and those as tensors over the mapped file.
type File struct {
	Model        *ModelProto
	Initializers []Initializer
	files        []*mapfile.File
	beside       []string // names of files[1:]
}

// Beside lists the files that the model keeps data in, by their names in its folder.
func (f *File) Beside() []string { return f.beside }

// Close ends the mappings that the initializers lie in.
func (f *File) Close() error {
	var errs []error
	for _, m := range f.files {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

// Open maps a model. External data are looked for beside it, never outside its directory.
func Open(path string) (*File, error) {
	m, err := mapfile.Open(path)
	if err != nil {
		return nil, err
	}
	f := &File{files: []*mapfile.File{m}}
	if err := f.parse(m.Data, filepath.Dir(path)); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// Parse reads a model's bytes, which the tensors keep; external data are refused.
func Parse(data []byte) (*File, error) {
	f := &File{}
	return f, f.parse(data, "")
}

// parse takes the initializers out of the stream and unmarshals the rest. Fields that occur twice are merged, as protobuf defines it.
func (f *File) parse(data []byte, dir string) error {
	var skeleton []byte
	err := fields(data, func(n protowire.Number, whole, body []byte) error {
		if n != modelGraph || body == nil {
			skeleton = append(skeleton, whole...)
			return nil
		}
		var graph []byte
		err := fields(body, func(n protowire.Number, whole, body []byte) error {
			if n != graphInitializer || body == nil {
				graph = append(graph, whole...)
				return nil
			}
			init, err := f.initializer(body, dir)
			f.Initializers = append(f.Initializers, init)
			return err
		})
		skeleton = protowire.AppendTag(skeleton, modelGraph, protowire.BytesType)
		skeleton = protowire.AppendBytes(skeleton, graph)
		return err
	})
	if err != nil {
		return err
	}
	f.Model = &ModelProto{}
	if err := proto.Unmarshal(skeleton, f.Model); err != nil {
		return fmt.Errorf("not an ONNX model: %w", err)
	}
	if f.Model.Graph == nil {
		return errors.New("not an ONNX model: it has no graph")
	}
	return nil
}

// fields calls visit with each field's number, its whole encoding, and its payload when it is length-delimited.
func fields(data []byte, visit func(n protowire.Number, whole, body []byte) error) error {
	for len(data) > 0 {
		num, typ, tag := protowire.ConsumeTag(data)
		if tag < 0 {
			return errors.New("not an ONNX model: malformed protobuf")
		}
		size := protowire.ConsumeFieldValue(num, typ, data[tag:])
		if size < 0 {
			return errors.New("not an ONNX model: malformed protobuf (truncated?)")
		}
		var body []byte
		if typ == protowire.BytesType {
			body, _ = protowire.ConsumeBytes(data[tag : tag+size])
			if body == nil {
				body = []byte{}
			}
		}
		if err := visit(num, data[:tag+size:tag+size], body); err != nil {
			return err
		}
		data = data[tag+size:]
	}
	return nil
}

// initializer makes a tensor of an encoded TensorProto; raw data stay where they are.
func (f *File) initializer(data []byte, dir string) (Initializer, error) {
	var raw, rest []byte
	err := fields(data, func(n protowire.Number, whole, body []byte) error {
		if n == tensorRawData && body != nil {
			raw = body
		} else {
			rest = append(rest, whole...)
		}
		return nil
	})
	if err != nil {
		return Initializer{}, err
	}
	p := &TensorProto{}
	if err := proto.Unmarshal(rest, p); err != nil {
		return Initializer{}, fmt.Errorf("initializer: %w", err)
	}
	var t *tensor.Tensor
	if p.GetDataLocation() == TensorProto_EXTERNAL {
		t, err = f.external(p, dir)
	} else {
		t, err = newTensor(p, raw)
	}
	if err != nil {
		return Initializer{}, fmt.Errorf("initializer %q: %w", p.GetName(), err)
	}
	return Initializer{p.GetName(), t}, nil
}

// TensorOf makes a tensor of a TensorProto held in a message, as attributes hold them; external data are refused.
func TensorOf(p *TensorProto) (*tensor.Tensor, error) {
	if p == nil {
		return nil, errors.New("it is no tensor")
	}
	if p.GetDataLocation() == TensorProto_EXTERNAL {
		return nil, fmt.Errorf("tensor %q: external data are not supported here", p.GetName())
	}
	return newTensor(p, p.RawData)
}

func newTensor(p *TensorProto, raw []byte) (*tensor.Tensor, error) {
	d, err := DTypeOf(p.GetDataType())
	if err != nil {
		return nil, err
	}
	dims := p.GetDims()
	if dims == nil {
		dims = []int64{}
	}
	if raw == nil {
		raw = typedData(p, d)
	}
	return tensor.NewMapped(d, dims, raw, mapfile.Release)
}

// typedData collects the elements from the field that the element type uses.
func typedData(p *TensorProto, d tensor.DType) []byte {
	out := []byte{}
	le := binary.LittleEndian
	switch d {
	case tensor.Float32:
		for _, v := range p.FloatData {
			out = le.AppendUint32(out, math.Float32bits(v))
		}
	case tensor.Float64:
		for _, v := range p.DoubleData {
			out = le.AppendUint64(out, math.Float64bits(v))
		}
	case tensor.Int64:
		for _, v := range p.Int64Data {
			out = le.AppendUint64(out, uint64(v))
		}
	default: // int32_data holds all narrower types
		for _, v := range p.Int32Data {
			out = append(out, le.AppendUint32(nil, uint32(v))[:d.Size()]...)
		}
	}
	return out
}

// external slices a data file beside the model.
func (f *File) external(p *TensorProto, dir string) (*tensor.Tensor, error) {
	info := map[string]string{}
	for _, e := range p.ExternalData {
		info[e.GetKey()] = e.GetValue()
	}
	name := info["location"]
	if dir == "" || !filepath.IsLocal(name) {
		return nil, fmt.Errorf("external data: location %q is not a file beside the model", name)
	}
	number := func(key string, absent int64) (int64, error) {
		s, ok := info[key]
		if !ok {
			return absent, nil
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("external data: %s: have %q", key, s)
		}
		return n, nil
	}
	data, err := f.sibling(dir, name)
	if err != nil {
		return nil, err
	}
	offset, err1 := number("offset", 0)
	length, err2 := number("length", int64(len(data))-offset)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if offset > int64(len(data)) || length < 0 || length > int64(len(data))-offset {
		return nil, fmt.Errorf("external data: %s: have %d bytes, want %d at %d", name, len(data), length, offset)
	}
	return newTensor(p, data[offset:offset+length:offset+length])
}

// sibling maps a data file once.
func (f *File) sibling(dir, name string) ([]byte, error) {
	name = filepath.ToSlash(filepath.Clean(name))
	if i := slices.Index(f.beside, name); i >= 0 {
		return f.files[1+i].Data, nil
	}
	m, err := mapfile.Open(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("external data: %w", err)
	}
	f.files, f.beside = append(f.files, m), append(f.beside, name)
	return m.Data, nil
}
