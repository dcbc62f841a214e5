package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"syncsam-convert/artifact"
	"syncsam-convert/internal/onnxpb"
)

// Trusted holds a model that stands in an artifact against its manifest: it and the files that it keeps data in must be listed, with their
// hashes. A model beside no manifest is its user's own affair.
func Trusted(model string) error {
	dir, name := filepath.Split(model)
	dir = filepath.Clean(dir)
	if _, err := os.Lstat(filepath.Join(dir, artifact.ManifestName)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	beside, err := dataOf(model)
	if err != nil {
		return err
	}
	man, err := artifact.Read(dir)
	if err == nil {
		err = man.VerifyFiles(dir, append(beside, name)...)
	}
	if err != nil {
		return fmt.Errorf("%w; --unverified runs it all the same", err)
	}
	return nil
}

// OpenArtifact reads an artifact's manifest and holds all of its files against it; what runs of it, the models and the files that they keep
// data in, must be listed.
func OpenArtifact(dir string, models func(*artifact.Manifest) []string) (*artifact.Manifest, error) {
	man, err := artifact.Read(dir)
	if err != nil {
		return nil, err
	}
	if err := man.Verify(dir); err != nil {
		return nil, err
	}
	for _, name := range models(man) {
		if err := man.Lists(dir, name); err != nil {
			return nil, err
		}
		beside, err := dataOf(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		if err := man.Lists(dir, beside...); err != nil {
			return nil, err
		}
	}
	return man, nil
}

// dataOf lists the files that a model keeps data in.
func dataOf(model string) ([]string, error) {
	f, err := onnxpb.Open(model)
	if err != nil {
		return nil, err
	}
	return f.Beside(), f.Close()
}
