package volumes

import (
	"fmt"
	"strings"
)

// A Report is what a run says of itself as JSON. Boxes are x0, y0, x1, y1 in pixels of a slice, x1 and y1 exclusive; slices count from 0.
type Report struct {
	Image    string   `json:"image"`
	Output   string   `json:"output"`
	Overlay  string   `json:"overlay,omitempty"`
	Engine   string   `json:"engine"`
	Width    int      `json:"width"`
	Height   int      `json:"height"`
	Slices   int      `json:"slices"`             // of the image
	From     int      `json:"from"`               // the first slice that was asked for
	To       int      `json:"to"`                 // behind the last one
	Prompted *int     `json:"prompted,omitempty"` // the slice that the prompts are of; absent: all
	Objects  []Said   `json:"objects"`
	Pixels   int      `json:"pixels"` // foreground, of all masks
	Box      *[4]int  `json:"box"`    // of all masks
	IoU      *float64 `json:"iou_estimate"`
	Load     float64  `json:"load_seconds"` // to load the model
	Seconds  float64  `json:"seconds"`      // of all masks, without loading and writing
	Masks    []Mask   `json:"masks"`
}

// Said is an object as it was prompted, and what was found of it.
type Said struct {
	Label  int          `json:"label"`
	Name   string       `json:"name"`
	Box    *[4]float64  `json:"box,omitempty"`
	Points [][3]float64 `json:"points,omitempty"` // x, y, label
	Text   string       `json:"text,omitempty"`   // as the text model read it
	IDs    []int64      `json:"token_ids,omitempty"`
	Pixels int          `json:"pixels"`
}

// Report tells what was asked for and found; IoU is that of a single mask.
func (r Request) Report(found *Result) Report {
	out := Report{Width: found.W, Height: found.H, Slices: r.Scan.Slices(), From: r.From, To: r.To, Pixels: found.Pixels(), Seconds: found.Seconds(), Masks: found.Masks}
	if r.Propagate || r.To-r.From == 1 {
		out.Prompted = &r.At
	}
	if len(found.Masks) == 1 {
		out.IoU = found.Masks[0].IoU
	}
	for _, m := range found.Masks {
		if b := m.Box; b != nil && out.Box == nil {
			out.Box = &[4]int{b[0], b[1], b[2], b[3]}
		} else if b != nil {
			*out.Box = [4]int{min(b[0], out.Box[0]), min(b[1], out.Box[1]), max(b[2], out.Box[2]), max(b[3], out.Box[3])}
		}
	}
	for _, o := range r.Objects {
		s := Said{Label: o.Label, Name: o.Name, Box: o.Prompt.Box, Text: o.Text, IDs: o.IDs}
		for k, p := range o.Prompt.Points {
			s.Points = append(s.Points, [3]float64{p[0], p[1], float64(o.Prompt.Labels[k])})
		}
		for _, m := range found.Masks {
			if m.Label == o.Label {
				s.Pixels += m.Pixels
			}
		}
		out.Objects = append(out.Objects, s)
	}
	return out
}

// Summary is what was found, in a line.
func (r Request) Summary(found *Result) string {
	if r.To-r.From == 1 && len(r.Objects) == 1 {
		return fmt.Sprintf("%d of %d pixels", found.Pixels(), found.W*found.H)
	}
	var parts []string
	for k, o := range r.Objects {
		pixels, first, last, n := 0, -1, -1, 0
		for _, m := range found.Masks {
			if m.Label != o.Label || m.Pixels == 0 {
				continue
			}
			if n++; first < 0 {
				first = m.Slice
			}
			pixels, last = pixels+m.Pixels, m.Slice
		}
		where := ""
		if r.To-r.From > 1 && n > 0 {
			where = fmt.Sprintf(" on %d slices, %d to %d", n, first, last)
		}
		name := ""
		if len(r.Objects) > 1 {
			name = fmt.Sprintf("%d %s: ", r.Objects[k].Label, o.Name)
		}
		parts = append(parts, fmt.Sprintf("%s%d pixels%s", name, pixels, where))
	}
	line := strings.Join(parts, ", ")
	if r.To-r.From > 1 {
		line += fmt.Sprintf("; segmented %d to %d of %d", r.From, r.To-1, r.Scan.Slices())
	}
	if r.Propagate {
		line += fmt.Sprintf(" from slice %d", r.At)
	}
	return line
}
