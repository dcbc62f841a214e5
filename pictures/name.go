package pictures

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// A Part says which picture of a file is meant: a slice of a volume, the pixels of one label, the intensities that become black
// and white. Absent fields are nil.
type Part struct {
	Slice  *int
	Label  *int
	Window *[2]float64
}

// partKeys are the fields of a part in a name.
const (
	sliceKey  = "slice"
	labelKey  = "label"
	windowKey = "window"
)

// SplitName takes a name apart: "FILE#slice=12&label=3&window=-160:240", each field optional. Slices count from 0. What follows a
// "#" without such fields belongs to the file's name.
func SplitName(name string) (path string, p Part, err error) {
	at := strings.LastIndexByte(name, '#')
	if at < 0 {
		return name, p, nil
	}
	fields, err := url.ParseQuery(name[at+1:])
	if err != nil || len(fields) == 0 {
		return name, p, nil
	}
	for key := range fields {
		if key != sliceKey && key != labelKey && key != windowKey {
			return name, Part{}, nil
		}
	}
	number := func(key string) (*int, error) {
		if !fields.Has(key) {
			return nil, nil
		}
		n, err := strconv.Atoi(fields.Get(key))
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%s: %s: have %q, want a number of 0 or more", name, key, fields.Get(key))
		}
		return &n, nil
	}
	if p.Slice, err = number(sliceKey); err != nil {
		return "", p, err
	}
	if p.Label, err = number(labelKey); err != nil {
		return "", p, err
	}
	if fields.Has(windowKey) {
		lo, hi, _ := strings.Cut(fields.Get(windowKey), ":")
		l, errLow := strconv.ParseFloat(lo, 64)
		h, errHigh := strconv.ParseFloat(hi, 64)
		if errLow != nil || errHigh != nil || !(l < h) {
			return "", p, fmt.Errorf("%s: %s: have %q, want LOW:HIGH", name, windowKey, fields.Get(windowKey))
		}
		p.Window = &[2]float64{l, h}
	}
	return name[:at], p, nil
}

// Name is the opposite of SplitName.
func (p Part) Name(path string) string {
	var fields []string
	if p.Slice != nil {
		fields = append(fields, sliceKey+"="+strconv.Itoa(*p.Slice))
	}
	if p.Label != nil {
		fields = append(fields, labelKey+"="+strconv.Itoa(*p.Label))
	}
	if p.Window != nil {
		fields = append(fields, fmt.Sprintf("%s=%g:%g", windowKey, p.Window[0], p.Window[1]))
	}
	if len(fields) == 0 {
		return path
	}
	return path + "#" + strings.Join(fields, "&")
}
