package golden

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"os"
	"time"

	"syncsam-convert/golden/items"
	"syncsam-convert/golden/stats"
	"syncsam-convert/internal/mapfile"
)

// A Record is everything that a run found out about one item, a line of JSON: PATH.measured beside a file of items has one for each item,
// in the order of the data set, and a line at the end that says how many there are. From records a report is made again, to the bit.
type Record struct {
	At     [2]int     `json:"at"` // the number of its image (of a run of pairs that name it), and the item's among the image's
	Image  string     `json:"image"`
	Mask   string     `json:"mask"`
	Pixels int        `json:"pixels"` // of the true mask
	Files  [2]Seen    `json:"files"`  // the image's, the mask's
	Modes  []measures `json:"modes,omitempty"`
}

// Seen is a file as it was read. Time is zero of folders.
type Seen struct {
	SHA256 string    `json:"sha256"`
	Size   int64     `json:"bytes"`
	Time   time.Time `json:"time"`
}

// measures are one mode's.
type measures struct {
	Mode string  `json:"mode"`
	DSC  float64 `json:"dsc"`
	Scores
	A          *first   `json:"a,omitempty"`
	Unstable   bool     `json:"unstable,omitempty"`
	Closed     *float64 `json:"closed_loop,omitempty"`
	SameClicks *bool    `json:"same_clicks,omitempty"`
}

// first is artifact A's.
type first struct {
	DSC float64 `json:"dsc"`
	Scores
}

// recordOf is what an outcome leaves.
func recordOf(o *outcome) Record {
	r := Record{At: o.at, Image: o.image, Mask: o.mask, Pixels: o.pixels, Files: o.files}
	for _, m := range o.modes {
		x := measures{Mode: m.Mode, DSC: m.Have, Scores: m.Scores, Unstable: m.Unstable, Closed: m.Closed, SameClicks: m.SameClicks}
		if m.A != nil {
			x.A = &first{float64(m.Want), *m.A}
		}
		r.Modes = append(r.Modes, x)
	}
	return r
}

// results are a record's, before they are judged.
func (r *Record) results() (list []measured) {
	for _, x := range r.Modes {
		m := Result{Image: r.Image, Mask: r.Mask, Mode: x.Mode, Pixels: r.Pixels, Want: stats.Number(math.NaN()), Have: x.DSC, Scores: x.Scores, Unstable: x.Unstable,
			Closed: x.Closed, SameClicks: x.SameClicks}
		if x.A != nil {
			m.A, m.Want = &x.A.Scores, stats.Number(x.A.DSC)
		}
		list = append(list, measured{Result: m})
	}
	return list
}

// rows are a record's in a file of items.
func (r *Record) rows() (list []items.Row) {
	one := func(dsc float64, s Scores) items.Score {
		return items.Score{DSC: dsc, IoU: s.IoU, HD95: float64(s.HD95), NSD: float64(s.NSD), Clicks: s.Clicks}
	}
	for _, x := range r.Modes {
		row := items.Row{Image: r.Image, Mask: r.Mask, Mode: x.Mode, Scores: []items.Score{one(x.DSC, x.Scores)}}
		if x.A != nil {
			row.Scores = append([]items.Score{one(x.A.DSC, x.A.Scores)}, row.Scores...)
		}
		list = append(list, row)
	}
	return list
}

// less orders records as the data set has them.
func (r *Record) less(o *Record) bool {
	return r.At[0] < o.At[0] || r.At[0] == o.At[0] && r.At[1] < o.At[1]
}

// measuredPath is where the records of a file of items are.
func measuredPath(items string) string { return items + ".measured" }

// ending is the last line.
type ending struct {
	Items *int `json:"items"`
}

// longestRecord bounds a line, in bytes: names of 4 KB and the scores of all modes.
const longestRecord = 1 << 16

// A recorder appends records to a file.
type recorder struct {
	f     *os.File
	known map[[2]int]Record // what it had when it was resumed
	n     int
}

// readRecorded is what a run left: its records, and how long the file is up to the last whole one.
func readRecorded(path string) (known map[[2]int]Record, whole int64, err error) {
	known = map[[2]int]Record{}
	f, err := mapfile.Reader(path)
	if errors.Is(err, fs.ErrNotExist) {
		return known, 0, nil
	} else if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	for line, err := range recordLines(f) {
		if err != nil || line.record == nil {
			break // the end, a torn line, or what a lost block left: measured again
		}
		known[line.record.At], whole = *line.record, line.end
	}
	return known, whole, nil
}

// newRecorder goes on with a file, of which whole bytes are kept.
func newRecorder(path string, known map[[2]int]Record, whole int64) (*recorder, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if err = f.Truncate(whole); err == nil {
		_, err = f.Seek(whole, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &recorder{f: f, known: known, n: len(known)}, nil
}

func (r *recorder) write(x Record) error {
	if _, has := r.known[x.At]; has {
		return nil
	}
	r.n++
	return r.line(x)
}

func (r *recorder) line(v any) error {
	text, err := json.Marshal(v)
	if err == nil {
		_, err = r.f.Write(append(text, '\n'))
	}
	return err
}

// end says that all is there.
func (r *recorder) end() error { return r.line(ending{&r.n}) }

// ended reports whether a file of records has its end.
func ended(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false
	}
	tail := make([]byte, min(size, 200))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil || !bytes.HasSuffix(tail, []byte("\n")) {
		return false
	}
	tail = tail[:len(tail)-1]
	line, err := readLine(tail[bytes.LastIndexByte(tail, '\n')+1:])
	return err == nil && line.record == nil
}

type recordLine struct {
	record *Record // nil: it is the end
	n      int     // then the number of records
	end    int64   // where in the file it ends
}

func readLine(text []byte) (line recordLine, err error) {
	var end ending
	if json.Unmarshal(text, &end) == nil && end.Items != nil {
		return recordLine{n: *end.Items}, nil
	}
	line.record = &Record{}
	if err := json.Unmarshal(text, line.record); err != nil {
		return line, err
	}
	if line.record.Image == "" || line.record.Mask == "" {
		return line, fmt.Errorf("image or mask: missing")
	}
	return line, nil
}

func recordLines(r io.Reader) iter.Seq2[recordLine, error] {
	return func(yield func(recordLine, error) bool) {
		in, at := bufio.NewReaderSize(r, longestRecord), int64(0)
		for n := 1; ; n++ {
			text, err := in.ReadSlice('\n')
			if err == io.EOF && len(text) == 0 {
				return
			}
			at += int64(len(text))
			var line recordLine
			if err == nil {
				line, err = readLine(text)
			}
			line.end = at
			if err != nil {
				err = fmt.Errorf("line %d: have %.100q: %w", n, text, err)
			}
			if !yield(line, err) || err != nil {
				return
			}
		}
	}
}

// Records gives the records of a file of items whose run has ended, in the order of the data set. A file without its end, out of order, or with
// more or fewer than it says is an error.
func Records(path string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		beside := measuredPath(path)
		f, err := mapfile.Reader(beside)
		if err != nil {
			yield(Record{}, fmt.Errorf("%s: its records: %w", path, err))
			return
		}
		defer f.Close()
		var last *Record
		n, closed := 0, false
		for line, err := range recordLines(f) {
			switch {
			case err != nil:
				err = fmt.Errorf("%s: %w", beside, err)
			case closed:
				err = fmt.Errorf("%s: have lines after its end", beside)
			case line.record == nil && line.n != n:
				err = fmt.Errorf("%s: have %d items, want the %d that it ends with", beside, n, line.n)
			case line.record == nil:
				closed = true
				continue
			case last != nil && !last.less(line.record):
				err = fmt.Errorf("%s: %s %s: it is out of order", beside, line.record.Image, line.record.Mask)
			}
			if err != nil {
				yield(Record{}, err)
				return
			}
			last = line.record
			n++
			if !yield(*line.record, nil) {
				return
			}
		}
		if !closed {
			yield(Record{}, fmt.Errorf("%s: its run did not end; verify --resume goes on with it", path))
		}
	}
}
