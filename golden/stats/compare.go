// Package stats compares two artifacts item by item: exact sums, paired tests, intervals that know which items belong together, a decision.
package stats

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// A Decision is what a paired comparison shows of B against A.
type Decision string

// The decisions, each at the 5 % level. Only the first two let B replace A.
const (
	Equivalent  Decision = "equivalent"   // the mean difference is above -margin and below margin
	NotInferior Decision = "not_inferior" // it is above -margin
	Inferior    Decision = "inferior"     // it is below -margin
	Undecided   Decision = "undecided"    // neither is shown: there are too few items
)

// Pass reports whether B may replace A.
func (d Decision) Pass() bool { return d == Equivalent || d == NotInferior }

const (
	alpha = 0.05 // of every one-sided test of the decision
	power = 0.8  // that NeededItems is computed for
	few   = 20   // effective clusters, below which the reason says how few they are
)

// A Number is a float64 whose JSON is null where it is undefined.
type Number float64

// MarshalJSON writes NaN and infinities as null.
func (n Number) MarshalJSON() ([]byte, error) {
	if f := float64(n); !math.IsNaN(f) && !math.IsInf(f, 0) {
		return json.Marshal(f)
	}
	return []byte("null"), nil
}

// UnmarshalJSON reads null as NaN.
func (n *Number) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	return json.Unmarshal(text, (*float64)(n))
}

// A Paired compares B with A over the items of one prompt mode. Differences are B - A in points (hundredths of DSC); undefined numbers
// (of a single cluster) are NaN.
type Paired struct {
	Items          int       `json:"items"`
	Clusters       int       `json:"clusters"`
	Mean           Number    `json:"mean_points"`
	SE             Number    `json:"se_points"`   // of the mean, between clusters
	CI95           [2]Number `json:"ci95_points"` // Clusters.Bootstrap
	WilcoxonP      Number    `json:"wilcoxon_p"`  // two-sided, items as if independent
	TOSTP          Number    `json:"tost_p"`      // against -margin and margin, items as if independent
	TOSTClusteredP Number    `json:"tost_clustered_p"`
	Margin         float64   `json:"margin_points"`
	Decision       Decision  `json:"decision"`
	Reason         string    `json:"reason"`                 // of the decision, one sentence
	NeededItems    int       `json:"needed_items,omitempty"` // of an undecided one, about; 0 when no number can be told
	MovedBy        float64   `json:"moved_by_points"`
	MovedShare     float64   `json:"moved_share"`    // of the items whose difference is larger than MovedBy, either way
	UnstableItems  int       `json:"unstable_items"` // told by the caller
}

// Options say how Compare judges. Margin is in points; it must be positive.
type Options struct {
	Margin  float64
	MovedBy float64 // points
	Seed    uint64  // of the bootstrap
}

// Compare judges differences of DSC (B - A, in units of 1, one for each item). clusters names what each item belongs to: its image, or
// better its patient. It does not depend on the order of the items.
func Compare(d []float64, clusters []string, o Options) (*Paired, error) {
	switch {
	case len(d) == 0:
		return nil, fmt.Errorf("differences: there are none")
	case len(clusters) != len(d):
		return nil, fmt.Errorf("clusters: have %d, want one for each of %d differences", len(clusters), len(d))
	case !(o.Margin > 0) || math.IsInf(o.Margin, 1):
		return nil, fmt.Errorf("margin: have %g points, want more than 0", o.Margin)
	case !(o.MovedBy >= 0):
		return nil, fmt.Errorf("moved by: have %g points, want 0 or more", o.MovedBy)
	}
	for i, x := range d {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, fmt.Errorf("differences[%d]: have %g, want a finite number", i, x)
		}
	}
	c, items := Cluster(d, clusters), PairedT(d)
	between, margin := c.T(), o.Margin/100
	low, high := c.Bootstrap(0.95, o.Seed)
	_, wilcoxon := Wilcoxon(d)
	p := &Paired{Items: len(d), Clusters: c.Len(), Margin: o.Margin, MovedBy: o.MovedBy,
		Mean: Number(100 * items.Mean), SE: Number(100 * between.SE), CI95: [2]Number{Number(100 * low), Number(100 * high)},
		WilcoxonP: Number(wilcoxon), TOSTP: Number(items.TOST(-margin, margin)), TOSTClusteredP: Number(between.TOST(-margin, margin)),
		MovedShare: float64(len(Moved(d, o.MovedBy))) / float64(len(d))}
	p.decide(items, between, margin)
	switch {
	case c.Effective() < few:
		p.Reason += fmt.Sprintf("; the items are of %d images or patients only, which is few for any interval", c.Len())
	case c.Carried(3) > 0.6:
		p.Reason += "; 3 images or patients make most of the spread: look at what moved"
	}
	return p, nil
}

// decide asks both tests, between items and between clusters, and takes what both show: clusters that happen to agree better than their
// items do never make a decision easier.
func (p *Paired) decide(items, between TTest, margin float64) {
	if p.Clusters < 2 {
		p.Decision, p.Reason = Undecided, "nothing tells one image's or patient's luck from the model"
		return
	}
	shown := func(test func(TTest, float64) float64, x float64) bool {
		return max(test(items, x), test(between, x)) < alpha
	}
	above, below := shown(TTest.Above, -margin), shown(TTest.Below, margin)
	low, high := widest(items, between)
	interval := fmt.Sprintf("the 90 %% interval of the mean difference is %+.3f to %+.3f points", 100*low, 100*high)
	switch {
	case above && below:
		p.Decision, p.Reason = Equivalent, fmt.Sprintf("%s, within %g points either way", interval, p.Margin)
	case above:
		p.Decision, p.Reason = NotInferior, fmt.Sprintf("%s, above %+g points", interval, -p.Margin)
	case shown(TTest.Below, -margin):
		p.Decision, p.Reason = Inferior, fmt.Sprintf("%s, below %+g points", interval, -p.Margin)
	default:
		p.Decision, p.NeededItems = Undecided, needed(items, between, margin)
		p.Reason = fmt.Sprintf("%s, on both sides of %+g points", interval, -p.Margin)
	}
}

// widest is the 90 % interval that holds the one between items and the one between clusters: the tests at 5 % as an interval.
func widest(a, b TTest) (low, high float64) {
	al, ah := a.Interval(1 - 2*alpha)
	bl, bh := b.Interval(1 - 2*alpha)
	return min(al, bl), max(ah, bh)
}

// needed is about how many items of this kind show with 80 % power on which side of -margin a mean lies that is as it was measured.
func needed(items, between TTest, margin float64) int {
	n, se, df := items.DF+1, items.SE, items.DF
	if between.SE > se {
		se, df = between.SE, between.DF
	}
	factor := se / (items.Mean + margin) * (quantileT(1-alpha, df) + quantileT(power, df))
	if more := math.Ceil(n * factor * factor); more < 1e9 {
		return max(int(more), int(n)+1)
	}
	return 0
}

// Moved lists the differences (in units of 1) that are larger than by points, either way: the largest first.
func Moved(d []float64, by float64) []int {
	var list []int
	for i, x := range d {
		if 100*math.Abs(x) > by {
			list = append(list, i)
		}
	}
	slices.SortStableFunc(list, func(a, b int) int { return cmp.Compare(math.Abs(d[b]), math.Abs(d[a])) })
	return list
}

// Agreement is Bland and Altman's: the mean difference, and the limits between which 95 % of the items lie if they are distributed normally
// (Lancet 1986). Limits are NaN for fewer than two.
func Agreement(d []float64) (mean, low, high float64) {
	m := &Moments{}
	for _, x := range d {
		m.Add(x)
	}
	by := 1.96 * math.Sqrt(m.Variance())
	return m.Mean(), m.Mean() - by, m.Mean() + by
}

// A Group is the items that share a key: an organ, a modality, a class of size.
type Group struct {
	Key   string
	Index []int
}

// Groups sorts items by key; the groups are in the order of their keys, each in the order of its items.
func Groups(keys []string) []Group {
	at := map[string]int{}
	var list []Group
	for i, k := range keys {
		n, ok := at[k]
		if !ok {
			n = len(list)
			at[k], list = n, append(list, Group{Key: k})
		}
		list[n].Index = append(list[n].Index, i)
	}
	slices.SortFunc(list, func(a, b Group) int { return cmp.Compare(a.Key, b.Key) })
	return list
}

// Take picks values by index.
func Take[T any](values []T, index []int) []T {
	out := make([]T, len(index))
	for i, at := range index {
		out[i] = values[at]
	}
	return out
}

// CompareGroups is Compare for each group of keys. The decisions are one for each group, not corrected for their number: they describe.
func CompareGroups(d []float64, clusters, keys []string, o Options) (map[string]*Paired, error) {
	if len(keys) != len(d) {
		return nil, fmt.Errorf("groups: have %d keys, want one for each of %d differences", len(keys), len(d))
	}
	out := map[string]*Paired{}
	for _, g := range Groups(keys) {
		p, err := Compare(Take(d, g.Index), Take(clusters, g.Index), o)
		if err != nil {
			return nil, fmt.Errorf("group %q: %w", g.Key, err)
		}
		out[g.Key] = p
	}
	return out, nil
}

// SizeClass names an object's size by its pixels, with COCO's borders (32 x 32 and 96 x 96).
func SizeClass(pixels int) string {
	switch {
	case pixels < 32*32:
		return "small"
	case pixels < 96*96:
		return "medium"
	}
	return "large"
}
