package dcm

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const files = "../../testdata/dicom"

func TestIs(t *testing.T) {
	for _, name := range []string{"inverse.dcm", "IM000001", "1.2.3.IMA", "implicit.dcm", "deflated.dcm"} {
		b, err := os.ReadFile(filepath.Join(files, name))
		require.NoError(t, err)
		require.True(t, Is(b[:256]), name)
	}
	for _, text := range []string{"", "DICM", "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00", "II*\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"\x08\x00 a text that begins with a backspace", "PK\x03\x04 an archive of files", "\x02\x00\x00\x00 four bytes and more than that", "{\"json\": [1, 2, 3]}"} {
		require.False(t, Is([]byte(text)), "%q", text)
	}
}

// TestSyntaxes: every syntax that is not read has a name and a way out.
func TestSyntaxes(t *testing.T) {
	for uid, s := range syntaxes {
		require.NotEmpty(t, s.Name, uid)
		require.NotEmpty(t, s.WayOut(), uid)
	}
	require.Contains(t, syntaxes["1.2.840.10008.1.2.4.201"].WayOut(), "gdcmconv")
	require.Contains(t, syntaxes["1.2.840.10008.1.2.4.107"].WayOut(), "ffmpeg")
}

// TestFrames: which fragments are a frame, by each way to tell.
func TestFrames(t *testing.T) {
	soi := "\xff\xd8\xff"
	table := func(starts ...uint32) (b []byte) {
		for _, s := range starts {
			b = binary.LittleEndian.AppendUint32(b, s)
		}
		return b
	}
	file := func(table []byte, parts ...string) *File {
		f := &File{Dataset: &Dataset{}, Order: binary.LittleEndian}
		f.Pixels.Fragments = []Fragment{{Bytes: table}}
		at := uint64(0)
		for _, p := range parts {
			f.Pixels.Fragments = append(f.Pixels.Fragments, Fragment{at, []byte(p)})
			at += 8 + uint64(len(p))
		}
		return f
	}
	for name, c := range map[string]struct {
		f    *File
		n    int
		want []string
	}{
		"one frame":          {file(nil, "a", "b"), 1, []string{"ab"}},
		"a fragment each":    {file(nil, "a", "b"), 2, []string{"a", "b"}},
		"table":              {file(table(0, 18), "a", "b", "c"), 2, []string{"ab", "c"}},
		"markers":            {file(nil, soi, "b", soi+"c"), 2, []string{soi + "b", soi + "c"}},
		"wrong table":        {file(table(0, 5), "a", "b"), 2, []string{"a", "b"}},
		"more in the table":  {file(table(0, 9), "a", "b"), 1, nil},
		"nothing tells them": {file(nil, "a", "b", "c"), 2, nil},
		"table lies":         {file(table(0, 5), "a", "b", "c"), 2, nil},
		"too few":            {file(nil, "a"), 2, nil},
	} {
		frames, err := c.f.Frames(c.n)
		if c.want == nil {
			require.ErrorContains(t, err, "Pixel Data", name)
			continue
		}
		require.NoError(t, err, name)
		var have []string
		for _, b := range frames {
			have = append(have, string(b))
		}
		require.Equal(t, c.want, have, name)
	}
}

// FuzzParse: whatever the bytes, there is no panic.
func FuzzParse(f *testing.F) {
	entries, err := os.ReadDir(files)
	require.NoError(f, err)
	for _, e := range entries {
		if b, err := os.ReadFile(filepath.Join(files, e.Name())); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse(b, 1<<20)
		if err != nil {
			return
		}
		for tag := range attributes {
			_, _ = file.Numbers(tag, true)
		}
		_, _ = file.Frames(3)
	})
}
