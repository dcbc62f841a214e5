// Package items keeps the scores of a verification, one row for each item and prompt mode, in a CSV or JSONL file that grows as they come.
package items

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Row is one item in one prompt mode: the scores of one artifact, or of two that are compared (A, then B).
type Row struct {
	Image, Mask, Mode string
	Scores            []Score
}

// A Score is what one artifact reaches on an item. HD95 (in pixels) and NSD are NaN where they are undefined.
type Score struct {
	DSC, IoU, HD95, NSD float64
	Clicks              int
}

// columns are the scores in the order of the file. An undefined one is empty text.
var columns = []column{
	{"dsc", 1, false, func(s *Score) *float64 { return &s.DSC }},
	{"iou", 1, false, func(s *Score) *float64 { return &s.IoU }},
	{"hd95", math.MaxFloat64, true, func(s *Score) *float64 { return &s.HD95 }},
	{"nsd", 1, true, func(s *Score) *float64 { return &s.NSD }},
	{"clicks", math.MaxInt32, false, nil}, // the only integer
}

type column struct {
	name      string
	most      float64
	undefined bool // it may be
	of        func(*Score) *float64
}

func (c *column) text(s *Score) (string, error) {
	v := float64(s.Clicks)
	if c.of != nil {
		v = *c.of(s)
	}
	return c.format(v), c.check(v)
}

func (c *column) format(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func (c *column) parse(s *Score, text string) error {
	v := math.NaN()
	if text != "" {
		var err error
		if v, err = strconv.ParseFloat(text, 64); err != nil {
			return fmt.Errorf("%s: have %.40q, want a number", c.name, text)
		}
	}
	if c.of != nil {
		*c.of(s) = v
	} else {
		s.Clicks = int(v)
	}
	return c.check(v)
}

func (c *column) check(v float64) error {
	switch {
	case math.IsNaN(v) && c.undefined, v >= 0 && v <= c.most && (c.of != nil || v == math.Trunc(v)):
		return nil
	case c.of == nil:
		return fmt.Errorf("%s: have %s, want a count", c.name, strconv.FormatFloat(v, 'g', -1, 64))
	case c.most == 1:
		return fmt.Errorf("%s: have %g, want 0 to 1", c.name, v)
	}
	return fmt.Errorf("%s: have %g, want 0 or more", c.name, v)
}

// names of the columns before the scores.
var names = []string{"image", "mask", "mode"}

// Columns are the file's columns for one artifact or two: image,mask,mode,dsc,... or image,mask,mode,dsc_a,dsc_b,....
func Columns(artifacts int) []string {
	out := names[:len(names):len(names)]
	for _, c := range columns {
		if artifacts == 1 {
			out = append(out, c.name)
		} else {
			out = append(out, c.name+"_a", c.name+"_b")
		}
	}
	return out
}

// fields are a row as text, a column each.
func (r *Row) fields() ([]string, error) {
	out := []string{r.Image, r.Mask, r.Mode}
	if err := checkNames(out); err != nil {
		return nil, err
	}
	for _, c := range columns {
		for k := range r.Scores {
			text, err := c.text(&r.Scores[k])
			if err != nil {
				return nil, err
			}
			out = append(out, text)
		}
	}
	return out, nil
}

// parseRow reads what fields wrote.
func parseRow(fields []string, artifacts int) (Row, error) {
	r := Row{fields[0], fields[1], fields[2], make([]Score, artifacts)}
	if err := checkNames(fields[:3]); err != nil {
		return r, err
	}
	for i, c := range columns {
		for k := range r.Scores {
			if err := c.parse(&r.Scores[k], fields[3+i*artifacts+k]); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

func checkNames(fields []string) error {
	for i, name := range fields {
		if name == "" || strings.ContainsAny(name, "\n\r") || !utf8.ValidString(name) || len(name) > 4096 {
			return fmt.Errorf("%s: have %.200q, want a name in UTF-8 without line breaks", names[i], name)
		}
	}
	return nil
}
