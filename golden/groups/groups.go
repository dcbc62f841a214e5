// Package groups says what an item belongs to (class, modality, patient, anything that a table tells), so that results can be told apart by it.
package groups

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"syncsam-convert/internal/mapfile"
)

// Keys are what file names tell of an item; empty where they tell nothing.
type Keys struct{ Class, Modality, Patient string }

// FromNames reads an item's names. Class is what the mask's name adds to its image's, without a number at the end: aorta of
// amos_0004_75.png and amos_0004_75_aorta_000.png. Names of four parts between "--", as SA-Med2D-20M has them
// (mr_00--ACDC--patient101_ED--x_0006.png), tell modality and patient (with the data set), too. Other patients are not guessed.
func FromNames(image, mask string) Keys {
	image, mask = stem(image), stem(mask)
	var k Keys
	if rest, ok := strings.CutPrefix(mask, image); ok {
		k.Class = strings.Trim(rest, "_- .")
		if at := strings.LastIndexAny(k.Class, "_-"); at > 0 && strings.Trim(k.Class[at+1:], "0123456789") == "" {
			k.Class = strings.TrimRight(k.Class[:at], "_-")
		}
		if k.Class == "mask" || k.Class == "label" || k.Class == "seg" {
			k.Class = "" // it says that it is a mask
		}
	}
	if parts := strings.Split(image, "--"); len(parts) == 4 {
		k.Modality, _, _ = strings.Cut(parts[0], "_")
		k.Patient = parts[1] + "--" + parts[2]
	}
	return k
}

func stem(name string) string {
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	if base, ok := strings.CutSuffix(name, ".nii.gz"); ok {
		return base
	}
	return strings.TrimSuffix(name, path.Ext(name))
}

// A Table tells groups by mask or by image.
type Table struct {
	Columns []string // what it tells
	by      string   // mask or image
	rows    map[string][]string
}

// ReadCSV reads a table whose first column is mask or image (as in the data set's index) and whose other columns are groups: organ, modality,
// patient, .... A column without a name, a name twice and an empty table are errors.
func ReadCSV(file string) (*Table, error) {
	f, err := mapfile.Reader(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := readCSV(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return t, nil
}

func readCSV(from io.Reader) (*Table, error) {
	r := csv.NewReader(from)
	head, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("it is empty")
	} else if err != nil {
		return nil, err
	}
	head[0] = strings.TrimPrefix(head[0], "\ufeff")
	t := &Table{Columns: head[1:], by: head[0], rows: map[string][]string{}}
	if t.by != "mask" && t.by != "image" || len(t.Columns) == 0 {
		return nil, fmt.Errorf("line 1: have the columns %.200q, want mask or image and then what it belongs to", strings.Join(head, ","))
	}
	for i, c := range head {
		if c == "" || slices.Index(head, c) != i {
			return nil, fmt.Errorf("line 1: column %d: have %q, want a name of its own", i+1, c)
		}
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return t, nil
		} else if err != nil {
			return nil, err
		}
		if _, twice := t.rows[row[0]]; twice {
			line, _ := r.FieldPos(0)
			return nil, fmt.Errorf("line %d: %s: it is there twice", line, row[0])
		}
		t.rows[row[0]] = row[1:]
	}
}

// Of gives an item's groups, one for each of Columns. ok is false for an item that the table does not name.
func (t *Table) Of(image, mask string) (values []string, ok bool) {
	name := image
	if t.by == "mask" {
		name = mask
	}
	values, ok = t.rows[name]
	return values, ok
}
