package checkpoint

import (
	"archive/zip"
	"bytes"
	"fmt"
	"strings"

	"syncsam-convert/internal/mapfile"
)

// parseZip reads PyTorch's zip format: ROOT/data.pkl, and one stored entry ROOT/data/KEY per storage.
func parseZip(data []byte) (*Checkpoint, error) {
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("zip: %w (truncated?)", err)
	}
	files := map[string]*zip.File{}
	root := ""
	for _, f := range r.File {
		if files[f.Name] != nil {
			return nil, fmt.Errorf("zip: entry %q occurs twice", f.Name)
		}
		files[f.Name] = f
		if dir, ok := strings.CutSuffix(f.Name, "/data.pkl"); ok && !strings.Contains(dir, "/") {
			if root != "" {
				return nil, fmt.Errorf("zip: both %q and %q hold a data.pkl", root, dir)
			}
			root = dir
		}
	}
	if root == "" {
		if files["constants.pkl"] != nil || files["archive/constants.pkl"] != nil {
			return nil, fmt.Errorf("%w: a TorchScript archive; save the state dict instead", ErrNotCheckpoint)
		}
		return nil, fmt.Errorf("%w: a zip file without data.pkl", ErrNotCheckpoint)
	}
	content := func(name string) ([]byte, error) {
		f := files[root+"/"+name]
		if f == nil {
			return nil, fmt.Errorf("zip: entry %q is missing", root+"/"+name)
		}
		at, err := f.DataOffset()
		size := f.UncompressedSize64
		switch {
		case err != nil:
			return nil, fmt.Errorf("zip: entry %q: %w", f.Name, err)
		case f.Method != zip.Store || f.CompressedSize64 != size || f.Flags&1 != 0:
			return nil, fmt.Errorf("zip: entry %q is compressed or encrypted; torch.save stores entries plainly", f.Name)
		case at < 0 || at > int64(len(data)) || size > uint64(int64(len(data))-at):
			return nil, fmt.Errorf("zip: entry %q: have %d bytes, want %d", f.Name, int64(len(data))-at, size)
		}
		return data[at : at+int64(size) : at+int64(size)], nil
	}
	if files[root+"/byteorder"] != nil {
		if order, err := content("byteorder"); err != nil {
			return nil, err
		} else if o := strings.TrimSpace(string(order)); o != "little" {
			return nil, fmt.Errorf("zip: byteorder: have %q, want little", o)
		}
	}
	pkl, err := content("data.pkl")
	if err != nil {
		return nil, err
	}
	m := newMachine()
	top, _, err := m.load(pkl)
	if err != nil {
		return nil, err
	}
	dict, wrapper, err := stateDict(top)
	if err != nil {
		return nil, err
	}
	entries, err := build(dict, func(s storage) ([]byte, error) { return content("data/" + s.key) }, mapfile.Release)
	if err != nil {
		return nil, err
	}
	return newCheckpoint("pytorch-zip", wrapper, m.globals, entries)
}
