package artifact

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// A Staging is a folder that becomes the artifact in one rename, or leaves no trace.
type Staging struct {
	Dir    string // where files go
	target string
	force  bool
}

// Stage prepares a new artifact beside its target. An existing target is an error, unless force is given and the target is
// an artifact or an empty folder: what else stands there is never replaced.
func Stage(target string, force bool) (*Staging, error) {
	target = filepath.Clean(target)
	if err := replaceable(target, force); err != nil {
		return nil, err
	}
	parent := filepath.Dir(target)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, "."+filepath.Base(target)+".building-*")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &Staging{dir, target, force}, nil
}

func replaceable(target string, force bool) error {
	entries, err := os.ReadDir(target)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("%s: exists and is not a folder", target)
	case !force:
		return fmt.Errorf("%s: exists; --force replaces it", target)
	case len(entries) == 0:
		return nil
	}
	if _, err := os.Stat(filepath.Join(target, ManifestName)); err != nil {
		return fmt.Errorf("%s: exists and is not an artifact; --force does not replace it", target)
	}
	return nil
}

// Publish moves the folder to its target.
func (s *Staging) Publish() error {
	if err := replaceable(s.target, s.force); err != nil {
		return err
	}
	old := s.Dir + ".old"
	err := os.Rename(s.target, old)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	replaced := err == nil
	if err := os.Rename(s.Dir, s.target); err != nil {
		if replaced {
			return errors.Join(err, os.Rename(old, s.target))
		}
		return err
	}
	s.Dir = ""
	if replaced {
		return os.RemoveAll(old)
	}
	return nil
}

// Discard removes the folder, unless it was published.
func (s *Staging) Discard() {
	if s.Dir != "" {
		os.RemoveAll(s.Dir)
	}
}
