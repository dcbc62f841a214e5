package dataset

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	pathpkg "path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"syncsam-convert/internal/mapfile"
	"syncsam-convert/pictures"
)

// A layout is how a data set arranges its files. Either index names a file that lists the pairs, or pairs finds a mask by its
// image's name.
type layout struct {
	name   string
	index  string                                               // a file in the set's folder
	sign   string                                               // what the index's beginning must contain
	items  func(index string, o Options) iter.Seq2[Item, error] // reads it
	pairs  *regexp.Regexp                                       // of an image's path without its ending
	masks  []string                                             // its mask's path without its ending, the first that exists
	many   string                                               // what its masks' paths begin with, before "_" or "-": an image has several
	window *[2]float64                                          // intensities that become black and white; nil: the file's
}

// layouts are tried in order; the first that finds a pair is taken. Sources: the data sets' own descriptions (table 4 of the
// paper names them); CURVAS has three annotators, of whom the first counts, and its CT is shown in the soft-tissue window.
var layouts = []layout{
	{name: "sa-med2d", index: IndexName, items: func(index string, _ Options) iter.Seq2[Item, error] { return Items(index) }},
	{name: "imed-361m", index: "dataset.json", sign: ".npz", items: listed},
	{name: "hntsmrg24", pairs: regexp.MustCompile(`^(.*/)?([^/]+)_(preRT|midRT)_T2$`), masks: []string{"${1}${2}_${3}_mask"}},
	{name: "curvas", pairs: regexp.MustCompile(`^(.*/)?image$`), masks: []string{"${1}annotation_1"}, window: &[2]float64{-160, 240}},
	{name: "sts", pairs: regexp.MustCompile(`^(.*/)?([AC]-PXI/Labeled)/Image/([^/]+)$`), masks: []string{"${1}${2}/Mask/${3}"}},
	{name: "cosas24", pairs: regexp.MustCompile(`^(.*/)?(task[12]/[^/]+)/image/([^/]+)$`), masks: []string{"${1}${2}/mask/${3}"}},
	{name: "kpis", pairs: regexp.MustCompile(`^(.*/)?((?:56Nx|DN|NEP25|normal)/[^/]+)/img/([^/]+)_img$`), masks: []string{"${1}${2}/mask/${3}_mask"}},
	{name: "ebhi", pairs: regexp.MustCompile(`^(.*/)?(Normal|Polyp|Low-grade IN|High-grade IN|Serrated adenoma|Adenocarcinoma)/image/([^/]+)$`), masks: []string{"${1}${2}/label/${3}"}},
	{name: "nnunet", pairs: regexp.MustCompile(`^(.*/)?imagesT([rs])/([^/]+)_0000$`), masks: []string{"${1}labelsT${2}/${3}"}},
	{name: "decathlon", pairs: regexp.MustCompile(`^(.*/)?imagesT([rs])/([^/]+)$`), masks: []string{"${1}labelsT${2}/${3}"}},
	{name: "folders", pairs: regexp.MustCompile(`(?i)^(.*/)?(?:images?|imgs?)/(.+?)(?:_img|_image)?$`), masks: eachOf("${1}%s/${2}%s", maskFolders, []string{"", "_mask", "_label", "_seg"})},
	{name: "sa-med2d-files", pairs: regexp.MustCompile(`^(.*/)?images/([^/]+)$`), many: "${1}masks/${2}"},
	{name: "side-by-side", pairs: regexp.MustCompile(`^(.*/)?([^/]+?)(?:_img|_image)?$`), masks: eachOf("${1}${2}%s%s", []string{""}, []string{"_mask", "_label", "_seg", "_segmentation", "_gt"})},
}

// maskFolders are the names of folders of masks.
var maskFolders = []string{"masks", "mask", "labels", "label", "Masks", "Mask", "Labels", "Label"}

// IsMaskFolder reports whether a folder holds masks by its name.
func IsMaskFolder(dir string) bool {
	full, err := filepath.Abs(dir)
	return err == nil && slices.Contains(maskFolders, filepath.Base(full))
}

func eachOf(format string, folders, endings []string) (out []string) {
	for _, f := range folders {
		for _, e := range endings {
			out = append(out, fmt.Sprintf(format, f, e))
		}
	}
	return out
}

// Layouts are the names of the arrangements that Open knows.
func Layouts() (out []string) {
	for _, l := range layouts {
		out = append(out, l.name)
	}
	return out
}

// Options of Open.
type Options struct {
	Layout    string // empty: found out
	Split     string // of an index with several lists; empty: "test"
	MinPixels int    // of a volume's masks; smaller ones are left out
	Volume    *int   // of images that have several; nil: they have one
	Ignore    *int   // a label that is no foreground
	Whole     bool   // masks that are pictures are not looked into for labels: one item each
	// Pick, where there is one, is asked for the image of each pair, in the order of the data set and before a file of it is opened: false
	// leaves the pair out.
	Pick func(image string) bool
}

// Open finds a data set in a folder and lists its pairs: a mask for each label of each slice where labels are volumes. Pairs of one
// image follow each other. Memory grows with the number of files where there is no index. Names are relative to dir.
func Open(dir string, o Options) (name string, items iter.Seq2[Item, error], err error) {
	l, index, pairs, err := find(dir, o)
	if err != nil {
		return "", nil, err
	}
	switch {
	case index == "" && o.Split != "":
		return "", nil, fmt.Errorf("split: %s has the layout %s, which has no index with lists", dir, l.name)
	case index == "":
		items = each(pairs)
	default:
		if o.Split == "" {
			o.Split = "test"
		}
		items = l.items(index, o)
	}
	return l.name, expand(dir, items, l, o), nil
}

// Fingerprint names a data set's layout and its pairs: the SHA-256 of its index, or of the names of its files. No data are read.
func Fingerprint(dir string) (layout, sum string, err error) {
	l, index, pairs, err := find(dir, Options{})
	if err != nil {
		return "", "", err
	}
	if index != "" {
		sum, err = Sum(index)
		return l.name, sum, err
	}
	h := sha256.New()
	for _, p := range pairs {
		fmt.Fprintf(h, "%q %q\n", p.Mask, p.Image)
	}
	return l.name, hex.EncodeToString(h.Sum(nil)), nil
}

// Sum names an index: the SHA-256 of its file.
func Sum(index string) (string, error) {
	f, err := mapfile.Reader(index)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

// Picked leaves the pairs out whose image is not picked.
func Picked(pairs iter.Seq2[Item, error], pick func(image string) bool) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for p, err := range pairs {
			if (err != nil || pick == nil || pick(p.Image)) && !yield(p, err) {
				return
			}
		}
	}
}

// find finds a data set's layout, with its index or with the pairs of its files.
func find(dir string, o Options) (_ layout, index string, pairs []Item, err error) {
	none := layout{}
	if info, err := os.Stat(dir); err != nil {
		return none, "", nil, err
	} else if !info.IsDir() {
		return none, "", nil, fmt.Errorf("%s: not a folder", dir)
	}
	if o.Layout != "" && !slices.Contains(Layouts(), o.Layout) {
		return none, "", nil, fmt.Errorf("layout: have %q, want one of %s", o.Layout, strings.Join(Layouts(), ", "))
	}
	var files map[string]string
	for _, l := range layouts {
		if o.Layout != "" && o.Layout != l.name {
			continue
		}
		if l.index != "" {
			index := filepath.Join(dir, l.index)
			if ok, err := l.signed(index); err != nil || ok {
				return l, index, nil, err
			}
			continue
		}
		if files == nil {
			if files, err = stems(dir); err != nil {
				return none, "", nil, err
			}
		}
		if pairs := l.match(files); len(pairs) > 0 {
			return l, "", pairs, nil
		}
	}
	if o.Layout != "" {
		return none, "", nil, fmt.Errorf("%s: it has no files in the layout %s", dir, o.Layout)
	}
	return none, "", nil, fmt.Errorf("%s: have no %s and no layout of %s", dir, IndexName, strings.Join(Layouts(), ", "))
}

// signed reports whether the layout's index is there, and is of this layout.
func (l *layout) signed(index string) (bool, error) {
	f, err := mapfile.Reader(index)
	if err != nil {
		return false, nil
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, 1<<16))
	return bytes.Contains(head, []byte(l.sign)), err
}

// endings are those of the files that a data set may consist of.
var endings = slices.Concat(pictures.VolumeTypes(), pictures.PictureTypes)

// stems lists a folder's files, slash-separated and relative, by their names without ending. Symbolic links are followed, also to
// folders; what operating systems leave beside data is left out.
func stems(dir string) (map[string]string, error) {
	out := map[string]string{}
	return out, walk(dir, "", nil, func(name string, series bool) {
		if series {
			out[name] = name
			return
		}
		for _, end := range endings {
			if len(name) > len(end) && strings.EqualFold(name[len(name)-len(end):], end) {
				out[name[:len(name)-len(end)]] = name
				break
			}
		}
	})
}

// walk visits the files in a folder and its folders, and of folders below those that hold a DICOM series the folder itself; within are the folders that it lies in, so that a link cannot lead around.
func walk(root, name string, within []fs.FileInfo, visit func(name string, series bool)) error {
	dir := filepath.Join(root, filepath.FromSlash(name))
	here, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(within, func(i fs.FileInfo) bool { return os.SameFile(i, here) }) {
		return nil
	}
	within = append(slices.Clip(within), here)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if pictures.IsJunk(e.Name()) {
			continue
		}
		inside := pathpkg.Join(name, e.Name())
		folder := e.IsDir()
		if e.Type()&fs.ModeSymlink != 0 {
			info, err := os.Stat(filepath.Join(dir, e.Name()))
			folder = err == nil && info.IsDir() // a link to nothing is named when it is read
		}
		if !folder {
			visit(inside, false)
		} else if name != "" && pictures.IsSeries(filepath.Join(dir, e.Name())) {
			visit(inside, true)
		} else if err := walk(root, inside, within, visit); err != nil {
			return err
		}
	}
	return nil
}

// match finds the pairs among a folder's files, in the order of the images' names.
func (l *layout) match(files map[string]string) (pairs []Item) {
	if l.many != "" {
		return l.matchMany(files)
	}
	for stem, image := range files {
		m := l.pairs.FindStringSubmatchIndex(stem)
		if m == nil {
			continue
		}
		for _, template := range l.masks {
			if mask, ok := files[string(l.pairs.ExpandString(nil, template, stem, m))]; ok && mask != image {
				pairs = append(pairs, Item{mask, image})
				break
			}
		}
	}
	slices.SortFunc(pairs, func(a, b Item) int { return strings.Compare(a.Image, b.Image) })
	return pairs
}

// matchMany finds for each mask the image whose path is the longest that the mask's begins with, up to a "_" or "-".
func (l *layout) matchMany(files map[string]string) (pairs []Item) {
	images := map[string]string{}
	for stem, image := range files {
		if m := l.pairs.FindStringSubmatchIndex(stem); m != nil {
			images[string(l.pairs.ExpandString(nil, l.many, stem, m))] = image
		}
	}
	for stem, mask := range files {
		for at := len(stem) - 1; at > 0; at-- {
			if image, ok := images[stem[:at]]; ok && strings.ContainsAny(stem[at:at+1], "_-") && image != mask {
				pairs = append(pairs, Item{mask, image})
				break
			}
		}
	}
	slices.SortFunc(pairs, func(a, b Item) int { return cmp.Or(strings.Compare(a.Image, b.Image), strings.Compare(a.Mask, b.Mask)) })
	return pairs
}

func each(pairs []Item) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for _, p := range pairs {
			if !yield(p, nil) {
				return
			}
		}
	}
}

// expand makes of a pair whose mask is a volume one pair for each label of each slice, and refuses labels that do not lie as their
// image does.
func expand(dir string, pairs iter.Seq2[Item, error], l layout, o Options) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		var checked Item
		for p, err := range Picked(pairs, o.Pick) {
			if err == nil {
				err = l.expand(dir, p, o, &checked, func(p Item) bool { return yield(p, nil) })
			}
			if err == errStop {
				return
			}
			if err != nil {
				yield(Item{}, err)
				return
			}
		}
	}
}

var errStop = fmt.Errorf("stop")

// expand gives the pairs of one pair; checked is the last image and mask that were found to lie alike.
func (l *layout) expand(dir string, p Item, o Options, checked *Item, yield func(Item) bool) error {
	mask, part, err := pictures.SplitName(p.Mask)
	if err != nil {
		return err
	}
	maskPath, err := Path(dir, mask)
	if err != nil {
		return err
	}
	imagePath, err := Path(dir, p.Image)
	if err != nil {
		return err
	}
	image, imagePart, err := pictures.SplitName(imagePath)
	if err != nil {
		return err
	}
	if imagePart.Volume == nil {
		imagePart.Volume = o.Volume
	}
	if pair := (Item{maskPath, image}); pair != *checked {
		if err := pictures.Together(imagePart.Name(image), maskPath); err != nil {
			return err
		}
		*checked = pair
	}
	if !o.Whole && !pictures.IsVolume(maskPath) && part.Label == nil {
		if part.Ignore == nil {
			part.Ignore = o.Ignore
		}
		labels, err := pictures.MaskLabels(maskPath, part)
		if err != nil {
			return err
		}
		for _, label := range labels {
			part.Label = &label
			if !yield(Item{part.Name(mask), p.Image}) {
				return errStop
			}
		}
		if len(labels) > 0 {
			return nil
		}
	}
	if !pictures.IsVolume(maskPath) || part != (pictures.Part{}) {
		if o.Ignore != nil && part.Ignore == nil {
			part.Ignore = o.Ignore
		}
		if !yield(Item{part.Name(mask), p.Image}) {
			return errStop
		}
		return nil
	}
	parts, err := pictures.Labels(maskPath, pictures.Part{Ignore: o.Ignore}, max(o.MinPixels, 1))
	if err != nil {
		return err
	}
	for _, part := range parts {
		name := p.Image
		if pictures.IsVolume(image) {
			name = pictures.Part{Slice: part.Slice, Volume: o.Volume, Window: l.window}.Name(name)
		}
		if !yield(Item{part.Name(mask), name}) {
			return errStop
		}
	}
	return nil
}
