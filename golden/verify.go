package golden

import (
	"context"
	"fmt"
	"iter"
	"math"
	"time"

	"syncsam-convert/dataset"
	"syncsam-convert/golden/groups"
	"syncsam-convert/golden/metrics"
	"syncsam-convert/golden/stats"
	"syncsam-convert/pictures"
	"syncsam-convert/safetensors"
	"syncsam-convert/segment"
	"syncsam-convert/shards"
)

// DefaultTolerance is in DSC points: rounding moves single pixels, a wrong epsilon moves tenths.
const DefaultTolerance = 0.05

// NSDTolerance is the distance within which contours count as the same: pixels, or millimetres where a file tells its spacing.
const NSDTolerance = 2

// Settings of a verification.
type Settings struct {
	Modes     []string
	Tolerance float64 // DSC points (hundredths) that an item may differ by
	Closed    bool    // also make the prompts anew and compare the clicks
	// MaxDrop, when not nil, judges the summaries instead of the items: each may be lower by so many points.
	MaxDrop *float64
	// Judge is how MaxDrop is judged: "" by the means, JudgeEquivalence by the paired comparison, whose margin it then is.
	Judge string
	// MinDSC, when not nil, is the mean that every mode must reach (0 to 1), where there are no golden results.
	MinDSC *float64
	// StopAtFailure judges the modes one after the other, in the order of Modes, and leaves out those behind one that fails.
	StopAtFailure bool
	// Stability asks for each item whether noise of float rounding's size changes the result.
	Stability bool
	Groups    *groups.Table // what else the items belong to; nil: only what names tell
	Seen      func()        // called after each item; may be nil
	Draw      int           // bytes of drawings that the report keeps for a page; 0: none

	margin  *float64 // of the comparison of two artifacts
	movedBy float64
	rows    *rows
	shard   shards.Shard
	from    string // where MaxDrop comes from
}

// The closed loop's bars: the share of items whose clicks are all as recorded, and the summaries' distance in DSC points.
const (
	MinSameClicks   = 0.97
	ClosedTolerance = 0.1
)

// Verify runs an artifact over a golden set, several images at a time; the report does not depend on how many.
func Verify(ctx context.Context, p *segment.Predictor, f *File, s Settings) (*Report, error) {
	v := newVerification([]*segment.Predictor{p}, f.data, s)
	v.r.Reference, v.r.golden = f.Reference, f.Summary
	v.r.judge(judgedByGolden(s))
	return v.r, v.golden(ctx, f)
}

// A group is the items of one image, which is encoded once.
type group struct {
	image string
	items []entry
}

// An entry is one mask of an image, with its recorded results if there are any.
type entry struct {
	index int
	at    [2]int // of its record
	mask  string
	gold  *Item
	known *Record // what a run that has ended found out
}

// modes are those of some prompt modes that the item is measured in.
func (e *entry) modes(all []string) (some []string) {
	for _, mode := range all {
		if e.gold == nil || e.gold.has(mode) {
			some = append(some, mode)
		}
	}
	return some
}

// groups sorts a golden set's items by image, wherever they stand.
func (f *File) groups() []group {
	at, list := map[string]int{}, []group{}
	for i := range f.Items {
		it := &f.Items[i]
		k, ok := at[it.Image]
		if !ok {
			k = len(list)
			at[it.Image], list = k, append(list, group{image: it.Image})
		}
		list[k].items = append(list[k].items, entry{index: i, at: [2]int{k, len(list[k].items)}, mask: it.Mask, gold: it})
	}
	return list
}

// A picker takes from a data set's pairs those of some images, before their files are opened, and numbers the images. Pairs of one image that
// follow one another are together.
type picker struct {
	take  func(k int) bool
	image string
	at    int // of the pair that is being listed
	taken bool
}

func (p *picker) pick(image string) bool {
	if p.image != image {
		p.image = image
		p.at++
		p.taken = p.take(p.at)
	}
	return p.taken
}

// grouped puts pairs that follow one another and have one image together.
func grouped(pairs iter.Seq2[dataset.Item, error], p *picker) iter.Seq2[group, error] {
	return func(yield func(group, error) bool) {
		var g group
		index, at := 0, [2]int{-1, 0}
		for pair, err := range pairs {
			if err != nil {
				if len(g.items) == 0 || yield(g, nil) {
					yield(group{}, err)
				}
				return
			}
			if at[1]++; at[0] != p.at {
				at = [2]int{p.at, 0}
			}
			if len(g.items) > 0 && (at[1] == 0 || g.image != pair.Image || len(g.items) == mostOfImage) {
				if !yield(g, nil) {
					return
				}
				g = group{}
			}
			g.image, g.items = pair.Image, append(g.items, entry{index: index, at: at, mask: pair.Mask})
			index++
		}
		if len(g.items) > 0 {
			yield(g, nil)
		}
	}
}

// mostOfImage bounds how many masks of one image are worked on at once: their results are in memory together.
const mostOfImage = 64

func values[T any](list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, x := range list {
			if !yield(x, nil) {
				return
			}
		}
	}
}

// A verification is one run over items. With two artifacts the second gets the prompts that the first got, and is compared with it.
type verification struct {
	p        []*segment.Predictor
	data     string // folder of the data set
	s        Settings
	embedded map[string]*loaded   // kept from one prompt mode to the next; nil: not kept
	files    *digest              // of what was read; nil: not asked for
	logits   *safetensors.File    // of the golden folder, for drawings; nil: there are none
	made     func(*outcome) error // is given each item's; nil: nobody wants them
	r        *Report
}

type loaded struct {
	picture *pictures.Image
	spacing *[2]float64
	emb     []*segment.Embedded // of each artifact
	noisy   []*segment.Embedded // of the first, disturbed; made when it is needed
	drawn   *Picture            // made when it is needed
}

func newVerification(p []*segment.Predictor, data string, s Settings) *verification {
	if s.movedBy == 0 {
		s.movedBy = DefaultMovedBy
	}
	return &verification{p: p, data: data, s: s, r: newReport(p, s)}
}

// picked are the groups whose number is taken.
func picked(list []group, take func(k int) bool) (some []group) {
	for k, g := range list {
		if take(k) {
			some = append(some, g)
		}
	}
	return some
}

// golden goes over a golden set, by rounds of modes where it may stop.
func (v *verification) golden(ctx context.Context, f *File) error {
	list := f.groups()
	if v.s.rows != nil && v.s.rows.whole {
		return v.replay(ctx, list)
	}
	list = picked(list, v.s.shard.Takes)
	rounds := [][]string{v.s.Modes}
	if v.s.StopAtFailure {
		v.embedded, rounds = map[string]*loaded{}, nil
		for _, g := range list {
			v.embedded[g.image] = &loaded{}
		}
		for _, mode := range v.s.Modes {
			rounds = append(rounds, []string{mode})
		}
	}
	for i, modes := range rounds {
		if err := v.over(ctx, values(list), modes, i == len(rounds)-1); err != nil {
			return err
		}
		v.r.modes = v.s.Modes[:min((i+1)*len(modes), len(v.s.Modes))]
		if err := v.r.finish(); err != nil || !v.r.Pass {
			return err
		}
	}
	return nil
}

// over gives all items some prompt modes; Seen is told of items where last is set.
func (v *verification) over(ctx context.Context, groups iter.Seq2[group, error], modes []string, last bool) error {
	work := func(ctx context.Context, g group) ([]*outcome, error) { return v.group(ctx, g, modes) }
	return inOrder(ctx, groups, work, func(list []*outcome) error {
		for _, o := range list {
			if err := v.take(o); err != nil {
				return err
			}
			if v.s.Seen != nil && last {
				v.s.Seen()
			}
		}
		return nil
	})
}

// An outcome is what was measured of one item.
type outcome struct {
	entry
	image  string
	truth  *pictures.Mask
	pixels int     // of truth
	files  [2]Seen // its image and mask
	modes  []measured
}

// measured is one item in one mode.
type measured struct {
	Result
	run     *Run           // the last artifact's; nil where the scores were read from a file
	a       *pictures.Mask // artifact A's last prediction; nil where there is no A
	drawing *Drawing       // nil where nobody asked for it
}

// group measures the items of one image.
func (v *verification) group(ctx context.Context, g group, modes []string) ([]*outcome, error) {
	var image *loaded
	var file Seen
	var out []*outcome
	for _, e := range g.items {
		modes := e.modes(modes)
		known, err := v.s.rows.known(e, g.image, modes)
		if err != nil {
			return nil, err
		}
		if e.known != nil {
			known = e.known
		}
		if known != nil {
			o, err := v.again(e, known)
			if err != nil {
				return nil, err
			}
			out = append(out, o)
			continue
		}
		if image == nil {
			if file, err = v.files.look(v.data, g.image); err != nil {
				return nil, err
			}
			if image, err = v.load(ctx, g.image); err != nil {
				return nil, err
			}
		}
		o := &outcome{entry: e, image: g.image, files: [2]Seen{file}}
		out = append(out, o)
		if o.files[1], err = v.files.look(v.data, e.mask); err != nil {
			return nil, err
		}
		if o.truth, err = readMask(v.data, e.mask, g.image, image); err != nil {
			return nil, err
		}
		if o.pixels = o.truth.Count(); o.pixels == 0 && e.gold == nil {
			continue
		}
		for _, mode := range modes {
			start := time.Now()
			m, err := v.item(ctx, image, o, mode)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", e.mask, mode, err)
			}
			m.Seconds = time.Since(start).Seconds()
			m.Index, m.Image, m.Mask, m.Mode, m.Pixels = e.index, g.image, e.mask, mode, o.pixels
			v.judge(&m.Result, e.gold)
			o.modes = append(o.modes, m)
		}
		if v.s.Draw > 0 {
			if err := v.draw(image, o); err != nil {
				return nil, err
			}
		}
		o.truth = nil // masks of many items do not wait for those before them
		for i := range o.modes {
			o.modes[i].a = nil
		}
	}
	return out, nil
}

// again is what a record says of an item, whose files must be those that were measured.
func (v *verification) again(e entry, known *Record) (*outcome, error) {
	o := &outcome{entry: e, image: known.Image, pixels: known.Pixels, files: known.Files, modes: known.results()}
	for i, name := range []string{known.Image, known.Mask} {
		if err := v.files.same(v.data, name, known.Files[i]); err != nil {
			return nil, err
		}
	}
	for i := range o.modes {
		o.modes[i].Index = e.index
		v.judge(&o.modes[i].Result, e.gold)
	}
	return o, nil
}

// replay goes over the records of a run that has ended, in its order. list is a golden set's items, nil without one.
func (v *verification) replay(ctx context.Context, list []group) error {
	jobs := func(yield func(group, error) bool) {
		n := 0
		for rec, err := range Records(v.s.rows.path) {
			e := entry{index: n, at: rec.At, mask: rec.Mask, known: &rec}
			if err == nil && list != nil {
				e, err = recorded(list, &rec)
			}
			n++
			if !yield(group{rec.Image, []entry{e}}, err) || err != nil {
				return
			}
		}
	}
	if err := v.over(ctx, jobs, v.s.Modes, true); err != nil {
		return err
	}
	return v.r.finish()
}

// recorded is the item of a golden set that a record is of.
func recorded(list []group, rec *Record) (e entry, err error) {
	if k, j := rec.At[0], rec.At[1]; k >= 0 && k < len(list) && j >= 0 && j < len(list[k].items) {
		if e = list[k].items[j]; list[k].image == rec.Image && e.mask == rec.Mask {
			e.known = rec
			return e, nil
		}
	}
	return e, fmt.Errorf("%s %s: the golden set has no such item there", rec.Image, rec.Mask)
}

// judge holds a result against the recorded one, where there is one.
func (v *verification) judge(r *Result, gold *Item) {
	if gold != nil && len(v.p) == 1 {
		r.Want, r.Unstable = stats.Number(gold.want(r.Mode)), r.Unstable || gold.unstable(r.Mode)
	}
	r.Points = stats.Number(100 * (r.Have - float64(r.Want)))
	r.Pass = v.r.Judged != ByItem || math.Abs(float64(r.Points)) <= v.s.Tolerance
}

func (v *verification) load(ctx context.Context, name string) (*loaded, error) {
	l := &loaded{}
	if v.embedded != nil {
		l = v.embedded[name] // one group, one goroutine
	}
	if l.picture != nil {
		return l, nil
	}
	path, err := dataset.Path(v.data, name)
	if err != nil {
		return nil, err
	}
	picture, facts, err := pictures.Look(path)
	if err != nil {
		return nil, err
	}
	l.spacing = facts.Spacing
	for _, p := range v.p {
		e, err := p.Embed(ctx, picture)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		l.emb = append(l.emb, e)
	}
	l.picture = picture
	return l, nil
}

// item measures one item in one mode.
func (v *verification) item(ctx context.Context, image *loaded, o *outcome, mode string) (m measured, err error) {
	first, err := v.prompts(ctx, image, o, mode)
	if err != nil {
		return m, err
	}
	m.run = first
	if m.Scores, err = score(o.truth, first, image.spacing); err != nil {
		return m, err
	}
	m.Have, m.Want = first.Last(), stats.Number(math.NaN())
	if v.s.Stability {
		if m.Unstable, err = v.unstable(ctx, image, o, first); err != nil {
			return m, err
		}
	}
	if len(v.p) == 2 {
		if m.run, err = again(ctx, v.p[1], image.emb[1], o.truth, first); err != nil {
			return m, err
		}
		a := m.Scores
		m.A, m.Want, m.Have, m.a = &a, stats.Number(m.Have), m.run.Last(), first.Mask
		m.Scores, err = score(o.truth, m.run, image.spacing)
		return m, err
	}
	if v.s.Closed && o.gold != nil {
		closed, err := Prompted(ctx, v.p[0], image.emb[0], o.truth, mode)
		if err != nil {
			return m, err
		}
		same, dsc := closed.samePrompts(first), closed.Last()
		m.Closed, m.SameClicks = &dsc, &same
	}
	return m, nil
}

// prompts gives the first artifact the recorded prompts, or makes them of the mask and its predictions.
func (v *verification) prompts(ctx context.Context, image *loaded, o *outcome, mode string) (*Run, error) {
	if o.gold != nil {
		return Replay(ctx, v.p[0], image.emb[0], o.truth, mode, o.gold)
	}
	return Prompted(ctx, v.p[0], image.emb[0], o.truth, mode)
}

// score measures a run's last prediction.
func score(truth *pictures.Mask, run *Run, spacing *[2]float64) (s Scores, err error) {
	x, err := metrics.Measure(truth, run.Mask, metrics.Spacing{}, NSDTolerance)
	if err != nil {
		return s, err
	}
	s = Scores{IoU: x.IoU, HD95: stats.Number(x.HD95), NSD: stats.Number(x.NSD), Area: stats.Number(x.AreaDifference), AreaRatio: stats.Number(x.AreaRatio), Clicks: len(run.Coords)}
	if spacing == nil {
		return s, nil
	}
	if x, err = metrics.Measure(truth, run.Mask, metrics.Spacing{X: spacing[0], Y: spacing[1]}, NSDTolerance); err != nil {
		return s, err
	}
	s.MM = &Millimetres{*spacing, stats.Number(x.HD95), stats.Number(x.NSD), stats.Number(x.AreaDifference)}
	return s, nil
}

// take adds an item to the report and to the file of items.
func (v *verification) take(o *outcome) error {
	v.files.take(o)
	if len(o.modes) == 0 && o.pixels == 0 {
		v.r.EmptyMasks++
	}
	if v.made != nil {
		if err := v.made(o); err != nil {
			return err
		}
	}
	if err := v.s.rows.write(o); err != nil {
		return err
	}
	for _, m := range o.modes {
		if err := v.r.add(m.Result, m.drawing); err != nil {
			return err
		}
	}
	return nil
}

func readMask(data, name, imageName string, image *loaded) (*pictures.Mask, error) {
	path, err := dataset.Path(data, name)
	if err != nil {
		return nil, err
	}
	imagePath, err := dataset.Path(data, imageName)
	if err != nil {
		return nil, err
	}
	if err := pictures.Together(imagePath, path); err != nil {
		return nil, err
	}
	m, err := pictures.ReadMask(path)
	if err != nil {
		return nil, err
	}
	if image != nil && (m.W != image.picture.W || m.H != image.picture.H) {
		return nil, fmt.Errorf("%s: have %d x %d pixels, want its image's %d x %d", path, m.W, m.H, image.picture.W, image.picture.H)
	}
	return m, nil
}

// overData goes over a user's own data set (closed loop, the prompts are made from the masks). Empty masks are counted and left out.
func (v *verification) overData(ctx context.Context) error {
	p := &picker{take: v.s.shard.Takes, at: -1}
	layout, pairs, err := dataset.Open(v.data, dataset.Options{Pick: p.pick})
	if err != nil {
		return err
	}
	v.r.Layout = layout
	if v.s.rows != nil && v.s.rows.whole {
		return v.replay(ctx, nil)
	}
	if err := v.over(ctx, grouped(pairs, p), v.s.Modes, true); err != nil {
		return err
	}
	return v.r.finish()
}

// Rank is higher for what differs more, and among equals for the lower DSC.
func Rank(r Result) float64 {
	points := math.Abs(float64(r.Points))
	if math.IsNaN(points) {
		points = 0
	}
	return math.Round(points*1e3) + (1 - r.Have)
}
