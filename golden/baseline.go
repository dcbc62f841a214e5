package golden

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"syncsam-convert/artifact"
	"syncsam-convert/golden/stats"
	"syncsam-convert/internal/mapfile"
	"syncsam-convert/internal/memory"
	"syncsam-convert/internal/version"
)

// maxBaseline bounds a report that is read, in bytes: mostItems take some 100 MB. In memory it takes up to baselineRatio times as much.
const (
	maxBaseline   = 256 << 20
	baselineRatio = 8
)

// A Baseline is the comparison with an earlier report. A drop is by how many DSC points an item or a mean is lower; what is higher is none.
type Baseline struct {
	Path      string                   `json:"path"`
	SHA256    string                   `json:"sha256"`
	Tool      version.Tool             `json:"tool"`
	Artifact  string                   `json:"artifact_sha256"`
	Family    string                   `json:"family"`
	Precision string                   `json:"precision"`
	Engine    string                   `json:"engine"`
	Finished  time.Time                `json:"finished"`
	Judged    string                   `json:"judged_by"` // ByItem or BySummary
	MaxDrop   float64                  `json:"max_drop_points"`
	Modes     map[string]*BaselineMode `json:"summary"`
	Dropped   []Moved                  `json:"dropped_items,omitempty"` // below MaxDrop, of all modes, the deepest first, at most mostListed; dsc_a is the earlier one
	Pass      bool                     `json:"pass"`

	have map[string]float64 // by rowName
	left bool               // the earlier report holds not all of its items
	max  map[string]int     // items by mode
}

// A BaselineMode is one prompt mode beside the earlier one.
type BaselineMode struct {
	Items   int     `json:"items"` // that both reports hold
	Was     float64 `json:"was"`
	Have    float64 `json:"have"`
	Points  float64 `json:"delta_points"`
	Dropped int     `json:"dropped_items"`
	Worst   float64 `json:"worst_item_points"` // of the item that dropped most; 0 where none did
	Item    string  `json:"worst_item,omitempty"`
	Pass    bool    `json:"pass"`
}

// readBaseline reads a report that verify --json wrote, and refuses one that does not say what it rests on, or contradicts itself.
func readBaseline(path string) (*Baseline, *Report, error) {
	info, err := os.Stat(path)
	if err == nil {
		err = memory.Fits(path, info.Size(), baselineRatio)
	}
	if err != nil {
		return nil, nil, err
	}
	text, err := mapfile.ReadAll(path, maxBaseline)
	if err != nil {
		return nil, nil, err
	}
	fail := func(format string, args ...any) (*Baseline, *Report, error) {
		return nil, nil, fmt.Errorf("%s: %w", path, fmt.Errorf(format, args...))
	}
	r := &Report{}
	if err := json.Unmarshal(text, r); err != nil {
		return fail("not a report of verify --json: %w", err)
	}
	switch {
	case r.Evidence == nil || r.Artifact == nil || r.Data == nil || r.Data.SHA256 == "":
		return fail("it does not say what it rests on (artifact, data and their hashes): want a report of verify --json")
	case len(r.Modes) == 0 || len(r.Items) == 0:
		return fail("summary or items: there are none")
	}
	sum := sha256.Sum256(text)
	b := &Baseline{Path: path, SHA256: hex.EncodeToString(sum[:]), Tool: r.Tool, Artifact: r.Artifact.SHA256, Family: r.Family, Precision: r.Precision, Engine: r.Engine,
		Finished: r.Finished, Modes: map[string]*BaselineMode{}, have: map[string]float64{}, left: r.LeftOut > 0, max: map[string]int{}}
	sums := map[string]*stats.Sum{}
	for i, it := range r.Items {
		name := rowName(it.Image, it.Mask, it.Mode)
		if _, twice := b.have[name]; twice {
			return fail("items: %d: %s %s is there twice", i, it.Mask, it.Mode)
		}
		if _, ok := r.Modes[it.Mode]; !ok || !(it.Have >= 0 && it.Have <= 1) {
			return fail("items: %d: have %s with DSC %g, want a mode of the summary and 0 to 1", i, it.Mode, it.Have)
		}
		b.have[name] = it.Have
		b.max[it.Mode]++
		if sums[it.Mode] == nil {
			sums[it.Mode] = &stats.Sum{}
		}
		sums[it.Mode].Add(it.Have)
	}
	for mode, m := range r.Modes {
		if !(m.Have >= 0 && m.Have <= 1) {
			return fail("summary.%s: have %g, want 0 to 1", mode, m.Have)
		}
		if b.left {
			continue
		}
		if n := b.max[mode]; n != m.Items || math.Abs(float64(mean(sums[mode], n))-m.Have) > 1e-9 {
			return fail("summary.%s: have %d items with the mean %.6f, want those of the %d items", mode, m.Items, m.Have, n)
		}
	}
	return b, r, nil
}

// baseline reads the earlier report of a request, and refuses one of other prompts or another golden set before any work.
func (r Request) baseline(v *verification, man *artifact.Manifest, ev *Evidence) error {
	if r.Baseline == "" {
		return nil
	}
	b, was, err := readBaseline(r.Baseline)
	if err != nil {
		return fmt.Errorf("--baseline: %w", err)
	}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("--baseline: %s: %s", r.Baseline, fmt.Sprintf(format, args...))
	}
	switch {
	case was.Golden != nil && ev.Golden == nil:
		return fail("it is of the golden set %s (sha256 %.16s), this run of the data at %s", was.Golden.Path, was.Golden.SHA256, r.Data)
	case was.Golden == nil && ev.Golden != nil:
		return fail("it is of the data at %s, this run of the golden set %s", was.Data.Path, r.Golden)
	case was.Golden != nil && was.Golden.SHA256 != ev.Golden.SHA256:
		return fail("golden: have %s with sha256 %.16s, want that of the report, %s with %.16s", r.Golden, ev.Golden.SHA256, was.Golden.Path, was.Golden.SHA256)
	case was.Golden == nil && was.First != nil:
		return fail("it compares two artifacts on own data: its prompts were made for A, %s", was.First.Path)
	}
	for _, mode := range v.s.Modes {
		m, ok := was.Modes[mode]
		if !ok {
			return fail("it has no results with %s prompts; --prompts says which to measure", mode)
		}
		b.Modes[mode] = &BaselineMode{Was: m.Have}
	}
	b.Judged, b.MaxDrop = ByItem, DefaultTolerance
	drop := r.MaxDrop
	if drop == nil && r.Tolerance == nil {
		drop, _, _ = accepted(man)
	}
	if drop != nil {
		b.Judged, b.MaxDrop = BySummary, *drop
	} else if r.Tolerance != nil {
		b.MaxDrop = *r.Tolerance
	}
	if v.r.Engine != b.Engine {
		v.r.Notes = append(v.r.Notes, fmt.Sprintf("the earlier report is of engine %s", b.Engine))
	}
	v.r.Baseline, v.r.baselineData = b, was.Data
	return nil
}

// see holds a result against the earlier one.
func (b *Baseline) see(r *Result) error {
	was, ok := b.have[rowName(r.Image, r.Mask, r.Mode)]
	if !ok && b.left {
		return nil
	}
	if !ok {
		return fmt.Errorf("--baseline: %s: it has no result for %s with %s prompts: another data set", b.Path, r.Mask, r.Mode)
	}
	m := b.Modes[r.Mode]
	m.Items++
	points := 100 * (r.Have - was)
	if points < m.Worst {
		m.Worst, m.Item = points, r.Mask
	}
	if -points <= b.MaxDrop {
		return nil
	}
	m.Dropped++
	r.Dropped = b.Judged == ByItem
	b.Dropped = append(b.Dropped, Moved{r.Image, r.Mask, r.Mode, stats.Number(was), r.Have, stats.Number(points), r.Unstable})
	if len(b.Dropped) >= 2*mostListed {
		b.cut()
	}
	return nil
}

func (b *Baseline) cut() {
	slices.SortStableFunc(b.Dropped, func(x, y Moved) int { return cmp.Compare(x.Points, y.Points) })
	b.Dropped = b.Dropped[:min(len(b.Dropped), mostListed)]
}

// finish judges the modes.
func (b *Baseline) finish(r *Report) error {
	b.cut()
	b.Pass = true
	for mode, m := range b.Modes {
		if n := b.max[mode]; m.Items != n {
			return fmt.Errorf("--baseline: %s: it has %d results with %s prompts, this run has %d of them: another data set", b.Path, n, mode, m.Items)
		}
		m.Have = r.Modes[mode].Have
		m.Points = 100 * (m.Have - m.Was)
		m.Pass = m.Dropped == 0
		if b.Judged == BySummary {
			m.Pass = -m.Points <= b.MaxDrop
		}
		b.Pass = b.Pass && m.Pass
	}
	return nil
}

// sameData refuses an earlier report of other files.
func (b *Baseline) sameData(have, was *DataHash) error {
	if have.SHA256 != was.SHA256 {
		return fmt.Errorf("--baseline: %s: data: have %s with sha256 %.16s of %d items, want that of the report, %s with %.16s of %d", b.Path, have.Path, have.SHA256, have.Items, was.Path, was.SHA256, was.Items)
	}
	return nil
}

// line is one mode beside the earlier report.
func (b *Baseline) line(m *BaselineMode) string {
	item := ""
	if m.Item != "" {
		item = fmt.Sprintf(", deepest drop %+.3f (%s)", m.Worst, m.Item)
	}
	return fmt.Sprintf("DSC %.4f, was %.4f (%+.3f points), %d of %d items dropped by more than %g points%s", m.Have, m.Was, m.Points, m.Dropped, m.Items, b.MaxDrop, item)
}

// by says by what a drop is judged.
func (b *Baseline) by() string {
	what := "each item"
	if b.Judged == BySummary {
		what = "each mean"
	}
	return fmt.Sprintf("%s may be %g DSC points below the report %s of %s", what, b.MaxDrop, b.Path, b.Finished.Format(time.DateOnly))
}

// err is nil where nothing dropped too far.
func (b *Baseline) err() error {
	if b.Pass {
		return nil
	}
	var bad []string
	for _, mode := range Modes {
		if m := b.Modes[mode]; m != nil && !m.Pass {
			bad = append(bad, mode+": "+b.line(m))
		}
	}
	return mismatch("the results dropped since " + b.Path + ": " + strings.Join(bad, "; "))
}
