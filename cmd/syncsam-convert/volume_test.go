package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/golden/clicks"
	"syncsam-convert/pictures"
	"syncsam-convert/volumes"
)

// phantom writes a NIfTI-1 volume of 48 x 36 x 7 voxels of 0.7 x 0.9 x 5 mm that lie askew: a bright ellipse that moves and shrinks, with noise.
func phantom(t *testing.T) string {
	t.Helper()
	const w, h, d = 48, 36, 7
	b := make([]byte, 352+2*w*h*d)
	le := binary.LittleEndian
	real := func(at int, x ...float32) {
		for i, v := range x {
			le.PutUint32(b[at+4*i:], math.Float32bits(v))
		}
	}
	le.PutUint32(b, 348)
	for i, n := range []uint16{3, w, h, d, 1, 1, 1, 1} {
		le.PutUint16(b[40+2*i:], n)
	}
	le.PutUint16(b[70:], 4)
	le.PutUint16(b[72:], 16)
	real(76, 1, 0.7, 0.9, 5)
	real(108, 352)
	le.PutUint16(b[254:], 1)
	real(280, 0, -0.9, 0.3, 11, 0.7, 0, 0.1, -20, 0, 0.1, 4.9, 3)
	copy(b[344:], "n+1\x00")
	for i := range w * h * d {
		x, y, z := float64(i%w), float64(i/w%h), float64(i/w/h)
		v := uint16(100 + i*i%37)
		if a, c := (x-18-2*z)/(11-z), (y-17)/9; a*a+c*c < 1 {
			v += 400
		}
		le.PutUint16(b[352+2*i:], v)
	}
	path := filepath.Join(t.TempDir(), "phantom.nii")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

// A propagated volume is what running each slice by the box of the mask before gives, in the volume's own voxels.
func TestRunVolume(t *testing.T) {
	dir, tmp, volume := built(t, tiny34), t.TempDir(), phantom(t)
	out := filepath.Join(tmp, "m.nii.gz")
	report := func(args ...string) (r volumes.Report) {
		require.NoError(t, json.Unmarshal([]byte(must(t, append([]string{"run", dir, "--json"}, args...)...)), &r))
		return r
	}
	r := report("--image", volume+"#slice=3", "--box", "17,9,32,26", "--slices", "1:7", "--propagate", "-o", out)
	require.NoError(t, pictures.Together(volume, out))
	require.Equal(t, []int{7, 1, 7, 3}, []int{r.Slices, r.From, r.To, *r.Prompted})
	require.NoFileExists(t, filepath.Join(tmp, "m.nii.overlay.png"))
	box, pixels := map[int]string{3: "17,9,32,26"}, 0
	for _, z := range []int{3, 4, 5, 6, 2, 1} {
		png := filepath.Join(tmp, "one.png")
		one := report("--image", fmt.Sprintf("%s#slice=%d", volume, z), "--box", box[z], "-o", png)
		want, err := pictures.ReadMask(png)
		require.NoError(t, err)
		require.Equal(t, one.Pixels, want.Count())
		require.Positive(t, one.Pixels)
		have, err := pictures.ReadMask(fmt.Sprintf("%s#slice=%d&label=1", out, z))
		require.NoError(t, err)
		require.Equal(t, want, have, "slice %d", z)
		require.Equal(t, one.Masks[0].Box, r.Masks[z-1].Box)
		require.Equal(t, z, r.Masks[z-1].Slice)
		pixels += one.Pixels
		for _, to := range []int{z + 1, z - 1} {
			if b, _ := clicks.Box(want); box[to] == "" {
				box[to] = fmt.Sprintf("%d,%d,%d,%d", b[0], b[1], b[2], b[3])
			}
		}
	}
	require.Equal(t, pixels, r.Pixels)
	empty, err := pictures.ReadMask(out + "#slice=0")
	require.NoError(t, err)
	require.Zero(t, empty.Count(), "outside the range")

	// Two objects of one slice: the values of a PNG, and of a volume's mask.
	two := []string{"run", dir, "--image", volume + "#slice=3", "--prompt", "box=17,9,32,26&label=7", "--prompt", "box=2,2,12,9&name=b", "-o"}
	must(t, append(two, filepath.Join(tmp, "two.png"))...)
	require.Contains(t, must(t, append(two, filepath.Join(tmp, "two.nii"))...), "7 object 7: ")
	for _, label := range []int{2, 7} {
		a, err := pictures.ReadMask(fmt.Sprintf("%s/two.png#label=%d", tmp, label))
		require.NoError(t, err)
		b, err := pictures.ReadMask(fmt.Sprintf("%s/two.nii#slice=3&label=%d", tmp, label))
		require.NoError(t, err)
		require.Equal(t, a, b)
		require.Positive(t, a.Count())
	}
	base := []string{"run", dir, "--image", volume, "--box", "1,1,9,9", "-o", out}
	for want, flags := range map[string][]string{
		"it has 7 slices, want one of them":       nil,
		"over which slices?":                      {"--propagate"},
		"want slices of 0:7":                      {"--slices", "3:8"},
		"the prompts are of slice 2, want one of": {"--image", volume + "#slice=2", "--slices", "3:7", "--propagate"},
		"which says where --propagate starts":     {"--image", volume + "#slice=2", "--slices", "all"},
		"it is a picture, want NIfTI or DICOM":    {"--image", picture, "--slices", "all"},
		"a picture holds one slice, have 7":       {"--slices", "all", "-o", filepath.Join(tmp, "m.png")},
		"is no DICOM":                             {"--slices", "all", "-o", filepath.Join(tmp, "m.dcm")},
		"--overlay: it shows one slice":           {"--slices", "all", "--overlay", filepath.Join(tmp, "o.png")},
		"takes no text":                           {"--slices", "all", "--text", "liver"},
		"is outside its 48 x 36":                  {"--slices", "all", "--box", "1,1,49,9"},
	} {
		refused(t, want, append(base[:len(base):len(base)], flags...)...)
	}
}

// A segmentation of a DICOM file refers to it; one of a series is not put among its files.
func TestRunDICOM(t *testing.T) {
	dir, tmp := built(t, tiny34), t.TempDir()
	source := "../../pictures/testdata/dicom/pydicom_rtdose_rle_1frame.dcm"
	out := filepath.Join(tmp, "seg.dcm")
	must(t, "run", dir, "--image", source, "--box", "2,2,8,8", "-o", out)
	m, err := pictures.OpenScan(out)
	require.NoError(t, err)
	w, h := m.Size()
	require.Equal(t, [3]int{10, 10, 1}, [3]int{w, h, m.Slices()})
	png := filepath.Join(tmp, "m.png")
	must(t, "run", dir, "--image", source, "--box", "2,2,8,8", "-o", png)
	want, err := pictures.ReadMask(png)
	require.NoError(t, err)
	have, err := pictures.ReadMask(out)
	require.NoError(t, err)
	require.Equal(t, want, have)
	series := filepath.Join(tmp, "series")
	copied(t, source, filepath.Join(series, "IM1"))
	refused(t, "it would lie among the files of the series", "run", dir, "--image", series, "--box", "2,2,8,8", "-o", filepath.Join(series, "seg.dcm"))
	must(t, "run", dir, "--image", series, "--slices", "all", "--box", "2,2,8,8", "-o", out)
}
