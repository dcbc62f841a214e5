package golden

import (
	"context"
	"fmt"
	"math"
	"slices"

	"syncsam-convert/dataset"
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
	Seen    func() // called after each item; may be nil
	Keep    int    // how many of the worst items keep pictures for the report
}

// The closed loop's bars: the share of items whose clicks are all as recorded, and the summaries' distance in DSC points.
const (
	MinSameClicks   = 0.97
	ClosedTolerance = 0.1
)

// Verify runs an artifact over a golden set.
func Verify(ctx context.Context, p *segment.Predictor, f *File, s Settings) (*Report, error) {
	r := newReport(p, s, f.Reference)
	var image string
	var picture *pictures.Image
	var emb *segment.Embedded
	order := make([]int, len(f.Items))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return compareText(f.Items[a].Image, f.Items[b].Image) }) // each image is encoded once
	for _, i := range order {
		it := &f.Items[i]
		if it.Image != image || emb == nil {
			var err error
			if picture, emb, err = load(ctx, p, f.data, it.Image); err != nil {
				return nil, err
			}
			image = it.Image
		}
		truth, err := readMask(f.data, it.Mask, it.Image, picture)
		if err != nil {
			return nil, err
		}
		for _, mode := range s.Modes {
			if !it.has(mode) {
				continue
			}
			open, err := Replay(ctx, p, emb, truth, mode, it)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", it.Mask, mode, err)
			}
			res := Result{Index: i, Image: it.Image, Mask: it.Mask, Mode: mode, Want: it.want(mode), Have: open.Last()}
			res.Points = 100 * (res.Have - res.Want)
			res.Pass = math.Abs(res.Points) <= s.Tolerance
			if s.Closed {
				closed, err := Prompted(ctx, p, emb, truth, mode)
				if err != nil {
					return nil, fmt.Errorf("%s: %s: %w", it.Mask, mode, err)
				}
				same := slices.Equal(closed.Coords, open.Coords) && slices.Equal(closed.Labels, open.Labels) && sameBox(closed.Box, open.Box)
				dsc := closed.Last()
				res.Closed, res.SameClicks = &dsc, &same
			}
			r.add(res, picture, truth, open)
		}
		if s.Seen != nil {
			s.Seen()
		}
	}
	return r, r.finish(f.Summary)
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
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
