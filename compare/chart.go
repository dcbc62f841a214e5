package compare

import (
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"syncsam-convert/internal/plain"
)

// chart is a bar per layer: cumulative error, and a mark at the local one.
var chart = template.Must(template.New("chart").Parse(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 {{.Height}}" font-family="system-ui, sans-serif" font-size="12">
<rect width="900" height="{{.Height}}" fill="#fff"/>
<text x="10" y="20" font-size="15">{{.Title}}</text>
<text x="10" y="38" fill="#555">signal-to-noise in dB, worst first; bar: against the first model, mark: quantizing this value alone</text>
{{range .Ticks}}<line x1="{{.X}}" y1="48" x2="{{.X}}" y2="{{$.Bottom}}" stroke="#ddd"/><text x="{{.X}}" y="{{$.Labels}}" text-anchor="middle" fill="#555">{{.DB}}</text>
{{end}}{{range .Bars}}<text x="390" y="{{.Text}}" text-anchor="end">{{.Name}}</text><rect x="400" y="{{.Y}}" width="{{.W}}" height="11" fill="{{.Fill}}"/>{{if .Mark}}<rect x="{{.Mark}}" y="{{.Y}}" width="3" height="11" fill="#c62828"/>{{end}}
{{end}}</svg>
`))

// chartScale is how many pixels a decibel has; chartTop is where bars end.
const (
	chartScale = 6.0
	chartTop   = 80.0
	chartRows  = 60
)

// WriteSVG draws the worst layers as a chart.
func WriteSVG(w io.Writer, title string, layers []Layer) error {
	type bar struct {
		Name, Fill string
		Text, Y    int
		W, Mark    float64
	}
	type tick struct {
		X  float64
		DB int
	}
	layers = paired(layers)
	layers = layers[:min(len(layers), chartRows)]
	var data struct {
		Title                  string
		Height, Bottom, Labels int
		Ticks                  []tick
		Bars                   []bar
	}
	data.Title = plain.Text(title, 120)
	data.Bottom = 54 + 16*len(layers)
	data.Labels, data.Height = data.Bottom+14, data.Bottom+24
	for db := 0; db <= int(chartTop); db += 10 {
		data.Ticks = append(data.Ticks, tick{400 + chartScale*float64(db), db})
	}
	length := func(db float64) float64 { return chartScale * min(max(db, 0), chartTop) }
	for i, l := range layers {
		b := bar{Name: plain.Text(l.Name, 1000), Fill: "#1976d2", Y: 54 + 16*i, Text: 64 + 16*i, W: math.Round(length(l.Cumulative))}
		if l.Output {
			b.Fill = "#2e7d32"
		}
		if name := []rune(b.Name); len(name) > 54 {
			b.Name = "..." + string(name[len(name)-51:])
		}
		if l.Local != nil {
			b.Mark = math.Round(400 + length(*l.Local))
		}
		data.Bars = append(data.Bars, b)
	}
	return plain.Filter(w, func(w io.Writer) error { return chart.Execute(w, data) })
}

// paired are the layers that have a partner; they come first.
func paired(layers []Layer) []Layer {
	if i := slices.IndexFunc(layers, func(l Layer) bool { return l.Alone != "" }); i >= 0 {
		return layers[:i]
	}
	return layers
}

// WriteText prints the layers, at most n with a partner and n without.
func WriteText(w io.Writer, layers []Layer, n int) {
	plain.Fprintf(w, "%11s %9s  %s\n", "cumulative", "local", "value")
	both := paired(layers)
	alone := layers[len(both):]
	defer func() {
		if len(alone) > 0 {
			plain.Fprintf(w, "%d values have no partner:\n", len(alone))
		}
		for _, l := range alone[:min(len(alone), n)] {
			plain.Fprintf(w, "  %s: %s\n", l.Name, l.Alone)
		}
	}()
	for _, l := range both[:min(len(both), n)] {
		local := ""
		if l.Local != nil {
			local = decibels(*l.Local)
		}
		name := l.Name
		if l.Output {
			name += " (output)"
		}
		plain.Fprintf(w, "%11s %9s  %s\n", decibels(l.Cumulative), local, name)
	}
}

func decibels(x float64) string {
	if x >= 1000 {
		return "equal"
	}
	return fmt.Sprintf("%.1f dB", x)
}
