// Package golden judges an artifact by its Dice results: golden files, predictions by the prompt protocol, comparison, reports.
package golden

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"syncsam-convert/artifact"
	"syncsam-convert/dataset"
	"syncsam-convert/internal/mapfile"
	"syncsam-convert/internal/memory"
)

// FileName is the golden file's name in its folder.
const FileName = "golden.json"

// A File is a golden.json: the results that a checkpoint has on a data set, and the prompts they were made with.
type File struct {
	Checkpoint string             `json:"checkpoint"`
	SHA256     string             `json:"sha256"`
	Family     string             `json:"family"`
	Dataset    string             `json:"dataset"`   // index {mask: image}, relative to the golden folder
	Reference  string             `json:"reference"` // what computed it
	Summary    map[string]float64 `json:"summary"`   // mean DSC (0 to 1) by prompt mode
	Items      []Item             `json:"items"`

	data string // folder of the data set
}

// An Item is one mask with its recorded prompts, in original-image pixels, and their results.
type Item struct {
	Image   string      `json:"image"`
	Mask    string      `json:"mask"`
	Box     *BoxGold    `json:"box,omitempty"`
	Point1  *PointsGold `json:"point1,omitempty"`
	Points5 *PointsGold `json:"points5,omitempty"`
}

// BoxGold is a box prompt [x0, y0, x1, y1] and the DSC it gives.
type BoxGold struct {
	Box [4]float64 `json:"box"`
	DSC float64    `json:"dsc"`
	// Unstable says that noise of float rounding's size changes the result.
	Unstable bool `json:"unstable,omitempty"`
}

// PointsGold is a series of clicks and the DSC after the last (and after each).
type PointsGold struct {
	Coords      [][2]float64 `json:"coords"`
	Labels      []int        `json:"labels"`
	DSCPerClick []float64    `json:"dsc_per_click,omitempty"`
	DSC         float64      `json:"dsc"`
	Unstable    bool         `json:"unstable,omitempty"`
}

// Modes are the prompt modes, in the order of reports.
var Modes = []string{"box", "point1", "points5"}

// ParseModes reads a comma-separated list of prompt modes.
func ParseModes(s string) ([]string, error) {
	var out []string
	for _, m := range strings.Split(s, ",") {
		m = strings.TrimSpace(m)
		if !slices.Contains(Modes, m) {
			return nil, fmt.Errorf("have %q, want some of %s", m, strings.Join(Modes, ","))
		}
		if !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b string) int { return slices.Index(Modes, a) - slices.Index(Modes, b) })
	return out, nil
}

// maxGolden bounds a golden.json in bytes: some million items. In memory it takes up to goldenRatio times as much.
const (
	maxGolden   = 1 << 30
	goldenRatio = 16
)

// parse reads a golden.json, item by item, so that what is no item ends it early.
func parse(path string) (*File, error) {
	in, err := mapfile.Reader(path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxGolden {
		return nil, fmt.Errorf("%s: have %d bytes, want at most %d", path, info.Size(), maxGolden)
	}
	if err := memory.Fits(path, info.Size(), goldenRatio); err != nil {
		return nil, err
	}
	f := &File{}
	if err := f.decode(json.NewDecoder(bufio.NewReaderSize(io.LimitReader(in, maxGolden), 1<<16))); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func (f *File) decode(d *json.Decoder) error {
	fields := map[string]any{"checkpoint": &f.Checkpoint, "sha256": &f.SHA256, "family": &f.Family, "dataset": &f.Dataset, "reference": &f.Reference, "summary": &f.Summary}
	if err := delim(d, '{'); err != nil {
		return err
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string)
		into, known := fields[key]
		switch {
		case key == "items" && f.Items != nil:
			err = fmt.Errorf("they are there twice")
		case key == "items":
			err = f.items(d)
		case known:
			err = d.Decode(into)
		default:
			err = d.Decode(new(json.RawMessage)) // of another tool
		}
		if err != nil {
			return fmt.Errorf("%.100s: %w", key, err)
		}
	}
	if err := delim(d, '}'); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("at byte %d: have more after the object", d.InputOffset())
	}
	return nil
}

func (f *File) items(d *json.Decoder) error {
	if err := delim(d, '['); err != nil {
		return err
	}
	for i := 0; d.More(); i++ {
		var it Item
		err := d.Decode(&it)
		if err == nil {
			err = it.check()
		}
		if err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
		f.Items = append(f.Items, it)
	}
	return delim(d, ']')
}

func delim(d *json.Decoder, want json.Delim) error {
	t, err := d.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err == nil && t != want {
		err = fmt.Errorf("have %.100v, want %v", t, want)
	}
	return err
}

// Read reads a golden folder. Errors name the file and the item.
func Read(dir string) (*File, error) {
	dir, err := filepath.EvalSymlinks(dir) // its data set is beside it, not beside a link to it
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, FileName)
	f, err := parse(path)
	if err != nil {
		return nil, err
	}
	if len(f.Items) == 0 {
		return nil, fmt.Errorf("%s: items: there are none", path)
	}
	if f.Dataset == "" {
		return nil, fmt.Errorf("%s: dataset: missing", path)
	}
	f.data = filepath.Dir(filepath.Join(dir, filepath.FromSlash(f.Dataset)))
	return f, f.checkIndex(filepath.Join(dir, filepath.FromSlash(f.Dataset)))
}

// CheckpointOf is the file beside a golden folder's results that they are of, where its SHA-256 is the given one; else "".
func CheckpointOf(dir, sha256 string) string {
	f, err := parse(filepath.Join(dir, FileName))
	if err != nil || f.Checkpoint == "" {
		return ""
	}
	path, err := dataset.Path(dir, f.Checkpoint)
	if err != nil {
		return ""
	}
	if sum, _, err := artifact.Hash(path); err != nil || sum != sha256 {
		return ""
	}
	return path
}

// Index is the index of the data set that a golden folder names, "" where the folder is none.
func Index(dir string) string {
	f, err := parse(filepath.Join(dir, FileName))
	if err != nil || f.Dataset == "" {
		return ""
	}
	return filepath.Join(dir, filepath.FromSlash(f.Dataset))
}

func (it *Item) check() error {
	if it.Image == "" || it.Mask == "" {
		return fmt.Errorf("image or mask: missing")
	}
	for _, p := range []struct {
		name string
		gold *PointsGold
	}{{"point1", it.Point1}, {"points5", it.Points5}} {
		if p.gold == nil {
			continue
		}
		if n := len(p.gold.Coords); n == 0 || n != len(p.gold.Labels) {
			return fmt.Errorf("%s: have %d coords and %d labels", p.name, n, len(p.gold.Labels))
		}
		if p.name == "point1" && len(p.gold.Coords) != 1 {
			return fmt.Errorf("point1.coords: have %d, want 1", len(p.gold.Coords))
		}
	}
	return nil
}

// checkIndex holds the items against the data set's index, of which memory holds what the items name.
func (f *File) checkIndex(index string) error {
	wanted := make(map[string]bool, len(f.Items))
	for _, it := range f.Items {
		wanted[it.Mask] = true
	}
	image := make(map[string]string, len(f.Items))
	for pair, err := range dataset.Items(index) {
		if err != nil {
			return err
		}
		if wanted[pair.Mask] {
			image[pair.Mask] = pair.Image
		}
	}
	for _, it := range f.Items {
		have, ok := image[it.Mask]
		if !ok {
			return fmt.Errorf("%s: it does not name the mask %q", index, it.Mask)
		}
		if have != it.Image {
			return fmt.Errorf("%s: mask %q: have image %q, want %q", index, it.Mask, have, it.Image)
		}
	}
	return nil
}

// Images lists the paths of the first n images, each once.
func (f *File) Images(n int) []string {
	var paths []string
	for _, it := range f.Items {
		path, err := dataset.Path(f.data, it.Image)
		if err == nil && !slices.Contains(paths, path) && len(paths) < n {
			paths = append(paths, path)
		}
	}
	return paths
}
