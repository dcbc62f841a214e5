package dataset_test

import (
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/dataset"
)

// put writes empty files, or copies of "SOURCE > NAME", into a folder.
func put(t *testing.T, dir string, names ...string) {
	for _, name := range names {
		var content []byte
		if from, to, ok := strings.Cut(name, " > "); ok {
			b, err := os.ReadFile(filepath.Join("../pictures/testdata/volumes", from))
			if os.IsNotExist(err) {
				b, err = os.ReadFile(filepath.Join("../pictures/testdata/kinds", from))
			}
			require.NoError(t, err)
			content, name = b, to
		}
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, content, 0o600))
	}
}

func list(t *testing.T, dir string, o dataset.Options) (string, []dataset.Item) {
	name, items, err := dataset.Open(dir, o)
	require.NoError(t, err)
	var out []dataset.Item
	for item, err := range items {
		require.NoError(t, err)
		out = append(out, item)
	}
	return name, out
}

// TestLayouts builds each data set's published arrangement and names the first pair and their number.
func TestLayouts(t *testing.T) {
	for name, c := range map[string]struct {
		files []string
		first dataset.Item
		pairs int
	}{
		"hntsmrg24": {
			[]string{"ct.nii.gz > T/2/preRT/2_preRT_T2.nii.gz", "labels.nii.gz > T/2/preRT/2_preRT_mask.nii.gz", "ct.nii.gz > T/2/midRT/2_midRT_T2.nii.gz", "labels.nii.gz > T/2/midRT/2_midRT_mask.nii.gz", "ct.nii.gz > T/2/midRT/2_preRT_T2_registered.nii.gz", "labels.nii.gz > T/2/midRT/2_preRT_mask_registered.nii.gz"},
			dataset.Item{Mask: "T/2/midRT/2_midRT_mask.nii.gz#slice=0&label=1", Image: "T/2/midRT/2_midRT_T2.nii.gz#slice=0"}, 18,
		},
		"curvas": {
			[]string{"ct.nii.gz > UKCHLL001/image.nii.gz", "labels.nii.gz > UKCHLL001/annotation_1.nii.gz", "labels.nii.gz > UKCHLL001/annotation_2.nii.gz"},
			dataset.Item{Mask: "UKCHLL001/annotation_1.nii.gz#slice=0&label=1", Image: "UKCHLL001/image.nii.gz#slice=0&window=-160:240"}, 9,
		},
		"sts": {
			[]string{"STS-2D-Tooth/A-PXI/Labeled/Image/A-1.png", "STS-2D-Tooth/A-PXI/Labeled/Mask/A-1.png", "STS-2D-Tooth/A-PXI/Unlabeled/Image/A-9.png"},
			dataset.Item{Mask: "STS-2D-Tooth/A-PXI/Labeled/Mask/A-1.png", Image: "STS-2D-Tooth/A-PXI/Labeled/Image/A-1.png"}, 1,
		},
		"cosas24": {
			[]string{"task1/colorectum/image/a.png", "task1/colorectum/mask/a.png", "task2/3d-1000/image/b.png", "task2/3d-1000/mask/b.png"},
			dataset.Item{Mask: "task1/colorectum/mask/a.png", Image: "task1/colorectum/image/a.png"}, 2,
		},
		"kpis": {
			[]string{"Task1_patch_level/train/56Nx/12_116/img/x_0_1_img.jpg", "Task1_patch_level/train/56Nx/12_116/mask/x_0_1_mask.jpg", "Task1_patch_level/train/DN/1/img/y_img.jpg", "Task1_patch_level/train/DN/1/mask/y_mask.jpg"},
			dataset.Item{Mask: "Task1_patch_level/train/56Nx/12_116/mask/x_0_1_mask.jpg", Image: "Task1_patch_level/train/56Nx/12_116/img/x_0_1_img.jpg"}, 2,
		},
		"ebhi": {
			[]string{"EBHI-SEG/Low-grade IN/image/GT1.png", "EBHI-SEG/Low-grade IN/label/GT1.png", "EBHI-SEG/Polyp/image/GT2.png", "EBHI-SEG/Polyp/label/GT2.png", "EBHI-SEG/Polyp/image/alone.png"},
			dataset.Item{Mask: "EBHI-SEG/Low-grade IN/label/GT1.png", Image: "EBHI-SEG/Low-grade IN/image/GT1.png"}, 2,
		},
		"nnunet": {
			[]string{"ct.nii.gz > imagesTs/case_1_0000.nii.gz", "labels.nii.gz > labelsTs/case_1.nii.gz"},
			dataset.Item{Mask: "labelsTs/case_1.nii.gz#slice=0&label=1", Image: "imagesTs/case_1_0000.nii.gz#slice=0"}, 9,
		},
		"decathlon": {
			[]string{"ct.nii.gz > imagesTr/case_1.nii.gz", "labels.nii.gz > labelsTr/case_1.nii.gz", "ct.nii.gz > imagesTs/case_2.nii.gz"},
			dataset.Item{Mask: "labelsTr/case_1.nii.gz#slice=0&label=1", Image: "imagesTr/case_1.nii.gz#slice=0"}, 9,
		},
		"folders": {
			[]string{"images/a/x.jpg", "masks/a/x.png", "images/y.tif", "masks/y_mask.png", "images/z.png"},
			dataset.Item{Mask: "masks/a/x.png", Image: "images/a/x.jpg"}, 2,
		},
		"imed-361m": {
			[]string{"csr.(3, 6, 5, 1).npz > label/a.(3, 6, 5, 1).npz", "image/a.png"},
			dataset.Item{Mask: "label/a.(3, 6, 5, 1).npz#slice=0&label=1", Image: "image/a.png"}, 2,
		},
		"sa-med2d": {nil, dataset.Item{Mask: "masks/m.png", Image: "images/i.png"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir, c.files...)
			write := func(name, text string) {
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
			}
			switch name {
			case "imed-361m":
				write("dataset.json", `{"labels": {"0": "background"}, "training": [{"image": "x", "label": "y.npz"}], "test": [{"image": "image/a.png", "label": "label/a.(3, 6, 5, 1).npz", "imask": "z"}]}`)
			case "sa-med2d":
				write(dataset.IndexName, `{"masks/m.png": "images/i.png"}`)
			}
			found, items := list(t, dir, dataset.Options{})
			require.Equal(t, name, found)
			require.Equal(t, c.first, items[0])
			require.Len(t, items, c.pairs)
			again, same := list(t, dir, dataset.Options{Layout: name})
			require.Equal(t, name, again)
			require.Equal(t, items, same)
		})
	}
}

func TestOpenOptions(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "ct.nii.gz > imagesTr/c.nii.gz", "labels.nii.gz > labelsTr/c.nii.gz")
	_, items := list(t, dir, dataset.Options{MinPixels: 14 * 11})
	require.Empty(t, items)
	put(t, dir, "real.nii > imagesTr/c.nii.gz") // one slice
	_, pairs, err := dataset.Open(dir, dataset.Options{})
	require.NoError(t, err)
	for _, err := range pairs {
		require.ErrorContains(t, err, "labelsTr/c.nii.gz: have 14 x 11 pixels, want the 9 x 8 of")
	}
	for want, o := range map[string]dataset.Options{
		`layout: have "kits"`:        {Layout: "kits"},
		"no files in the layout sts": {Layout: "sts"},
	} {
		_, _, err := dataset.Open(dir, o)
		require.ErrorContains(t, err, want)
	}
	_, _, err = dataset.Open(t.TempDir(), dataset.Options{})
	require.ErrorContains(t, err, dataset.IndexName)
	_, _, err = dataset.Open(filepath.Join(dir, "imagesTr/c.nii.gz"), dataset.Options{})
	require.ErrorContains(t, err, "not a folder")
	for text, want := range map[string]string{
		`{"training": [".npz"]}`:         "there is no such list",
		`{"test": [{"label": "a.npz"}]}`: "item 0: image or label: missing",
		`{"test": [{"image": ".npz", `:   "unexpected EOF",
		`{"test": {"image": ".npz"}}`:    "want a list",
		`[".npz"]`:                       "want an object",
		`{"x": {"y": [".npz"`:            "unexpected EOF",
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "dataset.json"), []byte(text), 0o600))
		_, pairs, err := dataset.Open(dir, dataset.Options{})
		require.NoError(t, err)
		failed := false
		for _, err := range pairs {
			require.ErrorContains(t, err, want)
			failed = true
		}
		require.True(t, failed, text)
	}
}

// TestWhatLiesBesideData: what operating systems leave is no data, links are followed but not around, an index may have a mark.
func TestWhatLiesBesideData(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "images/a.png", "masks/a.png", "images/._a.png", "masks/._a.png", "__MACOSX/images/b.png", "__MACOSX/masks/b.png", "images/.DS_Store", "images/Thumbs.db")
	want := []dataset.Item{{Mask: "masks/a.png", Image: "images/a.png"}}
	_, items := list(t, dir, dataset.Options{})
	require.Equal(t, want, items)

	links := t.TempDir()
	require.NoError(t, os.Symlink(dir, filepath.Join(links, "whole")))
	require.NoError(t, os.MkdirAll(filepath.Join(links, "parts"), 0o755))
	for _, d := range []string{"images", "masks"} {
		require.NoError(t, os.Symlink(filepath.Join(dir, d), filepath.Join(links, "parts", d)))
	}
	require.NoError(t, os.Symlink(links, filepath.Join(dir, "images", "around")))
	for _, d := range []string{"whole", "parts"} {
		_, items := list(t, filepath.Join(links, d), dataset.Options{})
		require.Contains(t, items, want[0], d)
	}

	require.NoError(t, os.WriteFile(filepath.Join(dir, dataset.IndexName), []byte("\xef\xbb\xbf{\"masks/a.png\": \"images/a.png\"}"), 0o600))
	_, items = list(t, dir, dataset.Options{})
	require.Equal(t, want, items)
}

// TestLabelsLieAsTheirImage: labels of another grid are refused, also where an index names the slices.
func TestLabelsLieAsTheirImage(t *testing.T) {
	for name, want := range map[string]string{"labels.nii.gz": "", "flipped.nii.gz": "axes RAS, the image's LAS", "wider.nii.gz": "resample it", "smaller.nii.gz": "have 8 x 7 pixels, want the 9 x 7"} {
		for _, index := range []string{"", `{"labelsTr/c.nii.gz#slice=1&label=1": "imagesTr/c.nii.gz#slice=1"}`} {
			dir := t.TempDir()
			b, err := os.ReadFile(filepath.Join("../pictures/testdata/kinds", name))
			require.NoError(t, err)
			put(t, dir, "two.nii.gz > imagesTr/c.nii.gz", "labelsTr/c.nii.gz")
			require.NoError(t, os.WriteFile(filepath.Join(dir, "labelsTr/c.nii.gz"), b, 0o600))
			if index != "" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, dataset.IndexName), []byte(index), 0o600))
			}
			_, items, err := dataset.Open(dir, dataset.Options{})
			require.NoError(t, err)
			n := 0
			for _, err := range items {
				if n++; want == "" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, want)
				}
			}
			require.Positive(t, n)
		}
	}
}

// TestVolumesAndIgnoredLabels: images of several volumes want one named; a label may be left out.
func TestVolumesAndIgnoredLabels(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "four.nii.gz > imagesTr/c.nii.gz")
	b, err := os.ReadFile("../pictures/testdata/kinds/labels.nii.gz")
	require.NoError(t, err)
	put(t, dir, "labelsTr/c.nii.gz")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "labelsTr/c.nii.gz"), b, 0o600))
	_, items, err := dataset.Open(dir, dataset.Options{})
	require.NoError(t, err)
	for _, err := range items {
		require.ErrorContains(t, err, "it has 2 volumes, want one of them")
	}
	one, three := 1, 3
	_, found := list(t, dir, dataset.Options{Volume: &one})
	require.Equal(t, dataset.Item{Mask: "labelsTr/c.nii.gz#slice=0&label=1", Image: "imagesTr/c.nii.gz#slice=0&volume=1"}, found[0])
	require.Len(t, found, 12)
	_, found = list(t, dir, dataset.Options{Volume: &one, Ignore: &three})
	require.Len(t, found, 8)

	pictures := t.TempDir()
	put(t, pictures, "images/a.png", "masks/a.png")
	_, found = list(t, pictures, dataset.Options{Ignore: &three})
	require.Equal(t, []dataset.Item{{Mask: "masks/a.png#ignore=3", Image: "images/a.png"}}, found)
}

// Masks beside their images, several masks of an image by the beginning of their names, and a DICOM series as a volume.
func TestOtherArrangements(t *testing.T) {
	for want, c := range map[string]struct{ files, items []string }{
		"side-by-side":   {[]string{"a.png", "a_mask.png", "sub/b.jpg", "sub/b_seg.png", "lone.png"}, []string{"a_mask.png a.png", "sub/b_seg.png sub/b.jpg"}},
		"sa-med2d-files": {[]string{"images/p_1.png", "images/p_12.png", "masks/p_1_liver_000.png", "masks/p_12--0001_000.png", "masks/p_12_x.png", "masks/q.png"}, []string{"masks/p_1_liver_000.png images/p_1.png", "masks/p_12--0001_000.png images/p_12.png", "masks/p_12_x.png images/p_12.png"}},
	} {
		dir := t.TempDir()
		put(t, dir, c.files...)
		name, items := list(t, dir, dataset.Options{})
		require.Equal(t, want, name)
		var have []string
		for _, it := range items {
			have = append(have, it.Mask+" "+it.Image)
		}
		require.Equal(t, c.items, have)
	}
	dir := t.TempDir()
	for _, folder := range []string{"images/case", "labels/case"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, folder), 0o755))
		for _, slice := range []string{"IM1", "IM2", "IM3"} {
			b, err := os.ReadFile(filepath.Join("../pictures/testdata/dicom/series", slice))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, folder, slice), b, 0o600))
		}
	}
	_, items, err := dataset.Open(dir, dataset.Options{})
	require.NoError(t, err)
	for it, err := range items {
		require.NoError(t, err)
		require.Regexp(t, `^labels/case#slice=0&label=[0-9]+$`, it.Mask)
		require.Equal(t, "images/case#slice=0", it.Image)
		break
	}
}

// Each label of a mask that is a picture is an item; a union is never taken for one of them.
func TestLabelsOfPictures(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "images"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "masks"), 0o755))
	write := func(name string, m image.Image) {
		f, err := os.Create(filepath.Join(dir, name))
		require.NoError(t, err)
		require.NoError(t, png.Encode(f, m))
		require.NoError(t, f.Close())
	}
	grey := func(value func(x, y int) uint8) image.Image {
		m := image.NewGray(image.Rect(0, 0, 64, 64))
		for i := range m.Pix {
			m.Pix[i] = value(i%64, i/64)
		}
		return m
	}
	write("images/a.png", grey(func(x, y int) uint8 { return uint8(x) }))
	for want, m := range map[string]image.Image{
		"masks/a.png": grey(func(x, y int) uint8 { return uint8(255 * (x / 32)) }),
		"masks/a.png#label=85 masks/a.png#label=170": grey(func(x, y int) uint8 { return uint8(85 * (x / 22)) }),
		"resized with smoothing":                     grey(func(x, y int) uint8 { return map[bool]uint8{true: uint8(x + 9), false: uint8(255 * (x / 32))}[y == 5] }),
		"several colours beside black":               colours(2),
		"masks/a.png ":                               colours(1),
	} {
		write("masks/a.png", m)
		_, pairs, err := dataset.Open(dir, dataset.Options{})
		require.NoError(t, err)
		var have []string
		for it, err := range pairs {
			if err != nil {
				require.ErrorContains(t, err, want)
				have = nil
				want = ""
				break
			}
			have = append(have, it.Mask)
		}
		require.Equal(t, strings.TrimSpace(want), strings.Join(have, " "))
	}
}

func colours(n int) image.Image {
	m := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for x := range 64 {
		for y := range 64 {
			c := color.NRGBA{A: 255}
			if k := x / 20; k > 0 && k <= n {
				c = color.NRGBA{R: uint8(90 * k), G: 10, A: 255}
			}
			m.Set(x, y, c)
		}
	}
	return m
}
