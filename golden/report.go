package golden

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"syncsam-convert/golden/stats"
	"syncsam-convert/internal/plain"
	"syncsam-convert/pictures"
	"syncsam-convert/segment"
)

// A Report is the outcome of a verification.
type Report struct {
	Family     string             `json:"family"`
	Precision  string             `json:"precision"`
	Source     string             `json:"source_sha256"`
	Engine     string             `json:"engine"`
	Reference  string             `json:"reference"`
	Tolerance  float64            `json:"tolerance_points"`
	MaxDrop    *float64           `json:"max_dsc_drop_points,omitempty"`
	Pass       bool               `json:"pass"`
	EmptyMasks int                `json:"empty_masks,omitempty"`
	Modes      map[string]Summary `json:"summary"`
	Items      []Result           `json:"items,omitempty"`

	keep     int
	pictures []kept
	sums     map[string]*sum
	modes    []string
}

// A Summary compares the mean DSC (0 to 1) of one prompt mode.
type Summary struct {
	Items      int      `json:"items"`
	Want       float64  `json:"want"`
	Have       float64  `json:"have"`
	Points     float64  `json:"delta_points"`
	Worst      float64  `json:"worst_item_points"` // largest absolute difference of an item
	Failed     int      `json:"failed_items"`
	Closed     *float64 `json:"closed_loop,omitempty"`
	SameClicks *float64 `json:"same_clicks,omitempty"` // share of items whose clicks are all as recorded
	Pass       bool     `json:"pass"`
}

// A Result is one item in one mode.
type Result struct {
	Index      int      `json:"index"`
	Image      string   `json:"image"`
	Mask       string   `json:"mask"`
	Mode       string   `json:"mode"`
	Want       float64  `json:"want"`
	Have       float64  `json:"have"`
	Points     float64  `json:"delta_points"`
	Closed     *float64 `json:"closed_loop,omitempty"`
	SameClicks *bool    `json:"same_clicks,omitempty"`
	Pass       bool     `json:"pass"`
}

// A sum is exact: it does not depend on the order of items.
type sum struct {
	n    int
	have stats.Sum
}

// kept is what a report needs to draw an item.
type kept struct {
	result Result
	image  *pictures.Image
	truth  *pictures.Mask
	run    *Run
}

func newReport(p *segment.Predictor, s Settings, reference string) *Report {
	return &Report{Family: p.Manifest().Family, Precision: p.Manifest().Precision, Source: p.Manifest().Source.SHA256, Engine: p.Engine(), Reference: reference,
		Tolerance: s.Tolerance, MaxDrop: s.MaxDrop, Modes: map[string]Summary{}, keep: s.Keep, sums: map[string]*sum{}, modes: s.Modes}
}

func (r *Report) add(res Result, image *pictures.Image, truth *pictures.Mask, run *Run) {
	r.Items = append(r.Items, res)
	r.count(res.Mode, res.Have)
	if r.keep == 0 {
		return
	}
	r.pictures = append(r.pictures, kept{res, image, truth, run})
	slices.SortFunc(r.pictures, func(a, b kept) int {
		return cmp.Or(cmp.Compare(rank(b.result), rank(a.result)), cmp.Compare(a.result.Index, b.result.Index), cmp.Compare(slices.Index(Modes, a.result.Mode), slices.Index(Modes, b.result.Mode)))
	})
	r.pictures = r.pictures[:min(len(r.pictures), r.keep)]
}

// rank puts what differs most first, and among equals the lowest DSC.
func rank(r Result) float64 { return math.Round(math.Abs(r.Points)*1e3) + (1 - r.Have) }

func (r *Report) count(mode string, dsc float64) {
	if r.sums[mode] == nil {
		r.sums[mode] = &sum{}
	}
	r.sums[mode].n++
	r.sums[mode].have.Add(dsc)
}

// finish judges every mode against the golden summaries.
func (r *Report) finish(golden map[string]float64) error {
	slices.SortStableFunc(r.Items, func(a, b Result) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(slices.Index(Modes, a.Mode), slices.Index(Modes, b.Mode)))
	})
	r.Pass = true
	for _, mode := range r.modes {
		s := r.sums[mode]
		if s == nil {
			return fmt.Errorf("%s: no item was recorded with this prompt mode", mode)
		}
		m := Summary{Items: s.n, Have: s.have.Float64() / float64(s.n)}
		same, looped, closed := 0, 0, 0.0
		for _, it := range r.Items {
			if it.Mode != mode {
				continue
			}
			m.Want += it.Want / float64(s.n)
			m.Worst = max(m.Worst, math.Abs(it.Points))
			if !it.Pass {
				m.Failed++
			}
			if it.Closed != nil {
				looped++
				closed += *it.Closed
				if *it.SameClicks {
					same++
				}
			}
		}
		if looped > 0 {
			mean, share := closed/float64(looped), float64(same)/float64(looped)
			m.Closed, m.SameClicks = &mean, &share
		}
		if want, ok := golden[mode]; ok && math.Abs(want-m.Want) > 1e-4 {
			return fmt.Errorf("summary.%s: have %.6f, want the items' mean %.6f", mode, want, m.Want)
		}
		m.Points = 100 * (m.Have - m.Want)
		m.Pass = m.Failed == 0
		if r.MaxDrop != nil {
			m.Pass = -m.Points <= *r.MaxDrop
		}
		if m.Closed != nil && r.MaxDrop == nil {
			m.Pass = m.Pass && *m.SameClicks >= MinSameClicks && 100*math.Abs(*m.Closed-m.Want) <= ClosedTolerance
		}
		r.Modes[mode] = m
		r.Pass = r.Pass && m.Pass
	}
	return nil
}

// finishPublished judges means against published ones, in percent; a mode that was not published is reported alone.
func (r *Report) finishPublished(published map[string]float64) error {
	r.Pass = true
	for _, mode := range r.modes {
		s := r.sums[mode]
		if s == nil {
			return fmt.Errorf("%s: the data set has no mask that is not empty", mode)
		}
		m := Summary{Items: s.n, Have: s.have.Float64() / float64(s.n), Pass: true}
		if want, ok := published[mode]; ok {
			m.Want = want / 100
			m.Points = 100 * (m.Have - m.Want)
			m.Worst = math.Abs(m.Points)
			m.Pass = -m.Points <= r.Tolerance
		}
		r.Modes[mode] = m
		r.Pass = r.Pass && m.Pass
	}
	return nil
}

// ErrMismatch says that an artifact does not meet its golden results.
var ErrMismatch = errors.New("the artifact does not meet its golden results")

// Err is nil for a report that passed, else an ErrMismatch that names the modes.
func (r *Report) Err() error {
	if r.Pass {
		return nil
	}
	var bad []string
	for _, mode := range Modes {
		if m, ok := r.Modes[mode]; ok && !m.Pass {
			bad = append(bad, fmt.Sprintf("%s: DSC %.4f, want %.4f, %d of %d items off", mode, m.Have, m.Want, m.Failed, m.Items))
		}
	}
	return fmt.Errorf("%w: %s", ErrMismatch, strings.Join(bad, "; "))
}

// Brief is the report without its items, for a manifest.
func (r *Report) Brief() *Report {
	b := *r
	b.Items, b.pictures = nil, nil
	return &b
}

// WriteJSON writes the whole report.
func (r *Report) WriteJSON(w io.Writer) error {
	return plain.Filter(w, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(r)
	})
}

// WriteText prints a line per prompt mode, then the items that failed (at most ten).
func (r *Report) WriteText(w io.Writer) {
	verdict := func(ok bool) string { return map[bool]string{true: "ok", false: "FAILED"}[ok] }
	plain.Fprintf(w, "%s %s on engine %s against %s\n", r.Family, r.Precision, r.Engine, r.Reference)
	for _, mode := range r.modes {
		m := r.Modes[mode]
		plain.Fprintf(w, "  %-8s DSC %.4f, want %.4f (%+.3f points), worst item %.3f points, %d of %d items ok", mode, m.Have, m.Want, m.Points, m.Worst, m.Items-m.Failed, m.Items)
		if m.Closed != nil {
			plain.Fprintf(w, "; closed loop %.4f, same clicks %.1f %%", *m.Closed, 100**m.SameClicks)
		}
		plain.Fprintf(w, ": %s\n", verdict(m.Pass))
	}
	shown := 0
	for _, it := range r.Items {
		if !it.Pass && shown < 10 {
			plain.Fprintf(w, "  FAILED %s %s: DSC %.6f, want %.6f\n", it.Mask, it.Mode, it.Have, it.Want)
			shown++
		}
	}
	if r.EmptyMasks > 0 {
		plain.Fprintf(w, "  %d empty masks left out\n", r.EmptyMasks)
	}
}
