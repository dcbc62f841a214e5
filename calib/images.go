package calib

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
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
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	items, root := dataset.Items(path), filepath.Dir(path)
	if info.IsDir() {
		if dataset.IsMaskFolder(path) {
			return nil, fmt.Errorf("%s: by its name it holds masks; calibration needs the images", path)
		}
		if err := addPictures(found, path); err != nil {
			return nil, err
		}
		root = path
		if _, items, err = dataset.Open(root, dataset.Options{Whole: true}); err != nil && len(found) == 0 {
			return nil, fmt.Errorf("it has no pictures (%s): %w", strings.Join(slices.Concat(pictures.PictureTypes, pictures.VolumeTypes()), ", "), err)
		}
		if len(found) > 0 && err == nil {
			if err := leaveMasks(found, root, items); err != nil {
				return nil, err
			}
		}
	}
	if len(found) == 0 {
		for pair, err := range items {
			if err != nil {
				return nil, err
			}
			image, err := dataset.Path(root, pair.Image)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			found[image] = true
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: it lists no pictures", path)
	}
	return slices.Sorted(maps.Keys(found)), nil
}

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

// Fingerprint names a list of images by their names within a folder: the same wherever the folder lies.
func Fingerprint(root string, images []string) (string, error) {
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
