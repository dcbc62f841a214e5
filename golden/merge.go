package golden

import (
	"container/heap"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"syncsam-convert/artifact"
	"syncsam-convert/golden/items"
	"syncsam-convert/internal/output"
	"syncsam-convert/shards"
)

// Merge puts the items files of a run's shards together: the file that one run would have written, to the bit, whatever the sharding and the
// order of the files. A shard that is there twice counts once. Shards of different runs, that did not end or are missing are errors that name
// them. It gives the number of items. Memory does not grow with the files.
func Merge(paths []string, out string) (int, error) {
	if err := items.CheckName(out); err != nil {
		return 0, err
	}
	parts, sums, bare := []shards.Part{}, map[string]bool{}, []error{}
	var copies []string // without a run of their own
	for _, path := range paths {
		text, err := items.Run(path)
		if errors.Is(err, items.ErrNoRun) {
			copies, bare = append(copies, path), append(bare, err)
			continue
		} else if err != nil {
			return 0, err
		}
		part, err := shards.Read(path, text)
		if err != nil {
			return 0, err
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 && len(bare) > 0 {
		return 0, bare[0]
	}
	if _, _, err := shards.Whole(parts); err != nil { // before anything is read through
		return 0, err
	}
	artifacts := 1
	if len(parts) > 0 && parts[0].Run["artifact_a"] != nil {
		artifacts = 2
	}
	for i := range parts {
		if _, err := checkRows(parts[i].Path, artifacts); err != nil {
			return 0, err
		}
		var err error
		if parts[i].Sum, err = resultsSum(parts[i].Path); err != nil {
			return 0, err
		}
		sum, _, err := artifact.Hash(parts[i].Path)
		if err != nil {
			return 0, err
		}
		sums[sum] = true
	}
	for i, path := range copies { // a copy that left its .run behind is known by its bytes
		if sum, _, err := artifact.Hash(path); err != nil {
			return 0, err
		} else if !sums[sum] {
			return 0, bare[i]
		}
	}
	whole, missing, err := shards.Whole(parts)
	if err == nil {
		err = shards.Missing(missing)
	}
	if err != nil {
		return 0, err
	}
	run, err := whole[0].Text()
	if err != nil {
		return 0, err
	}
	return writeRecords(out, artifacts, string(run), inAll(whole))
}

// writeRecords writes a file of items whose run has ended, from its records in order: that of records beside it first, then the rows, from what it
// says.
func writeRecords(path string, artifacts int, run string, records iter.Seq2[Record, error]) (n int, err error) {
	err = output.File(measuredPath(path), func(w io.Writer) error {
		e := json.NewEncoder(w)
		for rec, err := range records {
			if err != nil {
				return err
			}
			n++
			if err := e.Encode(rec); err != nil {
				return err
			}
		}
		return e.Encode(ending{&n})
	})
	if err != nil {
		return 0, err
	}
	return n, items.WriteFile(path, artifacts, run, func(yield func(items.Row, error) bool) {
		for rec, err := range Records(path) {
			if err != nil {
				yield(items.Row{}, err)
				return
			}
			for _, row := range rec.rows() {
				if !yield(row, nil) {
					return
				}
			}
		}
	})
}

// resultsSum hashes what a shard found out: its records without the times of files, which differ where data were copied.
func resultsSum(path string) (string, error) {
	h := sha256.New()
	e := json.NewEncoder(h)
	for rec, err := range Records(path) {
		if err != nil {
			return "", err
		}
		for i := range rec.Files {
			rec.Files[i].Time = time.Time{}
		}
		if err := e.Encode(rec); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// inAll gives the records of all parts in the order of the data set. One that is in two parts is an error.
func inAll(parts []shards.Part) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var q queue
		for _, p := range parts {
			next, stop := iter.Pull2(Records(p.Path))
			defer stop()
			if err := q.add(source{path: p.Path, next: next}); err != nil {
				yield(Record{}, err)
				return
			}
		}
		var last *Record
		for len(q) > 0 {
			s := heap.Pop(&q).(source)
			rec := s.head
			if last != nil && !last.less(&rec) {
				yield(rec, fmt.Errorf("%s: %s %s: another shard has it, too", s.path, rec.Image, rec.Mask))
				return
			}
			last = &rec
			if !yield(rec, nil) {
				return
			}
			if err := q.add(s); err != nil {
				yield(Record{}, err)
				return
			}
		}
	}
}

// A source is a part's records from head on.
type source struct {
	path string
	next func() (Record, error, bool)
	head Record
}

type queue []source

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].head.less(&q[j].head) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(source)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// add puts a source back with its next record, where it has one.
func (q *queue) add(s source) error {
	rec, err, ok := s.next()
	if err != nil || !ok {
		return err
	}
	s.head = rec
	heap.Push(q, s)
	return nil
}
