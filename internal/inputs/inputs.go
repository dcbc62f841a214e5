// Package inputs keeps outputs apart from what a command reads: what its names stand for is never written over.
package inputs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"syncsam-convert/artifact"
	"syncsam-convert/dataset"
	"syncsam-convert/golden"
	"syncsam-convert/internal/mapfile"
	"syncsam-convert/internal/onnxpb"
	"syncsam-convert/internal/output"
	"syncsam-convert/pictures"
)

// Apart refuses an output that is one of the inputs (names as commands take them: files, pictures with a slice, folders, lists with commas), a file
// that is read with them, or another output. Outputs that are not there yet, devices and pipes are no inputs.
func Apart(outputs, inputs []string) error {
	var taken []string
	for _, out := range outputs {
		at, err := output.Resolve(out)
		if err != nil {
			return err
		}
		if at, err = filepath.Abs(at); err != nil {
			return err
		}
		if slices.Contains(taken, at) && !output.Special(at) {
			return fmt.Errorf("%s: two outputs are to go there", out)
		}
		taken = append(taken, at)
		have, err := os.Stat(at)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if !have.Mode().IsRegular() {
			continue
		}
		for _, in := range inputs {
			for _, name := range append(strings.Split(in, ","), in) {
				if reads(name, at, have) {
					return fmt.Errorf("%s: it is the input %s, which would be lost", out, in)
				}
			}
		}
	}
	return nil
}

// reads reports whether a command that is given a name reads a file.
func reads(name, file string, have fs.FileInfo) bool {
	if path, _, err := pictures.SplitName(name); err == nil {
		name = path
	}
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return false
	case info.IsDir():
		return folderReads(name, file, have)
	case os.SameFile(info, have):
		return true
	}
	return slices.ContainsFunc(beside(name), func(other string) bool {
		info, err := os.Stat(filepath.Join(filepath.Dir(name), filepath.FromSlash(other)))
		return err == nil && os.SameFile(info, have)
	})
}

// beside are the files that are read with a file, by their names in its folder: a model's data, an index's shards.
func beside(name string) []string {
	switch filepath.Ext(name) {
	case ".onnx":
		if m, err := onnxpb.Open(name); err == nil {
			defer m.Close()
			return m.Beside()
		}
	case ".json":
		var index struct {
			WeightMap map[string]string `json:"weight_map"`
		}
		if text, err := mapfile.ReadAll(name, 1<<20); err == nil && json.Unmarshal(text, &index) == nil {
			var files []string
			for _, file := range index.WeightMap {
				files = append(files, file)
			}
			return files
		}
	}
	return nil
}

// reports are the endings of what commands write for people and other programs to read: such a file in a folder of data is no data, unless it has a
// name that folders of data have.
var (
	reports = []string{".json", ".jsonl", ".xml", ".svg", ".html", ".csv", ".txt"}
	names   = []string{artifact.ManifestName, golden.FileName, dataset.IndexName, "dataset.json", "config.json"}
)

func folderReads(dir, file string, have fs.FileInfo) bool {
	if m, err := artifact.Read(dir); err == nil {
		listed := []string{artifact.ManifestName}
		for _, f := range m.Files {
			listed = append(listed, f.Name)
		}
		return slices.ContainsFunc(listed, func(name string) bool {
			info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
			return err == nil && os.SameFile(info, have)
		})
	}
	inside := func(dir string) bool {
		for at := filepath.Dir(file); ; at = filepath.Dir(at) {
			if same(at, dir) {
				return true
			}
			if at == filepath.Dir(at) {
				return false
			}
		}
	}
	if index := golden.Index(dir); index != "" {
		if info, err := os.Stat(index); err == nil && os.SameFile(info, have) {
			return true
		}
		if inside(filepath.Dir(index)) && !report(file) {
			return true
		}
	}
	return inside(dir) && !report(file)
}

func report(file string) bool {
	return slices.Contains(reports, filepath.Ext(file)) && !slices.Contains(names, filepath.Base(file)) && !strings.HasSuffix(file, ".index.json")
}

func same(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}
