package groups

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFromNames(t *testing.T) {
	for _, c := range []struct {
		image, mask string
		want        Keys
	}{
		{"images/amos_0004_75.png", "masks/amos_0004_75_inferior_vena_cava_000.png", Keys{Class: "inferior_vena_cava"}},
		{"images/mr_00--ACDC--patient101_ED--x_0006.png", "masks/mr_00--ACDC--patient101_ED--x_0006--0002_000.png",
			Keys{"0002", "mr", "ACDC--patient101_ED"}},
		{`C:\x\a.jpg`, `C:\x\a_mask.png`, Keys{}},
		{"a.nii.gz", "a_liver.nii.gz", Keys{Class: "liver"}},
		{"scan1.png", "other.png", Keys{}},
		{"a.png", "a.png", Keys{}},
		{"a.png", "a_7.png", Keys{Class: "7"}},
	} {
		require.Equal(t, c.want, FromNames(c.image, c.mask), c.mask)
	}
}

func TestTable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "groups.csv")
	require.NoError(t, os.WriteFile(file, []byte("\ufeffmask,organ,patient\nm/1.png,liver,\"Doe, J\"\nm/2.png,aorta,p2\n"), 0o644))
	table, err := ReadCSV(file)
	require.NoError(t, err)
	require.Equal(t, []string{"organ", "patient"}, table.Columns)
	values, ok := table.Of("i/1.png", "m/1.png")
	require.True(t, ok)
	require.Equal(t, []string{"liver", "Doe, J"}, values)
	_, ok = table.Of("m/1.png", "m/3.png")
	require.False(t, ok)
	for text, want := range map[string]string{
		"":                             "it is empty",
		"name,organ\n":                 "want mask or image",
		"mask\na\n":                    "want mask or image",
		"mask,organ,organ\n":           "column 3",
		"mask,\n":                      "column 2",
		"image,organ\na,x\nb\n":        "wrong number of fields",
		"image,organ\na,x\nb,y\na,z\n": "line 4: a: it is there twice",
	} {
		_, err := readCSV(strings.NewReader(text))
		require.ErrorContains(t, err, want, text)
	}
}
