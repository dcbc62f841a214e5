// Package golden judges an artifact by its Dice results: golden files, predictions by the prompt protocol, comparison, reports.
package golden

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"syncsam-convert/dataset"
	"syncsam-convert/internal/mapfile"
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

// maxGolden bounds a golden.json in bytes: some million items.
const maxGolden = 1 << 30

// Read reads a golden folder. Errors name the file and the item.
func Read(dir string) (*File, error) {
	dir, err := filepath.EvalSymlinks(dir) // its data set is beside it, not beside a link to it
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, FileName)
	text, err := mapfile.ReadAll(path, maxGolden)
	if err != nil {
		return nil, err
	}
	f := &File{}
	if err := json.Unmarshal(text, f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(f.Items) == 0 {
		return nil, fmt.Errorf("%s: items: there are none", path)
	}
	if f.Dataset == "" {
		return nil, fmt.Errorf("%s: dataset: missing", path)
	}
	f.data = filepath.Dir(filepath.Join(dir, filepath.FromSlash(f.Dataset)))
	for i := range f.Items {
		if err := f.Items[i].check(); err != nil {
			return nil, fmt.Errorf("%s: items[%d]: %w", path, i, err)
		}
	}
	return f, f.checkIndex(filepath.Join(dir, filepath.FromSlash(f.Dataset)))
}

// Index is the index of the data set that a golden folder names, "" where the folder is none.
func Index(dir string) string {
	var f struct{ Dataset string }
	text, err := mapfile.ReadAll(filepath.Join(dir, FileName), maxGolden)
	if err != nil || json.Unmarshal(text, &f) != nil || f.Dataset == "" {
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
