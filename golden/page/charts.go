package page

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"syncsam-convert/golden"
)

// Charts have the width of a phone: text keeps its size there.
const (
	chartW, chartH                    = 360.0, 220.0
	scatterRight                      = chartW - 40 // numbers of lines stand right of it
	padLeft, padRight, padTop, padLow = 44.0, 10.0, 12.0, 38.0
)

// A scale maps values to pixels.
type scale struct{ low, high, from, to float64 }

func (s scale) at(x float64) float64 { return s.from + (x-s.low)/(s.high-s.low)*(s.to-s.from) }

// A tick is a mark of an axis.
type tick struct {
	At   float64
	Text string
}

// ticks are about n round numbers within a scale.
func (s scale) ticks(n int) (list []tick) {
	step := math.Pow(10, math.Floor(math.Log10((s.high-s.low)/float64(n))))
	for _, by := range []float64{1, 2, 5, 10} {
		if (s.high-s.low)/(step*by) <= float64(n) {
			step *= by
			break
		}
	}
	for i := math.Ceil(s.low/step - 1e-9); i*step <= s.high+1e-9*step; i++ {
		x := i * step
		if math.Abs(x) < step/1e6 {
			x = 0
		}
		list = append(list, tick{round(s.at(x)), strings.Replace(strconv.FormatFloat(x, 'g', 4, 64), "-", "−", 1)})
	}
	return list
}

func round(x float64) float64 { return math.Round(10*x) / 10 }

// A histogram is bars of equal width, one for each bin.
type histogram struct {
	Title, Text, Axis string
	Bars              []bar
	X                 []tick
}

type bar struct {
	X, Y, W, H float64
	Items      int
	Kind       string // below, within or above 0
}

func (v *view) charts(mode string, d *golden.Distribution) chartPair {
	c := chartPair{Mode: mode, Histogram: newHistogram(mode, d)}
	if d.Of == golden.OfPoints {
		c.Scatter = v.blandAltman(mode, d)
	}
	return c
}

func newHistogram(mode string, d *golden.Distribution) histogram {
	most, all := 1, 0
	for _, b := range d.Bins {
		most, all = max(most, b.Items), all+b.Items
	}
	first := slices.IndexFunc(d.Bins, func(b golden.Bin) bool { return b.Items > 0 })
	bins := d.Bins
	if d.Of == golden.OfPoints { // as many steps either way as are needed
		for first > 0 && len(bins) > 7 && bins[0].Items == 0 && bins[len(bins)-1].Items == 0 {
			bins = bins[1 : len(bins)-1]
		}
	}
	x, y := scale{0, float64(len(bins)), padLeft, chartW - padRight}, scale{0, float64(most), chartH - padLow, padTop + 12}
	h := histogram{Axis: "DSC"}
	for i, b := range bins {
		one := bar{X: round(x.at(float64(i)) + 0.5), W: round(x.at(1) - x.at(0) - 1), Items: b.Items, Kind: "within"}
		if d.Of == golden.OfPoints {
			switch {
			case b.High <= 0:
				one.Kind = "below"
			case b.Low >= 0:
				one.Kind = "above"
			}
		}
		one.Y = round(y.at(float64(b.Items)))
		one.H = round(y.at(0) - one.Y)
		if b.Items > 0 && one.H < 1.5 {
			one.Y, one.H = round(y.at(0)-1.5), 1.5
		}
		h.Bars = append(h.Bars, one)
		if every := max(1, len(bins)/6); d.Of == golden.OfDSC && i%4 == 0 || d.Of == golden.OfPoints && (i-len(bins)/2)%every == 0 {
			edge := b.Low
			if d.Of == golden.OfPoints && b.Low >= 0 {
				edge = b.High
			} else if d.Of == golden.OfPoints && b.High > 0 {
				h.X = append(h.X, tick{round(x.at(float64(i) + 0.5)), "0"})
				continue
			}
			at := x.at(float64(i))
			if d.Of == golden.OfPoints && b.Low >= 0 {
				at = x.at(float64(i + 1))
			}
			h.X = append(h.X, tick{round(at), strings.Replace(strconv.FormatFloat(edge, 'g', 3, 64), "-", "−", 1)})
		}
	}
	if d.Of == golden.OfDSC {
		h.X = append(h.X, tick{x.to, "1"})
		h.Title = "DSC of the items, " + mode
		h.Text = fmt.Sprintf("%d items: median %.3f, half of them %.3f to %.3f, from %.3f to %.3f.", all, d.Median, d.Quartiles[0], d.Quartiles[1], d.Least, d.Most)
		return h
	}
	h.Title, h.Axis = "Differences, "+mode, "difference in DSC points (steps of 1, 2, 5)"
	h.Text = fmt.Sprintf("%d items: median %s points, half of them %s to %s, from %s to %s.", all, signed(3, d.Median), signed(3, d.Quartiles[0]), signed(3, d.Quartiles[1]), signed(2, d.Least), signed(2, d.Most))
	return h
}

// A scatter is points with lines across.
type scatter struct {
	Title, Text  string
	AxisX, AxisY string
	X, Y         []tick
	Points, Odd  string // path data of dots; Odd are the unstable ones
	Lines        []acrossLine
	Labels       []label // of single points
}

type label struct {
	X, Y float64
	Text string
}

type acrossLine struct {
	Y    float64
	Text string
	Kind string
}

// dots is path data of points, one for all that fall on the same half pixel.
type dots struct {
	seen map[[2]float64]bool
	out  strings.Builder
}

func (d *dots) put(x, y float64) {
	at := [2]float64{math.Round(2*x) / 2, math.Round(2*y) / 2}
	if d.seen == nil {
		d.seen = map[[2]float64]bool{}
	}
	if !d.seen[at] {
		d.seen[at] = true
		fmt.Fprintf(&d.out, "M%g %gh0", at[0], at[1])
	}
}

func (v *view) blandAltman(mode string, d *golden.Distribution) *scatter {
	a := d.Agreement
	most := math.Max(math.Abs(d.Least), math.Abs(d.Most))
	for _, x := range []float64{float64(a.Low), float64(a.High)} {
		if !math.IsNaN(x) {
			most = math.Max(most, math.Abs(x))
		}
	}
	most = math.Max(1.1*most, 0.05)
	x, y := scale{0, 1, padLeft, scatterRight}, scale{-most, most, chartH - padLow, padTop}
	s := &scatter{Title: "Bland and Altman, " + mode, AxisX: "mean of both DSC", AxisY: "difference, points", X: x.ticks(5), Y: y.ticks(5),
		Text: fmt.Sprintf("Mean difference %s points; 95 %% of items lie between %s and %s if they are distributed normally.", signed(3, a.Mean), signed(3, a.Low), signed(3, a.High))}
	var all, odd dots
	for _, it := range v.Report.Items {
		if it.Mode != mode || math.IsNaN(float64(it.Points)) {
			continue
		}
		to := &all
		if it.Unstable {
			to = &odd
		}
		to.put(x.at((it.Have+float64(it.Want))/2), y.at(float64(it.Points)))
	}
	s.Points, s.Odd = all.out.String(), odd.out.String()
	s.Lines = append(s.Lines, acrossLine{round(y.at(0)), "", "zero"})
	for _, l := range []struct {
		at   float64
		kind string
	}{{float64(a.Low), "limit"}, {float64(a.High), "limit"}, {float64(a.Mean), "mean"}} {
		if math.IsNaN(l.at) {
			continue
		}
		line := acrossLine{round(y.at(l.at)), signed(2, l.at), l.kind}
		if slices.ContainsFunc(s.Lines, func(o acrossLine) bool { return o.Text != "" && math.Abs(o.Y-line.Y) < 10 }) {
			line.Text = "" // one number over the other; the text has it
		}
		s.Lines = append(s.Lines, line)
	}
	return s
}

// intervals are the mean differences of the modes with their intervals, beside the margin.
type intervals struct {
	Text       string
	Height     float64
	Margin     float64
	Low, High  float64 // pixels of -margin and margin
	Zero       float64
	X          []tick
	Bars       []intervalBar
	Foot, Axis float64
}

type intervalBar struct {
	Mode           string
	Y              float64
	Low, High, Mid float64
	Pass           bool
}

func newIntervals(rows []modeRow) *intervals {
	most, margin := 0.0, 0.0
	for _, r := range rows {
		if r.Paired == nil {
			return nil
		}
		margin = r.Paired.Margin
		most = math.Max(most, margin)
		for _, x := range append(r.Paired.CI95[:], r.Paired.Mean) {
			if v := float64(x); !math.IsNaN(v) {
				most = math.Max(most, math.Abs(v))
			}
		}
	}
	if len(rows) == 0 {
		return nil
	}
	most *= 1.15
	x := scale{-most, most, 70, chartW - 12}
	i := &intervals{Margin: margin, Low: round(x.at(-margin)), High: round(x.at(margin)), Zero: round(x.at(0)), X: x.ticks(5)}
	var text []string
	for k, r := range rows {
		b := intervalBar{Mode: r.Mode, Y: 26 + 30*float64(k), Mid: round(x.at(float64(r.Paired.Mean))), Pass: r.Paired.Decision.Pass()}
		b.Low, b.High = b.Mid, b.Mid
		if low, high := float64(r.Paired.CI95[0]), float64(r.Paired.CI95[1]); !math.IsNaN(low) && !math.IsNaN(high) {
			b.Low, b.High = round(x.at(low)), round(x.at(high))
		}
		i.Bars = append(i.Bars, b)
		text = append(text, fmt.Sprintf("%s: %s points, 95 %% interval %s to %s", r.Mode, signed(3, r.Paired.Mean), signed(3, r.Paired.CI95[0]), signed(3, r.Paired.CI95[1])))
	}
	i.Axis = 16 + 30*float64(len(rows))
	i.Height, i.Foot = i.Axis+34, i.Axis+29
	i.Text = strings.Join(text, "; ") + fmt.Sprintf("; margin %g points either way.", margin)
	return i
}

// frontChart draws the first column that names a latency beside the first that names a change, where both are numbers of all points.
func frontChart(columns []string, points []map[string]any) *scatter {
	find := func(words ...string) string {
		for _, c := range columns {
			for _, w := range words {
				if _, number := points[0][c].(float64); number && strings.Contains(strings.ToLower(c), w) {
					return c
				}
			}
		}
		return ""
	}
	cx, cy := find("latency", "_ms", "seconds", "time"), find("delta", "points", "change", "drop", "dsc", "error")
	if cx == "" || cy == "" || cx == cy {
		return nil
	}
	lows, highs := [2]float64{math.Inf(1), math.Inf(1)}, [2]float64{math.Inf(-1), math.Inf(-1)}
	var at [][2]float64
	var names []string
	for i, p := range points {
		a, ok1 := p[cx].(float64)
		b, ok2 := p[cy].(float64)
		if !ok1 || !ok2 {
			continue
		}
		at, names = append(at, [2]float64{a, b}), append(names, strconv.Itoa(i+1))
		for i, v := range []float64{a, b} {
			lows[i], highs[i] = math.Min(lows[i], v), math.Max(highs[i], v)
		}
	}
	for i := range 2 {
		by := cmp.Or((highs[i]-lows[i])*0.08, math.Abs(highs[i])*0.08, 1)
		lows[i], highs[i] = lows[i]-by, highs[i]+by
	}
	x, y := scale{lows[0], highs[0], padLeft, scatterRight}, scale{lows[1], highs[1], chartH - padLow, padTop}
	s := &scatter{Title: "Front", Text: fmt.Sprintf("%d points: %s against %s.", len(at), cx, cy), AxisX: strings.ReplaceAll(cx, "_", " "), AxisY: strings.ReplaceAll(cy, "_", " "), X: x.ticks(5), Y: y.ticks(5)}
	var all dots
	for i, p := range at {
		all.put(x.at(p[0]), y.at(p[1]))
		s.Labels = append(s.Labels, label{round(x.at(p[0]) + 6), round(y.at(p[1]) - 5), names[i]})
	}
	s.Points = all.out.String()
	return s
}
