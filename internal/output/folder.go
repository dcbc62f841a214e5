package output

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A Listing says which files of a folder are this program's, as paths inside it, slash-separated; an error says why the folder is none of it.
type Listing func(dir string) (map[string]bool, error)

// A Folder is made beside its target and takes its place in one step, or leaves no trace.
type Folder struct {
	Dir    string // where files go
	target string // with links followed
	asked  string // as the user names it
	ours   Listing
	lock   *os.File
	old    fs.FileInfo // what stood at the target in the beginning; nil for nothing
	made   []string    // folders that were not there, the outermost last
}

// NewFolder begins. A target that exists is refused unless there is a Listing that knows it, or it is empty and there is a Listing. Then files that are
// listed will be replaced, and others are kept. A target that another process works at is refused, too.
func NewFolder(target string, ours Listing) (*Folder, error) {
	at, err := Resolve(target)
	if err != nil {
		return nil, err
	}
	if at, err = filepath.Abs(at); err != nil {
		return nil, err
	}
	f := &Folder{target: at, asked: target, ours: ours}
	if f.old, _, err = f.standing(); err != nil {
		return nil, err
	}
	parent, name := filepath.Split(at)
	if err := f.mkdirs(filepath.Clean(parent)); err != nil {
		return nil, err
	}
	if err := f.begin(filepath.Clean(parent), name); err != nil {
		f.Discard()
		return nil, err
	}
	return f, nil
}

func (f *Folder) begin(parent, name string) error {
	if f.old != nil {
		if p, err := os.Stat(parent); err == nil && device(p) != device(f.old) {
			return fmt.Errorf("%s: it is a mount point, which cannot be replaced; want a folder in it, such as %s", f.asked, filepath.Join(f.asked, "artifact"))
		}
	}
	release, err := hold(parent)
	if err != nil {
		return err
	}
	defer release()
	if err := removeDead(parent, ".", building, writing); err != nil {
		return err
	}
	if err := removeDead(parent, name, replaced); err != nil {
		return err
	}
	var by string
	if err := each(parent, name, []string{building}, func(path, _ string, living bool) {
		if living {
			by = path
		}
	}); err != nil {
		return err
	}
	if by != "" {
		return fmt.Errorf("%s: another run is building it (%s)", f.asked, by)
	}
	if f.old, _, err = f.standing(); err != nil { // which may have been published meanwhile, or put back
		return err
	}
	if f.lock, err = create(parent, name, building, 0o777); err != nil {
		return fmt.Errorf("%s: %w", f.asked, pathless(err))
	}
	f.Dir = f.lock.Name()
	if f.old != nil {
		return os.Chmod(f.Dir, f.old.Mode().Perm()|0o700)
	}
	return nil
}

// mkdirs makes a folder and those above it that are missing.
func (f *Folder) mkdirs(dir string) error {
	var missing []string
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) || at == filepath.Dir(at) {
			break
		}
		missing = append(missing, at)
	}
	f.made = missing
	return os.MkdirAll(dir, 0o777)
}

// standing is what stands at the target, and which of its files may be replaced.
func (f *Folder) standing() (fs.FileInfo, map[string]bool, error) {
	info, err := os.Lstat(f.target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, nil
	case err != nil:
		return nil, nil, err
	case !info.IsDir():
		return nil, nil, fmt.Errorf("%s: exists and is not a folder", f.asked)
	case f.ours == nil:
		return nil, nil, fmt.Errorf("%s: exists; --force replaces it", f.asked)
	}
	entries, err := os.ReadDir(f.target)
	if err != nil || len(entries) == 0 {
		return info, nil, err
	}
	listed, err := f.ours(f.target)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: exists and is not an artifact; --force does not replace it: %w", f.asked, err)
	}
	return info, listed, nil
}

// Publish gives the folder its name, when all of it is on the disk.
func (f *Folder) Publish() error {
	if err := syncTree(f.Dir); err != nil {
		return err
	}
	parent, name := filepath.Split(f.target)
	release, err := hold(filepath.Clean(parent))
	if err != nil {
		return err
	}
	defer release()
	now, listed, err := f.standing()
	if err != nil {
		return err
	}
	if (now == nil) != (f.old == nil) || now != nil && !os.SameFile(now, f.old) {
		return fmt.Errorf("%s: another run published it, or it was moved, while this one was building", f.asked)
	}
	if now == nil {
		if can, err := moveNew(f.Dir, f.target); can {
			return f.finish(err)
		}
		return f.finish(os.Rename(f.Dir, f.target))
	}
	if err := errors.Join(keep(f.target, f.Dir, listed, link), syncTree(f.Dir)); err != nil {
		return fmt.Errorf("%s: %w", f.asked, err)
	}
	old := f.Dir
	can, err := swap(f.Dir, f.target)
	if !can {
		old, err = f.inTwoSteps(filepath.Join(parent, prefix(name, replaced)+"0"))
	}
	if err := f.finish(err); err != nil {
		return err
	}
	if err := keep(old, f.target, listed, move); err != nil { // what came since
		return fmt.Errorf("%s: it was replaced, but the old folder is left at %s: %w", f.asked, old, err)
	}
	if err := os.RemoveAll(old); err != nil {
		return fmt.Errorf("%s: it was replaced, but the old folder is left: %w", f.asked, err)
	}
	return nil
}

// swap is exchange; tests take it away.
var swap = exchange

// inTwoSteps replaces the target where the system cannot exchange names; between the steps the old folder lies at aside.
func (f *Folder) inTwoSteps(aside string) (string, error) {
	if err := os.Rename(f.target, aside); err != nil {
		return aside, err
	}
	if err := os.Rename(f.Dir, f.target); err != nil {
		return aside, errors.Join(err, os.Rename(aside, f.target))
	}
	return aside, nil
}

// finish ends what the step began that gave the folder its name, or not.
func (f *Folder) finish(err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", f.asked, pathless(err))
	}
	syncFolder(filepath.Dir(f.target))
	f.lock.Close()
	f.Dir, f.made = "", nil
	return nil
}

// Discard removes the folder, unless it was published.
func (f *Folder) Discard() {
	if f.Dir != "" {
		os.RemoveAll(f.Dir)
		f.lock.Close()
		f.Dir = ""
	}
	for _, dir := range f.made {
		os.Remove(dir) // only when nobody put anything there
	}
}

// syncTree puts a folder and all in it on the disk.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			syncFolder(path)
			return nil
		case !d.Type().IsRegular():
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

// keep brings everything of an old folder that is not listed into the new one by take. A name that both have is an error.
func keep(from, to string, listed map[string]bool, take func(from, to string, d fs.DirEntry) error) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == from {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if !d.IsDir() && listed[filepath.ToSlash(name)] {
			return nil
		}
		target := filepath.Join(to, name)
		there, err := os.Lstat(target)
		switch {
		case err == nil && d.IsDir() && there.IsDir():
			return nil
		case err == nil && sameEntry(path, there):
			return nil
		case err == nil:
			return fmt.Errorf("%s: not the program's file (the manifest does not list it), and the new artifact has one of that name; move it away", name)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		case d.IsDir():
			if within(listed, filepath.ToSlash(name)) && !holds(path, filepath.ToSlash(name), listed) {
				return filepath.SkipDir // nothing of it is anyone else's
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			return os.Mkdir(target, info.Mode().Perm())
		}
		if err := take(path, target, d); err != nil {
			return fmt.Errorf("%s: not the program's file, and it cannot be kept: %w", name, pathless(err))
		}
		return nil
	})
}

func sameEntry(path string, there fs.FileInfo) bool {
	info, err := os.Lstat(path)
	if err != nil {
		return false
	}
	if os.SameFile(info, there) || info.Mode()&there.Mode()&fs.ModeSymlink != 0 { // link made the other
		return true
	}
	return info.Mode() == there.Mode() && info.Size() == there.Size() && info.ModTime().Equal(there.ModTime()) // link made a copy
}

// within reports whether a listed file is in a folder.
func within(listed map[string]bool, dir string) bool {
	for name := range listed {
		if len(name) > len(dir) && name[:len(dir)] == dir && name[len(dir)] == '/' {
			return true
		}
	}
	return false
}

// holds reports whether a folder has a file that is not listed.
func holds(path, name string, listed map[string]bool) bool {
	found := false
	_ = filepath.WalkDir(path, func(at string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(path, at)
		if err != nil || !d.IsDir() && !listed[name+"/"+filepath.ToSlash(rel)] {
			found = true
			return fs.SkipAll
		}
		return nil
	})
	return found
}

// move takes a file away from where it is.
func move(from, to string, _ fs.DirEntry) error { return os.Rename(from, to) }

// link gives a file a second name, so that the old folder stays whole; where the file system cannot, it copies.
func link(from, to string, d fs.DirEntry) error {
	switch {
	case d.Type()&fs.ModeSymlink != 0:
		at, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(at, to)
	case !d.Type().IsRegular():
		return fmt.Errorf("it is a %s", d.Type())
	case os.Link(from, to) == nil:
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close(), os.Chtimes(to, info.ModTime(), info.ModTime()))
}
