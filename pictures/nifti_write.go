package pictures

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"

	"syncsam-convert/internal/output"
)

// niftiDescription is what a mask's header says of itself.
const niftiDescription = "mask by syncsam-convert"

// WriteNIfTI writes a NIfTI file of one byte a voxel in the scan's own geometry: the header of a NIfTI volume with its sizes, spacing, orientation and
// units, in its version and byte order; of a DICOM volume one that says the same. labels gives the voxels of slice z, W*H, in the order of the slice's
// picture: column fastest. A path that ends in .gz is compressed. Errors name the file.
func (s *Scan) WriteNIfTI(path string, labels func(z int) ([]uint8, error)) error {
	head, err := s.maskHeader()
	if err != nil {
		return err
	}
	return output.File(path, func(to io.Writer) error {
		w := to
		if strings.HasSuffix(strings.ToLower(path), ".gz") {
			z := gzip.NewWriter(to)
			defer z.Close()
			w = z
		}
		if _, err := w.Write(head); err != nil {
			return err
		}
		for z := range s.v.d {
			row, err := labels(z)
			if err == nil && len(row) != s.v.w*s.v.h {
				err = fmt.Errorf("%s: slice %d: have %d labels, want %d", path, z, len(row), s.v.w*s.v.h)
			}
			if err == nil {
				_, err = w.Write(row)
			}
			if err != nil {
				return err
			}
		}
		if z, ok := w.(*gzip.Writer); ok {
			return z.Close()
		}
		return nil
	})
}

// maskHeader is the header of a mask of the scan's voxels, with the four bytes that say that no extension follows.
func (s *Scan) maskHeader() ([]byte, error) {
	if s.v.header == nil && len(s.v.dicom) == 0 {
		return nil, fmt.Errorf("%s: it is a picture, which has no geometry; want a .png", s.path)
	}
	h := s.v.header
	if h == nil {
		a, err := s.dicomAffine()
		if err != nil {
			return nil, err
		}
		if h, err = headerOf(s.v, a); err != nil {
			return nil, named(s.path, err)
		}
	}
	out := niftiHeader{h.niftiLayout, h.order, bytes.Clone(h.b)}
	out.magicOf(out.oneFile)
	if out.int(out.dim, out.integer) > 3 && s.v.n > 1 { // one volume of several
		out.put(out.dim, out.integer, 3)
		out.put(out.dim+4*out.integer, out.integer, 1)
	}
	out.put(out.kind, 2, 2) // uint8
	out.put(out.bits, 2, 8)
	if out.real == 4 {
		out.putFloat(out.offset, 0, float64(out.size)+4)
	} else {
		out.put(out.offset, 8, int(out.size)+4)
	}
	for i, x := range []float64{1, 0} {
		out.putFloat([]int{out.slope, out.inter}[i], 0, x)
	}
	for _, f := range out.cleared {
		clear(out.b[f[0]:][:f[1]])
	}
	copy(out.b[out.description:], niftiDescription)
	return append(out.b, 0, 0, 0, 0), nil
}

// headerOf is a NIfTI-1 header of a volume whose voxels lie as an affine says, in millimetres.
func headerOf(v *volume, a *[3][4]float64) (*niftiHeader, error) {
	h := &niftiHeader{nifti1, binary.LittleEndian, make([]byte, nifti1.size)}
	h.put(0, 4, int(h.size))
	h.magicOf(h.oneFile)
	for i, n := range []int{3, v.w, v.h, v.d, 1, 1, 1, 1} {
		if n > math.MaxInt16 {
			return nil, fmt.Errorf("have %d x %d x %d voxels, want at most %d along each axis in NIfTI-1", v.w, v.h, v.d, math.MaxInt16)
		}
		h.put(h.dim+2*i, 2, n)
	}
	h.putFloat(h.pixdim, 0, 1)
	for c := range 3 {
		h.putFloat(h.pixdim, c+1, math.Sqrt(a[0][c]*a[0][c]+a[1][c]*a[1][c]+a[2][c]*a[2][c]))
		for r := range 3 {
			h.putFloat(h.srow, 4*r+c, a[r][c])
		}
	}
	for r := range 3 {
		h.putFloat(h.srow, 4*r+3, a[r][3])
	}
	h.put(h.sform, 2, 1) // the scanner's own coordinates
	h.b[h.units] = 2     // millimetres
	return h, nil
}

func (h niftiHeader) magicOf(magic string) { copy(h.b[h.magic:], magic) }

// put writes an integer of so many bytes.
func (h niftiHeader) put(at, size, x int) {
	switch size {
	case 2:
		h.order.PutUint16(h.b[at:], uint16(x))
	case 4:
		h.order.PutUint32(h.b[at:], uint32(x))
	default:
		h.order.PutUint64(h.b[at:], uint64(x))
	}
}

// putFloat writes the i-th of the real numbers at a place.
func (h niftiHeader) putFloat(at, i int, x float64) {
	if h.real == 4 {
		h.order.PutUint32(h.b[at+4*i:], math.Float32bits(float32(x)))
		return
	}
	h.order.PutUint64(h.b[at+8*i:], math.Float64bits(x))
}
