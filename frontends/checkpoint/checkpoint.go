// Package checkpoint reads PyTorch and safetensors checkpoints as named tensors, mapped and never executed.
package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"syncsam-convert/internal/mapfile"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/safetensors"
)

// ErrNotCheckpoint says that a file is of none of the known formats.
var ErrNotCheckpoint = errors.New("not a checkpoint (PyTorch zip, PyTorch legacy or safetensors)")

// A Checkpoint is an open file, or the files that an index names. It knows every tensor by its key: the keys of nested dicts joined by
// dots. One state dict of it is chosen: the largest, until Use chooses another. Tensors are slices of the mapped files, or computed from
// them, and end with Close.
type Checkpoint struct {
	path, format string
	entries      []entry
	at           map[string]int // key: index of its entry
	names        []string       // the chosen state dict's
	chosen       map[string]int
	shared       map[string]string
	wrapper      string
	globals      []string
	open         []*mapfile.File
	sums         []func() error // compare stored bytes with the sums that an archive has of them
}

// An entry is what lies at one key of the file.
type entry struct {
	key     string         // path through the nested dicts, wrapper segments removed
	dict    string         // the path of the dict that holds it
	t       *tensor.Tensor // nil for what cannot be computed with
	kind    string         // what it is then, with the way out
	err     error          // what is wrong with a tensor that could be
	object  bool           // not a tensor but some pickled object, or the name of one
	class   string         // its class then
	view    string         // identifies the bytes that the tensor looks at, "" when nothing else can
	dropped string         // what the file says of the tensor and this reader does not keep
}

// Open reads a checkpoint's structure; weights are not touched. The path is a file, an index of shards (model.safetensors.index.json), or
// a folder as Hugging Face's libraries save it. Errors name the file.
func Open(path string) (*Checkpoint, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	file := path
	if info.IsDir() {
		if file, err = inFolder(path); err != nil {
			return nil, err
		}
	}
	c, err := openFile(file)
	if err == nil {
		if err = oneShard(file); err == nil {
			err = c.useLargest()
		}
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", file, err)
		if c != nil {
			err = errors.Join(err, c.Close())
		}
		return nil, err
	}
	return c, nil
}

func openFile(path string) (*Checkpoint, error) {
	if strings.HasSuffix(path, ".json") {
		return openIndex(path)
	}
	return openWith(path, parse)
}

// openWith maps a file and reads it; errors do not name it.
func openWith(path string, read func(data []byte) (*Checkpoint, error)) (*Checkpoint, error) {
	m, err := mapfile.Open(path)
	if err != nil {
		return nil, pathless(err)
	}
	c, err := read(m.Data)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	c.path, c.open = path, append(c.open, m)
	return c, nil
}

// pathless takes the path out of an error of the file system, for callers that name the file themselves.
func pathless(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// parse recognises the format by the first bytes.
func parse(data []byte) (c *Checkpoint, err error) {
	switch {
	case bytes.HasPrefix(data, []byte("PK\x03\x04")), bytes.HasPrefix(data, []byte("PK\x05\x06")):
		return parseZip(data)
	case safetensors.IsHeader(data): // before pickles: the header's length may begin as a pickle does
		return parseSafetensors(data)
	case len(data) > 2 && data[0] == 0x80 && data[1] >= 2 && data[1] <= 5:
		return parsePickle(data)
	}
	return nil, foreign(data)
}

func parseSafetensors(data []byte) (*Checkpoint, error) {
	f, err := safetensors.Parse(data)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, t := range f.Tensors {
		entries = append(entries, entry{key: t.Name, t: t.Tensor})
	}
	for _, o := range f.Other {
		entries = append(entries, entry{key: o.Name, kind: fmt.Sprintf("a %s tensor %v", o.DType, o.Shape)})
	}
	return newCheckpoint("safetensors", nil, entries)
}

// wrapping are the segments that wrappers of modules put into keys: DistributedDataParallel, torch.compile, FullyShardedDataParallel,
// activation checkpointing, DeepSpeed, Opacus. No family has modules of these names.
var wrapping = []string{"module", "_orig_mod", "_fsdp_wrapped_module", "_fpw_module", "_checkpoint_wrapped_module", "_forward_module", "_module"}

// unwrapped is an entry's key without wrapping segments, wherever they stand in the state dict's own key.
func (e *entry) unwrapped() string {
	within := 0
	if e.dict != "" {
		within = len(e.dict) + 1
	}
	steps := strings.Split(e.key[within:], ".")
	kept := slices.DeleteFunc(slices.Clone(steps[:len(steps)-1]), func(s string) bool { return slices.Contains(wrapping, s) })
	return e.key[:within] + strings.Join(append(kept, steps[len(steps)-1]), ".")
}

func newCheckpoint(format string, globals map[string]bool, entries []entry) (*Checkpoint, error) {
	c := &Checkpoint{format: format, entries: entries, at: map[string]int{}, globals: slices.Sorted(maps.Keys(globals))}
	if len(entries) > maxEntries {
		return nil, fmt.Errorf("it holds more than %d tensors", maxEntries)
	}
	twice := false
	for _, e := range entries {
		key := e.unwrapped()
		_, there := c.at[key]
		twice = twice || there
		c.at[key] = 0
	}
	c.at = map[string]int{}
	for i := range entries {
		e := &entries[i]
		if !twice { // a file that keeps a model and its wrapper side by side keeps the keys as they are
			e.key = e.unwrapped()
		}
		if _, there := c.at[e.key]; there {
			return nil, fmt.Errorf("tensor %q occurs twice", e.key)
		}
		c.at[e.key] = i
	}
	if !slices.ContainsFunc(entries, func(e entry) bool { return !e.object }) {
		return nil, fmt.Errorf("%w: it holds no tensors%s", ErrNotCheckpoint, contents(entries))
	}
	return c, nil
}

// contents says what a file without tensors holds.
func contents(entries []entry) string {
	var list []string
	for _, e := range entries[:min(5, len(entries))] {
		list = append(list, fmt.Sprintf("%s is %s", e.key, e.kind))
	}
	if len(list) == 0 {
		return ""
	}
	return ", but " + strings.Join(list, ", ")
}

// useLargest chooses the dict that holds the most tensors itself, the first of several.
func (c *Checkpoint) useLargest() error {
	count, best := map[string]int{}, ""
	for _, e := range c.entries {
		if !e.object {
			count[e.dict]++
		}
	}
	for _, e := range c.entries {
		if count[e.dict] > count[best] {
			best = e.dict
		}
	}
	var names, keys []string
	for _, e := range c.entries {
		if e.dict == best && !e.object {
			keys = append(keys, e.key)
			names = append(names, strings.TrimPrefix(e.key, best+"."))
		}
	}
	return c.Use(best, names, keys)
}

// Use chooses what Names and Get give: names[i] for the tensor at keys[i]. where is the place in the file that Wrapper tells.
func (c *Checkpoint) Use(where string, names, keys []string) error {
	c.wrapper, c.names, c.chosen, c.shared = where, nil, map[string]int{}, map[string]string{}
	first := map[string]string{}
	for i, name := range names {
		at, ok := c.at[keys[i]]
		if !ok {
			return fmt.Errorf("tensor %q is not there", keys[i])
		}
		e := c.entries[at]
		if e.err != nil {
			return fmt.Errorf("tensor %q: %w", e.key, e.err)
		}
		if e.t != nil {
			c.names = append(c.names, name)
		}
		if other, ok := first[e.view]; ok {
			c.shared[name] = other
		} else if e.view != "" {
			first[e.view] = name
		}
		c.chosen[name] = at
	}
	return c.nothingElse(keys)
}

// harmless are classes of things that scripts keep in a state dict beside its weights, which say nothing of them.
var harmless = []string{"__builtin__.set", "__builtin__.frozenset", "__builtin__.complex", "__builtin__.slice", "__builtin__.bytearray", "builtins.set", "builtins.frozenset",
	"builtins.complex", "builtins.slice", "builtins.bytearray", "collections.deque", "datetime.date", "decimal.Decimal", "fractions.Fraction", "argparse.Namespace", "types.SimpleNamespace", "collections.defaultdict", "collections.Counter", "datetime.datetime", "datetime.timedelta", "_codecs.encode",
	"_io.BytesIO", "io.BytesIO", "pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib._local.PosixPath", "pathlib._local.WindowsPath", "torch.device", "uuid.UUID",
	"numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"}

// nothingElse refuses the dicts that hold the chosen keys when a key of theirs is an object or a function: what it would be is not known.
func (c *Checkpoint) nothingElse(keys []string) error {
	dicts := map[string]bool{}
	for _, key := range keys {
		dicts[c.entries[c.at[key]].dict] = true
	}
	for _, e := range c.entries {
		if e.object && dicts[e.dict] && !slices.Contains(harmless, e.class) {
			return fmt.Errorf("key %q is %s, which is not executed; a state dict holds tensors: save them alone", e.key, e.kind)
		}
	}
	return nil
}

// Close ends the mappings.
func (c *Checkpoint) Close() error {
	var err error
	for _, m := range c.open {
		err = errors.Join(err, m.Close())
	}
	return err
}

// Names lists the chosen state dict's tensors in its order, wrappers and prefixes removed.
func (c *Checkpoint) Names() []string { return c.names }

// Get finds a tensor of the chosen state dict, nil when there is none.
func (c *Checkpoint) Get(name string) *tensor.Tensor {
	if i, ok := c.chosen[name]; ok {
		return c.entries[i].t
	}
	return nil
}

// Keys lists every key of the file, those of other state dicts and of optimizers too.
func (c *Checkpoint) Keys() []string {
	var keys []string
	for _, e := range c.entries {
		if !e.object {
			keys = append(keys, e.key)
		}
	}
	return keys
}

// At finds the tensor at a key of the file, nil when there is none.
func (c *Checkpoint) At(key string) *tensor.Tensor {
	if i, ok := c.at[key]; ok {
		return c.entries[i].t
	}
	return nil
}

// Kind says what lies at a key of the file and cannot be computed with ("a sparse tensor"), "" for a tensor and for nothing.
func (c *Checkpoint) Kind(key string) string {
	if i, ok := c.at[key]; ok {
		return c.entries[i].kind
	}
	return ""
}

// Dict is the path of the dict that holds a key of the file, "" for the top level.
func (c *Checkpoint) Dict(key string) string {
	if i, ok := c.at[key]; ok {
		return c.entries[i].dict
	}
	return ""
}

// Dropped says what the file tells of the chosen tensors and this reader does not keep, and which tensors it cannot give; one line each.
func (c *Checkpoint) Dropped() []string {
	var order, odd []string
	groups := map[string][]string{}
	for _, name := range slices.SortedFunc(maps.Keys(c.chosen), func(a, b string) int { return c.chosen[a] - c.chosen[b] }) {
		e := c.entries[c.chosen[name]]
		if e.kind != "" {
			odd = append(odd, name+" is "+e.kind)
		}
		if e.dropped == "" {
			continue
		}
		if groups[e.dropped] == nil {
			order = append(order, e.dropped)
		}
		groups[e.dropped] = append(groups[e.dropped], name)
	}
	var lines []string
	for _, what := range order {
		lines = append(lines, fmt.Sprintf("%s: %s dropped", some(groups[what]), what))
	}
	return append(lines, odd...)
}

// some lists the first names, and how many more there are.
func some(names []string) string {
	const show = 3
	if len(names) <= show {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:show], ", "), len(names)-show)
}

// maxBeside bounds a JSON file beside the weights.
const maxBeside = 1 << 20

// Beside reads a small file in the folder of the weights, such as config.json; nil when there is none.
func (c *Checkpoint) Beside(name string) ([]byte, error) {
	path := filepath.Join(filepath.Dir(c.path), name)
	f, err := mapfile.Reader(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBeside+1))
	if err != nil || len(data) > maxBeside {
		return nil, errors.Join(fmt.Errorf("%s: have more than %d bytes, or cannot read", path, maxBeside), err)
	}
	return data, nil
}

// SHA256 identifies the weights: the hash of the file's bytes as they are mapped; of several files that of the lines "HASH  NAME" that sha256sum
// prints for them.
func (c *Checkpoint) SHA256() (string, error) {
	files := slices.SortedFunc(slices.Values(c.open), func(a, b *mapfile.File) int { return strings.Compare(a.Path, b.Path) })
	all := sha256.New()
	for _, f := range files {
		sum, err := f.SHA256()
		if err != nil || len(files) == 1 {
			return sum, err
		}
		fmt.Fprintf(all, "%s  %s\n", sum, filepath.Base(f.Path))
	}
	return hex.EncodeToString(all.Sum(nil)), nil
}

// Unchanged is an error when a file was written to since it was opened: its tensors are not those that it began with.
func (c *Checkpoint) Unchanged() error {
	for _, f := range c.open {
		if err := f.Unchanged(); err != nil {
			return err
		}
	}
	return nil
}

// Path is the file's path; of a folder the file or index in it.
func (c *Checkpoint) Path() string { return c.path }

// Files lists the files that the weights are in, an index among them, by name.
func (c *Checkpoint) Files() []string {
	var paths []string
	for _, m := range c.open {
		paths = append(paths, m.Path)
	}
	slices.Sort(paths)
	return paths
}

// Format is "pytorch-zip", "pytorch-legacy" or "safetensors".
func (c *Checkpoint) Format() string { return c.format }

// Wrapper is the place in the file that the state dict was at ("model", "state_dict.model"), "" when it was bare.
func (c *Checkpoint) Wrapper() string { return c.wrapper }

// Globals lists what the pickle names and this reader does not know; instances of it became inert placeholders.
func (c *Checkpoint) Globals() []string { return c.globals }

// SharedWith is the first tensor of the state dict that looks at the same elements (tied weights), "" when name is it or has none.
func (c *Checkpoint) SharedWith(name string) string {
	return c.shared[name]
}
