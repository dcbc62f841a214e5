package pictures

import (
	"fmt"
	"math"

	"syncsam-convert/pictures/internal/dcm"
)

// modalityOf gives what turns a frame's stored values into the modality's: a table, a slope and an intercept, or nothing.
func (d *dicomFile) modalityOf(z int) (func(x float64) float64, error) {
	if items := d.Items(dcm.ModalityLUTSequence); len(items) > 0 {
		f, _, err := d.table(items[0], dcm.ModalityLUTSequence, d.signed)
		return f, err
	}
	of, err := d.group(z, dcm.PixelValueTransformation)
	if err != nil {
		return nil, err
	}
	if of == nil {
		of = d.Dataset
	}
	slope, err := of.Number(dcm.RescaleSlope, 1)
	if err != nil {
		return nil, err
	}
	inter, err := of.Number(dcm.RescaleIntercept, 0)
	switch {
	case err != nil:
		return nil, err
	case of.Has(dcm.RescaleSlope) && !of.Has(dcm.RescaleIntercept):
		return nil, fmt.Errorf("%s: missing beside %s", dcm.RescaleIntercept, dcm.RescaleSlope)
	case of.Has(dcm.RescaleIntercept) && !of.Has(dcm.RescaleSlope):
		return nil, fmt.Errorf("%s: missing beside %s", dcm.RescaleSlope, dcm.RescaleIntercept)
	case slope == 0:
		return nil, fmt.Errorf("%s: have 0", dcm.RescaleSlope)
	}
	return func(x float64) float64 { return float64(x*slope) + inter }, nil
}

// table is the function of a lookup table in the item of a sequence, and the largest value it can give. Values outside take the
// first entry or the last.
func (d *dicomFile) table(item *dcm.Dataset, in dcm.Tag, signed bool) (f func(x float64) float64, most float64, err error) {
	l, err := d.descriptor(item, dcm.LUTDescriptor)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", in, err)
	}
	if l.first >= 1<<15 && signed { // written as a number without sign
		l.first -= 1 << 16
	}
	entries, err := l.entries(item, dcm.LUTData)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", in, err)
	}
	last := float64(len(entries) - 1)
	return func(x float64) float64 { return entries[int(min(max(x-l.first, 0), last))] }, float64(uint(1)<<l.bits - 1), nil
}

// shading is how a frame's values become grey. The rule, in order: the window of the name; the file's VOI LUT, the first of several;
// its window, the first of several, by its VOI LUT Function; samples of up to 8 bits that nothing rescales, by the full range of
// their bits (8 bits: as stored); else the file's own range: from the lowest to the
// highest value of all its slices that is not padding. MONOCHROME1 and the Presentation
// LUT Shape INVERSE turn black and white.
func (d *dicomFile) shading(z int, p Part, v *volume) (s shading, err error) {
	if d.channels == 3 || v.channels == 3 {
		if p.Window != nil {
			return s, fmt.Errorf("%s: have %s, whose colours have no window", dcm.PhotometricInterpretation, d.photometric)
		}
		s.rule = map[string]string{"PALETTE COLOR": "by the palette", "YBR_FULL": "as stored, YBR to RGB", "YBR_FULL_422": "as stored, YBR to RGB"}[d.photometric]
		if d.photometric == "RGB" {
			if s.rule = "as stored"; d.stored != 8 {
				s.rule = fmt.Sprintf("0 to %d", uint64(1)<<d.stored-1)
			}
		}
		return s, nil
	}
	inverted, why := d.photometric == "MONOCHROME1", "MONOCHROME1"
	switch shape := d.Text(dcm.PresentationLUTShape); {
	case p.Window == nil && len(d.Items(dcm.PresentationLUTSequence)) > 0:
		return s, fmt.Errorf("%s: is not read; give the values that become black and white: FILE#%s=LOW:HIGH", dcm.PresentationLUTSequence, windowKey)
	case shape == "INVERSE" && !inverted:
		inverted, why = true, dcm.PresentationLUTShape.String()+" INVERSE"
	case shape != "" && shape != "IDENTITY" && shape != "INVERSE" && p.Window == nil:
		return s, fmt.Errorf("%s: have %q, want IDENTITY or INVERSE; give the values that become black and white: FILE#%s=LOW:HIGH", dcm.PresentationLUTShape, shape, windowKey)
	}
	if s, err = d.voi(z, p, v); err != nil {
		return s, err
	}
	if d.Has(dcm.RedPaletteDescriptor) {
		s.rule += ", without the file's supplemental palette"
	}
	if inverted {
		grey := s.grey
		s.grey = func(x float64) float64 { return 255 - grey(x) }
		s.rule += ", low values are white (" + why + ")"
	}
	return s, nil
}

// voi is shading without turning black and white.
func (d *dicomFile) voi(z int, p Part, v *volume) (s shading, err error) {
	if p.Window != nil {
		return shadingOf(*p.Window, "window of the name"), nil
	}
	of, err := d.group(z, dcm.FrameVOILUTSequence)
	if err != nil {
		return s, err
	}
	if of == nil {
		of = d.Dataset
	}
	first := func(rule string, n int) string {
		if n > 1 {
			rule += fmt.Sprintf(", the first of %d", n)
		}
		return rule
	}
	if items := of.Items(dcm.VOILUTSequence); len(items) > 0 {
		// Its input has a sign where the modality's output has: -1 without a table is one.
		f, most, err := d.table(items[0], dcm.VOILUTSequence, d.signed && len(d.Items(dcm.ModalityLUTSequence)) == 0)
		if err != nil {
			return s, err
		}
		return shading{grey: func(x float64) float64 { return f(math.Floor(x)) * 255 / most }, rule: first("VOI LUT of the file", len(items))}, nil
	}
	centers, err := of.Numbers(dcm.WindowCenter, d.signed)
	if err != nil {
		return s, err
	}
	widths, err := of.Numbers(dcm.WindowWidth, d.signed)
	if err != nil {
		return s, err
	}
	if len(centers) != len(widths) {
		return s, fmt.Errorf("%s: have %d values, want the %d of %s; or give the window: FILE#%s=LOW:HIGH", dcm.WindowWidth, len(widths), len(centers), dcm.WindowCenter, windowKey)
	}
	if len(centers) == 0 {
		if modality := d.modality[z]; d.stored <= 8 && !d.signed && !d.real && modality(0) == 0 && modality(255) == 255 && len(d.Items(dcm.ModalityLUTSequence)) == 0 {
			most := float64(uint(1)<<d.stored - 1)
			s = shadingOf([2]float64{0, most}, "as stored")
			if s.window = nil; d.stored < 8 {
				s.rule = fmt.Sprintf("0 to %g", most)
			}
			return s, nil
		}
		for z := range v.d { // the range is that of all slices
			if err := v.load(z); err != nil {
				return s, err
			}
		}
		return shadingOf(v.bounds(p), lowestRange), nil
	}
	function, c, w := of.Text(dcm.VOILUTFunction), centers[0], widths[0]
	rule := first("window of the file", len(centers))
	least := map[string]float64{"": 1, "LINEAR": 1, "LINEAR_EXACT": math.SmallestNonzeroFloat64, "SIGMOID": math.SmallestNonzeroFloat64}[function]
	switch {
	case least == 0:
		return s, fmt.Errorf("%s: have %q, want LINEAR, LINEAR_EXACT or SIGMOID; or give the window: FILE#%s=LOW:HIGH", dcm.VOILUTFunction, function, windowKey)
	case w < least:
		return s, fmt.Errorf("%s: have %g, want 1 or more; or give the window: FILE#%s=LOW:HIGH", dcm.WindowWidth, w, windowKey)
	case function == "SIGMOID":
		return shading{
			grey:   func(x float64) float64 { return 255 / (1 + math.Exp(-4*(x-c)/w)) },
			window: &[2]float64{c - w/2, c + w/2}, rule: rule + ", sigmoid",
		}, nil
	case function == "LINEAR_EXACT":
		return shadingOf([2]float64{c - w/2, c + w/2}, rule+", linear exact"), nil
	}
	return shadingOf([2]float64{c - 0.5 - (w-1)/2, c - 0.5 + (w-1)/2}, rule), nil // PS3.3 C.11.2.1.2.1
}
