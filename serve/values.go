package serve

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
	"unsafe"

	"syncsam-convert/ir/tensor"
)

// textType is the datatype of texts and files, which are no numbers.
const textType = "BYTES"

// datatypes are the protocol's names of the element types that graphs have.
var datatypes = map[string]tensor.DType{
	"FP32": tensor.Float32, "FP16": tensor.Float16, "BF16": tensor.BFloat16, "FP64": tensor.Float64, "INT64": tensor.Int64, "INT32": tensor.Int32,
	"INT16": tensor.Int16, "INT8": tensor.Int8, "UINT8": tensor.Uint8, "BOOL": tensor.Bool,
}

// DataType is the protocol's name of an element type, "" where it has none.
func DataType(d tensor.DType) string {
	for name, t := range datatypes {
		if t == d {
			return name
		}
	}
	return ""
}

// A Value is one tensor of a request or a response: numbers, or (datatype BYTES) texts.
type Value struct {
	Dims    []int64
	Numbers *tensor.Tensor // nil of texts
	Texts   [][]byte
	JSON    bool // it came as JSON, where a text has to be UTF-8
}

func numbers(t *tensor.Tensor) *Value { return &Value{Dims: t.Dims(), Numbers: t} }

func (v *Value) datatype() string {
	if v.Numbers == nil {
		return textType
	}
	return DataType(v.Numbers.DType())
}

// file is the one element of a value that is a file: as it is, or in base64 where it came as JSON.
func (v *Value) file() ([]byte, error) {
	if len(v.Texts) != 1 {
		return nil, fmt.Errorf("have %d elements, want one file", len(v.Texts))
	}
	if !v.JSON {
		return v.Texts[0], nil
	}
	b, err := base64.StdEncoding.DecodeString(string(v.Texts[0]))
	if err != nil {
		return nil, fmt.Errorf("want a file in base64, or as binary data: %w", err)
	}
	return b, nil
}

// fromBinary makes a value of the bytes behind the JSON of a request. Texts have their length before them, 4 bytes.
func fromBinary(datatype string, dims []int64, data []byte) (*Value, error) {
	if datatype != textType {
		d, n, err := sized(datatype, dims)
		switch {
		case err != nil:
			return nil, err
		case int64(len(data)) != n*d.Size():
			return nil, fmt.Errorf("have %d bytes, want %d for %s %v", len(data), n*d.Size(), datatype, dims)
		}
		return checked(d, dims, aligned(data))
	}
	n, err := tensor.Elements(dims)
	if err != nil {
		return nil, err
	}
	v := &Value{Dims: dims}
	for len(data) > 0 {
		if len(data) < 4 || uint64(binary.LittleEndian.Uint32(data)) > uint64(len(data)-4) {
			return nil, fmt.Errorf("a BYTES element is cut short: want 4 bytes of length, then as many bytes")
		}
		end := 4 + int(binary.LittleEndian.Uint32(data))
		v.Texts = append(v.Texts, data[4:end:end])
		data = data[end:]
	}
	if int64(len(v.Texts)) != n {
		return nil, fmt.Errorf("have %d BYTES elements, want %d for %v", len(v.Texts), n, dims)
	}
	return v, nil
}

// sized is a datatype's element type, and how many of them a shape has.
func sized(datatype string, dims []int64) (tensor.DType, int64, error) {
	d, ok := datatypes[datatype]
	if !ok {
		return d, 0, fmt.Errorf("datatype: have %q, which is not supported", datatype)
	}
	n, err := tensor.Elements(dims)
	if err == nil && n > math.MaxInt64/8 {
		err = fmt.Errorf("shape: %v is too large", dims)
	}
	return d, n, err
}

// checked is a tensor whose truth values are 0 or 1.
func checked(d tensor.DType, dims []int64, data []byte) (*Value, error) {
	if d == tensor.Bool && slices.ContainsFunc(data, func(b byte) bool { return b > 1 }) {
		return nil, fmt.Errorf("have a BOOL that is neither 0 nor 1")
	}
	t, err := tensor.New(d, dims, data)
	if err != nil {
		return nil, err
	}
	return numbers(t), nil
}

// aligned is data where every element type may lie.
func aligned(data []byte) []byte {
	if uintptr(unsafe.Pointer(unsafe.SliceData(data)))%8 == 0 {
		return data
	}
	return slices.Clone(data)
}

// fromJSON makes a value of a request's data, an array, nested or flat; it is known to be JSON.
func fromJSON(datatype string, dims []int64, data []byte) (*Value, error) {
	n, err := tensor.Elements(dims)
	if err != nil {
		return nil, err
	}
	if len(data) == 0 || data[0] != '[' {
		return nil, fmt.Errorf("data: want an array, or binary_data_size")
	}
	if n > int64(len(data)) { // every element takes more than a byte
		return nil, fmt.Errorf("data: have less elements than %v has", dims)
	}
	if datatype == textType {
		v := &Value{Dims: dims, JSON: true}
		err := leaves(data, func(leaf []byte) error {
			var s string
			if err := json.Unmarshal(leaf, &s); err != nil {
				return fmt.Errorf("have %s, want a text", short(leaf))
			}
			v.Texts = append(v.Texts, []byte(s))
			return nil
		})
		if err == nil && int64(len(v.Texts)) != n {
			err = fmt.Errorf("have %d elements, want %d for %v", len(v.Texts), n, dims)
		}
		return v, prefixed("data", err)
	}
	d, n, err := sized(datatype, dims)
	if err != nil {
		return nil, err
	}
	put := writers[d]
	if put == nil {
		return nil, fmt.Errorf("data: %s has no form in JSON: send binary data", datatype)
	}
	bytes := make([]byte, 0, n*d.Size())
	have := int64(0)
	err = leaves(data, func(leaf []byte) error {
		if have++; have > n {
			return nil
		}
		var err error
		if bytes, err = put(bytes, string(leaf)); err != nil {
			return fmt.Errorf("have %s, want %s", short(leaf), datatype)
		}
		return nil
	})
	if err == nil && have != n {
		err = fmt.Errorf("have %d elements, want %d for %v", have, n, dims)
	}
	if err != nil {
		return nil, prefixed("data", err)
	}
	v, err := checked(d, dims, bytes)
	if err == nil {
		v.JSON = true
	}
	return v, err
}

func prefixed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

func short(b []byte) string { return string(b[:min(len(b), 40)]) }

// leaves calls each for what stands in nested arrays, which are known to be JSON.
func leaves(data []byte, each func(leaf []byte) error) error {
	for i := 0; i < len(data); {
		switch c := data[i]; c {
		case '[', ']', ',', ' ', '\t', '\n', '\r':
			i++
		case '{':
			return fmt.Errorf("have an object, want an array of values")
		default:
			end := i + 1
			if c == '"' {
				for data[end] != '"' {
					if data[end] == '\\' {
						end++
					}
					end++
				}
				end++
			} else {
				for end < len(data) && data[end] != ',' && data[end] != ']' && data[end] > ' ' {
					end++
				}
			}
			if err := each(data[i:end]); err != nil {
				return err
			}
			i = end
		}
	}
	return nil
}

// writers append the number that a text of JSON is, little-endian.
var writers = map[tensor.DType]func(b []byte, s string) ([]byte, error){
	tensor.Float32: func(b []byte, s string) ([]byte, error) {
		x, err := strconv.ParseFloat(s, 32)
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(x))), err
	},
	tensor.Float64: func(b []byte, s string) ([]byte, error) {
		x, err := strconv.ParseFloat(s, 64)
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(x)), err
	},
	tensor.Int64: whole(64), tensor.Int32: whole(32), tensor.Int16: whole(16), tensor.Int8: whole(8),
	tensor.Uint8: func(b []byte, s string) ([]byte, error) {
		x, err := strconv.ParseUint(s, 10, 8)
		return append(b, uint8(x)), err
	},
	tensor.Bool: func(b []byte, s string) ([]byte, error) {
		switch s {
		case "true":
			return append(b, 1), nil
		case "false":
			return append(b, 0), nil
		}
		return b, fmt.Errorf("no truth value")
	},
}

func whole(bits int) func(b []byte, s string) ([]byte, error) {
	return func(b []byte, s string) ([]byte, error) {
		x, err := strconv.ParseInt(s, 10, bits)
		for i := range bits / 8 {
			b = append(b, byte(x>>(8*i)))
		}
		return b, err
	}
}

// binaryBytes is a value as it stands behind the JSON of a response.
func (v *Value) binaryBytes() []byte {
	if v.Numbers != nil {
		return v.Numbers.Bytes()
	}
	var b []byte
	for _, t := range v.Texts {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(t))), t...)
	}
	return b
}

// appendJSON writes a value as a flat array. Floats are written as float64, so that every reader gets the same bits back.
func (v *Value) appendJSON(b []byte) ([]byte, error) {
	b = append(b, '[')
	comma := func(i int) {
		if i > 0 {
			b = append(b, ',')
		}
	}
	switch {
	case v.Numbers == nil:
		for i, t := range v.Texts {
			if !utf8.Valid(t) {
				return nil, fmt.Errorf("it is no text, which JSON could hold: ask for binary_data")
			}
			comma(i)
			quoted, _ := json.Marshal(string(t)) // text marshals
			b = append(b, quoted...)
		}
	case v.Numbers.DType() == tensor.Bool:
		for i, x := range v.Numbers.Bytes() {
			comma(i)
			b = strconv.AppendBool(b, x != 0)
		}
	case v.Numbers.DType() == tensor.Float64:
		for i, x := range v.Numbers.Float64s() {
			comma(i)
			if b = strconv.AppendFloat(b, x, 'g', -1, 64); x-x != 0 {
				return nil, errNotFinite
			}
		}
	case v.Numbers.DType().IsFloat():
		for i, x := range v.Numbers.Float32s() {
			comma(i)
			if b = strconv.AppendFloat(b, float64(x), 'g', -1, 64); x-x != 0 {
				return nil, errNotFinite
			}
		}
	default:
		for i, x := range v.Numbers.Int64s() {
			comma(i)
			b = strconv.AppendInt(b, x, 10)
		}
	}
	return append(b, ']'), nil
}

var errNotFinite = fmt.Errorf("a value is not finite, which JSON cannot hold: ask for binary_data")
