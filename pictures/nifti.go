package pictures

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"syncsam-convert/internal/mapfile"
)

// A niftiLayout says where the fields of a header are (nifti1.h, nifti2.h). Sizes of the fields differ, too.
type niftiLayout struct {
	name                                                                        string
	size                                                                        uint32 // of the header, which is its first number
	magic, dim, kind, offset, slope, inter, pixdim, qform, sform, quatern, srow int
	integer, real                                                               int // bytes of dim and pixdim's numbers
	code                                                                        int // bytes of qform and sform
	oneFile, pair                                                               string

	// What a mask's header says otherwise than its image's: where bitpix, xyzt_units and descrip are, and from where how many bytes are cleared
	// (names, intent, range of the values).
	bits, units, description int
	cleared                  [][2]int
}

var (
	nifti1 = niftiLayout{name: "NIfTI-1", size: 348, magic: 344, dim: 40, kind: 70, offset: 108, slope: 112, inter: 116, pixdim: 76,
		qform: 252, sform: 254, quatern: 256, srow: 280, integer: 2, real: 4, code: 2, oneFile: "n+1\x00", pair: "ni1\x00",
		bits: 72, units: 123, description: 148, cleared: [][2]int{{4, 28}, {56, 14}, {124, 8}, {140, 112}, {328, 16}}}
	nifti2 = niftiLayout{name: "NIfTI-2", size: 540, magic: 4, dim: 16, kind: 12, offset: 168, slope: 176, inter: 184, pixdim: 104,
		qform: 344, sform: 348, quatern: 352, srow: 400, integer: 8, real: 8, code: 4, oneFile: "n+2\x00\r\n\x1a\n", pair: "ni2\x00\r\n\x1a\n",
		bits: 14, units: 500, description: 240, cleared: [][2]int{{80, 24}, {192, 16}, {240, 104}, {504, 20}}}
)

// niftiTypes are the voxel types: bytes of a value, values of a voxel, and how one is read.
var niftiTypes = map[int16]struct {
	bytes, channels int
	value           func(o binary.ByteOrder, b []byte) float64
}{
	2:    {1, 1, func(_ binary.ByteOrder, b []byte) float64 { return float64(b[0]) }},
	4:    {2, 1, func(o binary.ByteOrder, b []byte) float64 { return float64(int16(o.Uint16(b))) }},
	8:    {4, 1, func(o binary.ByteOrder, b []byte) float64 { return float64(int32(o.Uint32(b))) }},
	16:   {4, 1, func(o binary.ByteOrder, b []byte) float64 { return float64(math.Float32frombits(o.Uint32(b))) }},
	64:   {8, 1, func(o binary.ByteOrder, b []byte) float64 { return math.Float64frombits(o.Uint64(b)) }},
	128:  {1, 3, func(_ binary.ByteOrder, b []byte) float64 { return float64(b[0]) }},
	256:  {1, 1, func(_ binary.ByteOrder, b []byte) float64 { return float64(int8(b[0])) }},
	512:  {2, 1, func(o binary.ByteOrder, b []byte) float64 { return float64(o.Uint16(b)) }},
	768:  {4, 1, func(o binary.ByteOrder, b []byte) float64 { return float64(o.Uint32(b)) }},
	1024: {8, 1, func(o binary.ByteOrder, b []byte) float64 { return float64(int64(o.Uint64(b))) }},
	1280: {8, 1, func(o binary.ByteOrder, b []byte) float64 { return float64(o.Uint64(b)) }},
	2304: {1, 4, func(_ binary.ByteOrder, b []byte) float64 { return float64(b[0]) }},
}

// niftiUnread are the names of the other types.
var niftiUnread = map[int16]string{0: "unknown", 1: "one bit", 32: "complex64", 1536: "float128", 1792: "complex128", 2048: "complex256"}

// A niftiHeader reads the fields of a header.
type niftiHeader struct {
	niftiLayout
	order binary.ByteOrder
	b     []byte
}

func (h niftiHeader) int(at, bytes int) int {
	switch bytes {
	case 2:
		return int(int16(h.order.Uint16(h.b[at:])))
	case 4:
		return int(int32(h.order.Uint32(h.b[at:])))
	}
	return int(h.order.Uint64(h.b[at:]))
}

// float reads the i-th of the real numbers at a place.
func (h niftiHeader) float(at, i int) float64 {
	if h.real == 4 {
		return float64(math.Float32frombits(h.order.Uint32(h.b[at+4*i:])))
	}
	return math.Float64frombits(h.order.Uint64(h.b[at+8*i:]))
}

// voxelOffset is where the voxels start.
func (h niftiHeader) voxelOffset() float64 {
	if h.real == 4 {
		return h.float(h.offset, 0)
	}
	return float64(h.int(h.offset, 8))
}

// readNIfTI reads a NIfTI-1 or NIfTI-2 file or pair of files, compressed or not, of up to four dimensions. Slices are taken along the
// third axis as it is stored: the first axis is a picture's column, the second its row; orientation is not applied, to image and
// labels alike.
func readNIfTI(path string) (*volume, error) {
	header, voxels := pairOf(path)
	in, closer, zipped, err := decompressed(header)
	if err != nil && header != path {
		return nil, fmt.Errorf("it is half of a pair: header: %w", err)
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	h, err := niftiHead(in)
	if err != nil {
		return nil, err
	}
	v, bytesEach, value, err := h.volume()
	if err != nil {
		return nil, err
	}
	v.header = &h
	n, err := v.size(bytesEach)
	if err != nil {
		return nil, fmt.Errorf("dim: %w", err)
	}
	from, most := h.voxelOffset(), float64(1<<20)
	if string(h.b[h.magic:][:len(h.pair)]) == h.pair {
		if voxels == header {
			return nil, fmt.Errorf("it is the header of a pair, want a name that ends in .hdr, and the voxels in a file that ends in .img")
		}
		pair, second, zip, err := decompressed(voxels)
		if err != nil {
			return nil, fmt.Errorf("it is half of a pair: voxels: %w", err)
		}
		defer second.Close()
		in, zipped = pair, zip
		v.facts.Codec += " pair"
	} else {
		from -= float64(h.size)
	}
	if !(from >= 0 && from < most) {
		return nil, fmt.Errorf("vox_offset: have %g, want %d or a little more", h.voxelOffset(), h.size)
	}
	if _, err := io.CopyN(io.Discard, in, int64(from)); err != nil {
		return nil, fmt.Errorf("header extensions: %w", err)
	}
	if size, err := sizeOf(voxels); err != nil {
		return nil, err
	} else if ratio := map[bool]int{false: 1, true: deflateRatio}[zipped]; int64(n/ratio) > size {
		return nil, fmt.Errorf("voxels: have a file of %d bytes, which cannot hold %d", size, n)
	}
	raw := make([]byte, n)
	if have, err := io.ReadFull(in, raw); err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, fmt.Errorf("voxels: have %d bytes, want %d", have, n)
	} else if err != nil {
		return nil, fmt.Errorf("voxels: %w", err)
	}
	if zipped {
		v.facts.Codec += ", gzip"
	}
	order := h.order
	v.at = func(i int) float64 { return value(order, raw[i*bytesEach:]) }
	if v.channels == 4 {
		v.channels = 3
		v.at = func(i int) float64 { return float64(raw[i/3*4+i%3]) }
		v.alpha = func(p int) float64 { return float64(raw[p*4+3]) / 255 }
	}
	slope, inter := h.float(h.slope, 0), h.float(h.inter, 0)
	if slope == 0 || math.IsNaN(slope) || slope == 1 && inter == 0 || v.channels > 1 {
		return v, nil
	}
	if math.IsInf(slope, 0) || math.IsInf(inter, 0) || math.IsNaN(inter) {
		return nil, fmt.Errorf("scl_slope and scl_inter: have %g and %g, want numbers", slope, inter)
	}
	unscaled := v.at
	v.at = func(i int) float64 { return float64(slope*unscaled(i)) + inter }
	v.step = slope / 2
	return v, nil
}

// niftiHead reads a header.
func niftiHead(in io.Reader) (h niftiHeader, err error) {
	h.b = make([]byte, nifti1.size)
	if _, err := io.ReadFull(in, h.b); err != nil {
		return h, fmt.Errorf("header: %w", err)
	}
	found := false
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, l := range []niftiLayout{nifti1, nifti2} {
			if order.Uint32(h.b) == l.size {
				h.niftiLayout, h.order, found = l, order, true
			}
		}
	}
	if !found {
		return h, fmt.Errorf("not a NIfTI-1 or NIfTI-2 file")
	}
	rest := make([]byte, int(h.size)-len(h.b))
	if _, err := io.ReadFull(in, rest); err != nil {
		return h, fmt.Errorf("header: %w", err)
	}
	h.b = append(h.b, rest...)
	switch magic := string(h.b[h.magic:][:len(h.oneFile)]); {
	case magic == h.oneFile, magic == h.pair:
		return h, nil
	case h.size == nifti1.size && strings.Trim(magic, "\x00") == "":
		return h, fmt.Errorf("it is an ANALYZE 7.5 file, which does not say its orientation: convert it to NIfTI-1, for example with nibabel")
	default:
		return h, fmt.Errorf("not a NIfTI-1 or NIfTI-2 file: have the magic %q, want %q or %q", magic, h.oneFile, h.pair)
	}
}

// volume is what a header says: the sizes, and how a value is read.
func (h niftiHeader) volume() (v *volume, bytes int, value func(binary.ByteOrder, []byte) float64, err error) {
	dim := func(i int) int { return h.int(h.dim+h.integer*i, h.integer) }
	rank := dim(0)
	if rank < 2 || rank > 7 {
		return nil, 0, nil, fmt.Errorf("dim: have %d dimensions, want 2 to 4", rank)
	}
	for i := 5; i <= rank; i++ {
		if dim(i) > 1 {
			return nil, 0, nil, fmt.Errorf("dim: have %d values along dimension %d, want three dimensions and volumes; store vectors as volumes", dim(i), i)
		}
	}
	v = &volume{w: dim(1), h: dim(2), d: 1, n: 1}
	if rank > 2 {
		v.d = dim(3)
	}
	if rank > 3 {
		v.n = dim(4)
	}
	for _, x := range []int{v.w, v.h, v.d, v.n} {
		if x < 1 || x > math.MaxInt32 {
			return nil, 0, nil, fmt.Errorf("dim: have %d, want at least one and at most %d", x, math.MaxInt32)
		}
	}
	if v.d > MaxVolumeBytes/v.n {
		return nil, 0, nil, fmt.Errorf("dim: have %d volumes of %d slices, want at most %d MB", v.n, v.d, MaxVolumeBytes>>20)
	}
	kind := int16(h.int(h.kind, 2))
	t, ok := niftiTypes[kind]
	if !ok {
		return nil, 0, nil, fmt.Errorf("datatype: have %d (%s), want an integer, a real number or RGB", kind, or(niftiUnread[kind], "unknown"))
	}
	v.channels = t.channels
	v.facts = Facts{Bits: 8 * t.bytes, Codec: h.name}
	v.affine = h.affine()
	v.facts.Orientation = asStored
	if v.affine != nil {
		v.facts.Orientation += ", axes " + axes(v.affine)
	}
	return v, t.bytes, t.value, nil
}

func or(s, absent string) string {
	if s == "" {
		return absent
	}
	return s
}

// affine maps column, row and slice to millimetres; nil where the header does not say.
func (h niftiHeader) affine() *[3][4]float64 {
	var a [3][4]float64
	switch {
	case h.int(h.sform, h.code) > 0:
		for r := range a {
			for c := range a[r] {
				a[r][c] = h.float(h.srow, 4*r+c)
			}
		}
	case h.int(h.qform, h.code) > 0:
		b, c, d := h.float(h.quatern, 0), h.float(h.quatern, 1), h.float(h.quatern, 2)
		w := math.Sqrt(max(0, 1-b*b-c*c-d*d))
		turn := [3][3]float64{
			{w*w + b*b - c*c - d*d, 2 * (b*c - w*d), 2 * (b*d + w*c)},
			{2 * (b*c + w*d), w*w + c*c - b*b - d*d, 2 * (c*d - w*b)},
			{2 * (b*d - w*c), 2 * (c*d + w*b), w*w + d*d - b*b - c*c},
		}
		hand := 1.0
		if h.float(h.pixdim, 0) < 0 {
			hand = -1
		}
		for r := range a {
			for c := range 3 {
				a[r][c] = turn[r][c] * h.float(h.pixdim, c+1)
			}
			a[r][2] *= hand
			a[r][3] = h.float(h.quatern, 3+r)
		}
	default:
		return nil
	}
	for _, row := range a {
		for _, x := range row {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return nil
			}
		}
	}
	return &a
}

// axes names the directions in which column, row and slice grow: R or L, A or P, S or I. Each is taken once, the clearest first.
func axes(a *[3][4]float64) string {
	var out [3]byte
	var taken [3]bool
	for range 3 {
		best, row, column := -1.0, 0, 0
		for c := range 3 {
			length := math.Sqrt(a[0][c]*a[0][c] + a[1][c]*a[1][c] + a[2][c]*a[2][c])
			for r := range 3 {
				if share := math.Abs(a[r][c]) / max(length, math.SmallestNonzeroFloat64); out[c] == 0 && !taken[r] && share > best {
					best, row, column = share, r, c
				}
			}
		}
		taken[row], out[column] = true, "LPI"[row]
		if a[row][column] > 0 {
			out[column] = "RAS"[row]
		}
	}
	return string(out[:])
}

// pairOf gives the files with the header and with the voxels; both are the same where one file holds them.
func pairOf(path string) (header, voxels string) {
	for _, zipped := range []string{"", ".gz"} {
		for _, ends := range [][2]string{{".hdr", ".img"}, {".HDR", ".IMG"}} {
			if s, ok := strings.CutSuffix(path, ends[1]+zipped); ok {
				return firstOf(s+ends[0]+zipped, s+ends[0], s+ends[0]+".gz"), path
			}
			if s, ok := strings.CutSuffix(path, ends[0]+zipped); ok {
				return path, firstOf(s+ends[1]+zipped, s+ends[1], s+ends[1]+".gz")
			}
		}
	}
	return path, path
}

// firstOf is the first name of a file that exists, else the first.
func firstOf(names ...string) string {
	for _, n := range names {
		if _, err := os.Stat(n); err == nil {
			return n
		}
	}
	return names[0]
}

func sizeOf(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// decompressed opens a file; one that is compressed by its content is decompressed.
func decompressed(path string) (in io.Reader, closer io.Closer, zipped bool, err error) {
	f, err := mapfile.Reader(path)
	if err != nil {
		return nil, nil, false, err
	}
	r := bufio.NewReaderSize(f, 1<<20)
	if magic, _ := r.Peek(2); string(magic) != "\x1f\x8b" {
		return r, f, false, nil
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		f.Close()
		return nil, nil, false, fmt.Errorf("gzip: %w", err)
	}
	z.Multistream(false)
	return &members{r, z}, f, true, nil
}

// members reads the members of a gzip file one after the other, and stops at what is none: zeros are left behind by some writers.
type members struct {
	r *bufio.Reader
	z *gzip.Reader
}

func (m *members) Read(p []byte) (int, error) {
	for {
		n, err := m.z.Read(p)
		if err != io.EOF {
			return n, err
		}
		if magic, _ := m.r.Peek(2); string(magic) != "\x1f\x8b" {
			return n, io.EOF
		}
		if err := m.z.Reset(m.r); err != nil {
			return n, err
		}
		m.z.Multistream(false)
		if n > 0 {
			return n, nil
		}
	}
}
