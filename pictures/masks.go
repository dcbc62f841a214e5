package pictures

import (
	"fmt"
	"math"
	"slices"
)

// lossyForeground is the darkest foreground of a mask whose compression blurs black and white.
const lossyForeground = 128

// wholeTolerance is how far any label may lie from a whole number; maxLabel is the largest label.
const (
	wholeTolerance = 1e-3
	maxLabel       = 1 << 53
)

// labels gives the whole number of each pixel of the plane at a pixel: a palette's index, else a grey value.
func (v *volume) labels(from int) (func(i int) (int, error), error) {
	if v.lossy {
		return nil, fmt.Errorf("label: its compression blurs labels; store it without loss")
	}
	if v.index != nil {
		return func(i int) (int, error) { return v.index(from + i), nil }, nil
	}
	if v.channels != 1 {
		return nil, fmt.Errorf("label: the file has colours, not labels")
	}
	tolerance := max(min(math.Abs(v.step)*1.001, 0.499), wholeTolerance)
	return func(i int) (int, error) {
		x := v.at(from + i)
		whole := math.Round(x)
		if !(math.Abs(x-whole) <= tolerance) || math.Abs(x) > maxLabel {
			return 0, fmt.Errorf("have the value %g, want labels: whole numbers", x)
		}
		return int(whole), nil
	}, nil
}

// mask finds the part's foreground: the pixels of its label; without one, what is not background by the file's kind.
func (v *volume) mask(p Part) (*Mask, Facts, error) {
	facts := v.describe()
	from, err := v.plane(p)
	if err != nil {
		return nil, facts, err
	}
	out := NewMask(v.w, v.h)
	if p.Label != nil || v.channels == 1 && v.alpha == nil && !v.lossy {
		facts.Rule, err = v.labelled(p, from, out)
	} else {
		facts.Rule, err = v.coloured(p, from, out)
	}
	if err != nil {
		return nil, facts, err
	}
	out.Pix, out.W, out.H = turned(out.Pix, out.W, out.H, 1, v.turn)
	facts.note(v)
	return out, facts, nil
}

// labelled marks the pixels of a label, or of every label above 0; negative ones are to be ignored, as is the one the part names.
func (v *volume) labelled(p Part, from int, out *Mask) (rule string, err error) {
	value, err := v.labels(from)
	if err != nil {
		return "", err
	}
	rule = "foreground is every value above 0"
	if p.Label != nil {
		rule = fmt.Sprintf("foreground is label %d", *p.Label)
	}
	if p.Ignore != nil {
		rule += fmt.Sprintf(", but not %d", *p.Ignore)
	}
	negative := false
	for i := range out.Pix {
		x, err := value(i)
		if err != nil {
			return "", err
		}
		switch {
		case p.Ignore != nil && x == *p.Ignore:
		case p.Label != nil && x == *p.Label, p.Label == nil && x > 0:
			out.Pix[i] = 1
		case x < 0:
			negative = true
		}
	}
	if negative {
		rule += "; negative values are ignored"
	}
	return rule, nil
}

// coloured marks the foreground of a mask of colours. What could mean two things, and does for some pixel, is refused.
func (v *volume) coloured(p Part, from int, out *Mask) (rule string, err error) {
	lowest := 0.0
	rule = "foreground is every colour but black"
	if v.lossy {
		lowest = lossyForeground - 0.5
		rule = fmt.Sprintf("foreground is %d and more, because the compression blurs", lossyForeground)
	}
	some := false // pixel is not black
	colour := func(i int) (x float64, bright bool) {
		for c := range v.channels {
			y := v.at((from+i)*v.channels + c)
			x, bright, some = x*1024+y, bright || y > lowest, some || y > 0
		}
		return x, bright
	}
	var seen struct{ colour, plain, varies, alpha, differs, grey, index bool }
	first, _ := colour(0)
	opaque := func(i int) float64 { return 1 }
	if v.alpha != nil {
		opaque = func(i int) float64 { return v.alpha(from + i) }
	}
	seen.grey = true
	for i := range out.Pix {
		x, bright := colour(i)
		if bright {
			out.Pix[i] = 1
		}
		visible := opaque(i) > 0
		seen.colour = seen.colour || x != first
		seen.varies = seen.varies || opaque(i) != opaque(0)
		seen.alpha = seen.alpha || visible != bright
		if v.index != nil {
			at := (from + i) * v.channels
			seen.grey = seen.grey && v.at(at) == v.at(at+1) && v.at(at) == v.at(at+2)
			seen.index = seen.index || (v.index(from+i) > 0) != bright
		}
	}
	switch {
	case v.lossy && some && !slices.Contains(out.Pix, 1):
		return "", fmt.Errorf("mask: it is neither black nor has a value of %d or more: labels do not survive its compression; store it without loss", lossyForeground)
	case seen.varies && !seen.colour, seen.varies && !seen.alpha:
		rule = "foreground is what is not transparent"
		for i := range out.Pix {
			out.Pix[i] = 0
			if opaque(i) > 0 {
				out.Pix[i] = 1
			}
		}
	case seen.varies:
		return "", fmt.Errorf("mask: its colours and its alpha channel say different things; store it without alpha")
	case v.index != nil && seen.index && !seen.grey:
		return "", fmt.Errorf("mask: its palette's colours and indices say different things (an index above 0 is black, or 0 is not); name one: FILE#%s=K", labelKey)
	}
	if p.Ignore != nil {
		value, err := v.labels(from)
		if err != nil {
			return "", err
		}
		for i := range out.Pix {
			if x, err := value(i); err != nil {
				return "", err
			} else if x == *p.Ignore {
				out.Pix[i] = 0
			}
		}
		rule += fmt.Sprintf(", but not %d", *p.Ignore)
	}
	return rule, nil
}
