package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"syncsam-convert/frontends/checkpoint/pickle"
)

// legacyMagic is the number that the first pickle of a file of the format before PyTorch 1.6 holds.
var legacyMagic, _ = new(big.Int).SetString("1950a86a20f9469cfc6c", 16)

// parsePickle reads the legacy format: five pickles (magic, protocol, system, object, storage keys) of any pickle protocol, then each
// storage's element count and bytes.
func parsePickle(data []byte) (*Checkpoint, error) {
	m := newMachine(len(data))
	first, n, err := m.Load(data)
	if err != nil {
		return nil, err
	}
	if n, ok := first.(*big.Int); !ok || n.Cmp(legacyMagic) != 0 {
		return nil, fmt.Errorf("%w: a pickle that torch.save did not write: it holds %s", ErrNotCheckpoint, plain(first))
	}
	rest := data[n:]
	var parts [4]any
	for i, name := range []string{"protocol", "system", "object", "storage keys"} {
		if parts[i], n, err = m.Load(rest); err != nil {
			return nil, fmt.Errorf("legacy format: %s: %w", name, err)
		}
		rest = rest[n:]
	}
	if v, ok := parts[0].(int); !ok || v != 1001 {
		return nil, errors.New("legacy format: protocol: want 1001")
	}
	if system, ok := members(parts[1]); ok {
		for _, e := range system {
			if e.key == "little_endian" && e.value != true {
				return nil, errors.New("legacy format: byte order is not little-endian")
			}
		}
	}
	keys, ok := parts[3].(*pickle.List)
	if !ok {
		return nil, errors.New("legacy format: storage keys: want a list")
	}
	storages := map[string][]byte{}
	for i := range keys.Items {
		key, ok := keys.Items[i].(string)
		if !ok || len(rest) < 8 {
			return nil, fmt.Errorf("legacy format: storage %d: it is not there (truncated?)", i)
		}
		count := binary.LittleEndian.Uint64(rest)
		rest = rest[8:]
		d, known := m.storages[key]
		if !known {
			return nil, fmt.Errorf("legacy format: storage %q: no tensor tells its element type", key)
		}
		if count > uint64(len(rest))/uint64(d.size) {
			return nil, fmt.Errorf("legacy format: storage %q: have %d bytes, want %d elements of %s (truncated?)", key, len(rest), count, d.element)
		}
		if int64(count) != d.count {
			return nil, fmt.Errorf("legacy format: storage %q: have %d elements, want the %d that the pickle says", key, count, d.count)
		}
		if _, twice := storages[key]; twice {
			return nil, fmt.Errorf("legacy format: storage %q occurs twice", key)
		}
		n := int64(count) * d.size
		storages[key], rest = rest[:n:n], rest[n:]
	}
	entries, err := flatten(parts[2], m.Budget, func(s storage) ([]byte, error) {
		b, ok := storages[s.key]
		if !ok {
			return nil, fmt.Errorf("storage %q is missing", s.key)
		}
		return b, nil
	})
	if err != nil {
		return nil, err
	}
	return newCheckpoint("pytorch-legacy", m.globals, entries)
}

// plain says what a pickle of another program holds.
func plain(v any) string {
	if list, ok := members(v); ok {
		if len(list) == 0 {
			return "an empty dict"
		}
		return fmt.Sprintf("a dict of %d items, the first %q", len(list), list[0].key)
	}
	return pickled(v)
}
