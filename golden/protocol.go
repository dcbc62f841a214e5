package golden

import (
	"context"
	"fmt"
	"slices"

	"syncsam-convert/golden/clicks"
	"syncsam-convert/pictures"
	"syncsam-convert/prompt"
	"syncsam-convert/segment"
)

// maxClicks is how many clicks the points5 mode makes.
const maxClicks = 5

// A Run is one prompt mode on one mask: the prompts given and the DSC after each prediction.
type Run struct {
	Box    *[4]float64    `json:"box,omitempty"`
	Coords [][2]float64   `json:"coords,omitempty"`
	Labels []int          `json:"labels,omitempty"`
	DSC    []float64      `json:"dsc_per_click"`
	Mask   *pictures.Mask `json:"-"` // the last prediction
}

// Last is the DSC of the last prediction.
func (r *Run) Last() float64 { return r.DSC[len(r.DSC)-1] }

// Replay gives the recorded prompts again (open loop): the clicks do not depend on the predictions.
func Replay(ctx context.Context, p *segment.Predictor, e *segment.Embedded, truth *pictures.Mask, mode string, it *Item) (*Run, error) {
	if mode == "box" {
		return runBox(ctx, p, e, truth, it.Box.Box)
	}
	gold := it.points(mode)
	return click(ctx, p, e, truth, len(gold.Coords), func(i int, _ *pictures.Mask) (x, y float64, label int, ok bool) {
		return gold.Coords[i][0], gold.Coords[i][1], gold.Labels[i], true
	})
}

// Prompted makes the prompts from the mask and the predictions (closed loop), as the golden results were made.
func Prompted(ctx context.Context, p *segment.Predictor, e *segment.Embedded, truth *pictures.Mask, mode string) (*Run, error) {
	if mode == "box" {
		box, ok := clicks.Box(truth)
		if !ok {
			return nil, errEmptyMask
		}
		return runBox(ctx, p, e, truth, [4]float64{float64(box[0]), float64(box[1]), float64(box[2]), float64(box[3])})
	}
	most := maxClicks
	if mode == "point1" {
		most = 1
	}
	return click(ctx, p, e, truth, most, func(i int, last *pictures.Mask) (x, y float64, label int, ok bool) {
		c, ok := clicks.First(truth)
		if i > 0 {
			c, ok = clicks.Next(truth, last)
		}
		return float64(c.X), float64(c.Y), c.Label, ok
	})
}

// again gives another artifact the prompts that a run had, one prediction after each click.
func again(ctx context.Context, p *segment.Predictor, e *segment.Embedded, truth *pictures.Mask, r *Run) (*Run, error) {
	if r.Box != nil {
		return runBox(ctx, p, e, truth, *r.Box)
	}
	return click(ctx, p, e, truth, len(r.Coords), func(i int, _ *pictures.Mask) (x, y float64, label int, ok bool) {
		return r.Coords[i][0], r.Coords[i][1], r.Labels[i], true
	})
}

// samePrompts reports whether two runs had the same prompts.
func (r *Run) samePrompts(o *Run) bool {
	return slices.Equal(r.Coords, o.Coords) && slices.Equal(r.Labels, o.Labels) && (r.Box == nil && o.Box == nil || r.Box != nil && o.Box != nil && *r.Box == *o.Box)
}

var errEmptyMask = fmt.Errorf("the mask is empty")

func runBox(ctx context.Context, p *segment.Predictor, e *segment.Embedded, truth *pictures.Mask, box [4]float64) (*Run, error) {
	out, err := p.Predict(ctx, e, prompt.Prompt{Box: &box})
	if err != nil {
		return nil, err
	}
	return &Run{Box: &box, DSC: []float64{clicks.DSC(truth, out.Mask)}, Mask: out.Mask}, nil
}

// click predicts up to n times: each prediction gets all clicks so far and the logits of the one before.
func click(ctx context.Context, p *segment.Predictor, e *segment.Embedded, truth *pictures.Mask, n int, next func(i int, last *pictures.Mask) (x, y float64, label int, ok bool)) (*Run, error) {
	r := &Run{}
	var logits []float32
	for i := range n {
		x, y, label, ok := next(i, r.Mask)
		if !ok {
			break
		}
		r.Coords, r.Labels = append(r.Coords, [2]float64{x, y}), append(r.Labels, label)
		out, err := p.Predict(ctx, e, prompt.Prompt{Points: r.Coords, Labels: r.Labels, Mask: logits})
		if err != nil {
			return nil, err
		}
		r.DSC, r.Mask, logits = append(r.DSC, clicks.DSC(truth, out.Mask)), out.Mask, out.Logits
	}
	if len(r.DSC) == 0 {
		return nil, errEmptyMask
	}
	return r, nil
}

func (it *Item) points(mode string) *PointsGold {
	if mode == "point1" {
		return it.Point1
	}
	return it.Points5
}

// has reports whether an item was recorded in a mode.
func (it *Item) has(mode string) bool {
	if mode == "box" {
		return it.Box != nil
	}
	return it.points(mode) != nil
}

// unstable reports whether an item was recorded as one whose result hangs on rounding.
func (it *Item) unstable(mode string) bool {
	if mode == "box" {
		return it.Box.Unstable
	}
	return it.points(mode).Unstable
}

// want is an item's golden DSC in a mode.
func (it *Item) want(mode string) float64 {
	if mode == "box" {
		return it.Box.DSC
	}
	return it.points(mode).DSC
}
