package golden

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"syncsam-convert/golden/stats"
	"syncsam-convert/internal/plain"
	"syncsam-convert/segment"
)

// By what a report is judged.
const (
	ByNothing     = "nothing"     // it was measured only
	ByItem        = "item"        // each item within Tolerance of its golden DSC
	BySummary     = "summary"     // each mode's mean at most MaxDrop below the golden one
	ByEquivalence = "equivalence" // the paired comparison with the golden results, margin MaxDrop
	ByPublished   = "published"   // each mode's mean at most Tolerance below a published one
	ByMinimum     = "minimum"     // each mode's mean at least MinDSC
	ByComparison  = "comparison"  // the paired comparison of two artifacts
	ByBaseline    = "baseline"    // an earlier report alone: Report.Baseline
)

// JudgeEquivalence is the judge of Settings that asks for shown equivalence.
const JudgeEquivalence = "equivalence"

// judgedByGolden is how golden results judge.
func judgedByGolden(s Settings) string {
	switch {
	case s.MaxDrop == nil:
		return ByItem
	case s.Judge == JudgeEquivalence:
		return ByEquivalence
	}
	return BySummary
}

// A Report is the outcome of a verification.
type Report struct {
	*Evidence                    // nil where nobody asked for it
	Family    string             `json:"family"`
	Precision string             `json:"precision"`
	Source    string             `json:"source_sha256"`
	Engine    string             `json:"engine"`
	Reference string             `json:"reference,omitempty"` // what the results are held against: golden results, a publication, artifact A
	Judged    string             `json:"judged_by"`
	Shard     string             `json:"shard,omitempty"` // "i/n": it is of that part alone
	Tolerance float64            `json:"tolerance_points"`
	MaxDrop   *float64           `json:"max_dsc_drop_points,omitempty"`
	From      string             `json:"max_dsc_drop_from,omitempty"` // who says so
	MinDSC    *float64           `json:"min_dsc,omitempty"`
	NSD       float64            `json:"nsd_tolerance"` // pixels, and millimetres of what stands under mm
	Pass      bool               `json:"pass"`
	Notes     []string           `json:"notes,omitempty"`
	Modes     map[string]Summary `json:"summary"`
	// Paired is by prompt mode: artifact B against A, or an artifact against the golden results where that judges.
	Paired map[string]*Paired    `json:"paired,omitempty"`
	Groups map[string]GroupTable `json:"groups,omitempty"` // by prompt mode
	// Distributions are by prompt mode, of the items that the report holds.
	Distributions map[string]*Distribution `json:"distributions,omitempty"`
	Baseline      *Baseline                `json:"baseline,omitempty"`
	Layers        *Layers                  `json:"layers,omitempty"` // where somebody compared them
	EmptyMasks    int                      `json:"empty_masks,omitempty"`
	Unstable      []Moved                  `json:"unstable,omitempty"` // items whose result hangs on rounding, at most mostListed
	Items         []Result                 `json:"items,omitempty"`    // at most mostItems
	LeftOut       int                      `json:"items_left_out,omitempty"`
	Layout        string                   `json:"-"` // of the data set

	golden       map[string]float64 // recorded summaries
	published    map[string]float64 // in percent
	s            Settings
	baselineData *DataHash
	worst        *shelf // drawings; those of unstable items are apart
	unstable     *shelf
	tallies      map[string]*tally
	modes        []string
}

// mostItems bounds the results that a report holds; all go to the file of items. mostListed bounds its lists of items.
const (
	mostItems  = 100_000
	mostListed = 200
)

// A Summary is the mean DSC (0 to 1) of one prompt mode beside what it is held against; numbers that there are none of are null.
type Summary struct {
	Items      int          `json:"items"`
	Want       stats.Number `json:"want"`
	Have       float64      `json:"have"`
	Points     stats.Number `json:"delta_points"`
	Worst      float64      `json:"worst_item_points"` // difference of the item that differs most, either way
	WorstItem  string       `json:"worst_item,omitempty"`
	Failed     int          `json:"failed_items"` // where items are judged
	Unstable   int          `json:"unstable_items"`
	IoU        float64      `json:"iou"`
	HD95       stats.Number `json:"hd95"` // pixels, mean over HD95Items
	HD95Items  int          `json:"hd95_items"`
	NSDMean    stats.Number `json:"nsd"`
	NSDItems   int          `json:"nsd_items"`
	Closed     *float64     `json:"closed_loop,omitempty"`
	SameClicks *float64     `json:"same_clicks,omitempty"` // share of items whose clicks are all as recorded
	Pass       bool         `json:"pass"`
}

// Scores are what one artifact reaches on an item, beside its DSC: lengths in pixels. Undefined numbers are null (docs/statistics.md).
type Scores struct {
	IoU       float64      `json:"iou"`
	HD95      stats.Number `json:"hd95"`
	NSD       stats.Number `json:"nsd"`
	Area      stats.Number `json:"area_difference"`
	AreaRatio stats.Number `json:"area_difference_ratio"`
	Clicks    int          `json:"clicks"`
	MM        *Millimetres `json:"mm,omitempty"` // where the file tells its spacing
}

// Millimetres are scores in millimetres.
type Millimetres struct {
	Spacing [2]float64   `json:"spacing"` // width and height of a pixel
	HD95    stats.Number `json:"hd95"`
	NSD     stats.Number `json:"nsd"`
	Area    stats.Number `json:"area_difference"` // mm²
}

// A Result is one item in one mode. Want is the DSC that it is held against: the golden one, or artifact A's.
type Result struct {
	Index  int          `json:"index"`
	Image  string       `json:"image"`
	Mask   string       `json:"mask"`
	Mode   string       `json:"mode"`
	Pixels int          `json:"pixels"` // of the true mask
	Want   stats.Number `json:"want"`
	Have   float64      `json:"have"`
	Points stats.Number `json:"delta_points"`
	Scores
	A          *Scores  `json:"a,omitempty"` // artifact A's
	Unstable   bool     `json:"unstable,omitempty"`
	Closed     *float64 `json:"closed_loop,omitempty"`
	SameClicks *bool    `json:"same_clicks,omitempty"`
	Dropped    bool     `json:"dropped,omitempty"` // since the earlier report, where that judges items
	Pass       bool     `json:"pass"`
	Seconds    float64  `json:"-"` // that it took; not of the result, which is the same in every run
}

// A tally is the sums of one prompt mode. They are exact: nothing depends on the order of items.
type tally struct {
	n, hd95Items, nsdItems, looped, same, failed, unstable int
	have, want, iou, hd95, nsd, closed                     stats.Sum
	worst                                                  float64
	worstItem                                              string
	pairs                                                  *pairs // nil where there is nothing to compare with
	groups                                                 map[string]map[string]*part
}

func newReport(p []*segment.Predictor, s Settings) *Report {
	last := p[len(p)-1]
	r := &Report{Family: last.Manifest().Family, Precision: last.Manifest().Precision, Source: last.Manifest().Source.SHA256, Engine: last.Engine(),
		Modes: map[string]Summary{}, Distributions: map[string]*Distribution{}, NSD: NSDTolerance, s: s, tallies: map[string]*tally{}, modes: s.Modes}
	r.Reserve(s.Draw)
	return r
}

// ModeNames are the prompt modes that were measured, in their order.
func (r *Report) ModeNames() (names []string) {
	for _, mode := range Modes {
		if _, ok := r.Modes[mode]; ok {
			names = append(names, mode)
		}
	}
	return names
}

// judge says by what the report is judged.
func (r *Report) judge(by string) {
	r.Judged, r.Tolerance = by, r.s.Tolerance
	switch by {
	case BySummary, ByEquivalence:
		r.MaxDrop, r.From = r.s.MaxDrop, r.s.from
	case ByMinimum:
		r.MinDSC = r.s.MinDSC
	}
}

// margin is that of the paired comparison, in points; 0 for none.
func (r *Report) margin() float64 {
	switch {
	case r.Judged == ByComparison:
		return *r.s.margin
	case r.Judged == ByEquivalence:
		return *r.s.MaxDrop
	}
	return 0
}

func (r *Report) add(res Result, d *Drawing) error {
	if r.Baseline != nil {
		if err := r.Baseline.see(&res); err != nil {
			return err
		}
	}
	if len(r.Items) < mostItems {
		r.Items = append(r.Items, res)
	} else {
		r.LeftOut++
	}
	t := r.tallies[res.Mode]
	if t == nil {
		t = &tally{groups: map[string]map[string]*part{}}
		if r.margin() > 0 {
			t.pairs = &pairs{by: map[string][]string{}}
		}
		r.tallies[res.Mode] = t
	}
	keys := keysOf(res, r.s.Groups)
	t.add(res)
	t.group(res, keys)
	if t.pairs != nil {
		t.pairs.add(res, keys, r.s.movedBy)
	}
	if res.Unstable && len(r.Unstable) < mostListed {
		r.Unstable = append(r.Unstable, movedOf(res))
	}
	if d != nil {
		d.Result = res
		r.Show(d)
	}
	return nil
}

func (t *tally) add(res Result) {
	t.n++
	t.have.Add(res.Have)
	t.iou.Add(res.IoU)
	for _, x := range []struct {
		value stats.Number
		sum   *stats.Sum
		n     *int
	}{{res.HD95, &t.hd95, &t.hd95Items}, {res.NSD, &t.nsd, &t.nsdItems}} {
		if v := float64(x.value); !math.IsNaN(v) {
			x.sum.Add(v)
			*x.n++
		}
	}
	if want, points := float64(res.Want), float64(res.Points); !math.IsNaN(want) {
		t.want.Add(want)
		if math.Abs(points) > math.Abs(t.worst) || t.worstItem == "" {
			t.worst, t.worstItem = points, res.Mask
		}
	}
	if !res.Pass {
		t.failed++
	}
	if res.Unstable {
		t.unstable++
	}
	if res.Closed != nil {
		t.looped++
		t.closed.Add(*res.Closed)
		if *res.SameClicks {
			t.same++
		}
	}
}

func mean(s *stats.Sum, n int) stats.Number {
	if n == 0 {
		return stats.Number(math.NaN())
	}
	return stats.Number(s.Float64() / float64(n))
}

// finish sums up and judges every mode.
func (r *Report) finish() error {
	r.Pass = true
	if r.Shard != "" { // may have no item
		r.modes = slices.DeleteFunc(slices.Clone(r.modes), func(mode string) bool { return r.tallies[mode] == nil })
	}
	for _, mode := range r.modes {
		t := r.tallies[mode]
		if t == nil {
			if r.golden != nil {
				return fmt.Errorf("%s: no item was recorded with this prompt mode", mode)
			}
			return fmt.Errorf("%s: the data set has no mask that is not empty", mode)
		}
		m := Summary{Items: t.n, Have: float64(mean(&t.have, t.n)), Want: stats.Number(math.NaN()), Worst: t.worst, WorstItem: t.worstItem, Failed: t.failed, Unstable: t.unstable,
			IoU: float64(mean(&t.iou, t.n)), HD95: mean(&t.hd95, t.hd95Items), HD95Items: t.hd95Items, NSDMean: mean(&t.nsd, t.nsdItems), NSDItems: t.nsdItems}
		if want, ok := r.published[mode]; ok {
			m.Want = stats.Number(want / 100)
		} else if t.worstItem != "" {
			m.Want = mean(&t.want, t.n)
		}
		m.Points = 100 * (stats.Number(m.Have) - m.Want)
		if t.looped > 0 {
			c, s := float64(mean(&t.closed, t.looped)), float64(t.same)/float64(t.looped)
			m.Closed, m.SameClicks = &c, &s
		}
		if want, ok := r.golden[mode]; ok && math.Abs(want-float64(m.Want)) > 1e-4 {
			return fmt.Errorf("summary.%s: have %.6f, want the items' mean %.6f", mode, want, m.Want)
		}
		if t.pairs != nil {
			p, err := t.pairs.compare(r.margin(), r.s.movedBy, t)
			if err != nil {
				return fmt.Errorf("%s: %w", mode, err)
			}
			if r.Paired == nil {
				r.Paired = map[string]*Paired{}
			}
			r.Paired[mode] = p
		}
		if table := t.table(); len(table) > 0 {
			if r.Groups == nil {
				r.Groups = map[string]GroupTable{}
			}
			r.Groups[mode] = table
		}
		m.Pass = r.passes(mode, m)
		r.Modes[mode] = m
		r.Pass = r.Pass && m.Pass
		if d := r.distribution(mode); d != nil {
			r.Distributions[mode] = d
		}
	}
	if r.Baseline != nil {
		if err := r.Baseline.finish(r); err != nil {
			return err
		}
		r.Pass = r.Pass && r.Baseline.Pass
	}
	return nil
}

// passes judges a mode.
func (r *Report) passes(mode string, m Summary) bool {
	switch r.Judged {
	case ByItem:
		return m.Failed == 0 && (m.Closed == nil || *m.SameClicks >= MinSameClicks && 100*math.Abs(*m.Closed-float64(m.Want)) <= ClosedTolerance)
	case BySummary:
		return -float64(m.Points) <= *r.MaxDrop
	case ByPublished:
		return !(-float64(m.Points) > r.Tolerance) // a mode that was not published is reported alone
	case ByMinimum:
		return m.Have >= *r.MinDSC
	case ByComparison, ByEquivalence:
		return r.Paired[mode].Decision.Pass()
	}
	return true
}

// ErrMismatch says that an artifact does not meet what it is held against.
var ErrMismatch = errors.New("the artifact does not meet its golden results")

// A mismatch is an ErrMismatch in other words.
type mismatch string

func (m mismatch) Error() string        { return string(m) }
func (m mismatch) Is(target error) bool { return target == ErrMismatch }

// Err is nil for a report that passed, else an ErrMismatch that names the modes.
func (r *Report) Err() error {
	if r.Pass {
		return nil
	}
	var bad []string
	for _, mode := range Modes {
		if m, ok := r.Modes[mode]; ok && !m.Pass {
			bad = append(bad, mode+": "+r.verdict(mode, m))
		}
	}
	if len(bad) == 0 {
		return r.Baseline.err()
	}
	lead := ErrMismatch.Error()
	switch r.Judged {
	case ByPublished:
		lead = "the artifact does not meet the published results"
	case ByMinimum:
		lead = fmt.Sprintf("the artifact does not reach DSC %g", *r.MinDSC)
	case ByComparison:
		lead = fmt.Sprintf("it is not shown that B may replace A within %g points", r.margin())
	}
	if len(r.Notes) > 0 {
		lead += " (" + strings.Join(r.Notes, "; ") + ")"
	}
	if r.Baseline != nil && !r.Baseline.Pass {
		bad = append(bad, r.Baseline.err().Error())
	}
	return mismatch(lead + ": " + strings.Join(bad, "; "))
}

// verdict says in a few words how a mode came out.
func (r *Report) verdict(mode string, m Summary) string {
	switch r.Judged {
	case ByItem:
		return fmt.Sprintf("DSC %.4f, want %.4f (%+.3f points), %d of %d items off by more than %g points, most %+.3f (%s)", m.Have, m.Want, m.Points, m.Failed, m.Items, r.Tolerance, m.Worst, m.WorstItem)
	case BySummary:
		return fmt.Sprintf("DSC %.4f, want %.4f (%+.3f points, at most %g lower)", m.Have, m.Want, m.Points, *r.MaxDrop)
	case ByPublished:
		return fmt.Sprintf("DSC %.4f, want %.4f (%+.3f points, at most %g lower)", m.Have, m.Want, m.Points, r.Tolerance)
	case ByComparison, ByEquivalence:
		p := r.Paired[mode]
		return fmt.Sprintf("%s: %s", p.Words(), p.Reason)
	}
	return fmt.Sprintf("DSC %.4f", m.Have)
}

// Brief is the report without its items and without what differs from run to run, for a manifest.
func (r *Report) Brief() *Report {
	b := *r
	b.Evidence, b.Items, b.worst, b.unstable, b.Unstable, b.Groups, b.Distributions = nil, nil, nil, nil, nil, nil, nil
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
