package pictures_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/pictures"
	"syncsam-convert/safetensors"
)

const kinds = "testdata/kinds"

// TestPictureKinds holds pictures and masks of every kind against what PIL, tifffile and nibabel read (testdata/make_kinds.py), to the
// value: JPEG and WebP are decoded as libjpeg and libwebp do.
func TestPictureKinds(t *testing.T) {
	f, err := safetensors.Open("testdata/kinds.safetensors")
	require.NoError(t, err)
	defer f.Close()
	seen := map[string]int{}
	for _, x := range f.Tensors {
		kind, name, _ := strings.Cut(x.Name, "/")
		seen[kind]++
		size := [2]int{int(x.Tensor.Dims()[1]), int(x.Tensor.Dims()[0])}
		path := filepath.Join(kinds, name)
		if kind == "image" {
			m, facts, err := pictures.Look(path)
			require.NoError(t, err)
			require.Equal(t, size, [2]int{m.W, m.H}, name)
			require.Equal(t, size, [2]int{facts.Width, facts.Height}, name)
			require.Equal(t, x.Tensor.Bytes(), m.Pix, name)
			require.NotEmpty(t, facts.Rule, name)
			require.NotEmpty(t, facts.Codec, name)
			require.NotEmpty(t, facts.Orientation, name)
			continue
		}
		m, facts, err := pictures.LookMask(path)
		require.NoError(t, err)
		require.Equal(t, size, [2]int{m.W, m.H}, name)
		require.Equal(t, x.Tensor.Bytes(), m.Pix, name)
		require.Contains(t, facts.Rule, "foreground", name)
	}
	require.Equal(t, map[string]int{"image": 60, "mask": 31}, seen)
}

func TestFacts(t *testing.T) {
	for name, want := range map[string]pictures.Facts{
		"sixteen.png":              {Width: 18, Height: 13, Slices: 1, Channels: 1, Bits: 16, Codec: "PNG", Rule: "the 16 bits that its values need", Window: &[2]float64{0, 65535}, Orientation: "as stored"},
		"sixteen.png#window=5:900": {Width: 18, Height: 13, Slices: 1, Channels: 1, Bits: 16, Codec: "PNG", Rule: "window of the name", Window: &[2]float64{5, 900}, Orientation: "as stored"},
		"offset.png":               {Width: 18, Height: 13, Slices: 1, Channels: 1, Bits: 16, Codec: "PNG", Rule: "its own range, lowest to highest value without padding", Window: &[2]float64{32568, 33420}, Orientation: "as stored"},
		"turn-6.jpg":               {Width: 13, Height: 18, Slices: 1, Channels: 3, Bits: 8, Codec: "JPEG, sequential", Rule: "as stored", Orientation: "EXIF 6, turned 90 degrees clockwise"},
		"animated.gif":             {Width: 18, Height: 13, Slices: 3, Channels: 3, Bits: 8, Codec: "GIF", Rule: "as stored; one of 3 frames, the first unless a slice is named", Orientation: "as stored"},
		"big.tif":                  {Width: 18, Height: 13, Slices: 1, Channels: 3, Bits: 8, Codec: "BigTIFF, uncompressed", Rule: "as stored", Orientation: "as stored"},
		"pair.img#slice=0&window=0:1": {Width: 9, Height: 7, Slices: 4, Channels: 1, Bits: 16, Codec: "NIfTI-1 pair", Rule: "window of the name", Window: &[2]float64{0, 1},
			Spacing: &[2]float64{2, 2}, Orientation: "as stored, axes LAS"},
	} {
		_, facts, err := pictures.Look(filepath.Join(kinds, name))
		require.NoError(t, err)
		require.Equal(t, want, facts, name)
	}
	for name, want := range map[string]string{
		"voc.png": "every colour but black", "labels16.png#label=2&ignore=9": "label 2, but not 9", "ignore.nii#slice=2": "negative values are ignored", "444.jpg": "128 and more", "alpha-black.png": "not transparent",
	} {
		_, facts, err := pictures.LookMask(filepath.Join(kinds, name))
		require.NoError(t, err)
		require.Contains(t, facts.Rule, want, name)
	}
}

// TestKindsRefused names what is not read, with the way out.
func TestKindsRefused(t *testing.T) {
	dir := t.TempDir()
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(kinds, name))
		require.NoError(t, err)
		return b
	}
	change := func(b []byte, at int, with string) []byte {
		out := bytes.Clone(b)
		copy(out[at:], with)
		return out
	}
	baseline := read("444.jpg")
	frame := bytes.Index(baseline, []byte("\xff\xc0"))
	adobe := read("cmyk.jpg")
	noAdobe := change(adobe, bytes.Index(adobe, []byte("Adobe")), "Other")
	gif := read("animated.gif")
	put := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return path
	}
	tiff := func(tag, value uint16) []byte { // a page of one tag changed
		b := bytes.Clone(read("int16.tif"))
		at := int(binary.LittleEndian.Uint32(b[4:]))
		for i := range int(binary.LittleEndian.Uint16(b[at:])) {
			if e := b[at+2+12*i:]; binary.LittleEndian.Uint16(e) == tag {
				binary.LittleEndian.PutUint16(e[2:], 3)
				binary.LittleEndian.PutUint32(e[4:], 1)
				binary.LittleEndian.PutUint16(e[8:], value)
				return b
			}
		}
		t.Fatal("no such tag")
		return nil
	}
	for name, want := range map[string]string{
		filepath.Join(kinds, "pages.tif"):                                             "it has 2 slices, want one of them: FILE#slice=K",
		filepath.Join(kinds, "pages.tif#slice=2"):                                     "slice: have 2, want less than 2",
		filepath.Join(kinds, "lzma.tif"):                                              "compression: have 34925 (LZMA)",
		filepath.Join(kinds, "lab.tif"):                                               "photometric interpretation: have 8 (CIE Lab)",
		filepath.Join(kinds, "complex.tif"):                                           "complex numbers",
		filepath.Join(kinds, "five.tif"):                                              "samples: have 5",
		filepath.Join(kinds, "complex.nii#slice=0"):                                   "datatype: have 32 (complex64)",
		filepath.Join(kinds, "analyze.img"):                                           "ANALYZE 7.5",
		filepath.Join(kinds, "four.nii.gz#slice=0"):                                   "it has 2 volumes, want one of them: FILE#volume=K",
		filepath.Join(kinds, "animated.png#slice=1"):                                  "only the first frame is read",
		filepath.Join(kinds, "animated.webp#slice=3"):                                 "want less than 3",
		put("twelve.jpg", change(baseline, frame+4, "\x0c")):                          "JPEG of 12 bits",
		put("arithmetic.jpg", change(baseline, frame+1, "\xc9")):                      "JPEG with arithmetic coding",
		put("lossless.jpg", change(baseline, frame+1, "\xc3")):                        "lossless JPEG",
		put("ls.jpg", change(baseline, frame+1, "\xf7")):                              "JPEG-LS",
		put("inks.jpg", noAdobe):                                                      "four components without an Adobe marker",
		put("huge.jpg", change(baseline, frame+5, "\xff\xff\xff\xff")):                "have 65535 x 65535 pixels",
		put("empty.jpg", change(baseline, frame+5, "\x00\x00")):                       "want at least one",
		put("cut.jpg", baseline[:len(baseline)-20]):                                   "cut short",
		put("huge.gif", change(gif, 6, "\xff\xff\xff\xff")):                           "have 65535 x 65535 pixels",
		put("huge.tif", tiff(256, 65535)):                                             "cannot hold",
		put("predictor.tif", change(read("tiles.tif"), 0, "")[:99]):                   "TIFF",
		put("samples.tif", tiff(262, 2)):                                              "samples: have 1 with photometric interpretation 2",
		put("archive.bin", []byte("PK\x03\x04"+strings.Repeat("\x00", 40))):           "it is none of",
		put("page.png", []byte("<!DOCTYPE html><html></html>")):                       "it is a web page",
		put("pointer.png", []byte("version https://git-lfs.github.com/spec/v1\n")):    "it is a Git LFS pointer, which is not read: run git lfs pull",
		put("two.jp2", []byte("\x00\x00\x00\x0cjP  \r\n\x87\n")):                      "it is JPEG 2000",
		put("._x.nii.gz", []byte("\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ")): "AppleDouble",
		put("x.heic", []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00")):             "HEIF",
		put("x.pgm", []byte("P5 2 2 255 abcd")):                                       "Netpbm",
		put("x.mha", []byte("ObjectType = Image\n")):                                  "MetaImage",
		put("text.xyz", []byte("hello")):                                              "it is none of",
		put("lone.img", bytes.Repeat([]byte{7}, 100)):                                 "header",
	} {
		_, err := pictures.Read(name)
		require.ErrorContains(t, err, want, name)
		path, _, _ := pictures.SplitName(name)
		require.Equal(t, 1, strings.Count(err.Error(), path), err)
		require.NotContains(t, err.Error(), "\n")
	}
	for name, want := range map[string]string{
		"contradictory-alpha.png":      "its colours and its alpha channel say different things",
		"contradictory-palette.png":    "its palette's colours and indices say different things",
		"opaque.png#label=1":           "the file has colours, not labels",
		"faint.jpg":                    "labels do not survive its compression",
		"444.jpg#label=1":              "its compression blurs labels",
		"fractions.nii#slice=2":        "want labels: whole numbers",
		"float.tif":                    "want labels: whole numbers",
		"four.nii.gz#volume=2&slice=0": "volume: have 2, want less than 2",
	} {
		_, err := pictures.ReadMask(filepath.Join(kinds, name))
		require.ErrorContains(t, err, want, name)
	}
}

func TestTogether(t *testing.T) {
	in := func(name string) string { return filepath.Join(kinds, name) }
	require.NoError(t, pictures.Together(in("two.nii.gz#slice=1"), in("labels.nii.gz#slice=1&label=2")))
	require.NoError(t, pictures.Together(in("sixteen.png"), in("labels16.png")))
	for mask, want := range map[string]string{
		"flipped.nii.gz": "axes RAS, the image's LAS", "wider.nii.gz": "want at most half a voxel", "smaller.nii.gz": "have 8 x 7 pixels, want the 9 x 7",
		"../volumes/window.dcm": "have 10 x 12 pixels",
	} {
		require.ErrorContains(t, pictures.Together(in("two.nii.gz"), in(mask)), want, mask)
	}
	require.ErrorContains(t, pictures.Together(in("four.nii.gz#slice=1"), in("labels.nii.gz")), "FILE#volume=K")
	require.NoError(t, pictures.Together(in("four.nii.gz#slice=1&volume=1"), in("labels.nii.gz")))
}

// FuzzPictures: whatever a file holds, reading it neither panics nor gives pixels of another number than it says.
func FuzzPictures(f *testing.F) {
	entries, err := os.ReadDir(kinds)
	require.NoError(f, err)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(kinds, e.Name()))
		require.NoError(f, err)
		f.Add(b)
	}
	path := filepath.Join(f.TempDir(), "fuzz")
	pictures.MaxPixels, pictures.MaxVolumeBytes = 1<<16, 1<<20 // a byte may claim the largest picture, which takes a while
	f.Fuzz(func(t *testing.T, content []byte) {
		require.NoError(t, os.WriteFile(path, content, 0o600))
		if m, err := pictures.Read(path + "#slice=0"); err == nil && len(m.Pix) != m.W*m.H*3 {
			t.Fatal("sizes")
		}
		if m, err := pictures.ReadMask(path + "#slice=0"); err == nil && len(m.Pix) != m.W*m.H {
			t.Fatal("sizes")
		}
		writeBack(t, path)
	})
}

// A DICOM file may begin with a TIFF header, for programs that know no DICOM; a file is what its content says, whatever its name.
func TestContentDecides(t *testing.T) {
	dir := t.TempDir()
	for from, to := range map[string]string{"testdata/volumes/window.dcm": "both.tif", kinds + "/sixteen.png": "x.nii.gz", kinds + "/two.nii.gz": "x.dcm", kinds + "/444.jpg": "x.png", kinds + "/labels16.png": "noend"} {
		b, err := os.ReadFile(from)
		require.NoError(t, err)
		if to == "both.tif" {
			copy(b, "II*\x00\x08\x00\x00\x00")
		}
		path := filepath.Join(dir, to)
		require.NoError(t, os.WriteFile(path, b, 0o600))
		want, wantFacts, err := pictures.Look(from + "#slice=0")
		require.NoError(t, err)
		have, facts, err := pictures.Look(path + "#slice=0")
		require.NoError(t, err)
		require.Equal(t, want, have)
		require.Equal(t, wantFacts, facts)
	}
}
