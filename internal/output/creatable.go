package output

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Creatable says, before any work is done, why a file could not be written at one of some paths: its folder is missing or may not be written, or a
// folder stands where the file should. "" and "-" (standard output) are nobody's.
func Creatable(files ...string) error {
	for _, path := range files {
		if path == "" || path == "-" || Special(path) {
			continue
		}
		path, err := Resolve(path)
		if err != nil {
			return err
		}
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			return fmt.Errorf("%s: it is a folder, want a file", path)
		}
		if err := writable(path, filepath.Dir(filepath.Clean(path))); err != nil {
			return err
		}
	}
	return nil
}

// CreatableFolder is Creatable for a folder, which is made with those above it.
func CreatableFolder(path string) error {
	if path == "" {
		return nil
	}
	dir := filepath.Clean(path)
	for {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) || filepath.Dir(dir) == dir {
			return writable(path, dir)
		}
		dir = filepath.Dir(dir)
	}
}

func writable(path, dir string) error {
	if info, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: its folder %s does not exist", path, dir)
	} else if err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("%s: %s is not a folder", path, dir)
	}
	f, err := create(dir, filepath.Base(path), writing, 0o600)
	if err != nil {
		return fmt.Errorf("%s: its folder %s cannot be written", path, dir)
	}
	return errors.Join(os.Remove(f.Name()), f.Close())
}
