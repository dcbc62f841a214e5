package pictures

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// A Part says which picture of a file is meant: a slice (of a volume, a page, a frame), one volume of several, the pixels of one
// label, a label that is to be ignored, the values that become black and white. Absent fields are nil; labels say nothing about a
// picture, nor a window about a mask.
type Part struct {
	Slice  *int
	Volume *int
	Label  *int
	Ignore *int
	Window *[2]float64
}

const (
	sliceKey  = "slice"
	volumeKey = "volume"
	labelKey  = "label"
	ignoreKey = "ignore"
	windowKey = "window"
)

// A numberField is a field of a part's name that is a whole number of 0 or more.
type numberField struct {
	key string
	at  **int
}

func (p *Part) numbers() []numberField {
	return []numberField{{sliceKey, &p.Slice}, {volumeKey, &p.Volume}, {labelKey, &p.Label}, {ignoreKey, &p.Ignore}}
}

// SplitName takes a name apart: "FILE#slice=12&volume=0&label=3&ignore=255&window=-160:240", each field optional. Slices and volumes
// count from 0. What follows a "#" without such fields belongs to the file's name.
func SplitName(name string) (path string, p Part, err error) {
	at := strings.LastIndexByte(name, '#')
	if at < 0 {
		return name, p, nil
	}
	fields, err := url.ParseQuery(name[at+1:])
	if err != nil || len(fields) == 0 {
		return name, p, nil
	}
	known := 0
	for _, f := range p.numbers() {
		if fields.Has(f.key) {
			known++
		}
	}
	if fields.Has(windowKey) {
		known++
	}
	if known != len(fields) {
		return name, Part{}, nil
	}
	for _, f := range p.numbers() {
		if !fields.Has(f.key) {
			continue
		}
		n, err := strconv.Atoi(fields.Get(f.key))
		if err != nil || n < 0 {
			return "", p, fmt.Errorf("%s: %s: have %q, want a number of 0 or more", name, f.key, fields.Get(f.key))
		}
		*f.at = &n
	}
	if fields.Has(windowKey) {
		lo, hi, _ := strings.Cut(fields.Get(windowKey), ":")
		l, errLow := strconv.ParseFloat(lo, 64)
		h, errHigh := strconv.ParseFloat(hi, 64)
		if errLow != nil || errHigh != nil || !(l < h) || h-l > maxWindow {
			return "", p, fmt.Errorf("%s: %s: have %q, want LOW:HIGH", name, windowKey, fields.Get(windowKey))
		}
		p.Window = &[2]float64{l, h}
	}
	return name[:at], p, nil
}

// maxWindow is the widest window: the range of float32.
const maxWindow = 1e39

// Name is the opposite of SplitName.
func (p Part) Name(path string) string {
	var fields []string
	for _, f := range p.numbers() {
		if *f.at != nil {
			fields = append(fields, f.key+"="+strconv.Itoa(**f.at))
		}
	}
	if p.Window != nil {
		fields = append(fields, fmt.Sprintf("%s=%g:%g", windowKey, p.Window[0], p.Window[1]))
	}
	if len(fields) == 0 {
		return path
	}
	return path + "#" + strings.Join(fields, "&")
}
