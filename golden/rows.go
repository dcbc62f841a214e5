package golden

import (
	"errors"
	"fmt"
	"iter"
	"reflect"

	"syncsam-convert/golden/items"
)

// rows are the results that go to a file as they come, and those that a run left there before. A nil one keeps nothing.
type rows struct {
	path  string
	whole bool          // the run has ended: there is nothing to measure
	w     *items.Writer // nil where the run has ended
	log   *recorder     // the same with all that the file has no columns for; an item's record is written before its rows
}

// openRows starts a file, or goes on with one that a run of that name left.
func openRows(path string, resume bool, artifacts int, run string) (r *rows, err error) {
	r = &rows{path: path}
	if !resume {
		if r.w, err = items.Create(path, artifacts, run); err != nil {
			return nil, err
		}
		if r.log, err = newRecorder(measuredPath(path), nil, 0); err != nil {
			return nil, errors.Join(err, r.w.Close())
		}
		return r, nil
	}
	if ended(measuredPath(path)) {
		if err := items.SameRun(path, run); err != nil {
			return nil, err
		}
		if _, err := checkRows(path, artifacts); err == nil {
			r.whole = true
			return r, nil
		}
	}
	known, whole, err := readRecorded(measuredPath(path))
	if err != nil {
		return nil, err
	}
	want := map[string]items.Row{}
	for _, rec := range known {
		for _, row := range rec.rows() {
			want[rowName(row.Image, row.Mask, row.Mode)] = row
		}
	}
	r.w, err = items.Resume(path, artifacts, run, func(row items.Row) error {
		if was, ok := want[rowName(row.Image, row.Mask, row.Mode)]; ok && !sameRow(row, was) {
			return fmt.Errorf("%s: %s %s: the row is not as it was measured", path, row.Mask, row.Mode)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if r.log, err = newRecorder(measuredPath(path), known, whole); err != nil {
		return nil, errors.Join(err, r.w.Close())
	}
	return r, nil
}

func rowName(image, mask, mode string) string { return image + "\n" + mask + "\n" + mode }

// checkRows holds the rows of a file against its records, and gives the number of items.
func checkRows(path string, artifacts int) (n int, err error) {
	next, stop := iter.Pull2(items.Read(path))
	defer stop()
	for rec, err := range Records(path) {
		if err != nil {
			return n, err
		}
		n++
		for _, want := range rec.rows() {
			have, err, ok := next()
			if err != nil {
				return n, err
			}
			if len(want.Scores) != artifacts {
				return n, fmt.Errorf("%s: have the scores of %d artifacts, want %d", path, len(want.Scores), artifacts)
			}
			if !ok || !sameRow(have, want) {
				return n, fmt.Errorf("%s: %s %s: its row is missing or is not as it was written", path, want.Mask, want.Mode)
			}
		}
	}
	if row, err, ok := next(); err != nil || ok {
		return n, errors.Join(err, fmt.Errorf("%s: %s %s: the row has no record", path, row.Mask, row.Mode))
	}
	return n, nil
}

// sameRow compares rows, of which undefined scores are NaN.
func sameRow(a, b items.Row) bool {
	if a.Image != b.Image || a.Mask != b.Mask || a.Mode != b.Mode || len(a.Scores) != len(b.Scores) {
		return false
	}
	for i := range a.Scores {
		if fmt.Sprint(a.Scores[i]) != fmt.Sprint(b.Scores[i]) {
			return false
		}
	}
	return true
}

// known is the record of an item that was measured before in all of some modes, nil where there is none.
func (r *rows) known(e entry, image string, modes []string) (*Record, error) {
	if r == nil || r.log == nil {
		return nil, nil
	}
	rec, ok := r.log.known[e.at]
	if !ok {
		return nil, nil
	}
	var have []string
	for _, m := range rec.Modes {
		have = append(have, m.Mode)
	}
	if rec.Image != image || rec.Mask != e.mask || rec.Pixels > 0 && !reflect.DeepEqual(have, modes) {
		return nil, fmt.Errorf("%s: item %d of image %d: have %s %s, want %s %s", measuredPath(r.path), e.at[1], e.at[0], rec.Image, rec.Mask, image, e.mask)
	}
	return &rec, nil
}

// write appends an item's record and its rows, unless they are there.
func (r *rows) write(o *outcome) error {
	if r == nil || r.whole {
		return nil
	}
	rec := recordOf(o)
	if err := r.log.write(rec); err != nil {
		return err
	}
	for _, row := range rec.rows() {
		if r.w.Has(row.Image, row.Mask, row.Mode) {
			continue
		}
		if err := r.w.Write(row); err != nil {
			return err
		}
	}
	return nil
}

// end says that all items are there.
func (r *rows) end() error {
	if r == nil || r.whole {
		return nil
	}
	return r.log.end()
}

func (r *rows) close() error {
	if r == nil || r.whole {
		return nil
	}
	return errors.Join(r.w.Close(), r.log.f.Close())
}
