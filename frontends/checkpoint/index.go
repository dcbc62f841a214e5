package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// weightFiles are the names that Hugging Face's libraries save weights under, in their order of preference.
var weightFiles = []string{"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"}

// weightEndings are the endings of files that hold weights.
var weightEndings = []string{".safetensors", ".pth", ".pt", ".bin", ".ckpt"}

// inFolder finds the weights in a folder: under one of the usual names, or the only file that looks like weights.
func inFolder(dir string) (string, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var names, weights []string
	for _, e := range list {
		names = append(names, e.Name())
		if slices.Contains(weightEndings, filepath.Ext(e.Name())) {
			weights = append(weights, e.Name())
		}
	}
	have := func(name string) bool { return slices.Contains(names, name) }
	for _, name := range weightFiles {
		if have(name) {
			return filepath.Join(dir, name), nil
		}
	}
	fail := func(format string, args ...any) (string, error) {
		return "", fmt.Errorf("%s: %w: "+format, append([]any{dir, ErrNotCheckpoint}, args...)...)
	}
	switch {
	case len(weights) == 1:
		return filepath.Join(dir, weights[0]), nil
	case len(weights) > 1:
		return fail("the folder holds %d files of weights (%s); name one", len(weights), some(weights))
	case have("data.pkl"):
		return fail("an unpacked PyTorch archive (a browser may have unzipped the download); pack its parent folder again without compression: zip -0 -r model.pth %s", filepath.Base(dir))
	case have(".metadata"):
		return fail("a distributed checkpoint of PyTorch; python -m torch.distributed.checkpoint.format_utils dcp_to_torch %s model.pth makes a file of it", dir)
	case have("saved_model.pb"):
		return fail("a TensorFlow model; only PyTorch and safetensors checkpoints are read")
	case have("manifest.json"):
		return fail("an artifact that is built already")
	}
	return fail("the folder holds none of %s", strings.Join(weightFiles, ", "))
}

// shard matches the name of one of several files of weights.
var shard = regexp.MustCompile(`-(\d{5})-of-(\d{5})\.`)

// oneShard refuses a file that is one of several.
func oneShard(path string) error {
	m := shard.FindStringSubmatch(filepath.Base(path))
	if m == nil || m[1] == m[2] && strings.Trim(m[2], "0") == "1" {
		return nil
	}
	return fmt.Errorf("it is one of %s shards; give the folder, or the index (%s)", strings.TrimLeft(m[2], "0"), strings.Join([]string{weightFiles[1], weightFiles[3]}, " or "))
}

// openIndex opens the shards that an index names. Its map is the authority: each name is taken from the file it tells.
func openIndex(path string) (*Checkpoint, error) {
	return openWith(path, func(data []byte) (*Checkpoint, error) { return openShards(data, filepath.Dir(path)) })
}

// maxIndex is the largest index, in bytes: that of 100,000 tensors has some 10 million.
const maxIndex = 32 << 20

// weightMap reads an index: the file of each tensor.
func weightMap(data []byte) (map[string]string, error) {
	if len(data) > maxIndex {
		return nil, fmt.Errorf("%w: a JSON file of %d bytes", ErrNotCheckpoint, len(data))
	}
	var index struct {
		WeightMap json.RawMessage `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("%w: a JSON file that is no index of shards: %w", ErrNotCheckpoint, err)
	}
	if n := bytes.Count(index.WeightMap, []byte(":")); n > 4*maxEntries { // names may have some, too
		return nil, fmt.Errorf("weight_map: it names more than %d tensors", maxEntries)
	}
	var files map[string]string
	if len(index.WeightMap) > 0 {
		if err := json.Unmarshal(index.WeightMap, &files); err != nil {
			return nil, fmt.Errorf("%w: a JSON file that is no index of shards: weight_map: %w", ErrNotCheckpoint, err)
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%w: a JSON file without weight_map; give the file or the folder of the weights", ErrNotCheckpoint)
	}
	return files, nil
}

func openShards(data []byte, dir string) (*Checkpoint, error) {
	index, err := weightMap(data)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, file := range index {
		if file != filepath.Base(file) || file == "." || file == ".." {
			return nil, fmt.Errorf("weight_map: %q is not the name of a file beside the index", file)
		}
		files = append(files, file)
	}
	slices.Sort(files)
	merged := &Checkpoint{}
	var entries []entry
	globals := map[string]bool{}
	for _, file := range slices.Compact(files) {
		shard, err := openWith(filepath.Join(dir, file), parse)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("weight_map: %s: %w", file, err), merged.Close())
		}
		merged.open, merged.format = append(merged.open, shard.open...), shard.format
		merged.sums = append(merged.sums, shard.sums...)
		for _, g := range shard.globals {
			globals[g] = true
		}
		for _, e := range shard.entries {
			if index[e.key] == file {
				delete(index, e.key)
				if e.view != "" {
					e.view = file + " " + e.view
				}
				entries = append(entries, e)
			}
		}
	}
	for name, file := range index {
		return nil, errors.Join(fmt.Errorf("weight_map: tensor %q is not in %s (%d are missing)", name, file, len(index)), merged.Close())
	}
	c, err := newCheckpoint(merged.format, globals, entries)
	if err != nil {
		return nil, errors.Join(err, merged.Close())
	}
	c.open, c.sums = merged.open, merged.sums
	return c, nil
}
