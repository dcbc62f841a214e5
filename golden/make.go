package golden

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"syncsam-convert/artifact"
	"syncsam-convert/dataset"
	"syncsam-convert/engine"
	"syncsam-convert/internal/output"
	"syncsam-convert/pictures"
	"syncsam-convert/segment"
)

// dataFolder is where the data of a golden folder that was made lie.
const dataFolder = "dataset"

// Make builds a golden folder from the results that the artifact in a folder, which is trusted, has on a data set: its prompts and DSC by
// prompt mode, and which items hang on rounding. The data are copied, so that the folder can be moved and kept. The folder must not exist.
// Empty masks are left out. It gives the number of items.
func (r Request) Make(ctx context.Context, dir, out string) (*File, error) {
	if r.Data == "" {
		return nil, fmt.Errorf("--data: missing, want a data set's folder")
	}
	if r.Golden != "" {
		return nil, fmt.Errorf("--golden: not to make a golden folder of: --data is what it is made of")
	}
	if err := r.Check(false); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(out); !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: exists", out)
	}
	if err := output.CreatableFolder(out); err != nil {
		return nil, err
	}
	man, err := artifact.Read(dir)
	if err != nil {
		return nil, err
	}
	s, err := r.settings(man)
	if err != nil {
		return nil, err
	}
	p, err := segment.Open(dir, r.Engine, r.Options)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	version, err := engine.Version(r.Engine, r.Options)
	if err != nil {
		return nil, err
	}
	folder, err := output.NewFolder(out, nil)
	if err != nil {
		return nil, err
	}
	defer folder.Discard()
	s.Stability = true
	v := newVerification([]*segment.Predictor{p}, r.Data, s)
	v.r.judge(ByNothing)
	m := &maker{v: v, dir: folder.Dir, copied: map[string]bool{}, file: &File{SHA256: man.Source.SHA256, Family: man.Family, Dataset: dataFolder + "/" + dataset.IndexName,
		Reference: fmt.Sprintf("syncsam-convert %s, artifact %s (%s), engine %s %s", man.Tool.String(), filepath.Base(filepath.Clean(dir)), man.Precision, r.Engine, version), Summary: map[string]float64{}}}
	done := 0
	v.s.Seen = func() {
		done++
		if r.Progress != nil {
			r.Progress(done, -1)
		}
	}
	v.made = m.add
	if err := v.overData(ctx); err != nil {
		return nil, err
	}
	if err := m.write(); err != nil {
		return nil, err
	}
	if _, err := Read(folder.Dir); err != nil { // what is published can be read
		return nil, err
	}
	return m.file, folder.Publish()
}

// A maker collects the items of a golden file and copies what they name.
type maker struct {
	v      *verification
	dir    string
	file   *File
	copied map[string]bool
}

// add takes an item's results.
func (m *maker) add(o *outcome) error {
	if len(o.modes) == 0 {
		return nil
	}
	it := Item{Image: o.image, Mask: o.mask}
	for _, r := range o.modes {
		switch r.Mode {
		case "box":
			it.Box = &BoxGold{Box: *r.run.Box, DSC: r.Have, Unstable: r.Unstable}
		case "point1":
			it.Point1 = &PointsGold{Coords: r.run.Coords, Labels: r.run.Labels, DSC: r.Have, Unstable: r.Unstable}
		case "points5":
			it.Points5 = &PointsGold{Coords: r.run.Coords, Labels: r.run.Labels, DSCPerClick: r.run.DSC, DSC: r.Have, Unstable: r.Unstable}
		}
	}
	m.file.Items = append(m.file.Items, it)
	for _, name := range []string{o.image, o.mask} {
		if err := m.copy(name); err != nil {
			return err
		}
	}
	return nil
}

// copy brings the file that a name means, or the folder of a series; of a pair .hdr and .img both.
func (m *maker) copy(name string) error {
	base, _, err := pictures.SplitName(name)
	if err != nil {
		return err
	}
	for _, one := range []string{base, pairOf(base)} {
		if one == "" || m.copied[one] {
			continue
		}
		m.copied[one] = true
		from, err := dataset.Path(m.v.data, one)
		if err != nil {
			return err
		}
		to, err := dataset.Path(filepath.Join(m.dir, dataFolder), one)
		if err != nil {
			return err
		}
		info, err := os.Stat(from)
		if one != base && errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		if !info.IsDir() {
			if err := copyFile(from, to); err != nil {
				return err
			}
			continue
		}
		entries, err := os.ReadDir(from)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if info, err := os.Stat(filepath.Join(from, e.Name())); err != nil || info.IsDir() {
				continue
			}
			if err := copyFile(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// pairOf is the file that holds the rest of a volume in two files, "" where a name tells of none.
func pairOf(name string) string {
	for _, ends := range [][2]string{{".hdr", ".img"}, {".img", ".hdr"}} {
		if stem, ok := strings.CutSuffix(strings.TrimSuffix(name, ".gz"), ends[0]); ok {
			return stem + ends[1] + name[len(stem)+len(ends[0]):]
		}
	}
	return ""
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	return output.Part(to, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}

// write puts the index and golden.json into the folder.
func (m *maker) write() error {
	for mode, s := range m.v.r.Modes {
		m.file.Summary[mode] = s.Have
	}
	index := func(yield func(dataset.Item, error) bool) {
		for _, it := range m.file.Items {
			if !yield(dataset.Item{Mask: it.Mask, Image: it.Image}, nil) {
				return
			}
		}
	}
	err := output.Part(filepath.Join(m.dir, filepath.FromSlash(m.file.Dataset)), func(w io.Writer) error {
		_, _, err := dataset.WriteIndex(w, index)
		return err
	})
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(m.file, "", " ")
	if err != nil {
		return err
	}
	return output.Part(filepath.Join(m.dir, FileName), func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}
