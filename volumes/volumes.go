// Package volumes segments slices of a volume: each by the same prompts, or one by prompts and those beside it by the box of the mask before.
package volumes

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"syncsam-convert/golden/clicks"
	"syncsam-convert/internal/memory"
	"syncsam-convert/pictures"
	"syncsam-convert/prompt"
	"syncsam-convert/segment"
)

// An Object is one thing to segment.
type Object struct {
	Label  int    // its value in a mask of labels, 1 to 255
	Name   string // what people call it
	Text   string // what the text model reads, and its token numbers; empty: no text
	IDs    []int64
	Prompt prompt.Prompt
}

// mostLabel is the highest value of a voxel of one byte.
const mostLabel = 255

// A Request is what to segment: slices From to To-1 of a scan. With Propagate the prompts are of slice At, from which the masks spread both ways: each
// next slice gets the bounding box of the largest connected part of the mask before, Grow pixels wider on each side (and the prompt's text), until a mask
// is empty. Else every slice gets the prompts as they are.
type Request struct {
	Scan      *pictures.Scan
	From, To  int
	At        int
	Propagate bool
	Grow      int
	Objects   []Object
	Progress  func(done, total int) // of slices; nil: nobody watches
}

// A Mask is what was found of an object on a slice.
type Mask struct {
	Slice     int         `json:"slice"`
	Label     int         `json:"label"`
	PromptBox *[4]float64 `json:"prompt_box"`   // the box that the slice was prompted with; nil: points or a text alone
	Pixels    int         `json:"pixels"`       // foreground
	Box       *[4]int     `json:"box"`          // of all foreground, x1 and y1 exclusive; nil: there is none
	IoU       *float64    `json:"iou_estimate"` // the model's own; nil: it gives none
	Seconds   float64     `json:"seconds"`      // the slice's encoding counts at its first mask
}

// A Result has a bit for each pixel that was found, and what was found slice by slice.
type Result struct {
	Masks   []Mask // by slice and label
	W, H    int
	objects []Object
	found   map[key][]byte // masks with a pixel, packed
}

type key struct{ object, z int }

// A Model is what a run needs of a segment.Predictor.
type Model interface {
	Embed(ctx context.Context, m *pictures.Image) (*segment.Embedded, error)
	Predict(ctx context.Context, e *segment.Embedded, p prompt.Prompt) (*segment.Prediction, error)
	Text(ctx context.Context, ids []int64) ([]float32, error)
}

// Check refuses what no run can do: prompts outside the picture, slices outside the volume.
func (r Request) Check() error {
	w, h := r.Scan.Size()
	n := r.Scan.Slices()
	switch {
	case r.From < 0 || r.To > n || r.From >= r.To:
		return fmt.Errorf("slices %d to %d: have %d slices, which count from 0", r.From, r.To-1, n)
	case r.Propagate && (r.At < r.From || r.At >= r.To):
		return fmt.Errorf("the prompts are of slice %d, want one of %d to %d", r.At, r.From, r.To-1)
	case r.Grow != 0 && !r.Propagate, r.Grow < 0, r.Grow > max(w, h):
		return fmt.Errorf("grow: have %d pixels, want 0 to %d of a box that is carried to the next slice", r.Grow, max(w, h))
	case len(r.Objects) == 0:
		return fmt.Errorf("have no prompt")
	}
	for _, o := range r.Objects {
		if o.Label < 1 || o.Label > mostLabel {
			return fmt.Errorf("label %d: want 1 to %d", o.Label, mostLabel)
		}
		if err := o.Prompt.Within(w, h); err != nil {
			return err
		}
	}
	return memory.Fits(fmt.Sprintf("%d masks of %d slices of %d x %d pixels", len(r.Objects), r.To-r.From, w, h), int64(len(r.Objects))*int64(r.To-r.From)*int64((w*h+7)/8), 2)
}

// Run segments. One slice is in memory at a time, beside the volume and a bit for each pixel of the masks; each slice is encoded once. Errors say the slice.
func (r Request) Run(ctx context.Context, p Model) (*Result, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	w, h := r.Scan.Size()
	out := &Result{W: w, H: h, objects: r.Objects, found: map[key][]byte{}}
	prompts := make([]*prompt.Prompt, len(r.Objects))
	for k, o := range r.Objects {
		pr := o.Prompt
		if o.IDs != nil {
			var err error
			if pr.Text, err = p.Text(ctx, o.IDs); err != nil {
				return nil, err
			}
		}
		prompts[k] = &pr
	}
	done := 0
	step := func(z int, prompts []*prompt.Prompt) (next []*prompt.Prompt, err error) {
		if next, err = r.slice(ctx, p, z, prompts, out); err != nil {
			return nil, fmt.Errorf("slice %d: %w", z, err)
		}
		if r.To-r.From > 1 {
			runtime.GC() // what one slice left behind, hundreds of MB at full size, makes no room for a second one's
		}
		if done++; r.Progress != nil {
			r.Progress(done, r.To-r.From)
		}
		return next, nil
	}
	if !r.Propagate {
		for z := r.From; z < r.To; z++ {
			if _, err := step(z, prompts); err != nil {
				return nil, err
			}
		}
		return out.sorted(), nil
	}
	first, err := step(r.At, prompts)
	if err != nil {
		return nil, err
	}
	for _, way := range []int{1, -1} {
		next := first
		for z := r.At + way; z >= r.From && z < r.To && slices.ContainsFunc(next, func(p *prompt.Prompt) bool { return p != nil }); z += way {
			if next, err = step(z, next); err != nil {
				return nil, err
			}
		}
	}
	return out.sorted(), nil
}

// slice segments a slice by prompts, an object each (nil: not on this slice), and gives the prompts that carry on.
func (r Request) slice(ctx context.Context, p Model, z int, prompts []*prompt.Prompt, out *Result) ([]*prompt.Prompt, error) {
	started := time.Now()
	picture, err := r.Scan.Picture(z)
	if err != nil {
		return nil, err
	}
	e, err := p.Embed(ctx, picture)
	if err != nil {
		return nil, err
	}
	next := make([]*prompt.Prompt, len(prompts))
	for k, pr := range prompts {
		if pr == nil {
			continue
		}
		found, err := p.Predict(ctx, e, *pr)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(found.Logits, func(x float32) bool { return math.IsNaN(float64(x)) }) {
			return nil, fmt.Errorf("the model's logits are not numbers")
		}
		m := Mask{Slice: z, Label: r.Objects[k].Label, PromptBox: pr.Box, Pixels: found.Mask.Count(), Box: bounds(found.Mask), IoU: found.IoU}
		if m.Pixels > 0 {
			out.found[key{k, z}] = pack(found.Mask)
		}
		if box, ok := clicks.Box(found.Mask); ok {
			next[k] = &prompt.Prompt{Text: pr.Text, Box: &[4]float64{float64(max(box[0]-r.Grow, 0)), float64(max(box[1]-r.Grow, 0)),
				float64(min(box[2]+r.Grow, out.W)), float64(min(box[3]+r.Grow, out.H))}}
		}
		m.Seconds = time.Since(started).Seconds()
		started = time.Now()
		out.Masks = append(out.Masks, m)
	}
	return next, nil
}

func (r *Result) sorted() *Result {
	slices.SortStableFunc(r.Masks, func(a, b Mask) int { return cmp.Compare(a.Slice, b.Slice) })
	return r
}

// Pixels is the foreground of all masks.
func (r *Result) Pixels() (n int) {
	for _, m := range r.Masks {
		n += m.Pixels
	}
	return n
}

// Seconds is the time of all masks.
func (r *Result) Seconds() (s float64) {
	for _, m := range r.Masks {
		s += m.Seconds
	}
	return s
}

// Has reports whether an object (from 0) has a pixel on a slice.
func (r *Result) Has(object, z int) bool { return r.found[key{object, z}] != nil }

// Mask is that of an object on a slice.
func (r *Result) Mask(object, z int) *pictures.Mask {
	m := pictures.NewMask(r.W, r.H)
	if bits := r.found[key{object, z}]; bits != nil {
		for i := range m.Pix {
			m.Pix[i] = bits[i/8] >> (i % 8) & 1
		}
	}
	return m
}

// Labels are the labels of a slice's pixels, 0 where there is none. Where masks lie over each other, the later object's label stands.
func (r *Result) Labels(z int) []uint8 {
	out := make([]uint8, r.W*r.H)
	for k, o := range r.objects {
		bits := r.found[key{k, z}]
		for i := range out {
			if bits != nil && bits[i/8]>>(i%8)&1 == 1 {
				out[i] = uint8(o.Label)
			}
		}
	}
	return out
}

func pack(m *pictures.Mask) []byte {
	bits := make([]byte, (len(m.Pix)+7)/8)
	for i, p := range m.Pix {
		bits[i/8] |= p << (i % 8)
	}
	return bits
}

// bounds is the box of all foreground, nil where there is none.
func bounds(m *pictures.Mask) *[4]int {
	box := [4]int{m.W, m.H, 0, 0}
	for i, p := range m.Pix {
		if p == 1 {
			x, y := i%m.W, i/m.W
			box = [4]int{min(box[0], x), min(box[1], y), max(box[2], x+1), max(box[3], y+1)}
		}
	}
	if box[2] == 0 {
		return nil
	}
	return &box
}
