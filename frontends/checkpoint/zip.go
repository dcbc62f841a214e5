package checkpoint

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"syncsam-convert/internal/mapfile"
)

// maxSmall is the most bytes of what lies beside pickle and storages in an archive: a version, a byte order, an identity.
const maxSmall = 1 << 20

// parseZip reads PyTorch's zip format: ROOT/data.pkl, and one stored entry ROOT/data/KEY per storage.
func parseZip(data []byte) (*Checkpoint, error) {
	records, err := directory(data)
	if errors.Is(err, errNoDirectory) {
		return nil, fmt.Errorf("zip: %w: a download of %d bytes that was not finished (truncated?)", err, len(data))
	}
	if err != nil {
		return nil, fmt.Errorf("zip: %w", err)
	}
	files := map[string]*record{}
	var roots []string
	for i, r := range records {
		files[r.name] = &records[i]
		if dir, ok := strings.CutSuffix(r.name, "/data.pkl"); ok && !strings.Contains(dir, "/") {
			roots = append(roots, dir)
		}
	}
	if len(roots) > 1 {
		return nil, fmt.Errorf("zip: both %q and %q hold a data.pkl", roots[0], roots[1])
	}
	if what := foreignZip(files, roots); what != "" {
		return nil, fmt.Errorf("%w: %s", ErrNotCheckpoint, what)
	}
	root := roots[0] + "/"
	for _, r := range records {
		if !strings.HasPrefix(r.name, root) { // as PyTorch does
			return nil, fmt.Errorf("zip: entry %q does not lie in %s", r.name, root)
		}
		if !strings.HasPrefix(r.name, root+"data/") && r.method == 0 && r.size <= maxSmall { // storages are checked when they are read
			if _, err := checked(&r, data); err != nil {
				return nil, err
			}
		}
	}
	if err := ordered(files[root+"byteorder"], data); err != nil {
		return nil, err
	}
	pkl, err := checked(files[root+"data.pkl"], data)
	if err != nil {
		return nil, err
	}
	m := newMachine(len(pkl))
	top, _, err := m.Load(pkl)
	if err != nil {
		return nil, err
	}
	sums := map[string]func() error{}
	entries, err := flatten(top, m.Budget, func(s storage) ([]byte, error) {
		r := files[root+"data/"+s.key]
		if r == nil {
			return nil, fmt.Errorf("zip: entry %q is missing", root+"data/"+s.key)
		}
		content, err := r.content(data)
		if err != nil {
			return nil, fmt.Errorf("zip: %w", err)
		}
		if want := s.count * s.size; int64(len(content)) != want {
			return nil, fmt.Errorf("zip: entry %q: have %d bytes, want %d elements of %s, as the pickle says", r.name, len(content), s.count, s.element)
		}
		sums[r.name] = func() error { defer mapfile.Release(content); return r.check(content) }
		return content, nil
	})
	if err != nil {
		return nil, err
	}
	c, err := newCheckpoint("pytorch-zip", m.globals, entries)
	if err == nil {
		c.sums = slices.Collect(maps.Values(sums))
	}
	return c, err
}

// checked gives a small entry's bytes, as its sum says that they are.
func checked(r *record, data []byte) ([]byte, error) {
	content, err := r.content(data)
	if err != nil {
		return nil, fmt.Errorf("zip: %w", err)
	}
	return content, r.check(content)
}

// ordered refuses another byte order than this reader's; r is nil where none is told.
func ordered(r *record, data []byte) error {
	if r == nil {
		return nil
	}
	order, err := checked(r, data)
	if err != nil {
		return err
	}
	if o := strings.TrimSpace(string(order[:min(len(order), 16)])); o != "little" {
		return fmt.Errorf("zip: byteorder: have %q, want little", o)
	}
	return nil
}

// foreignZip says what a zip file is that torch.save did not write, "" for what it did.
func foreignZip(files map[string]*record, roots []string) string {
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
