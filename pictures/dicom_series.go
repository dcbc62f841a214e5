package pictures

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"syncsam-convert/pictures/internal/dcm"
)

// seriesFiles are the DICOM files that lie in a folder, by their content; a DICOMDIR and hidden files are none.
func seriesFiles(dir string) (out []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || strings.HasPrefix(e.Name(), ".") || strings.EqualFold(e.Name(), "DICOMDIR") {
			continue
		}
		if isDICOM(path) {
			out = append(out, path)
		}
	}
	return out
}

// A place is where a file's slice lies.
type place struct {
	file     *dicomFile
	name     string
	normal   []float64 // of the slices; nil where the file does not say
	along    float64   // position along the normal, mm
	instance float64
}

// readSeries reads the files of a folder as the slices of one volume: along the normal of the slices where all have positions, those
// at one position and all others by their instance number.
func readSeries(dir string) (*volume, error) {
	paths := seriesFiles(dir)
	if len(paths) == 0 {
		return nil, fmt.Errorf("it is a folder without DICOM files")
	}
	var places []place
	bytes := 0
	for _, path := range paths {
		d, err := openDICOM(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
		p, err := placeOf(d, filepath.Base(path))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
		places = append(places, p)
		first := places[0]
		if have, want := d.Text(dcm.SeriesInstanceUID), first.file.Text(dcm.SeriesInstanceUID); have != want {
			return nil, fmt.Errorf("%s: %s: have %s, want the %s of %s: one series in a folder", p.name, dcm.SeriesInstanceUID, have, want, first.name)
		}
		if d.w != first.file.w || d.h != first.file.h || d.channels != first.file.channels || d.photometric != first.file.photometric {
			return nil, fmt.Errorf("%s: have %d x %d pixels of %s, want the %d x %d of %s of %s", p.name, d.w, d.h, d.photometric, first.file.w, first.file.h, first.file.photometric, first.name)
		}
		if d.frames > 1 && len(paths) > 1 {
			return nil, fmt.Errorf("%s: %s: have %d in a folder of several files, want one; name the file itself", p.name, dcm.NumberOfFrames, d.frames)
		}
		if bytes += d.w * d.h * d.channels * max(d.allocated/8, 1); int64(bytes) > readable() {
			return nil, fmt.Errorf("have more than %d MB of pixels", readable()>>20)
		}
	}
	spatial := true
	for _, p := range places {
		spatial = spatial && p.normal != nil
	}
	for _, p := range places {
		for i := range p.normal {
			if spatial && math.Abs(p.normal[i]-places[0].normal[i]) > 1e-2 {
				return nil, fmt.Errorf("%s: %s: have another plane than %s, want one in all files of a folder", p.name, dcm.ImageOrientation, places[0].name)
			}
		}
	}
	slices.SortStableFunc(places, func(a, b place) int {
		if spatial && a.along != b.along {
			return cmp.Compare(a.along, b.along)
		}
		return cmp.Compare(a.instance, b.instance)
	})
	files := make([]*dicomFile, len(places))
	for i, p := range places {
		files[i] = p.file
		if i > 0 && p.instance == places[i-1].instance && (!spatial || p.along == places[i-1].along) {
			return nil, fmt.Errorf("%s: %s: have %g as in %s, and no %s that tells them apart", p.name, dcm.InstanceNumber, p.instance, places[i-1].name, dcm.ImagePosition)
		}
	}
	v := volumeOf(files)
	if v.facts.Orientation = "as stored"; len(files) > 1 {
		v.facts.Orientation += map[bool]string{true: ", slices along their normal", false: ", slices by instance number"}[spatial]
	}
	return v, nil
}

// placeOf reads where a file's slice lies.
func placeOf(d *dicomFile, name string) (p place, err error) {
	p = place{file: d, name: name}
	if p.instance, err = d.Number(dcm.InstanceNumber, 0); err != nil {
		return p, err
	}
	position, err := d.numbersOf(dcm.ImagePosition, dcm.PlanePositionSequence)
	if err != nil {
		return p, err
	}
	o, err := d.numbersOf(dcm.ImageOrientation, dcm.PlaneOrientationSequence)
	if err != nil || len(position) != 3 || len(o) != 6 {
		return p, err
	}
	p.normal = []float64{o[1]*o[5] - o[2]*o[4], o[2]*o[3] - o[0]*o[5], o[0]*o[4] - o[1]*o[3]}
	for i, n := range p.normal {
		p.along += n * position[i]
	}
	return p, nil
}

// numbersOf reads an attribute of the file, or of the functional group of its first frame.
func (d *dicomFile) numbersOf(t, group dcm.Tag) ([]float64, error) { return d.numbersAt(0, t, group) }

// numbersAt reads an attribute of the file, or of the functional group of a frame.
func (d *dicomFile) numbersAt(z int, t, group dcm.Tag) ([]float64, error) {
	of, err := d.group(z, group)
	if err != nil {
		return nil, err
	}
	if of == nil {
		of = d.Dataset
	}
	return of.Numbers(t, false)
}

// IsSeries reports whether a folder holds one series of several DICOM files: its slices are one volume, which the folder's name means.
func IsSeries(dir string) bool {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || e.IsDir() || IsJunk(e.Name()) || strings.EqualFold(e.Name(), "DICOMDIR") {
			continue
		}
		if !isDICOM(filepath.Join(dir, e.Name())) {
			return false // a folder of other files is not looked through
		}
		n, err := Slices(dir)
		return err == nil && n > 1
	}
	return false
}
