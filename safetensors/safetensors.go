// Package safetensors reads and writes files of named tensors: an 8-byte header length, a JSON header, raw data.
package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"syncsam-convert/internal/mapfile"
	"syncsam-convert/internal/output"
	"syncsam-convert/ir/tensor"
)

var dtypes = []struct {
	name  string
	dtype tensor.DType
}{
	{"F32", tensor.Float32}, {"F16", tensor.Float16}, {"BF16", tensor.BFloat16}, {"F64", tensor.Float64}, {"I64", tensor.Int64},
	{"I32", tensor.Int32}, {"I16", tensor.Int16}, {"I8", tensor.Int8}, {"U8", tensor.Uint8}, {"BOOL", tensor.Bool},
}

// others are element types that are read over and named: bits of an element by name, as the format defines them.
var others = map[string]int64{
	"U16": 16, "U32": 32, "U64": 64, "C64": 64, "C128": 128, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F8_E8M0": 8,
	"F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}

// maxHeader bounds the JSON header, as the format's reference implementation does.
const maxHeader = 100 << 20

// Bounds of what is read, so that a header takes memory in proportion to its length. Real files stay two orders of magnitude below them.
const (
	maxRead     = 32 << 20 // bytes of a header
	maxTensors  = 1 << 17
	maxName     = 4096
	maxRank     = 64
	maxMetadata = 4 << 20 // bytes as written
)

// A Named is a tensor under its name.
type Named struct {
	Name   string
	Tensor *tensor.Tensor
}

// An Other is a tensor of an element type that is not computed with.
type Other struct {
	Name, DType string
	Shape       []int64
}

// A File holds named tensors in the order of their data.
type File struct {
	Tensors  []Named
	Other    []Other
	Metadata map[string]string
	byName   map[string]*tensor.Tensor
	file     *mapfile.File
}

// Get finds a tensor, nil when there is none.
func (f *File) Get(name string) *tensor.Tensor { return f.byName[name] }

// Close ends the mapping that the tensors lie in.
func (f *File) Close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

// Open maps a file; tensors are slices of it until Close.
func Open(path string) (*File, error) {
	m, err := mapfile.Open(path)
	if err != nil {
		return nil, err
	}
	f, err := Parse(m.Data)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), m.Close())
	}
	f.file = m
	return f, nil
}

// IsHeader reports whether data may start a safetensors file: a header length within bounds, then an opening brace.
func IsHeader(data []byte) bool {
	if len(data) < 9 {
		return false
	}
	n := binary.LittleEndian.Uint64(data)
	return n >= 2 && n <= maxHeader && data[8] == '{'
}

type entry struct {
	DType   string  `json:"dtype"`
	Shape   numbers `json:"shape"`
	Offsets numbers `json:"data_offsets"`
}

// numbers is a list that is not longer than a shape may be.
type numbers []int64

// UnmarshalJSON looks at the length first.
func (n *numbers) UnmarshalJSON(text []byte) error {
	if bytes.Count(text, []byte(",")) >= maxRank {
		return fmt.Errorf("a list of more than %d numbers", maxRank)
	}
	return json.Unmarshal(text, (*[]int64)(n))
}

// metadata is a map that is not longer than it may be.
type metadata map[string]string

// UnmarshalJSON looks at the length first.
func (m *metadata) UnmarshalJSON(text []byte) error {
	if len(text) > maxMetadata {
		return fmt.Errorf("have %d bytes, want at most %d", len(text), maxMetadata)
	}
	return json.Unmarshal(text, (*map[string]string)(m))
}

// Parse reads a file's bytes, which the tensors keep.
func Parse(data []byte) (*File, error) {
	if !IsHeader(data) {
		return nil, errors.New("not a safetensors file")
	}
	n := binary.LittleEndian.Uint64(data)
	if n > uint64(len(data)-8) {
		return nil, fmt.Errorf("header: have %d bytes, want %d", len(data)-8, n)
	}
	if n > maxRead {
		return nil, fmt.Errorf("header: have %d bytes, want at most %d", n, maxRead)
	}
	header, body := data[8:8+n], data[8+n:]
	f := &File{byName: map[string]*tensor.Tensor{}}
	dec := json.NewDecoder(bytes.NewReader(header))
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	spans := map[string][2]int64{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("header: %w", err)
		}
		name, _ := tok.(string)
		if name == "__metadata__" {
			if err := dec.Decode((*metadata)(&f.Metadata)); err != nil {
				return nil, fmt.Errorf("header: __metadata__: %w", err)
			}
			continue
		}
		if len(name) > maxName {
			return nil, fmt.Errorf("header: a name of %d bytes, want at most %d", len(name), maxName)
		}
		if len(spans) >= maxTensors {
			return nil, fmt.Errorf("header: more than %d tensors", maxTensors)
		}
		var e entry
		if err := dec.Decode(&e); err != nil {
			return nil, fmt.Errorf("header: tensor %q: %w", name, err)
		}
		if _, there := spans[name]; there {
			return nil, fmt.Errorf("header: tensor %q occurs twice", name)
		}
		if len(e.Offsets) != 2 || e.Offsets[0] < 0 || e.Offsets[1] < e.Offsets[0] || e.Offsets[1] > int64(len(body)) {
			return nil, fmt.Errorf("tensor %q: data_offsets: have %v, want two within %d bytes (truncated?)", name, e.Offsets, len(body))
		}
		spans[name] = [2]int64(e.Offsets)
		if size, ok := others[e.DType]; ok {
			n, err := tensor.Elements(e.Shape)
			if bits := 8 * (e.Offsets[1] - e.Offsets[0]); err != nil || (n*size+7)/8*8 != bits {
				return nil, fmt.Errorf("tensor %q: have %d bytes of data, want %v of %s", name, bits/8, e.Shape, e.DType)
			}
			f.Other = append(f.Other, Other{name, e.DType, e.Shape})
			continue
		}
		t, err := e.tensor(body)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		f.byName[name] = t
		f.Tensors = append(f.Tensors, Named{name, t})
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	start := func(name string) int64 { return spans[name][0] }
	slices.SortStableFunc(f.Tensors, func(a, b Named) int { return cmp.Compare(start(a.Name), start(b.Name)) })
	end := int64(0)
	for _, name := range slices.SortedFunc(maps.Keys(spans), func(a, b string) int {
		return cmp.Or(cmp.Compare(start(a), start(b)), cmp.Compare(spans[a][1], spans[b][1]), cmp.Compare(a, b))
	}) {
		if start(name) < end {
			return nil, fmt.Errorf("tensor %q: its data overlap another's", name)
		}
		end = spans[name][1]
	}
	return f, nil
}

func (e entry) tensor(body []byte) (*tensor.Tensor, error) {
	for _, d := range dtypes {
		if d.name != e.DType {
			continue
		}
		return tensor.NewMapped(d.dtype, e.Shape, body[e.Offsets[0]:e.Offsets[1]:e.Offsets[1]], mapfile.Release)
	}
	return nil, fmt.Errorf("dtype: have %.40q", e.DType)
}

// Write streams tensors in the given order; each is computed only when its turn comes.
func Write(w io.Writer, tensors []Named, metadata map[string]string) error {
	var header bytes.Buffer
	header.WriteString("{")
	if len(metadata) > 0 {
		m, err := json.Marshal(metadata)
		if err != nil {
			return err
		}
		fmt.Fprintf(&header, `"__metadata__":%s`, m)
	}
	at := int64(0)
	for _, t := range tensors {
		e := entry{Shape: t.Tensor.Dims(), Offsets: []int64{at, at + t.Tensor.NumBytes()}}
		for _, d := range dtypes {
			if d.dtype == t.Tensor.DType() {
				e.DType = d.name
			}
		}
		name, err1 := json.Marshal(t.Name)
		body, err2 := json.Marshal(e)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if header.Len() > 1 {
			header.WriteString(",")
		}
		fmt.Fprintf(&header, "%s:%s", name, body)
		at = e.Offsets[1]
	}
	header.WriteString("}")
	for header.Len()%8 != 0 {
		header.WriteString(" ")
	}
	if err := binary.Write(w, binary.LittleEndian, uint64(header.Len())); err != nil {
		return err
	}
	if _, err := w.Write(header.Bytes()); err != nil {
		return err
	}
	for _, t := range tensors {
		if _, err := t.Tensor.WriteTo(w); err != nil {
			return err
		}
	}
	return nil
}

// WriteFile writes a file, all of it or none.
func WriteFile(path string, tensors []Named, metadata map[string]string) error {
	return output.File(path, func(w io.Writer) error { return Write(w, tensors, metadata) })
}
