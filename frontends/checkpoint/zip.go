package checkpoint

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"syncsam-convert/internal/mapfile"
)

// parseZip reads PyTorch's zip format: ROOT/data.pkl, and one stored entry ROOT/data/KEY per storage.
func parseZip(data []byte) (*Checkpoint, error) {
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		if errors.Is(err, zip.ErrFormat) {
			return nil, fmt.Errorf("zip: the directory at its end is missing: a download of %d bytes that was not finished (truncated?)", len(data))
		}
		return nil, fmt.Errorf("zip: %w (truncated?)", err)
	}
	files := map[string]*zip.File{}
	var roots []string
	for _, f := range r.File {
		if files[f.Name] != nil {
			return nil, fmt.Errorf("zip: entry %q occurs twice", f.Name)
		}
		files[f.Name] = f
		if dir, ok := strings.CutSuffix(f.Name, "/data.pkl"); ok && !strings.Contains(dir, "/") {
			roots = append(roots, dir)
		}
	}
	if len(roots) > 1 {
		return nil, fmt.Errorf("zip: both %q and %q hold a data.pkl", roots[0], roots[1])
	}
	if what := foreignZip(files, roots); what != "" {
		return nil, fmt.Errorf("%w: %s", ErrNotCheckpoint, what)
	}
	root := roots[0]
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
			return nil, fmt.Errorf("zip: entry %q is compressed or encrypted, torch.save stores entries plainly; unpack the file and pack it again with zip -0 -r", f.Name)
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
	entries, err := flatten(top, func(s storage) ([]byte, error) { return content("data/" + s.key) }, mapfile.Release)
	if err != nil {
		return nil, err
	}
	return newCheckpoint("pytorch-zip", m.globals, entries)
}

// foreignZip says what a zip file is that torch.save did not write, "" for what it did.
func foreignZip(files map[string]*zip.File, roots []string) string {
	for name := range files {
		if strings.HasSuffix(name, "/constants.pkl") || name == "constants.pkl" {
			return "a TorchScript archive; save the weights alone: torch.save(torch.jit.load(FILE).state_dict(), OUT)"
		}
	}
	if len(roots) == 1 {
		return ""
	}
	for name := range files {
		switch {
		case path.Base(name) == "archive_format" || path.Base(name) == "serialized_exported_program.json" || strings.HasSuffix(name, "models/model.json"):
			return "a torch.export archive; save the weights alone: torch.save(torch.export.load(FILE).state_dict, OUT)"
		case strings.HasSuffix(name, ".npy"):
			return "a NumPy archive; save the weights with torch.save or safetensors.numpy.save_file"
		case name == "model.weights.h5":
			return "a Keras model; only PyTorch and safetensors checkpoints are read"
		case path.Base(name) == "data.pkl":
			return fmt.Sprintf("a zip file whose data.pkl lies in a folder of a folder (%s); torch.save has one folder", name)
		}
	}
	var inside []string
	for name := range files {
		if slices.Contains(weightEndings, path.Ext(name)) {
			inside = append(inside, name)
		}
	}
	if slices.Sort(inside); len(inside) > 0 {
		return fmt.Sprintf("a zip file that holds %s; unpack it first", some(inside))
	}
	return "a zip file without data.pkl"
}
