package pictures

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
)

// Offsets in a NIfTI-1 header of 348 bytes (nifti1.h).
const (
	niftiHeader  = 348
	niftiDim     = 40  // int16[8]: rank, then sizes, the first fastest
	niftiType    = 70  // int16
	niftiOffset  = 108 // float32: where the voxels start
	niftiSlope   = 112 // float32; 0: values are not scaled
	niftiInter   = 116 // float32
	niftiMagic   = 344
	niftiOneFile = "n+1\x00"
)

// niftiTypes are the voxel types: bytes of a voxel, and how one is read.
var niftiTypes = map[int16]struct {
	bytes int
	value func(o binary.ByteOrder, b []byte) float64
}{
	2:    {1, func(_ binary.ByteOrder, b []byte) float64 { return float64(b[0]) }},
	4:    {2, func(o binary.ByteOrder, b []byte) float64 { return float64(int16(o.Uint16(b))) }},
	8:    {4, func(o binary.ByteOrder, b []byte) float64 { return float64(int32(o.Uint32(b))) }},
	16:   {4, func(o binary.ByteOrder, b []byte) float64 { return float64(math.Float32frombits(o.Uint32(b))) }},
	64:   {8, func(o binary.ByteOrder, b []byte) float64 { return math.Float64frombits(o.Uint64(b)) }},
	256:  {1, func(_ binary.ByteOrder, b []byte) float64 { return float64(int8(b[0])) }},
	512:  {2, func(o binary.ByteOrder, b []byte) float64 { return float64(o.Uint16(b)) }},
	768:  {4, func(o binary.ByteOrder, b []byte) float64 { return float64(o.Uint32(b)) }},
	1024: {8, func(o binary.ByteOrder, b []byte) float64 { return float64(int64(o.Uint64(b))) }},
	1280: {8, func(o binary.ByteOrder, b []byte) float64 { return float64(o.Uint64(b)) }},
}

// readNIfTI reads a NIfTI-1 file, compressed or not, of three dimensions at most. Slices are taken along the third axis as it is
// stored: the first axis is a picture's column, the second its row; orientation is not applied, to image and labels alike.
func readNIfTI(path string) (*volume, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	var in io.Reader = r
	if magic, _ := r.Peek(2); string(magic) == "\x1f\x8b" {
		if in, err = gzip.NewReader(r); err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
	}
	var head [niftiHeader]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	var order binary.ByteOrder = binary.LittleEndian
	if order.Uint32(head[:]) != niftiHeader {
		order = binary.BigEndian
	}
	if order.Uint32(head[:]) != niftiHeader || string(head[niftiMagic:]) != niftiOneFile {
		return nil, fmt.Errorf("not a NIfTI-1 file with its voxels in it")
	}
	number := func(at int) float64 { return float64(math.Float32frombits(order.Uint32(head[at:]))) }
	dim := func(i int) int { return int(int16(order.Uint16(head[niftiDim+2*i:]))) }
	v := &volume{w: 1, h: 1, d: 1, channels: 1}
	rank := dim(0)
	if rank < 2 || rank > 7 {
		return nil, fmt.Errorf("dim: have %d dimensions, want 2 or 3", rank)
	}
	for i := 4; i <= rank; i++ {
		if dim(i) > 1 {
			return nil, fmt.Errorf("dim: have %d volumes in one file, want one", dim(i))
		}
	}
	v.w, v.h = dim(1), dim(2)
	if rank > 2 {
		v.d = dim(3)
	}
	kind := int16(order.Uint16(head[niftiType:]))
	t, ok := niftiTypes[kind]
	if !ok {
		return nil, fmt.Errorf("datatype: have %d, want an integer or a real number", kind)
	}
	n, err := v.size(t.bytes)
	if err != nil {
		return nil, fmt.Errorf("dim: %w", err)
	}
	skip := number(niftiOffset) - niftiHeader
	if !(skip >= 0 && skip < 1<<20) {
		return nil, fmt.Errorf("vox_offset: have %g, want %d or a little more", number(niftiOffset), niftiHeader)
	}
	if _, err := io.CopyN(io.Discard, in, int64(skip)); err != nil {
		return nil, fmt.Errorf("header extensions: %w", err)
	}
	var voxels bytes.Buffer // grows with what is there, not with what the header says
	if have, err := io.Copy(&voxels, io.LimitReader(in, int64(n))); err != nil {
		return nil, fmt.Errorf("voxels: %w", err)
	} else if have < int64(n) {
		return nil, fmt.Errorf("voxels: have %d bytes, want %d", have, n)
	}
	data, slope, inter := voxels.Bytes(), number(niftiSlope), number(niftiInter)
	v.at = func(i int) float64 { return t.value(order, data[i*t.bytes:]) }
	if raw := v.at; slope != 0 && !math.IsNaN(slope) && (slope != 1 || inter != 0) {
		v.at = func(i int) float64 { return slope*raw(i) + inter }
	}
	return v, nil
}
