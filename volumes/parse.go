package volumes

import (
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"syncsam-convert/prompt/tokens"
)

// Words are the prompts as a command line has them: boxes "x0,y0,x1,y1", points "x,y" or "x,y,LABEL", texts, token numbers "1,2,3", and groups, an object
// each: "box=x0,y0,x1,y1&point=x,y,LABEL&text=WORDS&ids=1,2,3&name=NAME&label=K".
type Words struct {
	Boxes, Points, Texts, IDs, Groups []string
}

// Objects reads them. Without groups, one box, the points, one text are one object's prompt; several boxes, or several texts, are an object each, and take no
// points. Errors name the flag.
func (w Words) Objects() ([]Object, error) {
	if len(w.Groups) > 0 {
		if len(w.Boxes)+len(w.Points)+len(w.Texts)+len(w.IDs) > 0 {
			return nil, fmt.Errorf("--prompt: have --box, --point or --text beside it: want all of an object in one --prompt, such as 'box=1,1,9,9&point=3,3,0'")
		}
		return groups(w.Groups)
	}
	n := max(len(w.Boxes), len(w.Texts)+len(w.IDs), 1)
	switch {
	case len(w.Boxes)+len(w.Points)+len(w.Texts)+len(w.IDs) == 0:
		return nil, fmt.Errorf("--box or --point: one is needed (or --prompt, --text)")
	case n > 1 && len(w.Points) > 0:
		return nil, fmt.Errorf("--point: have %d objects, and whose it is nobody said: want a --prompt for each, such as 'box=1,1,9,9&point=3,3,0'", n)
	case len(w.Boxes) > 0 && len(w.Texts)+len(w.IDs) > 0 && n > 1:
		return nil, fmt.Errorf("--text: have %d boxes and %d texts, and which belong together nobody said: want a --prompt for each, such as 'box=1,1,9,9&text=liver'", len(w.Boxes), len(w.Texts)+len(w.IDs))
	}
	out := make([]Object, n)
	for k := range out {
		out[k] = Object{Label: k + 1}
		o := &out[k]
		if k < len(w.Boxes) {
			if err := o.box(w.Boxes[k]); err != nil {
				return nil, fmt.Errorf("--box: %w", err)
			}
		}
		var err error
		switch i := k - len(w.Texts); {
		case k < len(w.Texts):
			err = o.text(w.Texts[k])
		case i >= 0 && i < len(w.IDs):
			err = o.ids(w.IDs[i])
		}
		if err != nil {
			return nil, fmt.Errorf("--text: %w", err)
		}
	}
	for _, s := range w.Points {
		if err := out[0].point(s); err != nil {
			return nil, fmt.Errorf("--point: %w", err)
		}
	}
	return named(out), nil
}

// groups reads an object of each.
func groups(list []string) (out []Object, err error) {
	for k, g := range list {
		o := Object{Label: k + 1}
		fields, err := url.ParseQuery(g)
		if err != nil {
			return nil, fmt.Errorf("--prompt: have %q, want box=x0,y0,x1,y1&point=x,y,LABEL&name=NAME", g)
		}
		if fields.Has("text") && fields.Has("ids") {
			return nil, fmt.Errorf("--prompt: have both text and ids, which are the same thing: want one")
		}
		for _, key := range slices.Sorted(maps.Keys(fields)) {
			values := fields[key]
			read, many := map[string]func(string) error{"box": o.box, "text": o.text, "ids": o.ids, "label": o.label, "name": o.name}[key], false
			if key == "point" {
				read, many = o.point, true
			}
			if read == nil || len(values) > 1 && !many {
				return nil, fmt.Errorf("--prompt: %s: have it %d times, want box, text, ids, label, name once and point as often as there are points", key, len(values))
			}
			for _, v := range values {
				if err := read(v); err != nil {
					return nil, fmt.Errorf("--prompt: %s: %w", key, err)
				}
			}
		}
		if o.Prompt.Box == nil && len(o.Prompt.Points) == 0 && o.IDs == nil {
			return nil, fmt.Errorf("--prompt: have %q, want a box, a point or a text", g)
		}
		for _, other := range out {
			if other.Label == o.Label {
				return nil, fmt.Errorf("--prompt: label: two have %d", o.Label)
			}
		}
		out = append(out, o)
	}
	return named(out), err
}

// named gives a name to what has none.
func named(list []Object) []Object {
	for k := range list {
		if o := &list[k]; o.Name == "" {
			o.Name = "object " + strconv.Itoa(o.Label)
		}
	}
	return list
}

// What follows reads one field each.

func (o *Object) box(s string) error {
	v, err := numbers(s, 4, 4)
	if err != nil {
		return err
	}
	if v[0] >= v[2] || v[1] >= v[3] {
		return fmt.Errorf("have %s, want x0 < x1 and y0 < y1", s)
	}
	o.Prompt.Box = (*[4]float64)(v)
	return nil
}

func (o *Object) point(s string) error {
	v, err := numbers(s, 2, 3)
	if err != nil {
		return err
	}
	label := 1
	if len(v) == 3 {
		if v[2] != 0 && v[2] != 1 {
			return fmt.Errorf("have label %g, want 0 or 1", v[2])
		}
		label = int(v[2])
	}
	o.Prompt.Points, o.Prompt.Labels = append(o.Prompt.Points, [2]float64{v[0], v[1]}), append(o.Prompt.Labels, label)
	return nil
}

// sentence is what IMIS-Net's authors make of the name of a class, and so what the model was trained with.
const sentence = "A segmentation area of a "

// text reads what is to be segmented, in words: the name of a class, or the whole sentence.
func (o *Object) text(s string) (err error) {
	o.Text = strings.TrimSpace(s)
	if o.Name == "" {
		o.Name = o.Text
	}
	if !strings.HasPrefix(strings.ToLower(o.Text), strings.ToLower(sentence)) && o.Text != "" {
		o.Text = sentence + o.Text + "."
	}
	o.IDs, err = tokens.Of(o.Text)
	return err
}

// ids reads token numbers as another program gives them.
func (o *Object) ids(s string) error {
	for _, part := range strings.Split(s, ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(part), 10, 32)
		if err != nil || n < 0 {
			return fmt.Errorf("have %q, want token numbers such as 49406,12639,49407", s)
		}
		o.IDs = append(o.IDs, n)
	}
	return tokens.Check(o.IDs)
}

func (o *Object) label(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > mostLabel {
		return fmt.Errorf("have %q, want 1 to %d", s, mostLabel)
	}
	o.Label = n
	return nil
}

func (o *Object) name(s string) error { o.Name = strings.TrimSpace(s); return nil }

func numbers(s string, least, most int) ([]float64, error) {
	parts := strings.Split(s, ",")
	if len(parts) < least || len(parts) > most {
		return nil, fmt.Errorf("have %q, want %d numbers", s, least)
	}
	var v []float64
	for _, p := range parts {
		x, err := strconv.ParseFloat(strings.TrimSpace(p), 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, fmt.Errorf("have %q, want numbers", s)
		}
		v = append(v, x)
	}
	return v, nil
}

// Range reads which of n slices are meant: "all", or "a:b" for slices a to b-1, counted from 0; an absent a is 0, an absent b is n.
func Range(s string, n int) (from, to int, err error) {
	if s == "all" {
		return 0, n, nil
	}
	a, b, ok := strings.Cut(s, ":")
	number := func(text string, absent int) int {
		if text == "" {
			return absent
		}
		x, err := strconv.Atoi(text)
		ok = ok && err == nil
		return x
	}
	from, to = number(a, 0), number(b, n)
	if !ok {
		return 0, 0, fmt.Errorf("have %q, want a:b for slices a to b-1, or all", s)
	}
	if from < 0 || to > n || from >= to {
		return 0, 0, fmt.Errorf("have %q, want slices of 0:%d, the first below the second", s, n)
	}
	return from, to, nil
}

// Choose sets which slices are meant: those of a range (Range), else the one that the scan's name names, else a picture's only one.
func (r *Request) Choose(slices string) (err error) {
	n := r.Scan.Slices()
	named, isNamed := r.Scan.Slice()
	volume := r.Scan.IsNIfTI() || r.Scan.IsDICOM()
	switch {
	case slices == "" && r.Propagate:
		return fmt.Errorf("--propagate: over which slices? Want --slices a:b, or all")
	case slices == "" && !isNamed:
		return fmt.Errorf("it has %d slices, want one of them: FILE#slice=K; or --slices a:b, or all", n)
	case slices == "":
		r.From, r.To, r.At = named, named+1, named
		return nil
	case !volume:
		return fmt.Errorf("--slices: it is a picture, want NIfTI or DICOM")
	case isNamed && n > 1 && !r.Propagate:
		return fmt.Errorf("--slices: have #slice=%d beside it, which says where --propagate starts; want one of these", named)
	}
	if r.From, r.To, err = Range(slices, n); err != nil {
		return fmt.Errorf("--slices: %w", err)
	}
	if r.At = r.From; isNamed {
		r.At = named
	}
	return nil
}
