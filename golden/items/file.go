package items

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syncsam-convert/internal/mapfile"
	"syncsam-convert/internal/output"
)

// A format is a way to write a row as one line.
type format struct {
	header bool
	encode func(fields, columns []string) ([]byte, error)
	decode func(line []byte, columns []string) ([]string, error)
}

var formats = map[string]format{
	".csv":   {true, encodeCSV, decodeCSV},
	".jsonl": {false, encodeJSON, decodeJSON},
}

func formatOf(path string) (format, error) {
	f, ok := formats[strings.ToLower(filepath.Ext(path))]
	if !ok {
		return f, fmt.Errorf("%s: have the ending %q, want .csv or .jsonl", path, filepath.Ext(path))
	}
	return f, nil
}

func encodeCSV(fields, _ []string) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	err := w.Write(fields)
	w.Flush()
	return b.Bytes(), err
}

func decodeCSV(line []byte, columns []string) ([]string, error) {
	fields, err := csv.NewReader(bytes.NewReader(line)).Read()
	var at *csv.ParseError
	if errors.As(err, &at) {
		err = at.Err // whose line is always 1
	}
	if err == nil && len(fields) != len(columns) {
		err = fmt.Errorf("have %d columns, want %d", len(fields), len(columns))
	}
	return fields, err
}

func encodeJSON(fields, columns []string) ([]byte, error) {
	b := []byte{'{'}
	for i, c := range columns {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(append(b, c...), '"', ':')
		switch {
		case i < len(names):
			text, err := json.Marshal(fields[i])
			if err != nil {
				return nil, err
			}
			b = append(b, text...)
		case fields[i] == "":
			b = append(b, "null"...)
		default:
			b = append(b, fields[i]...)
		}
	}
	return append(b, '}', '\n'), nil
}

func decodeJSON(line []byte, columns []string) ([]string, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(line, &object); err != nil {
		return nil, err
	}
	if len(object) != len(columns) {
		return nil, fmt.Errorf("have %d fields, want %d", len(object), len(columns))
	}
	fields := make([]string, len(columns))
	for i, c := range columns {
		text, ok := object[c]
		switch {
		case !ok:
			return nil, fmt.Errorf("%s: missing", c)
		case i < len(names):
			if err := json.Unmarshal(text, &fields[i]); err != nil {
				return nil, fmt.Errorf("%s: %w", c, err)
			}
		case string(text) != "null":
			fields[i] = string(text)
		}
	}
	return fields, nil
}

// A Writer appends rows to a file, each at once and whole: a run that breaks leaves at most one torn line. Not for several goroutines.
type Writer struct {
	path      string
	f         *os.File
	format    format
	artifacts int
	seen      map[[16]byte]struct{} // what the file had when it was resumed
	failed    error                 // after which nothing may follow what was half written
}

// Create starts a file for one artifact or two; what was there is lost. run names everything that the scores depend on (hashes of the
// artifacts and of the data, engine, modes) and goes into PATH.run beside it, which Resume asks for.
func Create(path string, artifacts int, run string) (*Writer, error) {
	format, err := formatOf(path)
	if err != nil {
		return nil, err
	}
	if output.Special(path) {
		return nil, fmt.Errorf("%s: have a device or a pipe, want a file, which a later run can go on with", path)
	}
	if err := os.Remove(runPath(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	w := &Writer{path: path, f: f, format: format, artifacts: artifacts}
	if err = w.start(); err == nil {
		err = writeRun(path, run)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return w, nil
}

func (w *Writer) start() error {
	if !w.format.header {
		return nil
	}
	return w.line(Columns(w.artifacts))
}

// Resume goes on with a file that a run of the same name left, or starts one where there is none: each gets the rows that are there, a
// torn last line is cut off, and Has knows them (about 30 bytes a row). A file of another run, another number of artifacts, or one with
// a row twice is an error.
func Resume(path string, artifacts int, run string, each func(Row) error) (*Writer, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return Create(path, artifacts, run)
	}
	format, err := formatOf(path)
	if err != nil {
		return nil, err
	}
	if err := SameRun(path, run); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	w := &Writer{path: path, f: f, format: format, artifacts: artifacts, seen: map[[16]byte]struct{}{}}
	if err := w.resume(each); err != nil {
		f.Close()
		return nil, err
	}
	return w, nil
}

// SameRun is an error for a file of another run than the one that is named, or of none.
func SameRun(path, run string) error {
	switch have, err := Run(path); {
	case err != nil:
		return err
	case string(have) != run:
		return fmt.Errorf("%s: it is of another run (%s differs): other artifacts, data or settings", path, filepath.Base(runPath(path)))
	}
	return nil
}

// Run is the name of the run that wrote a file.
func Run(path string) ([]byte, error) {
	run, err := mapfile.ReadAll(runPath(path), longest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no %s beside it that says which run wrote it: %w", path, filepath.Base(runPath(path)), ErrNoRun)
	}
	return run, err
}

// ErrNoRun says that nobody knows which run a file is of.
var ErrNoRun = errors.New("it cannot be resumed or merged")

func (w *Writer) resume(each func(Row) error) error {
	whole, _, err := wholeLines(w.f, w.path)
	if err != nil {
		return err
	}
	for row, err := range read(w.path, w.format, io.NewSectionReader(w.f, 0, whole)) {
		if err != nil {
			return err
		}
		if len(row.Scores) != w.artifacts {
			return fmt.Errorf("%s: have the scores of %d artifacts, want %d", w.path, len(row.Scores), w.artifacts)
		}
		k := key(row.Image, row.Mask, row.Mode)
		if _, twice := w.seen[k]; twice {
			return fmt.Errorf("%s: %s %s %s: it is there twice", w.path, row.Image, row.Mask, row.Mode)
		}
		w.seen[k] = struct{}{}
		if err := each(row); err != nil {
			return err
		}
	}
	if err := w.f.Truncate(whole); err != nil {
		return err
	}
	if _, err := w.f.Seek(whole, io.SeekStart); err != nil {
		return err
	}
	if whole == 0 {
		return w.start()
	}
	return nil
}

// Has reports whether a resumed file had the row already.
func (w *Writer) Has(image, mask, mode string) bool {
	_, ok := w.seen[key(image, mask, mode)]
	return ok
}

func key(fields ...string) (k [16]byte) {
	sum := sha256.Sum256([]byte(strings.Join(fields, "\n"))) // names have no line breaks
	copy(k[:], sum[:])
	return k
}

// Write appends a row. What the file could not give back is refused: a score out of its range, a name with a line break.
func (w *Writer) Write(r Row) error {
	if len(r.Scores) != w.artifacts {
		return fmt.Errorf("%s: have the scores of %d artifacts, want %d", w.path, len(r.Scores), w.artifacts)
	}
	fields, err := r.fields()
	if err != nil {
		return fmt.Errorf("%s: %s %s: %w", w.path, r.Mask, r.Mode, err)
	}
	return w.line(fields)
}

func (w *Writer) line(fields []string) error {
	line, err := w.format.encode(fields, Columns(w.artifacts))
	if err == nil && w.failed == nil {
		_, w.failed = w.f.Write(line)
	}
	return errors.Join(err, w.failed)
}

// Close ends the file.
func (w *Writer) Close() error { return w.f.Close() }

func runPath(path string) string { return path + ".run" }

func writeRun(path, run string) error {
	return output.File(runPath(path), func(w io.Writer) error {
		_, err := io.WriteString(w, run)
		return err
	})
}

// Read gives the rows of a file, one at a time. A last line that is torn is an error: the run that wrote it did not end.
func Read(path string) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		fail := func(err error) { yield(Row{}, err) }
		format, err := formatOf(path)
		if err != nil {
			fail(err)
			return
		}
		f, err := mapfile.Reader(path)
		if err != nil {
			fail(err)
			return
		}
		defer f.Close()
		whole, size, err := wholeLines(f, path)
		if err != nil {
			fail(err)
			return
		}
		for row, err := range read(path, format, io.NewSectionReader(f, 0, whole)) {
			if !yield(row, err) || err != nil {
				return
			}
		}
		if whole < size {
			fail(fmt.Errorf("%s: the last line is torn: the run that wrote it did not end", path))
		}
	}
}

const longest = 1 << 20 // line, in bytes

// wholeLines is the length of what ends with a line break, and the length of all.
func wholeLines(f *os.File, path string) (whole, size int64, err error) {
	size, err = f.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return 0, size, err
	}
	tail := make([]byte, min(size, longest))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil {
		return 0, size, err
	}
	at := bytes.LastIndexByte(tail, '\n')
	if at < 0 && size > longest {
		return 0, size, fmt.Errorf("%s: its last line is longer than %d bytes: it is no file of items", path, longest)
	}
	return size - int64(len(tail)-at-1), size, nil
}

// read gives the rows of whole lines. Errors name the line.
func read(path string, format format, r io.Reader) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, longest)
		n, artifacts := 0, 0
		for lines.Scan() {
			n++
			row, header, err := Row{}, false, error(nil)
			if artifacts == 0 {
				artifacts, header, err = start(format, lines.Bytes())
			}
			if err == nil && !header {
				row, err = parseLine(format, lines.Bytes(), artifacts)
			}
			if err != nil {
				yield(row, fmt.Errorf("%s: line %d: %w", path, n, err))
				return
			}
			if !header && !yield(row, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(Row{}, fmt.Errorf("%s: line %d: %w", path, n+1, err))
		}
	}
}

func parseLine(format format, line []byte, artifacts int) (Row, error) {
	fields, err := format.decode(line, Columns(artifacts))
	if err != nil {
		return Row{}, err
	}
	return parseRow(fields, artifacts)
}

// start tells from the first line how many artifacts a file is of, and whether the line is a header.
func start(format format, line []byte) (artifacts int, header bool, err error) {
	for _, n := range []int{1, 2} {
		fields, err := format.decode(line, Columns(n))
		if err == nil && (!format.header || slices.Equal(fields, Columns(n))) {
			return n, format.header, nil
		}
	}
	return 0, false, fmt.Errorf("have %.200q, want the columns %s or %s", line, strings.Join(Columns(1), ","), strings.Join(Columns(2), ","))
}

// CheckName is an error for a file whose ending tells no format.
func CheckName(path string) error {
	_, err := formatOf(path)
	return err
}

// WriteFile writes a whole file and the name of its run, each all or none.
func WriteFile(path string, artifacts int, run string, rows iter.Seq2[Row, error]) error {
	format, err := formatOf(path)
	if err != nil {
		return err
	}
	err = output.File(path, func(w io.Writer) error {
		line := func(fields []string) error {
			text, err := format.encode(fields, Columns(artifacts))
			if err == nil {
				_, err = w.Write(text)
			}
			return err
		}
		if format.header {
			if err := line(Columns(artifacts)); err != nil {
				return err
			}
		}
		for row, err := range rows {
			if err != nil {
				return err
			}
			fields, err := row.fields()
			if err != nil {
				return fmt.Errorf("%s: %s %s: %w", path, row.Mask, row.Mode, err)
			}
			if err := line(fields); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return writeRun(path, run)
}

// Is reports whether a file is one of items, by its ending and its first line.
func Is(path string) bool {
	format, err := formatOf(path)
	if err != nil {
		return false
	}
	f, err := mapfile.Reader(path)
	if err != nil {
		return false
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, longest)).ReadBytes('\n')
	if len(line) == 0 {
		return err == io.EOF && !format.header // a shard without an item
	}
	_, _, err = start(format, bytes.TrimSuffix(line, []byte("\n")))
	return err == nil
}
