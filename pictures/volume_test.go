package pictures_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/pictures"
)

const volumes = "testdata/volumes"

// TestVolumes holds slices and masks against what nibabel, pydicom, PIL and scipy read (testdata/make_volumes.py).
func TestVolumes(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(volumes, "expected.json"))
	require.NoError(t, err)
	var want struct{ Pictures, Masks map[string][]json.RawMessage }
	require.NoError(t, json.Unmarshal(text, &want))
	require.NotEmpty(t, want.Pictures)
	require.NotEmpty(t, want.Masks)
	for name, rows := range want.Pictures {
		m, err := pictures.Read(filepath.Join(volumes, name))
		require.NoError(t, err, name)
		require.Equal(t, len(rows), m.H, name)
		for y, row := range rows {
			var grey []int
			var colour [][3]int
			if json.Unmarshal(row, &grey) == nil {
				for _, g := range grey {
					colour = append(colour, [3]int{g, g, g})
				}
			} else {
				require.NoError(t, json.Unmarshal(row, &colour), name)
			}
			require.Len(t, colour, m.W, name)
			for x, want := range colour {
				for c := range want {
					// A step: JPEG decoders round the inverse transform differently.
					require.InDelta(t, want[c], m.Pix[(y*m.W+x)*3+c], map[bool]float64{true: 1}[filepath.Base(name)[0] == 'j'], "%s: row %d, column %d", name, y, x)
				}
			}
		}
	}
	for name, rows := range want.Masks {
		m, err := pictures.ReadMask(filepath.Join(volumes, name))
		require.NoError(t, err, name)
		for y, row := range rows {
			var want []uint8
			var ints []int
			require.NoError(t, json.Unmarshal(row, &ints))
			for _, v := range ints {
				want = append(want, uint8(v))
			}
			require.Equal(t, want, m.Pix[y*m.W:][:m.W], "%s: row %d", name, y)
		}
	}
}

func TestLabels(t *testing.T) {
	names := func(file string, min int) (out []string) {
		parts, err := pictures.Labels(filepath.Join(volumes, file), pictures.Part{}, min)
		require.NoError(t, err)
		for _, p := range parts {
			out = append(out, p.Name("f"))
		}
		return out
	}
	require.Equal(t, []string{"f#slice=0&label=1", "f#slice=2&label=1"}, names("csr.(3, 6, 5, 1).npz", 1))
	all := names("labels.nii.gz", 1)
	require.Len(t, all, 9) // three labels on three of four slices
	require.NotContains(t, all, "f#slice=1&label=1")
	require.Empty(t, names("labels.nii.gz", 14*11))
	_, err := pictures.Labels(filepath.Join(volumes, "ct.nii.gz"), pictures.Part{}, 1)
	require.ErrorContains(t, err, "want labels")
}

func TestNames(t *testing.T) {
	for _, name := range []string{"a#b.png", "a.nii#slice=3", "x/y.nii.gz#slice=3&label=2", "a.dcm#window=-160:240", "plain.png", "odd#slices=3"} {
		path, part, err := pictures.SplitName(name)
		require.NoError(t, err, name)
		require.Equal(t, name, part.Name(path))
	}
	for _, name := range []string{"a.nii#slice=x", "a.nii#slice=-1", "a.nii#label=1.5", "a.nii#window=3", "a.nii#window=3:1", "a.nii#window=1:nan"} {
		_, _, err := pictures.SplitName(name)
		require.ErrorContains(t, err, name)
	}
}

func TestBadVolumes(t *testing.T) {
	dir := t.TempDir()
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(volumes, name))
		require.NoError(t, err)
		return b
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(read("labels.nii.gz")))
	require.NoError(t, err)
	var nii bytes.Buffer
	_, err = nii.ReadFrom(unzipped)
	require.NoError(t, err)
	change := func(at int, b ...byte) []byte {
		out := bytes.Clone(nii.Bytes())
		copy(out[at:], b)
		return out
	}
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"empty.nii":       {nil, "header"},
		"short.nii":       {nii.Bytes()[:400], "voxels: have"},
		"huge.nii":        {change(42, 0xff, 0x7f, 0xff, 0x7f, 0xff, 0x7f), "at most"},
		"zero.nii":        {change(42, 0, 0), "at least one"},
		"negative.nii":    {change(42, 0xff, 0xff), "at least one"},
		"type.nii":        {change(70, 77), "datatype: have 77"},
		"rank.nii":        {change(40, 9), "9 dimensions"},
		"magic.nii":       {change(344, 'x'), "not a NIfTI-1"},
		"offset.nii":      {change(108, 0, 0, 0x80, 0x7f), "vox_offset"},
		"cut.nii.gz":      {read("ct.nii.gz")[:200], "ct"},
		"noise.dcm":       {[]byte("not a DICOM file at all, but long enough to have a look at it"), "not a DICOM file"},
		"cut.dcm":         {read("window.dcm")[:500], "want"},
		"noise.npz":       {[]byte("no archive"), "zip"},
		"cut.npz":         {read("csr.(3, 6, 5, 1).npz")[:300], "zip"},
		"x.(3, 6).npz":    {read("csr.(3, 6, 5, 1).npz"), "slice: have 2"},
		"x.(3, 6, 4).npz": {read("csr.(3, 6, 5, 1).npz"), "shape"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			require.NoError(t, os.WriteFile(path, c.content, 0o600))
			_, err := pictures.ReadMask(path + "#slice=2")
			require.Error(t, err)
			require.ErrorContains(t, err, path)
			if c.want != "ct" {
				require.ErrorContains(t, err, c.want)
			}
		})
	}
	_, err = pictures.Read(filepath.Join(volumes, "ct.nii.gz"))
	require.ErrorContains(t, err, "it has 4 slices")
	_, err = pictures.Read(filepath.Join(volumes, "csr.(3, 6, 5, 1).npz#slice=0"))
	require.ErrorContains(t, err, "it holds labels, not pictures")
	_, err = pictures.Read(filepath.Join(volumes, "ct.nii.gz#slice=4"))
	require.ErrorContains(t, err, "less than 4")
}

// FuzzVolumes: whatever a file holds, reading it neither panics nor allocates what is not there.
func FuzzVolumes(f *testing.F) {
	kinds := []string{"labels.nii.gz", "window.dcm", "jpeg.dcm", "coo.(3, 6, 5, 1).npz", "real.nii"}
	for i, name := range kinds {
		b, err := os.ReadFile(filepath.Join(volumes, name))
		require.NoError(f, err)
		f.Add(i, b)
	}
	dir := f.TempDir()
	pictures.MaxPixels, pictures.MaxVolumeBytes = 1<<16, 1<<20 // a byte may claim the largest picture, which takes a while
	f.Fuzz(func(t *testing.T, kind int, content []byte) {
		if kind < 0 || kind >= len(kinds) {
			return
		}
		path := filepath.Join(dir, "fuzz"+kinds[kind])
		require.NoError(t, os.WriteFile(path, content, 0o600))
		if m, err := pictures.Read(path + "#slice=0"); err == nil && len(m.Pix) != m.W*m.H*3 {
			t.Fatal("sizes")
		}
		if m, err := pictures.ReadMask(path + "#slice=0"); err == nil && len(m.Pix) != m.W*m.H {
			t.Fatal("sizes")
		}
	})
}
