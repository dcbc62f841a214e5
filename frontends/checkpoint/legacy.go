package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/nlpodyssey/gopickle/types"

	"syncsam-convert/internal/mapfile"
)

// legacyMagic starts a file of the format before PyTorch 1.6: a pickled protocol-2 integer 0x1950a86a20f9469cfc6c.
var legacyMagic = []byte{0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'}

// parseLegacy reads five pickles (magic, protocol, system, object, storage keys), then each storage's element count and bytes.
func parseLegacy(data []byte) (*Checkpoint, error) {
	m := newMachine()
	rest := data[len(legacyMagic):]
	var parts [4]any
	var err error
	for i, name := range []string{"protocol", "system", "object", "storage keys"} {
		if parts[i], rest, err = m.load(rest); err != nil {
			return nil, fmt.Errorf("legacy format: %s: %w", name, err)
		}
	}
	if v, ok := parts[0].(int); !ok || v != 1001 {
		return nil, errors.New("legacy format: protocol: want 1001")
	}
	if system, ok := items(parts[1]); ok {
		for _, e := range system {
			if e.key == "little_endian" && e.value != true {
				return nil, errors.New("legacy format: byte order is not little-endian")
			}
		}
	}
	keys, ok := parts[3].(*types.List)
	if !ok {
		return nil, errors.New("legacy format: storage keys: want a list")
	}
	storages := map[string][]byte{}
	for i := range keys.Len() {
		key, ok := keys.Get(i).(string)
		if !ok || len(rest) < 8 {
			return nil, fmt.Errorf("legacy format: storage %d: it is not there (truncated?)", i)
		}
		count := binary.LittleEndian.Uint64(rest)
		rest = rest[8:]
		d, known := m.storages[key]
		if !known {
			return nil, fmt.Errorf("legacy format: storage %q: no tensor tells its element type", key)
		}
		if count > uint64(len(rest))/uint64(d.Size()) {
			return nil, fmt.Errorf("legacy format: storage %q: have %d bytes, want %d elements of %s (truncated?)", key, len(rest), count, d)
		}
		n := int64(count) * d.Size()
		storages[key], rest = rest[:n:n], rest[n:]
	}
	dict, wrapper, err := stateDict(parts[2])
	if err != nil {
		return nil, err
	}
	entries, err := build(dict, func(s storage) ([]byte, error) {
		b, ok := storages[s.key]
		if !ok {
			return nil, fmt.Errorf("storage %q is missing", s.key)
		}
		return b, nil
	}, mapfile.Release)
	if err != nil {
		return nil, err
	}
	return newCheckpoint("pytorch-legacy", wrapper, m.globals, entries)
}
