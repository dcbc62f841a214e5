package calib

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"syncsam-convert/dataset"
	"syncsam-convert/pictures"
	"syncsam-convert/shards"
)

// volumeSlices is how many slices of a volume calibrate, evenly spaced.
const volumeSlices = 8

// Images lists the calibration images that a path names: a folder's pictures and slices of its volumes, the images of a data set index,
// or those of a data set's folder; each once, sorted.
func Images(path string) ([]string, error) {
	images, _, err := ImagesOf(path, shards.Shard{})
	return images, err
}

// ImagesOf lists a shard's calibration images, and names all of them: the same wherever their folder lies. Of a data set's index memory holds the
// shard's images and a few bytes of each other.
func ImagesOf(path string, s shards.Shard) (images []string, sum string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, "", err
	}
	root := path
	if !info.IsDir() {
		root = filepath.Dir(path)
	} else if images, err = besideOthers(path); err != nil {
		return nil, "", err
	}
	if len(images) > 0 {
		sum, err := fingerprint(root, images)
		return Shard(images, s), sum, err
	}
	p := picker{shard: s, at: map[uint64]int32{}}
	items := dataset.Picked(dataset.Items(path), p.pick)
	if !info.IsDir() {
		sum, err = dataset.Sum(path)
	} else if _, items, err = dataset.Open(root, dataset.Options{Whole: true, Pick: p.pick}); err != nil {
		return nil, "", fmt.Errorf("it has no pictures (%s): %w", strings.Join(slices.Concat(pictures.PictureTypes, pictures.VolumeTypes()), ", "), err)
	} else {
		_, sum, err = dataset.Fingerprint(root)
	}
	if err != nil {
		return nil, "", err
	}
	found := map[string]bool{}
	for pair, err := range items {
		if err != nil {
			return nil, "", err
		}
		image, err := dataset.Path(root, pair.Image)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", path, err)
		}
		found[image] = true
	}
	if len(p.at) == 0 {
		return nil, "", fmt.Errorf("%s: it lists no pictures", path)
	}
	return slices.Sorted(maps.Keys(found)), sum, nil
}

// besideOthers are the pictures that lie in a folder, without the masks of others; none where the folder is a data set alone.
func besideOthers(path string) ([]string, error) {
	if dataset.IsMaskFolder(path) {
		return nil, fmt.Errorf("%s: by its name it holds masks; calibration needs the images", path)
	}
	found := map[string]bool{}
	if err := addPictures(found, path); err != nil || len(found) == 0 {
		return nil, err
	}
	if _, items, err := dataset.Open(path, dataset.Options{Whole: true}); err == nil {
		if err := leaveMasks(found, path, items); err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// A picker takes a shard's images of a data set, each with all that is made of its file. Images whose names have one hash go together.
type picker struct {
	shard shards.Shard
	at    map[uint64]int32 // an image's number, by the hash of its file's name
	image string           // the last one
	take  bool
}

func (p *picker) pick(image string) bool {
	if image == p.image && len(p.at) > 0 {
		return p.take
	}
	name, _, _ := strings.Cut(image, "#")
	h := fnv.New64a()
	io.WriteString(h, name)
	k, ok := p.at[h.Sum64()]
	switch {
	case ok:
	case len(p.at) < mostNumbered:
		k = int32(len(p.at))
		p.at[h.Sum64()] = k
	default:
		k = int32(h.Sum64() >> 33)
	}
	p.image, p.take = image, p.shard.Takes(int(k))
	return p.take
}

// mostNumbered bounds the images that are numbered; those behind them go by their hashes.
const mostNumbered = 1 << 20

// leaveMasks takes from the pictures in a folder those that are the masks of others.
func leaveMasks(found map[string]bool, root string, items iter.Seq2[dataset.Item, error]) error {
	masks := map[string]bool{}
	for pair, err := range items {
		if err != nil {
			return err
		}
		mask, err := dataset.Path(root, pair.Mask)
		if err != nil {
			return err
		}
		file, _, err := pictures.SplitName(mask)
		if err != nil {
			return err
		}
		masks[file] = true
	}
	for name := range found {
		file, _, err := pictures.SplitName(name)
		if err != nil {
			return err
		}
		if masks[file] {
			delete(found, name)
		}
	}
	return nil
}

// addPictures finds the pictures that lie in a folder, and slices of its volumes.
func addPictures(found map[string]bool, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir(), pictures.IsJunk(path):
		case pictures.IsScan(path):
			n, err := pictures.Slices(path)
			if err != nil {
				return err
			}
			for i := range min(n, volumeSlices) {
				slice := (2*i + 1) * n / (2 * min(n, volumeSlices))
				found[pictures.Part{Slice: &slice}.Name(path)] = true
			}
		case slices.Contains(pictures.PictureTypes, strings.ToLower(filepath.Ext(path))):
			found[path] = true
		}
	}
	return nil
}

// Shard takes a shard's images of a list.
func Shard(images []string, s shards.Shard) (out []string) {
	for k, name := range images {
		if s.Takes(k) {
			out = append(out, name)
		}
	}
	return out
}

// fingerprint names a list of images by their names within a folder.
func fingerprint(root string, images []string) (string, error) {
	h := sha256.New()
	for _, name := range images {
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%q\n", filepath.ToSlash(rel))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
