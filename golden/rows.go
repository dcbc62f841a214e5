package golden

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"syncsam-convert/golden/items"
)

// rows are the results that go to a file as they come, and those that a broken run left there. A nil one keeps nothing.
type rows struct {
	w    *items.Writer
	path string
	done map[string][]items.Score // by name
	// Which items hang on rounding is no column of the file: it stands in PATH.unstable, an item a line, written before the item's row.
	unstable map[string]bool
}

func rowName(image, mask, mode string) string { return image + "\t" + mask + "\t" + mode }

// openRows starts a file, or goes on with one that a run of that name left.
func openRows(path string, resume bool, artifacts int, run string) (*rows, error) {
	r := &rows{path: path, done: map[string][]items.Score{}, unstable: map[string]bool{}}
	var err error
	if !resume {
		if err := os.Remove(r.beside()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		r.w, err = items.Create(path, artifacts, run)
		return r, err
	}
	r.w, err = items.Resume(path, artifacts, run, func(row items.Row) error {
		r.done[rowName(row.Image, row.Mask, row.Mode)] = row.Scores
		return nil
	})
	if err != nil {
		return nil, err
	}
	f, err := os.Open(r.beside())
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	} else if err != nil {
		return nil, errors.Join(err, r.w.Close())
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		r.unstable[lines.Text()] = true
	}
	return r, lines.Err()
}

func (r *rows) beside() string { return r.path + ".unstable" }

// known gives an item's scores in all of its modes by mode, nil where the file lacks one.
func (r *rows) known(image, mask string, modes []string) map[string][]items.Score {
	if r == nil || len(r.done) == 0 || len(modes) == 0 {
		return nil
	}
	out := map[string][]items.Score{}
	for _, mode := range modes {
		scores, ok := r.done[rowName(image, mask, mode)]
		if !ok {
			return nil
		}
		out[mode] = scores
	}
	return out
}

// write appends a result, unless the file has it.
func (r *rows) write(res Result) error {
	if r == nil || r.w.Has(res.Image, res.Mask, res.Mode) {
		return nil
	}
	one := func(dsc float64, s Scores) items.Score {
		return items.Score{DSC: dsc, IoU: s.IoU, HD95: float64(s.HD95), NSD: float64(s.NSD), Clicks: s.Clicks}
	}
	row := items.Row{Image: res.Image, Mask: res.Mask, Mode: res.Mode, Scores: []items.Score{one(res.Have, res.Scores)}}
	if res.A != nil {
		row.Scores = append([]items.Score{one(float64(res.Want), *res.A)}, row.Scores...)
	}
	if res.Unstable {
		if err := r.note(rowName(res.Image, res.Mask, res.Mode)); err != nil {
			return err
		}
	}
	return r.w.Write(row)
}

func (r *rows) note(name string) error {
	if strings.ContainsAny(name, "\r\n") {
		return fmt.Errorf("%s: have the name %q, want one without line breaks", r.path, name)
	}
	f, err := os.OpenFile(r.beside(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(name + "\n")
	return errors.Join(err, f.Close())
}

func (r *rows) close() error {
	if r == nil {
		return nil
	}
	return r.w.Close()
}
