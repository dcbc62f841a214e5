package golden

import (
	"bytes"
	_ "embed" // the page's template
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"syncsam-convert/internal/mapfile"
	"syncsam-convert/internal/output"
	"syncsam-convert/internal/plain"
	"syncsam-convert/pictures"
)

const pageName = "index.html"

//go:embed report.html.tmpl
var pageText string

var page = template.Must(template.New("report").Parse(pageText))

// WriteHTML writes index.html and its pictures into a folder, which it makes.
func (r *Report) WriteHTML(dir string) error {
	if err := ownPage(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	type row struct {
		Mode string
		Summary
		ClosedDSC, Same float64
	}
	type picture struct {
		File   string
		W, H   int
		Result Result
	}
	data := struct {
		*Report
		Verdict  string // in words
		By       string
		Beside   string // what stands beside the results
		Wanted   bool   // something does
		PerItem  bool   // items are judged
		Closed   bool
		Rows     []row
		Pictures []picture
	}{Report: r, By: r.by(), Beside: "golden", PerItem: r.Judged == ByItem}
	switch {
	case r.Judged == ByNothing:
		data.Verdict = "measured"
	case r.Judged == ByComparison:
		data.Verdict, data.Beside = map[bool]string{true: "may replace A", false: "is not shown to replace A"}[r.Pass], "A"
	default:
		data.Verdict = map[bool]string{true: "meets its golden results", false: "does not meet its golden results"}[r.Pass]
	}
	for _, mode := range r.modes {
		x := row{Mode: mode, Summary: r.Modes[mode]}
		data.Wanted = data.Wanted || !math.IsNaN(float64(x.Want))
		if x.Closed != nil {
			data.Closed = true
			x.ClosedDSC, x.Same = *x.Closed, 100**x.SameClicks
		}
		data.Rows = append(data.Rows, x)
	}
	for i, k := range r.pictures {
		p := picture{File: fmt.Sprintf("item_%02d.png", i), W: k.image.W, H: k.image.H, Result: k.result}
		if err := pictures.WriteOverlay(filepath.Join(dir, p.File), k.image, k.run.Mask, k.truth, k.run.marks()); err != nil {
			return err
		}
		data.Pictures = append(data.Pictures, p)
	}
	return output.File(filepath.Join(dir, pageName), func(w io.Writer) error {
		return plain.Filter(w, func(w io.Writer) error { return page.Execute(w, data) })
	})
}

// generator is how a page says that it is a report.
const generator = `<meta name="generator" content="syncsam-convert">`

// ownPage refuses a folder whose page is somebody else's.
func ownPage(dir string) error {
	path := filepath.Join(dir, pageName)
	text, err := mapfile.ReadAll(path, 64<<20)
	if err == nil && len(text) > 0 && !bytes.Contains(text[:min(len(text), 1<<10)], []byte(generator)) {
		err = fmt.Errorf("%s: it is no report of this program; want another folder", path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// marks draws a run's prompts.
func (r *Run) marks() []pictures.Mark {
	var marks []pictures.Mark
	if b := r.Box; b != nil {
		marks = append(marks, pictures.Mark{X0: b[0], Y0: b[1], X1: b[2], Y1: b[3]})
	}
	for i, c := range r.Coords {
		marks = append(marks, pictures.Mark{X0: c[0], Y0: c[1], X1: c[0], Y1: c[1], Label: r.Labels[i]})
	}
	return marks
}
