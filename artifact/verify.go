package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Bounds of a manifest that comes from a stranger: its bytes, and how many files it lists.
const (
	maxManifest = 4 << 20
	maxFiles    = 256
)

// ErrUnlisted says that an artifact has a file that its manifest does not vouch for.
var ErrUnlisted = errors.New("the manifest does not list it")

// checkFiles refuses entries that are no names of single files inside the folder.
func (m *Manifest) checkFiles() error {
	if len(m.Files) > maxFiles {
		return fmt.Errorf("have %d entries, want at most %d", len(m.Files), maxFiles)
	}
	seen := map[string]bool{}
	for _, f := range m.Files {
		switch folded := strings.ToLower(f.Name); {
		case !fs.ValidPath(f.Name) || f.Name == "." || strings.ContainsAny(f.Name, `\:`) || !filepath.IsLocal(filepath.FromSlash(f.Name)):
			return fmt.Errorf("%q is not a name inside the artifact", f.Name)
		case seen[folded]:
			return fmt.Errorf("%q is there twice", f.Name)
		case f.Bytes < 0 || !isHash(f.SHA256):
			return fmt.Errorf("%s: have %d bytes with sha256 %q, want a size and 64 hexadecimal digits", f.Name, f.Bytes, f.SHA256)
		default:
			seen[folded] = true
		}
	}
	return nil
}

func isHash(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 2*sha256.Size
}

// Verify compares every listed file with its hash, so that what is judged is what was built. A listed file is a plain file of the folder:
// links are refused wherever they lead.
func (m *Manifest) Verify(dir string) error {
	for _, f := range m.Files {
		if err := f.verify(dir); err != nil {
			return err
		}
	}
	return nil
}

// VerifyFiles compares some files with their hashes; one that is not listed is an ErrUnlisted.
func (m *Manifest) VerifyFiles(dir string, names ...string) error {
	if err := m.Lists(dir, names...); err != nil {
		return err
	}
	for _, f := range m.Files {
		if slices.Contains(names, f.Name) {
			if err := f.verify(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// Lists wants files to be listed: what is not has no hash, and is not run.
func (m *Manifest) Lists(dir string, names ...string) error {
	for _, name := range names {
		if !slices.ContainsFunc(m.Files, func(f File) bool { return f.Name == name }) {
			return fmt.Errorf("%s: %w", filepath.Join(dir, name), ErrUnlisted)
		}
	}
	return nil
}

func (f File) verify(dir string) error {
	at := filepath.Join(dir, filepath.FromSlash(f.Name))
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for part := path.Dir(f.Name); part != "."; part = path.Dir(part) {
		if info, err := root.Lstat(part); err != nil {
			return err
		} else if !info.IsDir() {
			return fmt.Errorf("%s: %s is not a folder of the artifact", at, part)
		}
	}
	info, err := root.Lstat(f.Name)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", at, errors.Unwrap(err))
	case info.Mode()&os.ModeSymlink != 0:
		return fmt.Errorf("%s: it is a link, want a file of the artifact", at)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: not a regular file", at)
	case info.Size() != f.Bytes:
		return fmt.Errorf("%s: have %d bytes, want %d as in the manifest", at, info.Size(), f.Bytes)
	}
	file, err := root.Open(f.Name)
	if err != nil {
		return err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{file}, make([]byte, 1<<20)); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if have := hex.EncodeToString(h.Sum(nil)); have != f.SHA256 {
		return fmt.Errorf("%s: have sha256 %s, want %s as in the manifest", at, have, f.SHA256)
	}
	return nil
}

// Check hashes every file of an artifact again, those of the manifests that it lists, too, and refuses what no manifest vouches for (but the signature).
// allowUnlisted leaves such files alone. It gives the names of all files, in order.
func Check(dir string, allowUnlisted bool) ([]string, error) {
	m, err := Read(dir)
	if err != nil {
		return nil, err
	}
	if err := m.Verify(dir); err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		if path.Base(f.Name) != ManifestName || path.Dir(f.Name) == "." {
			continue
		}
		sub := filepath.Join(dir, filepath.FromSlash(path.Dir(f.Name)))
		inner, err := Read(sub)
		if err == nil {
			err = inner.Verify(sub)
		}
		if err != nil {
			return nil, err
		}
	}
	known, err := Listed(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	err = filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, at)
		switch name := filepath.ToSlash(rel); {
		case err != nil:
			return err
		case !d.Type().IsRegular():
			return fmt.Errorf("%s: have a link or a special file, want a file of the artifact", at)
		case !known[name] && !allowUnlisted:
			return fmt.Errorf("%s: %w", at, ErrUnlisted)
		default:
			names = append(names, name)
			return nil
		}
	})
	return names, err
}
