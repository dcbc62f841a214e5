package main

import (
	"encoding/json"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/pictures"
)

const kinds = "../../pictures/testdata/kinds"

// The command picture writes what the package reads, says how, and keeps its hands off what is there.
func TestPicture(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out.png")
	name := filepath.Join(kinds, "turn-6.jpg")
	text := must(t, "picture", name, "-o", out)
	require.Contains(t, text, "picture, 13 x 18 pixels")
	require.Contains(t, text, "JPEG, sequential, 3 channels of 8 bits, 1 slices")
	require.Contains(t, text, "values: as stored\n  orientation: EXIF 6, turned 90 degrees clockwise")
	want, err := pictures.Read(name)
	require.NoError(t, err)
	have, err := pictures.Read(out)
	require.NoError(t, err)
	require.Equal(t, want, have)

	refused(t, "out.png: it is there already; --force replaces it", "picture", name, "-o", out)
	labels := filepath.Join(kinds, "scaled.nii") + "#slice=2&label=3"
	var facts pictures.Facts
	require.NoError(t, json.Unmarshal([]byte(must(t, "picture", labels, "-o", out, "--mask", "--force", "--json")), &facts))
	require.Equal(t, pictures.Facts{Width: 9, Height: 7, Slices: 4, Channels: 1, Bits: 8, Codec: "NIfTI-1", Rule: "foreground is label 3", Spacing: &[2]float64{2, 2}, Orientation: "as stored, axes LAS"}, facts)
	mask, err := pictures.ReadMask(labels)
	require.NoError(t, err)
	f, err := os.Open(out)
	require.NoError(t, err)
	defer f.Close()
	m, err := png.Decode(f)
	require.NoError(t, err)
	for i, on := range mask.Pix {
		v, _, _, _ := m.At(i%mask.W, i/mask.W).RGBA()
		require.Equal(t, uint32(on)*0xffff, v)
	}
	require.Contains(t, must(t, "picture", filepath.Join(kinds, "sixteen.png")+"#window=0:1000", "-o", filepath.Join(dir, "w.png")), "window of the name (0 to 1000)")

	own := filepath.Join(dir, "own.png")
	require.NoError(t, pictures.WriteImage(own, want))
	require.NoError(t, os.Symlink(own, filepath.Join(dir, "link.png")))
	before, err := os.ReadFile(own)
	require.NoError(t, err)
	for _, o := range []string{own, filepath.Join(dir, "link.png")} {
		refused(t, "it is the input", "picture", own+"#window=0:9", "-o", o, "--force")
	}
	after, err := os.ReadFile(own)
	require.NoError(t, err)
	require.Equal(t, before, after)
	refused(t, "-o: it is needed", "picture", own)
	refused(t, "it is a folder", "picture", own, "-o", dir, "--force")
	missing := filepath.Join(dir, "none.png")
	refused(t, "syncsam-convert: "+missing+": no such file or directory", "picture", missing, "-o", filepath.Join(dir, "x.png"))
	refused(t, "compression: have 34925 (LZMA)", "picture", filepath.Join(kinds, "lzma.tif"), "-o", filepath.Join(dir, "x.png"))
	require.NoFileExists(t, filepath.Join(dir, "x.png"))
}
