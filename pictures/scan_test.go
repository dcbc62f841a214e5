package pictures_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/pictures"
)

// unzipped is a file's content, decompressed where it is compressed.
func unzipped(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	if bytes.HasPrefix(b, []byte("\x1f\x8b")) {
		z, err := gzip.NewReader(bytes.NewReader(b))
		require.NoError(t, err)
		z.Multistream(false) // some writers leave zeros behind
		b, err = io.ReadAll(z)
		require.NoError(t, err)
	}
	return b
}

// geometry are the bytes of a header that say where its voxels lie, in NIfTI-1 and NIfTI-2: nifti1.h and nifti2.h.
var geometry = map[int]map[string][2]int{
	348: {"dim_info": {39, 1}, "dim 1 to 3": {42, 6}, "pixdim": {76, 32}, "xyzt_units": {123, 1}, "qform, sform, quatern, srow": {252, 76}},
	540: {"dim_info": {524, 1}, "dim 1 to 3": {24, 24}, "pixdim": {104, 64}, "xyzt_units": {500, 4}, "qform, sform, quatern, srow": {344, 156}},
}

// A mask has the geometry of its volume, whatever the version, byte order, packing and rank, and each slice's pixels are the voxels that it was made of.
func TestMaskOfAVolume(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.nii*")
	require.NoError(t, err)
	written := map[int]int{}
	for _, path := range append(files, kinds+"/pair.img", oblique(t, binary.LittleEndian, 348), oblique(t, binary.BigEndian, 348), oblique(t, binary.BigEndian, 540)) {
		name, header := path, strings.Replace(path, ".img", ".hdr", 1)
		if strings.Contains(path, "four") {
			name += "#volume=1"
		}
		s, err := pictures.OpenScan(name)
		if err != nil {
			require.ErrorContains(t, err, "datatype", name)
			continue
		}
		w, h := s.Size()
		label := func(x, y, z int) uint8 { return uint8(1 + (x+3*y+7*z)%200) }
		for _, end := range []string{".nii", ".nii.gz"} {
			out := filepath.Join(t.TempDir(), "m"+end)
			require.NoError(t, s.WriteNIfTI(out, func(z int) ([]uint8, error) {
				row := make([]uint8, w*h)
				for i := range row {
					row[i] = label(i%w, i/w, z)
				}
				return row, nil
			}))
			raw, err := os.ReadFile(out)
			require.NoError(t, err)
			require.Equal(t, end == ".nii.gz", bytes.HasPrefix(raw, []byte("\x1f\x8b")))
			from, to := unzipped(t, header), unzipped(t, out)
			var order binary.ByteOrder = binary.LittleEndian
			if from[0] == 0 {
				order = binary.BigEndian
			}
			size := int(order.Uint32(from))
			written[size]++
			for what, f := range geometry[size] {
				require.Equal(t, from[f[0]:][:f[1]], to[f[0]:][:f[1]], "%s: %s", name, what)
			}
			require.Len(t, to, size+4+w*h*s.Slices(), name)
			for z := range s.Slices() {
				for i := range w * h {
					require.Equal(t, label(i%w, i/w, z), to[size+4+z*w*h+i], name)
				}
			}
			again, err := pictures.OpenScan(out)
			require.NoError(t, err)
			require.Equal(t, s.Slices(), again.Slices())
			require.NoError(t, pictures.Together(name, out), name)
		}
	}
	require.Greater(t, written[348], 20)
	require.Positive(t, written[540])
}

// oblique writes a volume of 5 x 4 x 3 voxels of 0.5 x 2 x 7 mm that lie askew.
func oblique(t *testing.T, order binary.ByteOrder, size int) string {
	b := make([]byte, size+4+5*4*3*2)
	order.PutUint32(b, uint32(size))
	real := func(at, i int, x float64) {
		if size == 348 {
			order.PutUint32(b[at+4*i:], math.Float32bits(float32(x)))
			return
		}
		order.PutUint64(b[at+8*i:], math.Float64bits(x))
	}
	at := map[int][7]int{348: {40, 70, 72, 76, 108, 254, 280}, 540: {16, 12, 14, 104, 168, 348, 400}}[size]
	for i, n := range []int{3, 5, 4, 3, 1, 1, 1, 1} {
		if size == 348 {
			order.PutUint16(b[at[0]+2*i:], uint16(n))
		} else {
			order.PutUint64(b[at[0]+8*i:], uint64(n))
		}
	}
	order.PutUint16(b[at[1]:], 4)
	order.PutUint16(b[at[2]:], 16)
	for i, x := range []float64{-1, 0.5, 2, 7} {
		real(at[3], i, x)
	}
	if size == 348 {
		real(at[4], 0, 352)
		order.PutUint16(b[at[5]:], 2)
		copy(b[344:], "n+1\x00")
	} else {
		order.PutUint64(b[at[4]:], 544)
		order.PutUint32(b[at[5]:], 2)
		copy(b[4:], "n+2\x00\r\n\x1a\n")
	}
	for i, x := range []float64{0, -1.9, 0.7, 11, -0.5, 0, 1, -20, 0, 0.6, 6.9, 3} {
		real(at[6], i, x)
	}
	for i := range 60 {
		order.PutUint16(b[size+4+2*i:], uint16(i))
	}
	path := filepath.Join(t.TempDir(), "oblique.nii")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

// A scan's slices are what reading the slice by its name gives; a picture is a scan of one.
func TestScanSlices(t *testing.T) {
	for name, want := range map[string]struct {
		slices, named int
		ok            bool
	}{
		"../volumes/ct.nii.gz": {4, 0, false}, "../volumes/ct.nii.gz#slice=2&window=0:100": {4, 2, true}, "444.jpg": {1, 0, true}, "pages.tif#slice=1": {1, 0, true},
		"animated.gif#slice=2": {1, 0, true}, "../volumes/frames.dcm#slice=1": {3, 1, true}, "../volumes/real.nii": {1, 0, true},
	} {
		s, err := pictures.OpenScan(filepath.Join(kinds, name))
		require.NoError(t, err, name)
		z, ok := s.Slice()
		require.Equal(t, want.ok, ok, name)
		require.Equal(t, want.named, z, name)
		if want.slices != s.Slices() {
			require.Equal(t, want.slices, s.Slices(), name)
		}
		if !ok {
			continue
		}
		m, err := s.Picture(z)
		require.NoError(t, err, name)
		w, h := s.Size()
		require.Equal(t, [2]int{m.W, m.H}, [2]int{w, h})
		same, err := pictures.Read(filepath.Join(kinds, name))
		require.NoError(t, err)
		require.Equal(t, same, m, name)
	}
	for name, want := range map[string]string{
		"../volumes/ct.nii.gz#slice=4": "want less than 4", "four.nii.gz": "FILE#volume=K", "../volumes/coo.(3, 6, 5, 1).npz": "it holds labels", "pages.tif": "FILE#slice=K",
	} {
		_, err := pictures.OpenScan(filepath.Join(kinds, name))
		require.ErrorContains(t, err, want, name)
	}
	s, err := pictures.OpenScan(filepath.Join(kinds, "444.jpg"))
	require.NoError(t, err)
	require.ErrorContains(t, s.WriteNIfTI(filepath.Join(t.TempDir(), "m.nii"), nil), "it is a picture, which has no geometry")
}

// writeBack writes a mask of what can be read, which can be read again with as many slices.
func writeBack(t *testing.T, path string) {
	s, err := pictures.OpenScan(path)
	if err != nil {
		return
	}
	w, h := s.Size()
	out := filepath.Join(t.TempDir(), "m.nii")
	if err := s.WriteNIfTI(out, func(int) ([]uint8, error) { return make([]uint8, w*h), nil }); err != nil {
		return
	}
	if again, err := pictures.OpenScan(out); err != nil || again.Slices() != s.Slices() {
		t.Fatal(err, s.Slices())
	}
}
