package pictures

import (
	"archive/zip"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"regexp"
	"strconv"

	"syncsam-convert/internal/memory"
)

// shapeInName is what IMed-361M puts before the end of a label file's name: masks, rows, columns and channels.
var shapeInName = regexp.MustCompile(`\((\d+), (\d+), (\d+)(?:, 1)?\)\.npz$`)

// readSparse reads a label file of IMed-361M: a scipy sparse matrix (csr, csc or coo) in an .npz archive, whose row-major elements
// are [masks, rows, columns] as the file's name says; without a shape in the name, one mask as large as the matrix.
func readSparse(path string) (*volume, error) {
	z, err := zip.OpenReader(path)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	format, err := readArray(z, "format")
	if err != nil {
		return nil, err
	}
	shape, err := readInts(z, "shape", 2, math.MaxInt32)
	if err != nil {
		return nil, err
	}
	v := &volume{w: shape[1], h: shape[0], d: 1, channels: 1, facts: Facts{Bits: 1, Codec: "NumPy archive, sparse matrix"}}
	if m := shapeInName.FindStringSubmatch(filepath.Base(path)); m != nil {
		for i, to := range []*int{&v.d, &v.h, &v.w} {
			if *to, err = strconv.Atoi(m[i+1]); err != nil {
				return nil, fmt.Errorf("shape in the name: %w", err)
			}
		}
	}
	n, err := v.size(1)
	if err != nil {
		return nil, fmt.Errorf("shape: %w", err)
	}
	if shape[0] < 1 || n%shape[0] != 0 || n/shape[0] != shape[1] {
		return nil, fmt.Errorf("shape: have a matrix of %d x %d, want the %d elements of %d x %d x %d", shape[0], shape[1], n, v.d, v.h, v.w)
	}
	each := v.w * v.h
	planes := make([][]uint8, v.d) // one without foreground takes nothing
	v.at = func(i int) float64 {
		if p := planes[i/each]; p != nil {
			return float64(p[i%each])
		}
		return 0
	}
	return v, eachNonzero(z, format.text(), shape, func(row, col int) {
		i := row*shape[1] + col
		if planes[i/each] == nil {
			planes[i/each] = make([]uint8, each)
		}
		planes[i/each][i%each] = 1
	})
}

// eachNonzero visits the elements of a sparse matrix that are not 0.
func eachNonzero(z *zip.ReadCloser, format string, shape []int, visit func(row, col int)) error {
	data, err := readArray(z, "data")
	if err != nil {
		return err
	}
	switch format {
	case "coo":
		rows, err := readInts(z, "row", data.n, shape[0])
		if err != nil {
			return err
		}
		cols, err := readInts(z, "col", data.n, shape[1])
		if err != nil {
			return err
		}
		for i := range data.n {
			if !data.zero(i) {
				visit(rows[i], cols[i])
			}
		}
	case "csr", "csc":
		major, minor := shape[0], shape[1]
		if format == "csc" {
			major, minor = minor, major
		}
		starts, err := readInts(z, "indptr", major+1, data.n+1)
		if err != nil {
			return err
		}
		indices, err := readInts(z, "indices", data.n, minor)
		if err != nil {
			return err
		}
		for i := range major {
			for k := starts[i]; k < starts[i+1]; k++ {
				switch {
				case data.zero(k):
				case format == "csr":
					visit(i, indices[k])
				default:
					visit(indices[k], i)
				}
			}
		}
	default:
		return fmt.Errorf("format: have %q, want csr, csc or coo", format)
	}
	return nil
}

// maxArrayBytes is the largest array of a label file; arraysAtOnce are in memory together, as bytes and as numbers of twice their size.
const (
	maxArrayBytes = 256 << 20
	arraysAtOnce  = 9
)

// npyHeader is what a NumPy array starts with, in version 1 and 2: byte order and type, whether columns come first, the sizes.
var npyHeader = regexp.MustCompile(`^{'descr': '([<>|=]?)([a-zA-Z])(\d+)', 'fortran_order': (?:True|False), 'shape': \((\d*)(?:, ?(\d+))*,?\), }\s*$`)

// An array is the content of a NumPy array of one dimension or none.
type array struct {
	n, size int  // elements, bytes of each
	kind    byte // NumPy's: i, u, f, b, S, U
	order   binary.ByteOrder
	raw     []byte
}

// readArray reads an array of an .npz archive. Its memory grows with what is there, not with what its header says.
func readArray(z *zip.ReadCloser, name string) (a array, err error) {
	f, err := z.Open(name + ".npy")
	if err != nil {
		return a, fmt.Errorf("%s: missing: not a sparse matrix of scipy", name)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return a, fmt.Errorf("%s: %w", name, err)
	}
	if info.Size() > maxArrayBytes {
		return a, fmt.Errorf("%s: more than %d MB", name, maxArrayBytes>>20)
	}
	if err := memory.Fits(name, arraysAtOnce*info.Size(), volumesAtOnce); err != nil {
		return a, err
	}
	b, err := io.ReadAll(io.LimitReader(f, info.Size()+1)) // its memory grows with what is there
	if err != nil {
		return a, fmt.Errorf("%s: %w", name, err)
	}
	if len(b) < 12 || string(b[:6]) != "\x93NUMPY" {
		return a, fmt.Errorf("%s: not a NumPy array", name)
	}
	start, length := 10, int(binary.LittleEndian.Uint16(b[8:]))
	if b[6] > 1 {
		start, length = 12, int(binary.LittleEndian.Uint32(b[8:]))
	}
	if length > len(b)-start {
		return a, fmt.Errorf("%s: the header ends early", name)
	}
	m := npyHeader.FindSubmatch(b[start:][:length])
	if m == nil || len(m[5]) > 0 {
		return a, fmt.Errorf("%s: have the header %.80q, want an array of one dimension at most", name, b[start:][:length])
	}
	a = array{n: 1, kind: m[2][0], order: binary.LittleEndian, raw: b[start+length:]}
	if string(m[1]) == ">" {
		a.order = binary.BigEndian
	}
	if len(m[4]) > 0 {
		if a.n, err = strconv.Atoi(string(m[4])); err != nil {
			return a, fmt.Errorf("%s: %w", name, err)
		}
	}
	if a.size, err = strconv.Atoi(string(m[3])); err != nil || a.size < 1 || a.size > 8 {
		return a, fmt.Errorf("%s: have elements of %s bytes, want 1 to 8", name, m[3])
	}
	if len(a.raw)%a.size != 0 || len(a.raw)/a.size != a.n {
		return a, fmt.Errorf("%s: have %d bytes, want %d elements of %d", name, len(a.raw), a.n, a.size)
	}
	return a, nil
}

// text is the array as a string, padding left out.
func (a array) text() string {
	var s []byte
	for _, c := range a.raw {
		if c != 0 {
			s = append(s, c)
		}
	}
	return string(s)
}

// zero reports whether element i is 0 (positive or negative).
func (a array) zero(i int) bool {
	b := a.raw[i*a.size:][:a.size]
	for k, x := range b {
		sign := a.kind == 'f' && (a.order == binary.LittleEndian && k == len(b)-1 || a.order == binary.BigEndian && k == 0)
		if sign {
			x &= 0x7f
		}
		if x != 0 {
			return false
		}
	}
	return true
}

// readInts reads an array of n whole numbers from 0 to limit-1.
func readInts(z *zip.ReadCloser, name string, n, limit int) ([]int, error) {
	a, err := readArray(z, name)
	if err != nil {
		return nil, err
	}
	if a.kind != 'i' || a.size != 4 && a.size != 8 {
		return nil, fmt.Errorf("%s: have elements of type %c%d, want i4 or i8", name, a.kind, a.size)
	}
	if a.n != n {
		return nil, fmt.Errorf("%s: have %d elements, want %d", name, a.n, n)
	}
	x := make([]int, n)
	for i := range x {
		if a.size == 4 {
			x[i] = int(int32(a.order.Uint32(a.raw[4*i:])))
		} else {
			x[i] = int(a.order.Uint64(a.raw[8*i:]))
		}
		if x[i] < 0 || x[i] >= limit {
			return nil, fmt.Errorf("%s: have %d, want less than %d", name, x[i], limit)
		}
	}
	return x, nil
}
