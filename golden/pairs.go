package golden

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"syncsam-convert/golden/groups"
	"syncsam-convert/golden/stats"
	"syncsam-convert/pictures"
)

// DefaultMovedBy is how many DSC points an item must differ by to be listed as one that moved.
const DefaultMovedBy = 1.0

// bootstrapSeed is the same in every run: an interval does not depend on who asks.
const bootstrapSeed = 20

// Paired is the comparison of one prompt mode, in points: B - A.
type Paired struct {
	*stats.Paired
	A         stats.Number `json:"dsc_a"`
	B         float64      `json:"dsc_b"`
	Agreement Agreement    `json:"agreement_points"` // Bland and Altman's
	// Stable is the comparison without the items whose result hangs on rounding, where there are some: it is shown, it does not decide.
	Stable *stats.Paired                       `json:"without_unstable,omitempty"`
	Moved  []Moved                             `json:"moved_items"` // at most mostListed, those that moved most
	Groups map[string]map[string]*stats.Paired `json:"groups,omitempty"`
}

// Agreement is a mean difference and the limits between which 95 % of the items lie if they are distributed normally.
type Agreement struct {
	Mean stats.Number `json:"mean"`
	Low  stats.Number `json:"low"`
	High stats.Number `json:"high"`
}

// Words is the decision as it is said.
func (p *Paired) Words() string {
	switch {
	case p.Decision == stats.Undecided && p.NeededItems > 0:
		return fmt.Sprintf("not enough data (needs about %d items)", p.NeededItems)
	case p.Decision == stats.Undecided:
		return "not enough data"
	}
	return strings.ReplaceAll(string(p.Decision), "_", " ")
}

// Moved is an item that is listed: DSC before and after.
type Moved struct {
	Image    string       `json:"image"`
	Mask     string       `json:"mask"`
	Mode     string       `json:"mode"`
	A        stats.Number `json:"dsc_a"`
	B        float64      `json:"dsc_b"`
	Points   stats.Number `json:"delta_points"`
	Unstable bool         `json:"unstable,omitempty"`
}

func movedOf(r Result) Moved {
	return Moved{r.Image, r.Mask, r.Mode, r.Want, r.Have, r.Points, r.Unstable}
}

// pairs are the differences of one prompt mode, each with what it belongs to.
type pairs struct {
	d        []float64
	clusters []string
	unstable []int // items
	by       map[string][]string
	moved    []Moved
}

func (p *pairs) add(r Result, keys map[string]string, movedBy float64) {
	for name, key := range keys {
		for len(p.by[name]) < len(p.d) {
			p.by[name] = append(p.by[name], "") // items before it told nothing
		}
		p.by[name] = append(p.by[name], key)
	}
	p.d = append(p.d, r.Have-float64(r.Want))
	p.clusters = append(p.clusters, clusterOf(r.Image, keys))
	if r.Unstable {
		p.unstable = append(p.unstable, len(p.d)-1)
	}
	if math.Abs(float64(r.Points)) > movedBy {
		p.moved = append(p.moved, movedOf(r))
		if len(p.moved) >= 2*mostListed {
			p.cut()
		}
	}
}

// cut leaves the items that moved most.
func (p *pairs) cut() {
	slices.SortStableFunc(p.moved, func(a, b Moved) int { return cmp.Compare(math.Abs(float64(b.Points)), math.Abs(float64(a.Points))) })
	p.moved = p.moved[:min(len(p.moved), mostListed)]
}

func (p *pairs) compare(margin, movedBy float64, t *tally) (*Paired, error) {
	o := stats.Options{Margin: margin, MovedBy: movedBy, Seed: bootstrapSeed}
	out := &Paired{A: mean(&t.want, t.n), B: float64(mean(&t.have, t.n)), Moved: []Moved{}}
	var err error
	if out.Paired, err = stats.Compare(p.d, p.clusters, o); err != nil {
		return nil, err
	}
	out.UnstableItems = len(p.unstable)
	at, low, high := stats.Agreement(p.d)
	out.Agreement = Agreement{stats.Number(100 * at), stats.Number(100 * low), stats.Number(100 * high)}
	if n := len(p.unstable); n > 0 && n < len(p.d) {
		var stable []int
		for i := range p.d {
			if _, found := slices.BinarySearch(p.unstable, i); !found {
				stable = append(stable, i)
			}
		}
		if out.Stable, err = stats.Compare(stats.Take(p.d, stable), stats.Take(p.clusters, stable), o); err != nil {
			return nil, err
		}
	}
	p.cut()
	out.Moved = append(out.Moved, p.moved...)
	for name, keys := range p.by {
		for len(keys) < len(p.d) {
			keys = append(keys, "")
		}
		if name == "patient" || len(slices.Compact(slices.Sorted(slices.Values(keys)))) > mostGroups {
			continue
		}
		if out.Groups == nil {
			out.Groups = map[string]map[string]*stats.Paired{}
		}
		if out.Groups[name], err = stats.CompareGroups(p.d, p.clusters, keys, o); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// mostGroups bounds the groups of one kind: more are names, not groups.
const mostGroups = 200

// unknown is the group of what nothing is known of.
const unknown = "unknown"

// keysOf says what an item belongs to: by the names, by its size, by the table.
func keysOf(r Result, table *groups.Table) map[string]string {
	named := groups.FromNames(r.Image, r.Mask)
	keys := map[string]string{"size": stats.SizeClass(r.Pixels)}
	for name, key := range map[string]string{"class": named.Class, "modality": named.Modality, "patient": named.Patient} {
		if key != "" {
			keys[name] = key
		}
	}
	if table != nil {
		values, ok := table.Of(r.Image, r.Mask)
		for i, name := range table.Columns {
			keys[name] = unknown
			if ok && values[i] != "" {
				keys[name] = values[i]
			}
		}
	}
	return keys
}

// clusterOf is what an item's results hang together with: the patient where that is told, else the image; of a volume the whole file.
func clusterOf(image string, keys map[string]string) string {
	if p := keys["patient"]; p != "" && p != unknown {
		return p
	}
	path, _, err := pictures.SplitName(image)
	if err != nil {
		return image
	}
	return filepath.ToSlash(path)
}

// A GroupTable is the groups of one prompt mode: by kind (size, class, modality, the columns of a table), by key.
type GroupTable map[string]map[string]Group

// A Group is the mean DSC of the items that share a key.
type Group struct {
	Items  int          `json:"items"`
	Have   float64      `json:"have"`
	Want   stats.Number `json:"want"`
	Points stats.Number `json:"delta_points"`
}

type part struct {
	n          int
	have, want stats.Sum
	wanted     bool
}

// group adds a result to its groups.
func (t *tally) group(r Result, keys map[string]string) {
	for name, key := range keys {
		if name == "patient" {
			continue
		}
		of := t.groups[name]
		if of == nil {
			of = map[string]*part{}
			t.groups[name] = of
		}
		if of[key] == nil && len(of) > mostGroups {
			continue
		}
		if of[key] == nil {
			of[key] = &part{}
		}
		p := of[key]
		p.n++
		p.have.Add(r.Have)
		if want := float64(r.Want); !math.IsNaN(want) {
			p.wanted = true
			p.want.Add(want)
		}
	}
}

func (t *tally) table() GroupTable {
	out := GroupTable{}
	for name, of := range t.groups {
		if len(of) > mostGroups {
			continue
		}
		out[name] = map[string]Group{}
		for key, p := range of {
			g := Group{Items: p.n, Have: float64(mean(&p.have, p.n)), Want: stats.Number(math.NaN())}
			if p.wanted {
				g.Want = mean(&p.want, p.n)
			}
			g.Points = 100 * (stats.Number(g.Have) - g.Want)
			out[name][key] = g
		}
	}
	return out
}
