package golden

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"syncsam-convert/dataset"
	"syncsam-convert/internal/guard"
	"syncsam-convert/pictures"
	"syncsam-convert/segment"
)

// DefaultTolerance is in DSC points: rounding moves single pixels, a wrong epsilon moves tenths.
const DefaultTolerance = 0.05

// Settings of a verification.
type Settings struct {
	Modes     []string
	Tolerance float64 // DSC points (hundredths) that an item may differ by
	Closed    bool    // also make the prompts anew and compare the clicks
	// MaxDrop, when not nil, judges the summaries instead of the items: each may be lower by so many points.
	MaxDrop *float64
	// StopAtFailure judges the modes one after the other, in the order of Modes, and leaves out those behind one that fails.
	StopAtFailure bool
	Seen          func() // called after each item; may be nil
	Keep          int    // how many of the worst items keep pictures for the report
}

// The closed loop's bars: the share of items whose clicks are all as recorded, and the summaries' distance in DSC points.
const (
	MinSameClicks   = 0.97
	ClosedTolerance = 0.1
)

// Verify runs an artifact over a golden set, several images at a time; the report does not depend on how many.
func Verify(ctx context.Context, p *segment.Predictor, f *File, s Settings) (*Report, error) {
	v := &verification{p: p, f: f, s: s, r: newReport(p, s, f.Reference)}
	for i := range f.Items {
		if k := len(v.groups) - 1; k >= 0 && f.Items[v.groups[k][0]].Image == f.Items[i].Image {
			v.groups[k] = append(v.groups[k], i)
		} else {
			v.groups = append(v.groups, []int{i})
		}
	}
	v.join()
	rounds := [][]string{s.Modes}
	if s.StopAtFailure {
		v.embedded = map[string]loaded{}
		rounds = nil
		for _, mode := range s.Modes {
			rounds = append(rounds, []string{mode})
		}
	}
	for i, modes := range rounds {
		if err := v.round(ctx, modes, i == len(rounds)-1); err != nil {
			return nil, err
		}
		v.r.modes = s.Modes[:min((i+1)*len(modes), len(s.Modes))]
		if err := v.r.finish(f.Summary); err != nil || !v.r.Pass {
			return v.r, err
		}
	}
	return v.r, nil
}

// A verification is one run over a golden set.
type verification struct {
	p        *segment.Predictor
	f        *File
	s        Settings
	groups   [][]int // items by image: each image is encoded once
	embedded map[string]loaded

	sync.Mutex // of what follows, and of embedded
	r          *Report
}

type loaded struct {
	picture *pictures.Image
	emb     *segment.Embedded
}

// join puts the items of one image together, wherever they stand.
func (v *verification) join() {
	slices.SortStableFunc(v.groups, func(a, b []int) int { return cmp.Compare(v.f.Items[a[0]].Image, v.f.Items[b[0]].Image) })
	var out [][]int
	for _, g := range v.groups {
		if k := len(out) - 1; k >= 0 && v.f.Items[out[k][0]].Image == v.f.Items[g[0]].Image {
			out[k] = append(out[k], g...)
		} else {
			out = append(out, g)
		}
	}
	v.groups = out
}

// round gives all items some prompt modes; seen is told of items where last is set.
func (v *verification) round(ctx context.Context, modes []string, last bool) error {
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(runtime.GOMAXPROCS(0))
	for _, group := range v.groups {
		work.Go(guard.Func(func() error {
			image, err := v.load(ctx, v.f.Items[group[0]].Image)
			if err != nil {
				return err
			}
			for _, i := range group {
				if err := v.item(ctx, image, i, modes); err != nil {
					return err
				}
				if v.s.Seen != nil && last {
					v.Lock()
					v.s.Seen()
					v.Unlock()
				}
			}
			return nil
		}))
	}
	return work.Wait()
}

func (v *verification) load(ctx context.Context, name string) (loaded, error) {
	v.Lock()
	l, ok := v.embedded[name]
	v.Unlock()
	if ok {
		return l, nil
	}
	var err error
	if l.picture, l.emb, err = load(ctx, v.p, v.f.data, name); err == nil && v.embedded != nil {
		v.Lock()
		v.embedded[name] = l
		v.Unlock()
	}
	return l, err
}

// item replays one item's prompts.
func (v *verification) item(ctx context.Context, image loaded, i int, modes []string) error {
	it := &v.f.Items[i]
	truth, err := readMask(v.f.data, it.Mask, it.Image, image.picture)
	if err != nil {
		return err
	}
	for _, mode := range modes {
		if !it.has(mode) {
			continue
		}
		open, err := Replay(ctx, v.p, image.emb, truth, mode, it)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", it.Mask, mode, err)
		}
		res := Result{Index: i, Image: it.Image, Mask: it.Mask, Mode: mode, Want: it.want(mode), Have: open.Last()}
		res.Points = 100 * (res.Have - res.Want)
		res.Pass = math.Abs(res.Points) <= v.s.Tolerance
		if v.s.Closed {
			closed, err := Prompted(ctx, v.p, image.emb, truth, mode)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", it.Mask, mode, err)
			}
			same := slices.Equal(closed.Coords, open.Coords) && slices.Equal(closed.Labels, open.Labels) && sameBox(closed.Box, open.Box)
			dsc := closed.Last()
			res.Closed, res.SameClicks = &dsc, &same
		}
		v.Lock()
		v.r.add(res, image.picture, truth, open)
		v.Unlock()
	}
	return nil
}

func sameBox(a, b *[4]float64) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

func load(ctx context.Context, p *segment.Predictor, data, name string) (*pictures.Image, *segment.Embedded, error) {
	path, err := dataset.Path(data, name)
	if err != nil {
		return nil, nil, err
	}
	m, err := pictures.Read(path)
	if err != nil {
		return nil, nil, err
	}
	e, err := p.Embed(ctx, m)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, e, nil
}

func readMask(data, name, imageName string, image *pictures.Image) (*pictures.Mask, error) {
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
	if m.W != image.W || m.H != image.H {
		return nil, fmt.Errorf("%s: have %d x %d pixels, want its image's %d x %d", path, m.W, m.H, image.W, image.H)
	}
	return m, nil
}

// VerifyData runs an artifact over a user's own data set (closed loop, the prompts are made from the masks) and compares
// the mean DSC of each mode with published ones, in DSC points. Empty masks are counted and left out.
func VerifyData(ctx context.Context, p *segment.Predictor, dir string, published map[string]float64, reference string, s Settings) (*Report, error) {
	r := newReport(p, s, reference)
	var image string
	var picture *pictures.Image
	var emb *segment.Embedded
	i := -1
	_, items, err := dataset.Open(dir, dataset.Options{})
	if err != nil {
		return nil, err
	}
	for pair, err := range items {
		if err != nil {
			return nil, err
		}
		i++
		if pair.Image != image || emb == nil {
			if picture, emb, err = load(ctx, p, dir, pair.Image); err != nil {
				return nil, err
			}
			image = pair.Image
		}
		truth, err := readMask(dir, pair.Mask, pair.Image, picture)
		if err != nil {
			return nil, err
		}
		if truth.Count() == 0 {
			r.EmptyMasks++
			continue
		}
		for _, mode := range s.Modes {
			run, err := Prompted(ctx, p, emb, truth, mode)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", pair.Mask, mode, err)
			}
			r.count(mode, run.Last())
		}
		if s.Seen != nil {
			s.Seen()
		}
	}
	return r, r.finishPublished(published)
}
