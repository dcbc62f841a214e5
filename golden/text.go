package golden

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"syncsam-convert/internal/plain"
)

// shown is how many items of a kind the text lists; the other forms have more.
const shown = 10

// WriteText prints a line per prompt mode, then the items that failed, moved or hang on rounding (at most ten of each).
func (r *Report) WriteText(w io.Writer) {
	against := ""
	if r.Reference != "" {
		against = " against " + r.Reference
	}
	plain.Fprintf(w, "%s %s on engine %s%s\n", r.Family, r.Precision, r.Engine, against)
	if r.Shard != "" {
		plain.Fprintf(w, "  shard %s alone, %d items; merge puts the files of all together\n", r.Shard, r.Data.Items)
	}
	for _, note := range r.Notes {
		plain.Fprintf(w, "  note: %s\n", note)
	}
	for _, mode := range r.modes {
		m := r.Modes[mode]
		plain.Fprintf(w, "  %-8s %s", mode, r.line(mode))
		if m.Closed != nil {
			plain.Fprintf(w, "; closed loop %.4f, same clicks %.1f %%", *m.Closed, 100**m.SameClicks)
		}
		if r.Judged != ByNothing && !math.IsNaN(float64(m.Want)) || r.Judged == ByMinimum {
			plain.Fprintf(w, ": %s", map[bool]string{true: "ok", false: "FAILED"}[m.Pass])
		}
		plain.Fprintf(w, "\n")
	}
	if b := r.Baseline; b != nil {
		for _, mode := range r.modes {
			if m := b.Modes[mode]; m != nil {
				plain.Fprintf(w, "  %-8s since the earlier report: %s: %s\n", mode, b.line(m), map[bool]string{true: "ok", false: "FAILED"}[m.Pass])
			}
		}
		for i, m := range b.Dropped {
			if i < shown {
				plain.Fprintf(w, "  dropped %s %s: DSC %.4f to %.4f (%+.3f points)\n", m.Mask, m.Mode, m.A, m.B, m.Points)
			}
		}
	}
	r.writeItems(w)
	if r.EmptyMasks > 0 {
		plain.Fprintf(w, "  %d empty masks left out\n", r.EmptyMasks)
	}
	plain.Fprintf(w, "  judged by %s\n", r.By())
}

// By says by what was judged.
func (r *Report) By() string {
	switch {
	case r.Judged == ByBaseline:
		return r.Baseline.by()
	case r.Baseline != nil:
		return r.by() + "; " + r.Baseline.by()
	}
	return r.by()
}

func (r *Report) by() string {
	switch r.Judged {
	case ByItem:
		return fmt.Sprintf("item: each may differ by %g DSC points", r.Tolerance)
	case BySummary:
		return fmt.Sprintf("the means: each may be %g DSC points lower%s", *r.MaxDrop, r.from())
	case ByEquivalence:
		return fmt.Sprintf("the paired comparison with the golden results, margin %g points%s", *r.MaxDrop, r.from())
	case ByPublished:
		return fmt.Sprintf("the means: each may be %g DSC points lower than the published one", r.Tolerance)
	case ByMinimum:
		return fmt.Sprintf("the means: each must reach DSC %g", *r.MinDSC)
	case ByComparison:
		margin := 0.0
		for _, p := range r.Paired {
			margin = p.Margin
		}
		return fmt.Sprintf("the paired comparison of B with A, margin %g points", margin)
	}
	return "nothing: measured only"
}

func (r *Report) from() string {
	if r.From == "" {
		return ""
	}
	return " (" + r.From + ")"
}

// line is one mode's results.
func (r *Report) line(mode string) string {
	m := r.Modes[mode]
	scores := fmt.Sprintf("IoU %.4f, HD95 %.2f px%s, NSD %.4f", m.IoU, m.HD95, of(m.HD95Items, m.Items), m.NSDMean)
	switch {
	case r.Judged == ByItem:
		return fmt.Sprintf("DSC %.4f, want %.4f (%+.3f points), worst item %+.3f points, %d of %d items ok", m.Have, m.Want, m.Points, m.Worst, m.Items-m.Failed, m.Items)
	case r.Paired[mode] != nil:
		p := r.Paired[mode]
		return fmt.Sprintf("A %.4f, B %.4f: %+.3f points (95 %% interval %+.3f to %+.3f) over %d items of %d images or patients; %d moved by more than %g points, %d unstable; %s",
			p.A, p.B, p.Mean, p.CI95[0], p.CI95[1], p.Items, p.Clusters, int(math.Round(p.MovedShare*float64(p.Items))), p.MovedBy, p.UnstableItems, p.Words())
	case !math.IsNaN(float64(m.Want)):
		return fmt.Sprintf("DSC %.4f, want %.4f (%+.3f points) over %d items; %s", m.Have, m.Want, m.Points, m.Items, scores)
	}
	return fmt.Sprintf("DSC %.4f over %d items; %s", m.Have, m.Items, scores)
}

func of(n, all int) string {
	if n == all {
		return ""
	}
	return fmt.Sprintf(" (of %d)", n)
}

// writeItems lists the items that a reader should look at.
func (r *Report) writeItems(w io.Writer) {
	n := 0
	for _, it := range r.Items {
		if !it.Pass && n < shown {
			plain.Fprintf(w, "  FAILED %s %s: DSC %.6f, want %.6f (%+.3f points)\n", it.Mask, it.Mode, it.Have, it.Want, it.Points)
			n++
		}
	}
	for _, mode := range r.modes {
		p := r.Paired[mode]
		if p == nil {
			continue
		}
		for i, m := range p.Moved {
			if i < shown/2 {
				plain.Fprintf(w, "  moved %s %s: DSC %.4f to %.4f (%+.3f points)\n", m.Mask, m.Mode, m.A, m.B, m.Points)
			}
		}
		plain.Fprintf(w, "  %s: %s: %s\n", mode, p.Words(), p.Reason)
		if p.Stable != nil {
			without := Paired{Paired: p.Stable}
			plain.Fprintf(w, "  %s without its %d unstable items: %+.3f points, %s\n", mode, p.UnstableItems, p.Stable.Mean, without.Words())
		}
	}
	for i, m := range r.Unstable {
		if i < shown {
			plain.Fprintf(w, "  unstable %s %s: rounding alone changes the answer to this prompt\n", m.Mask, m.Mode)
		}
	}
}

// columns are the prompt modes under the names of the paper's tables.
var columns = []struct{ mode, title string }{{"box", "Bbox"}, {"point1", "1 pt"}, {"points5", "5 pts"}}

// WriteTable prints systems by prompt mode: mean DSC in percent, in brackets what it is held against.
func WriteTable(out io.Writer, rows []Row, bracket string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	plain.Fprintf(w, "%s", "system")
	for _, c := range columns {
		plain.Fprintf(w, "\t%s", c.title)
	}
	plain.Fprintf(w, "\n")
	for _, row := range rows {
		plain.Fprintf(w, "%s", row.Name)
		for _, c := range columns {
			m, ok := row.Report.Modes[c.mode]
			switch {
			case !ok:
				plain.Fprintf(w, "%s", "\t-")
			case math.IsNaN(float64(m.Want)):
				plain.Fprintf(w, "\t%.1f", 100*m.Have)
			default:
				plain.Fprintf(w, "\t%.1f (%.1f)", 100*m.Have, 100*m.Want)
			}
		}
		plain.Fprintf(w, "\n")
	}
	if err := w.Flush(); err != nil {
		return err
	}
	plain.Fprintf(out, "mean DSC in percent; in brackets %s\n", bracket)
	return nil
}

// TableErr is nil where all systems passed, else an ErrMismatch that says which did not, by how much and in which direction.
func TableErr(rows []Row) error {
	var bad []string
	for _, row := range rows {
		if row.Report.Pass {
			continue
		}
		var modes []string
		for _, mode := range Modes {
			if m, ok := row.Report.Modes[mode]; ok && !m.Pass {
				modes = append(modes, fmt.Sprintf("%s %+.3f points", mode, m.Points))
			}
		}
		bad = append(bad, row.Name+": "+strings.Join(modes, ", "))
	}
	if len(bad) == 0 {
		return nil
	}
	return mismatch(fmt.Sprintf("%d of %d systems do not meet what they are held against: %s", len(bad), len(rows), strings.Join(bad[:min(len(bad), shown)], "; ")))
}

// WriteThreeWay prints the golden results, the artifact's and its plan folder's side by side.
func WriteThreeWay(w io.Writer, artifact, plan *Report) {
	plain.Fprintf(w, "%-8s %10s  %22s  %22s\n", "DSC", "golden", "artifact on "+artifact.Engine, "plan on "+plan.Engine)
	for _, mode := range Modes {
		a, ok := artifact.Modes[mode]
		if !ok {
			continue
		}
		p := plan.Modes[mode]
		plain.Fprintf(w, "%-8s %10.4f  %12.4f (%+7.3f)  %12.4f (%+7.3f)\n", mode, a.Want, a.Have, a.Points, p.Have, 100*(p.Have-a.Have))
	}
	plain.Fprintf(w, "differences are in DSC points: the artifact's from the golden result, the plan's from the artifact\n")
	by := []string{artifact.by()}
	if other := plan.by(); !slices.Contains(by, other) {
		by = append(by, "the plan by "+other)
	}
	plain.Fprintf(w, "judged by %s\n", strings.Join(by, "; "))
}
