package pictures_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/pictures"
)

const dicoms = "testdata/dicom"

type dicomCases struct {
	Pictures map[string][][]json.RawMessage // rows of pixels: a grey value or [r, g, b]
	Refused  map[string]string
}

func readCases(t testing.TB) (c dicomCases) {
	text, err := os.ReadFile(filepath.Join(dicoms, "expected.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &c))
	require.Greater(t, len(c.Pictures), 60)
	require.Greater(t, len(c.Refused), 25)
	return c
}

// TestDICOM holds a file of each mechanism against what pydicom gives (testdata/make_dicom.py), within 1 of 255.
func TestDICOM(t *testing.T) {
	c := readCases(t)
	for name, rows := range c.Pictures {
		m, err := pictures.Read(filepath.Join(dicoms, name))
		require.NoError(t, err, name)
		require.Equal(t, len(rows), m.H, name)
		for y, row := range rows {
			require.Len(t, row, m.W, name)
			for x, pixel := range row {
				var want [3]int
				if json.Unmarshal(pixel, &want[0]) == nil {
					want[1], want[2] = want[0], want[0]
				} else {
					require.NoError(t, json.Unmarshal(pixel, &want))
				}
				for ch := range want {
					require.InDelta(t, want[ch], m.Pix[3*(y*m.W+x)+ch], 1, "%s: row %d, column %d", name, y, x)
				}
			}
		}
	}
	for name, words := range c.Refused {
		path := filepath.Join(dicoms, name)
		_, err := pictures.Read(path)
		require.ErrorContains(t, err, path, name)
		require.ErrorContains(t, err, words, name)
		require.Equal(t, 1, bytes.Count([]byte(err.Error()), []byte(path)), "%v", err)
		require.NotContains(t, err.Error(), "\n")
	}
}

// TestDICOMWindows: a window of the name overrides the file's, and what the file's own is wrong about.
func TestDICOMWindows(t *testing.T) {
	for _, name := range []string{"sigmoid.dcm", "voi_lut.dcm", "x_width.dcm", "x_function.dcm", "x_shape.dcm"} {
		m, err := pictures.Read(filepath.Join(dicoms, name) + "#window=-1e6:-9e5")
		require.NoError(t, err, name)
		require.Equal(t, bytes.Repeat([]byte{255}, len(m.Pix)), m.Pix, name)
	}
	_, err := pictures.Read(filepath.Join(dicoms, "palette.dcm") + "#window=0:9")
	require.ErrorContains(t, err, "PALETTE COLOR")
}

// TestDICOMLabels: labels are stored values, a palette's as well; those that a lossy compression blurred are refused.
func TestDICOMLabels(t *testing.T) {
	for _, name := range []string{"palette.dcm", "inverse.dcm"} { // the same stored values
		m, err := pictures.ReadMask(filepath.Join(dicoms, name) + "#label=127")
		require.NoError(t, err, name)
		require.Equal(t, 1, m.Count(), name)
	}
	_, err := pictures.ReadMask(filepath.Join(dicoms, "baseline.dcm") + "#label=127")
	require.ErrorContains(t, err, "blurs labels")
	m, err := pictures.ReadMask(filepath.Join(dicoms, "one_bit.dcm") + "#slice=2")
	require.NoError(t, err)
	shown, err := pictures.Read(filepath.Join(dicoms, "one_bit.dcm") + "#slice=2")
	require.NoError(t, err)
	for i, x := range m.Pix {
		require.Equal(t, 255*x, shown.Pix[3*i])
	}
}

// TestDICOMSeries: a folder's files are slices of one volume, or refused by the file that does not fit.
func TestDICOMSeries(t *testing.T) {
	n, err := pictures.Slices(filepath.Join(dicoms, "series"))
	require.NoError(t, err)
	require.Equal(t, 3, n)
	series := func(files ...string) string {
		dir := t.TempDir()
		for i, f := range files {
			b, err := os.ReadFile(filepath.Join(dicoms, f))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), b, 0o600))
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("not a picture, but longer than a header of DICOM"), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "._0"), []byte("what a Mac leaves"), 0o600))
		return dir
	}
	for want, files := range map[string][]string{
		"Series Instance UID: have":     {"series/IM1", "inverse.dcm"},
		"Instance Number: have 2 as in": {"series/IM1", "series/IM1"},
		"12 x 10 pixels of MONOCHROME2": {"big_endian_8.dcm", "inverse.dcm"},
		"Photometric":                   {"x_photometric.dcm"},
		"Number of Frames: have 2":      {"inverse.dcm", "rle.dcm"},
	} {
		dir := series(files...)
		_, err := pictures.Slices(dir)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, dir)
	}
	n, err = pictures.Slices(series("series/IM2"))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = pictures.Slices(t.TempDir())
	require.Error(t, err)
}

// FuzzDICOM: whatever a file holds, reading it neither panics nor allocates what is not there.
func FuzzDICOM(f *testing.F) {
	entries, err := os.ReadDir(dicoms)
	require.NoError(f, err)
	for _, e := range entries {
		if b, err := os.ReadFile(filepath.Join(dicoms, e.Name())); err == nil && filepath.Ext(e.Name()) != ".json" {
			f.Add(b)
		}
	}
	dir := f.TempDir()
	pictures.MaxPixels, pictures.MaxVolumeBytes = 1<<16, 1<<20 // a byte may claim the largest picture, which takes a while
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(dir, "fuzz.dcm")
		require.NoError(t, os.WriteFile(path, content, 0o600))
		if m, err := pictures.Read(path + "#slice=0"); err == nil && len(m.Pix) != m.W*m.H*3 {
			t.Fatal("sizes")
		}
		writeBack(t, path)
	})
}
