package golden

import (
	"math"
	"slices"

	"syncsam-convert/golden/stats"
)

// A Distribution is how the items of one prompt mode spread: over differences in DSC points where they are held against something, else over DSC.
type Distribution struct {
	Of   string `json:"of"` // delta_points or dsc
	Bins []Bin  `json:"bins"`
	// Agreement is Bland and Altman's, of differences.
	Agreement *Agreement `json:"agreement_points,omitempty"`
	Median    float64    `json:"median"`
	Quartiles [2]float64 `json:"quartiles"`
	Least     float64    `json:"least"`
	Most      float64    `json:"most"`
}

// A Bin counts items from Low to below High; the last one holds High, too.
type Bin struct {
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	Items int     `json:"items"`
}

// What distributions are of.
const (
	OfPoints = "delta_points"
	OfDSC    = "dsc"
)

// pointSteps are the borders of bins of differences, either way: most items move by hundredths of a point, a few by tens. Within the first
// step nothing moved.
var pointSteps = []float64{0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100}

func edges(of string) (e []float64) {
	if of == OfDSC {
		for i := range 21 {
			e = append(e, float64(i)/20)
		}
		return e
	}
	for _, x := range pointSteps {
		e = append(e, -x, x)
	}
	slices.Sort(e)
	return e
}

// distribution is that of the report's items in a mode, nil where it holds none.
func (r *Report) distribution(mode string) *Distribution {
	d := &Distribution{Of: OfPoints}
	var points, dsc []float64
	for _, it := range r.Items {
		if it.Mode != mode {
			continue
		}
		dsc = append(dsc, it.Have)
		if p := float64(it.Points); !math.IsNaN(p) {
			points = append(points, p)
		}
	}
	values := points
	if len(points) == 0 {
		d.Of, values = OfDSC, dsc
	}
	if len(values) == 0 {
		return nil
	}
	if d.Of == OfPoints {
		at, low, high := stats.Agreement(values)
		d.Agreement = &Agreement{stats.Number(at), stats.Number(low), stats.Number(high)}
	}
	e := edges(d.Of)
	for i := range len(e) - 1 {
		d.Bins = append(d.Bins, Bin{Low: e[i], High: e[i+1]})
	}
	for _, x := range values {
		i, found := slices.BinarySearch(e, x)
		if !found {
			i--
		}
		d.Bins[min(max(i, 0), len(d.Bins)-1)].Items++
	}
	slices.Sort(values)
	at := func(q float64) float64 { // linear between neighbours
		i := q * float64(len(values)-1)
		lo := int(i)
		return values[lo] + (i-float64(lo))*(values[min(lo+1, len(values)-1)]-values[lo])
	}
	d.Median, d.Quartiles, d.Least, d.Most = at(0.5), [2]float64{at(0.25), at(0.75)}, values[0], values[len(values)-1]
	return d
}
