package page

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"syncsam-convert/golden"
	"syncsam-convert/golden/stats"
	"syncsam-convert/internal/plain"
)

// view is what the template shows.
type view struct {
	*golden.Report
	Policy       string
	Style        template.CSS
	Script       template.JS
	Verdict      string // in words
	Class        string // pass, fail or none
	Against      string // name of the column of what results are held against
	Wanted, Loop bool   // there is such a column; there is a closed loop
	Rows         []modeRow
	Intervals    *intervals // of paired comparisons
	Charts       []chartPair
	Kinds        []kindTable
	Worst, Shaky []figure
	ShakyItems   []golden.Moved
	Items        []itemRow
	Modes        []string
	Left         int // items that the table leaves out
	Drawings     []drawing
	Pictures     []picture
	Front        *front
	Compared     bool
	Legend       legend
	drawn        map[key]int
}

// key names a result.
type key struct {
	index int
	mode  string
}

type legend struct{ Truth, A, B string }

type modeRow struct {
	Mode string
	golden.Summary
	Paired *golden.Paired
	Before *golden.BaselineMode
}

type chartPair struct {
	Mode      string
	Histogram histogram
	Scatter   *scatter // Bland-Altman; nil where results are held against nothing
}

type itemRow struct {
	golden.Result
	Drawing int // -1: none
	Flags   string
}

type drawing struct {
	ID   int
	Data drawn
}

// drawn is a drawing as the script reads it.
type drawn struct {
	Picture int      `json:"p"`
	Truth   string   `json:"t"`
	A       string   `json:"a,omitempty"`
	B       string   `json:"b"`
	Marks   [][5]int `json:"m,omitempty"`
	Size    [2]int   `json:"s"`
	Box     [4]int   `json:"z"` // of the contours, with some room around
	Title   string   `json:"n"`
	Text    string   `json:"x"`
}

type picture struct {
	ID   int
	Data struct {
		URL string `json:"u"`
	}
}

type figure struct {
	Data  drawn
	ID    int
	Image template.URL
	Item  golden.Result
	Alt   string
}

func newView(r *golden.Report) (*view, error) {
	v := &view{Report: r, drawn: map[key]int{}, Policy: policy(), Style: template.CSS(style), Script: template.JS(script), Modes: r.ModeNames(), Against: "golden"}
	v.Compared = r.Judged == golden.ByComparison
	v.words()
	for _, mode := range v.Modes {
		m := modeRow{Mode: mode, Summary: r.Modes[mode], Paired: r.Paired[mode]}
		if r.Baseline != nil {
			m.Before = r.Baseline.Modes[mode]
		}
		v.Wanted = v.Wanted || !math.IsNaN(float64(m.Want))
		v.Loop = v.Loop || m.Closed != nil
		v.Rows = append(v.Rows, m)
		if d := r.Distributions[mode]; d != nil {
			v.Charts = append(v.Charts, v.charts(mode, d))
		}
	}
	v.Intervals = newIntervals(v.Rows)
	v.kinds()
	v.draw()
	v.items()
	v.ShakyItems = r.Unstable
	if r.Evidence != nil && r.Built != nil {
		v.Front = newFront(r.Built.Front)
	}
	return v, nil
}

// words say how it came out, and what is beside the results.
func (v *view) words() {
	r := v.Report
	v.Class = map[bool]string{true: "pass", false: "fail"}[r.Pass]
	v.Legend = legend{"ground truth", "golden result", "this artifact"}
	yes, no := "meets its golden results", "does not meet its golden results"
	switch r.Judged {
	case golden.ByNothing:
		v.Class, yes = "none", "measured, not judged"
	case golden.ByComparison:
		v.Against, yes, no = "A", "B may replace A", "there are not enough data to say that B may replace A"
		for _, p := range r.Paired {
			if p.Decision == stats.Inferior {
				no = "B is worse than A"
			}
		}
		v.Legend.A, v.Legend.B = "A", "B"
		if r.Evidence != nil && r.First != nil {
			v.Legend = legend{"ground truth", fmt.Sprintf("A, %s (%s)", filepath.Base(r.First.Path), r.First.Precision), fmt.Sprintf("B, %s (%s)", filepath.Base(r.Artifact.Path), r.Precision)}
		}
	case golden.ByMinimum:
		yes, no = fmt.Sprintf("reaches DSC %g", *r.MinDSC), fmt.Sprintf("does not reach DSC %g", *r.MinDSC)
	case golden.ByPublished:
		v.Against, yes, no = "published", "meets the published results", "does not meet the published results"
	case golden.ByBaseline:
		yes, no = "is as good as in the earlier report", "is worse than in the earlier report"
	}
	v.Verdict = map[bool]string{true: yes, false: no}[r.Pass]
	if r.Baseline != nil && !r.Baseline.Pass && r.Judged != golden.ByBaseline {
		v.Verdict += "; worse than in the earlier report"
	}
}

// items are the rows of the table, in the order of the data set; of more than mostRows the worst.
func (v *view) items() {
	list := v.Report.Items
	if len(list) > mostRows {
		list = slices.Clone(list)
		slices.SortStableFunc(list, func(a, b golden.Result) int { return cmp.Compare(golden.Rank(b), golden.Rank(a)) })
		list = list[:mostRows]
	}
	v.Left = len(v.Report.Items) - len(list) + v.LeftOut
	for _, it := range list {
		row := itemRow{Result: it, Drawing: -1}
		if i, ok := v.drawn[key{it.Index, it.Mode}]; ok {
			row.Drawing = i
		}
		var flags []string
		for _, f := range []struct {
			is   bool
			word string
		}{{!it.Pass, "failed"}, {it.Dropped, "dropped"}, {it.Unstable, "unstable"}, {math.Abs(float64(it.Points)) > v.movedBy(), "moved"}} {
			if f.is {
				flags = append(flags, f.word)
			}
		}
		row.Flags = strings.Join(flags, " ")
		v.Items = append(v.Items, row)
	}
}

func (v *view) movedBy() float64 {
	for _, p := range v.Paired {
		return p.MovedBy
	}
	return golden.DefaultMovedBy
}

// title is plain text: the script puts it into the page as it is.
func title(it golden.Result) string { return plain.Text(it.Mask, 1000) + ", " + it.Mode }

// draw numbers drawings and the pictures that they share.
func (v *view) draw() {
	worst, shaky := v.Report.Drawings()
	known := map[*golden.Picture]int{}
	for i, d := range slices.Concat(worst, shaky) {
		p, ok := known[d.Picture]
		if !ok {
			p = len(v.Pictures)
			known[d.Picture] = p
			one := picture{ID: p}
			one.Data.URL = dataURL(d.Picture)
			v.Pictures = append(v.Pictures, one)
		}
		x := drawn{Picture: p, Truth: d.Truth, A: d.A, B: d.B, Size: [2]int{d.Picture.W, d.Picture.H}, Title: title(d.Result), Text: v.caption(d.Result)}
		for _, m := range d.Marks {
			x.Marks = append(x.Marks, [5]int{int(m.X0), int(m.Y0), int(m.X1), int(m.Y1), m.Label})
		}
		x.Box = frame(x)
		v.Drawings = append(v.Drawings, drawing{i, x})
		v.drawn[key{d.Result.Index, d.Result.Mode}] = i
		f := figure{Data: x, ID: i, Image: template.URL(dataURL(d.Picture)), Item: d.Result}
		f.Alt = "Contours over the image: " + x.Title + ". " + x.Text
		switch {
		case i < len(worst) && len(v.Worst) < figures:
			v.Worst = append(v.Worst, f)
		case i >= len(worst) && len(v.Shaky) < figures:
			v.Shaky = append(v.Shaky, f)
		}
	}
}

// caption says an item's scores in a line.
func (v *view) caption(it golden.Result) string {
	out := "DSC " + number(4, it.Have)
	if !math.IsNaN(float64(it.Want)) {
		out += fmt.Sprintf(", %s %s (%s points)", v.Against, number(4, it.Want), signed(2, it.Points))
	}
	return out + fmt.Sprintf("; IoU %s, HD95 %s px, NSD %s", number(4, it.IoU), number(1, it.HD95), number(4, it.NSD))
}

func dataURL(p *golden.Picture) string {
	return "data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(p.JPEG)
}

// frame is the part of the image that a figure shows: the contours with a third of their size around, at least a sixth of the image.
func frame(d drawn) [4]int {
	x0, y0, x1, y1 := d.Size[0], d.Size[1], 0, 0
	for _, path := range []string{d.Truth, d.A, d.B} {
		a, b, c, e := extent(path)
		x0, y0, x1, y1 = min(x0, a), min(y0, b), max(x1, c), max(y1, e)
	}
	if x0 >= x1 || y0 >= y1 {
		return [4]int{0, 0, d.Size[0], d.Size[1]}
	}
	side := max((x1-x0)*5/3, (y1-y0)*5/3, max(d.Size[0], d.Size[1])/6, 16)
	w, h := min(side, d.Size[0]), min(side, d.Size[1])
	x, y := min(max((x0+x1-w)/2, 0), d.Size[0]-w), min(max((y0+y1-h)/2, 0), d.Size[1]-h)
	return [4]int{x, y, w, h}
}

// extent is the box around path data of pictures.Mask.Outline; of none nothing.
func extent(path string) (x0, y0, x1, y1 int) {
	x0, y0 = math.MaxInt32, math.MaxInt32
	x, y := 0, 0
	for i := 0; i < len(path); {
		op := path[i]
		i++
		next := func() int {
			n, minus := 0, false
			for ; i < len(path) && (path[i] == '-' || path[i] == ' ' || path[i] >= '0' && path[i] <= '9'); i++ {
				switch {
				case path[i] == '-':
					minus = true
				case path[i] == ' ':
					i++
					return n
				default:
					n = 10*n + int(path[i]-'0')
				}
			}
			if minus {
				return -n
			}
			return n
		}
		switch op {
		case 'M':
			x, y = next(), next()
		case 'h':
			x += next()
		case 'v':
			y += next()
		default:
			continue
		}
		x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x), max(y1, y)
	}
	return x0, y0, x1, y1
}

// A kindTable is the groups of one kind: a row for each group.
type kindTable struct {
	Kind string
	Rows []groupRow
}

type groupRow struct {
	Key   string
	Items int // of the first mode
	Modes []groupCell
}

type groupCell struct {
	golden.Group
	Paired *stats.Paired
}

func (v *view) kinds() {
	names := map[string]bool{}
	for _, table := range v.Groups {
		for kind := range table {
			names[kind] = true
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(names)) {
		keys := map[string]bool{}
		for _, table := range v.Groups {
			for key := range table[kind] {
				keys[key] = true
			}
		}
		t := kindTable{Kind: kind}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			row := groupRow{Key: key}
			for _, mode := range v.Modes {
				g, ok := v.Groups[mode][kind][key]
				if !ok {
					nan := math.NaN()
					g = golden.Group{Have: nan, Want: stats.Number(nan), Points: stats.Number(nan)}
				}
				cell := groupCell{Group: g}
				if p := v.Report.Paired[mode]; p != nil {
					cell.Paired = p.Groups[kind][key]
				}
				row.Items = max(row.Items, g.Items)
				row.Modes = append(row.Modes, cell)
			}
			t.Rows = append(t.Rows, row)
		}
		v.Kinds = append(v.Kinds, t)
	}
}

// A front is what a search measured, as a table of whatever its points tell, and as a chart where they tell latency and change.
type front struct {
	Columns []string
	Rows    [][]string
	Chart   *scatter
}

// newFront reads a list of objects, or an object with such a list. What is something else is not shown.
func newFront(raw json.RawMessage) *front {
	var points []map[string]any
	if json.Unmarshal(raw, &points) != nil {
		var within map[string]json.RawMessage
		if json.Unmarshal(raw, &within) != nil {
			return nil
		}
		for _, name := range slices.Sorted(maps.Keys(within)) {
			if json.Unmarshal(within[name], &points) == nil && len(points) > 0 {
				break
			}
		}
	}
	if len(points) == 0 {
		return nil
	}
	f, seen := &front{}, map[string]bool{}
	for _, p := range points {
		for _, key := range slices.Sorted(maps.Keys(p)) {
			switch p[key].(type) {
			case float64, string, bool:
				if !seen[key] {
					seen[key] = true
					f.Columns = append(f.Columns, key)
				}
			}
		}
	}
	for _, p := range points {
		var row []string
		for _, key := range f.Columns {
			row = append(row, scalar(p[key]))
		}
		f.Rows = append(f.Rows, row)
	}
	f.Chart = frontChart(f.Columns, points)
	return f
}

func scalar(x any) string {
	switch x := x.(type) {
	case float64:
		return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.4f", x), "0"), ".")
	case nil:
		return dash
	default:
		return fmt.Sprint(x)
	}
}
