// Package page writes a report as one page that needs nothing else: no other file, no network, no library.
package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page's template, style and script
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"syncsam-convert/golden"
	"syncsam-convert/golden/stats"
	"syncsam-convert/internal/mapfile"
	"syncsam-convert/internal/output"
	"syncsam-convert/internal/plain"
)

// Room is how many bytes of drawings a report should keep for its page (golden.Request.Draw), so that the page has at most 8 MB.
const Room = 5 << 20

const (
	fileName  = "index.html"
	figures   = 12   // drawings that stand on the page itself, of each kind; the others open
	mostRows  = 5000 // items in the table: the worst of more
	generator = `<meta name="generator" content="syncsam-convert">`
)

var (
	//go:embed report.html.tmpl
	text string
	//go:embed style.css
	style string
	//go:embed script.js
	script string

	page = template.Must(template.New("report").Funcs(template.FuncMap{
		"f": number, "signed": signed, "p": pvalue, "db": decibel, "short": short, "day": func(t time.Time) string { return t.Format("2006-01-02 15:04 MST") },
		"percent": func(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) }, "add": func(a, b float64) float64 { return round(a + b) }, "sub": func(a, b float64) float64 { return round(a - b) }, "inc": func(i int) int { return i + 1 }, "half": func(a float64) float64 { return a / 2 },
		"deref": func(x *float64) float64 { return *x }, "say": func(s string) string { return strings.ReplaceAll(s, "_", " ") },
	}).Parse(text))
)

// Write writes index.html into a folder, which it makes. A page of somebody else's is not replaced.
func Write(dir string, r *golden.Report) error {
	if err := own(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return output.File(filepath.Join(dir, fileName), func(w io.Writer) error { return Render(w, r) })
}

// Render writes the page.
func Render(w io.Writer, r *golden.Report) error {
	v, err := newView(r)
	if err != nil {
		return err
	}
	return plain.Filter(w, func(w io.Writer) error { return page.Execute(w, v) })
}

// own refuses a folder whose page is somebody else's.
func own(dir string) error {
	path := filepath.Join(dir, fileName)
	text, err := mapfile.ReadAll(path, 64<<20)
	if err == nil && len(text) > 0 && !bytes.Contains(text[:min(len(text), 1<<10)], []byte(generator)) {
		err = fmt.Errorf("%s: it is no report of this program; want another folder", path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// policy lets the page's own script run, and nothing be asked of anybody.
func policy() string {
	sum := sha256.Sum256([]byte(script))
	return "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// dash stands for a number that there is none of.
const dash = "–"

func number(digits int, x any) string {
	v := value(x)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return dash
	}
	return fmt.Sprintf("%.*f", digits, v)
}

// signed has a real minus sign.
func signed(digits int, x any) string {
	v := value(x)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return dash
	}
	return strings.Replace(fmt.Sprintf("%+.*f", digits, v), "-", "−", 1)
}

func pvalue(x any) string {
	switch v := value(x); {
	case math.IsNaN(v):
		return dash
	case v < 0.0001:
		return "< 0.0001"
	default:
		return fmt.Sprintf("%.4f", v)
	}
}

func decibel(x any) string {
	if v := value(x); v > 1e300 {
		return "equal"
	}
	return number(1, x)
}

func value(x any) float64 {
	switch x := x.(type) {
	case float64:
		return x
	case *float64:
		if x != nil {
			return *x
		}
	case stats.Number:
		return float64(x)
	case int:
		return float64(x)
	}
	return math.NaN()
}

func short(hash string) string { return hash[:min(len(hash), 12)] }
