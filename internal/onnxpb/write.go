package onnxpb

import (
	"fmt"
	"io"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"syncsam-convert/ir/tensor"
)

// PostprocessKey in metadata_props names the output whose shape depends on values: executors compute it, the IR cannot.
const PostprocessKey = "postprocess_output"

// MaxInline is the size past which a model cannot be one file: protobuf messages end at 2 GiB.
const MaxInline = 1<<31 - 1

// External sends large tensors to a second file.
type External struct {
	W         io.Writer
	Location  string // its name, beside the model
	Threshold int64  // tensors of at least so many bytes go there
}

const pageAlign = 4096 // external tensors start on a page, so that readers can map them

// Write streams a model: first the message without initializers, then one graph chunk per tensor, which every protobuf
// reader merges into the graph. Each tensor is computed when its turn comes, so memory holds about one. The same model
// gives the same bytes. ext may be nil; check, which may be, too, sees all bytes of the tensors, in parts of whole elements, before they are written.
func Write(w io.Writer, model *ModelProto, inits []Initializer, ext *External, check Check) error {
	skeleton, err := marshal(model)
	if err != nil {
		return err
	}
	if _, err := w.Write(skeleton); err != nil {
		return err
	}
	at := int64(0)
	for _, init := range inits {
		if ext != nil && init.Tensor.NumBytes() >= ext.Threshold {
			if err := writeExternal(w, ext, &at, init, check); err != nil {
				return fmt.Errorf("initializer %q: %w", init.Name, err)
			}
			continue
		}
		if _, err := w.Write(chunkHeader(init)); err != nil {
			return err
		}
		if n, err := init.Tensor.WriteTo(check.before(w, init)); err != nil {
			return fmt.Errorf("initializer %q: %w", init.Name, err)
		} else if n != init.Tensor.NumBytes() {
			return fmt.Errorf("initializer %q: wrote %d bytes, want %d", init.Name, n, init.Tensor.NumBytes())
		}
	}
	return nil
}

// A Check refuses a tensor by a part of its bytes.
type Check func(d tensor.DType, part []byte) error

// before is w behind the check.
func (c Check) before(w io.Writer, init Initializer) io.Writer {
	if c == nil {
		return w
	}
	return checked{w, c, init.Tensor.DType()}
}

type checked struct {
	w     io.Writer
	check Check
	dtype tensor.DType
}

// Write checks and writes.
func (c checked) Write(part []byte) (int, error) {
	if err := c.check(c.dtype, part); err != nil {
		return 0, err
	}
	return c.w.Write(part)
}

func marshal(m proto.Message) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}

// Size is how many bytes Write gives without external data; no tensor is computed.
func Size(model *ModelProto, inits []Initializer) int64 {
	n := int64(proto.Size(model))
	for _, init := range inits {
		n += int64(len(chunkHeader(init))) + init.Tensor.NumBytes()
	}
	return n
}

// chunkHeader encodes graph { initializer { dims, data_type, name, raw_data } } up to the raw bytes.
func chunkHeader(init Initializer) []byte {
	fields := tensorFields(init)
	fields = protowire.AppendTag(fields, tensorRawData, protowire.BytesType)
	fields = protowire.AppendVarint(fields, uint64(init.Tensor.NumBytes()))
	return wrap(fields, uint64(init.Tensor.NumBytes()))
}

func tensorFields(init Initializer) []byte {
	var b []byte
	for _, d := range init.Tensor.Dims() {
		b = protowire.AppendTag(b, tensorDims, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(d))
	}
	b = protowire.AppendTag(b, tensorDataType, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(NumberOf(init.Tensor.DType())))
	b = protowire.AppendTag(b, tensorName, protowire.BytesType)
	return protowire.AppendString(b, init.Name)
}

// wrap puts a tensor's fields, which payload more bytes follow, into an initializer of a graph of a model.
func wrap(fields []byte, payload uint64) []byte {
	inner := uint64(len(fields)) + payload
	init := protowire.AppendTag(nil, graphInitializer, protowire.BytesType)
	init = protowire.AppendVarint(init, inner)
	out := protowire.AppendTag(nil, modelGraph, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(len(init))+inner)
	return append(append(out, init...), fields...)
}

func writeExternal(w io.Writer, ext *External, at *int64, init Initializer, check Check) error {
	if pad := (pageAlign - *at%pageAlign) % pageAlign; pad > 0 {
		if _, err := ext.W.Write(make([]byte, pad)); err != nil {
			return err
		}
		*at += pad
	}
	p := &TensorProto{Dims: init.Tensor.Dims(), DataType: proto.Int32(NumberOf(init.Tensor.DType())), Name: &init.Name,
		DataLocation: TensorProto_EXTERNAL.Enum(), ExternalData: []*StringStringEntryProto{
			{Key: proto.String("location"), Value: &ext.Location},
			{Key: proto.String("offset"), Value: proto.String(strconv.FormatInt(*at, 10))},
			{Key: proto.String("length"), Value: proto.String(strconv.FormatInt(init.Tensor.NumBytes(), 10))},
		}}
	fields, err := marshal(p)
	if err != nil {
		return err
	}
	if _, err := w.Write(wrap(fields, 0)); err != nil {
		return err
	}
	n, err := init.Tensor.WriteTo(check.before(ext.W, init))
	*at += n
	return err
}

// Proto is a small tensor as a message, for attributes.
func Proto(name string, t *tensor.Tensor) *TensorProto {
	return &TensorProto{Dims: t.Dims(), DataType: proto.Int32(NumberOf(t.DType())), Name: &name, RawData: t.Bytes()}
}
