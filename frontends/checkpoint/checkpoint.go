// Package checkpoint reads PyTorch and safetensors checkpoints as named tensors, mapped and never executed.
package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"syncsam-convert/internal/mapfile"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/safetensors"
)

// ErrNotCheckpoint says that a file is of none of the known formats.
var ErrNotCheckpoint = errors.New("not a checkpoint (PyTorch zip, PyTorch legacy or safetensors)")

// A Checkpoint is an open file. Its tensors are slices of the mapped file, or computed from it, and end with Close.
type Checkpoint struct {
	path, format, wrapper string
	names                 []string
	tensors               map[string]*tensor.Tensor
	shared                map[string]string
	globals               []string
	file                  *mapfile.File
}

// Open reads a checkpoint's structure; weights are not touched. Errors name the file.
func Open(path string) (*Checkpoint, error) {
	m, err := mapfile.Open(path)
	if err != nil {
		return nil, err
	}
	c, err := parse(m.Data)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), m.Close())
	}
	c.path, c.file = path, m
	return c, nil
}

// parse recognises the format by the first bytes.
func parse(data []byte) (c *Checkpoint, err error) {
	switch {
	case bytes.HasPrefix(data, []byte("PK\x03\x04")), bytes.HasPrefix(data, []byte("PK\x05\x06")):
		return parseZip(data)
	case bytes.HasPrefix(data, legacyMagic):
		return parseLegacy(data)
	case safetensors.IsHeader(data):
		return parseSafetensors(data)
	case len(data) > 262 && string(data[257:262]) == "ustar":
		return nil, fmt.Errorf("%w: PyTorch's tar format of before 2018 is not supported; save it again with torch.save", ErrNotCheckpoint)
	case len(data) == 0:
		return nil, fmt.Errorf("%w: the file is empty", ErrNotCheckpoint)
	}
	return nil, ErrNotCheckpoint
}

func parseSafetensors(data []byte) (*Checkpoint, error) {
	f, err := safetensors.Parse(data)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, t := range f.Tensors {
		entries = append(entries, entry{t.Name, t.Tensor, ""})
	}
	return newCheckpoint("safetensors", "", nil, entries)
}

// An entry is one tensor of a state dict; view identifies the bytes it looks at, "" when nothing else can.
type entry struct {
	name string
	t    *tensor.Tensor
	view string
}

func newCheckpoint(format, wrapper string, globals map[string]bool, entries []entry) (*Checkpoint, error) {
	c := &Checkpoint{format: format, wrapper: wrapper, tensors: map[string]*tensor.Tensor{}, shared: map[string]string{},
		globals: slices.Sorted(maps.Keys(globals))}
	first := map[string]string{}
	for _, e := range entries {
		name := e.name
		for _, prefix := range []string{"module.", "_orig_mod."} { // DistributedDataParallel, torch.compile
			name = strings.TrimPrefix(name, prefix)
		}
		if c.tensors[name] != nil {
			return nil, fmt.Errorf("tensor %q occurs twice", name)
		}
		if e.view != "" {
			if other, ok := first[e.view]; ok {
				c.shared[name] = other
			} else {
				first[e.view] = name
			}
		}
		c.names, c.tensors[name] = append(c.names, name), e.t
	}
	if len(c.names) == 0 {
		return nil, fmt.Errorf("%w: it holds no tensors", ErrNotCheckpoint)
	}
	return c, nil
}

// Close ends the mapping.
func (c *Checkpoint) Close() error {
	if c.file == nil {
		return nil
	}
	return c.file.Close()
}

// Names lists the tensors in the order of the state dict, wrappers and prefixes removed.
func (c *Checkpoint) Names() []string { return c.names }

// Get finds a tensor, nil when there is none.
func (c *Checkpoint) Get(name string) *tensor.Tensor { return c.tensors[name] }

// Path is the file's path.
func (c *Checkpoint) Path() string { return c.path }

// Format is "pytorch-zip", "pytorch-legacy" or "safetensors".
func (c *Checkpoint) Format() string { return c.format }

// Wrapper is the key that the state dict was under, "" when it was bare.
func (c *Checkpoint) Wrapper() string { return c.wrapper }

// Globals lists what the pickle names and this reader does not know; instances of it became inert placeholders.
func (c *Checkpoint) Globals() []string { return c.globals }

// SharedWith is the first tensor that looks at the same elements (tied weights), "" when name is it or has none.
func (c *Checkpoint) SharedWith(name string) string { return c.shared[name] }
