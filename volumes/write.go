package volumes

import (
	"fmt"
	"path/filepath"
	"strings"

	"syncsam-convert/internal/version"
	"syncsam-convert/pictures"
	"syncsam-convert/pictures/dicomseg"
	"syncsam-convert/segment"
)

// A Kind is a kind of file that masks are written to.
type Kind int

// PNG holds one slice: 0 and 255 of one object, labels of several. NIfTI holds labels in the volume's own voxels, SEG a DICOM Segmentation.
const (
	PNG Kind = iota
	NIfTI
	SEG
)

// KindOf is what an output's name says that it holds; a name without an ending gets a PNG.
func KindOf(path string) Kind {
	name := strings.ToLower(path)
	switch {
	case strings.HasSuffix(name, ".nii"), strings.HasSuffix(name, ".nii.gz"):
		return NIfTI
	case strings.HasSuffix(name, ".dcm"):
		return SEG
	}
	return PNG
}

// Writable refuses, before any work, a kind of file that cannot hold what a request gives.
func (r Request) Writable(path string, kind Kind) error {
	switch {
	case kind == PNG && r.To-r.From > 1:
		return fmt.Errorf("%s: a picture holds one slice, have %d: want .nii, .nii.gz or, of DICOM, .dcm", path, r.To-r.From)
	case kind == NIfTI && !r.Scan.IsNIfTI() && !r.Scan.IsDICOM():
		return fmt.Errorf("%s: %s is a picture, which has no voxels: want .png", path, r.Scan.Path())
	case kind == SEG && !r.Scan.IsDICOM():
		return fmt.Errorf("%s: %s is no DICOM, whose segmentation a .dcm is: want %s", path, r.Scan.Path(), map[bool]string{true: ".nii or .nii.gz", false: ".png"}[r.Scan.IsNIfTI()])
	}
	if dir, err := filepath.Abs(r.Scan.Path()); err == nil && kind == SEG {
		if at, err := filepath.Abs(path); err == nil && filepath.Dir(at) == dir {
			return fmt.Errorf("%s: it would lie among the files of the series, which are then no longer one: want another folder", path)
		}
	}
	return nil
}

// Write writes what was found to a file of a kind. Errors name the file.
func (r Request) Write(path string, kind Kind, found *Result, p *segment.Predictor) error {
	switch kind {
	case NIfTI:
		return r.Scan.WriteNIfTI(path, func(z int) ([]uint8, error) { return found.Labels(z), nil })
	case SEG:
		man := p.Manifest()
		s := dicomseg.Segmentation{Scan: r.Scan, Masks: found, At: r.At, Model: man.Family + " " + man.Precision, Version: version.Get().String(), Serial: man.Source.SHA256}
		for _, f := range man.Files {
			if f.Name == man.Encoder() {
				s.Serial = f.SHA256
			}
		}
		for _, o := range r.Objects {
			s.Labels = append(s.Labels, o.Name)
		}
		return s.Write(path)
	}
	if len(r.Objects) == 1 {
		return pictures.WriteMask(path, found.Mask(0, r.From))
	}
	return pictures.WriteLabels(path, found.W, found.H, found.Labels(r.From))
}

// Overlay draws the one slice with all masks and prompts, as a PNG.
func (r Request) Overlay(path string, found *Result) error {
	picture, err := r.Scan.Picture(r.From)
	if err != nil {
		return err
	}
	all := pictures.NewMask(found.W, found.H)
	for i, l := range found.Labels(r.From) {
		all.Pix[i] = min(l, 1)
	}
	var marks []pictures.Mark
	for _, o := range r.Objects {
		if b := o.Prompt.Box; b != nil {
			marks = append(marks, pictures.Mark{X0: b[0], Y0: b[1], X1: b[2], Y1: b[3]})
		}
		for k, p := range o.Prompt.Points {
			marks = append(marks, pictures.Mark{X0: p[0], Y0: p[1], X1: p[0], Y1: p[1], Label: o.Prompt.Labels[k]})
		}
	}
	return pictures.WriteOverlay(path, picture, all, nil, marks)
}
