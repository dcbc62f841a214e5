package golden

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"

	"syncsam-convert/dataset"
	"syncsam-convert/golden/items"
	"syncsam-convert/golden/stats"
	"syncsam-convert/shards"
)

// Work is a request whose images are measured one by one by whoever schedules them: any number of processes, in any order, each image once or
// more often. What they find out is put together by WritePart and Merge, to the bit of one run.
type Work struct {
	r    Request
	v    *verification
	list []group // of a golden set
}

// A Unit is the masks of one image, or some of them where there are many: what is done at once, so that the image is encoded once.
type Unit struct {
	Image string   `json:"image"`
	Masks []string `json:"masks"`
	At    [2]int   `json:"at"` // of the first mask's record; the others follow
	Index int      `json:"index"`
}

// Open opens the artifact for a worker. Close it.
func (r Request) Open(dir string) (*Work, error) {
	if r.Items != "" || r.Shard != "" || r.Draw > 0 {
		return nil, fmt.Errorf("--items, --shard: have them for a worker, which writes nothing")
	}
	v, file, err := r.start([]string{dir})
	if err != nil {
		return nil, err
	}
	w := &Work{r: r, v: v}
	if file != nil {
		w.list = file.groups()
	}
	return w, nil
}

// Close ends the work.
func (w *Work) Close() { w.v.close() }

// Run names everything that the results depend on.
func (w *Work) Run() (map[string]any, error) { return w.r.runOf(w.v) }

// Images counts the images of the request's data, each with the masks that follow one another. Nothing but the index is read.
func (r Request) Images() (int, error) {
	n := 0
	for _, err := range r.units(func(int) bool { n++; return false }) {
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// Units lists the images whose number is at least low and less than high.
func (r Request) Units(low, high int) iter.Seq2[Unit, error] {
	return r.units(func(k int) bool { return low <= k && k < high })
}

// units lists the images that are taken; take is asked once for each, in order.
func (r Request) units(take func(k int) bool) iter.Seq2[Unit, error] {
	return func(yield func(Unit, error) bool) {
		all, err := r.groups(take)
		if err != nil {
			yield(Unit{}, err)
			return
		}
		for g, err := range all {
			u := Unit{Image: g.image}
			for _, e := range g.items {
				u.Masks = append(u.Masks, e.mask)
			}
			if err == nil {
				u.At, u.Index = g.items[0].at, g.items[0].index
			}
			if !yield(u, err) {
				return
			}
		}
	}
}

func (r Request) groups(take func(k int) bool) (iter.Seq2[group, error], error) {
	file, err := r.file()
	if err != nil {
		return nil, err
	}
	if file != nil {
		return values(picked(file.groups(), take)), nil
	}
	p := &picker{take: take, at: -1}
	_, pairs, err := dataset.Open(r.Data, dataset.Options{Pick: p.pick})
	return grouped(pairs, p), err
}

// Measure measures a unit.
func (w *Work) Measure(ctx context.Context, u Unit) ([]Record, error) {
	g := group{image: u.Image}
	for i, mask := range u.Masks {
		e := entry{index: u.Index + i, at: [2]int{u.At[0], u.At[1] + i}, mask: mask}
		if w.list != nil {
			var err error
			if e, err = recorded(w.list, &Record{At: e.at, Image: u.Image, Mask: mask}); err != nil {
				return nil, err
			}
			e.known = nil
		}
		g.items = append(g.items, e)
	}
	out, err := w.v.group(ctx, g, w.v.s.Modes)
	var records []Record
	for _, o := range out {
		records = append(records, recordOf(o))
	}
	return records, err
}

// WritePart writes a shard's file of items as verify --shard does. Records may be in any order and there more than once.
func WritePart(path string, run map[string]any, s shards.Shard, records []Record) error {
	if err := items.CheckName(path); err != nil {
		return err
	}
	text, err := shards.Text(run, s)
	if err != nil {
		return err
	}
	records = slices.Clone(records)
	slices.SortStableFunc(records, func(a, b Record) int { return slices.Compare(a.At[:], b.At[:]) })
	var twice error
	records = slices.CompactFunc(records, func(a, b Record) bool {
		if a.At != b.At {
			return false
		}
		x, _ := json.Marshal(a)
		if y, _ := json.Marshal(b); !bytes.Equal(x, y) {
			twice = fmt.Errorf("%s: %s: it was measured twice, with other results: %s, %s", path, a.Mask, x, y)
		}
		return true
	})
	if twice != nil {
		return twice
	}
	_, err = writeRecords(path, 1, string(text), func(yield func(Record, error) bool) {
		for _, r := range records {
			var err error
			if !s.Takes(r.At[0]) {
				err = fmt.Errorf("%s: %s is not in shard %s", path, r.Mask, s)
			}
			if !yield(r, err) {
				return
			}
		}
	})
	return err
}

// Totals are exact sums by prompt mode: the same bits in any order and by any merging.
type Totals map[string]*Total

// A Total is one mode's.
type Total struct {
	Items int       `json:"items"`
	DSC   stats.Sum `json:"dsc"`
	IoU   stats.Sum `json:"iou"`
}

// Add adds a record.
func (t Totals) Add(r Record) {
	for _, m := range r.Modes {
		if t[m.Mode] == nil {
			t[m.Mode] = &Total{}
		}
		x := t[m.Mode]
		x.Items++
		x.DSC.Add(m.DSC)
		x.IoU.Add(m.IoU)
	}
}

// Merge adds what others have added.
func (t Totals) Merge(o Totals) {
	for mode, other := range o {
		if t[mode] == nil {
			t[mode] = &Total{}
		}
		x := t[mode]
		x.Items += other.Items
		x.DSC.Merge(&other.DSC)
		x.IoU.Merge(&other.IoU)
	}
}

// Check holds totals against a report of the same items: an item that was lost or counted twice is an error.
func (t Totals) Check(r *Report) error {
	for _, mode := range r.modes {
		m, x := r.Modes[mode], t[mode]
		if x == nil {
			x = &Total{}
		}
		if have := float64(mean(&x.DSC, x.Items)); x.Items != m.Items || have != m.Have || float64(mean(&x.IoU, x.Items)) != m.IoU {
			return fmt.Errorf("%s: have a mean DSC of %v over %d items by the workers' sums, want %v over %d", mode, have, x.Items, m.Have, m.Items)
		}
	}
	return nil
}
