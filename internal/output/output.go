// Package output writes what the program leaves behind: a file or a folder is there whole or not at all, on the disk when it is there, with the
// mode that the umask leaves. What a killed run could not remove, the next one beside it does.
//
// Links at a target are followed. Devices and pipes are written through. A file that is replaced passes on its mode.
package output

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// File writes a file through a temporary one beside it, so that path holds all of it or what it held before.
func File(path string, write func(w io.Writer) error) error {
	at, err := Resolve(path)
	if err == nil {
		err = removeDead(filepath.Dir(at), ".", writing)
	}
	if err != nil {
		return err
	}
	return replace(path, 0o666, true, write)
}

// Part writes a file of a folder that is published later, as File does, but does not wait for the disk: Staged.Publish does.
func Part(path string, write func(w io.Writer) error) error {
	return replace(path, 0o666, false, write)
}

// Program is Part for a file that can be run.
func Program(path string, write func(w io.Writer) error) error {
	return replace(path, 0o777, false, write)
}

func replace(path string, mode fs.FileMode, wait bool, write func(w io.Writer) error) (err error) {
	if through, err := special(path); err != nil || through != nil {
		if err != nil {
			return err
		}
		return errors.Join(buffered(through, write), through.Close())
	}
	at, err := Resolve(path)
	if err != nil {
		return err
	}
	tmp, err := create(filepath.Dir(at), filepath.Base(at), writing, mode)
	if err != nil {
		return fmt.Errorf("%s: %w", path, pathless(err)) // the file that was asked for, not the temporary one
	}
	defer func() {
		if err != nil {
			os.Remove(tmp.Name())
		}
		tmp.Close() // and the lock with it, when the file has its name or is gone
	}()
	if err = buffered(tmp, write); err != nil {
		return err
	}
	if old, err := os.Stat(at); err == nil && old.Mode().IsRegular() {
		if err := tmp.Chmod(old.Mode().Perm()); err != nil {
			return err
		}
	}
	if wait {
		if err = tmp.Sync(); err != nil {
			return err
		}
	}
	if err = os.Rename(tmp.Name(), at); err != nil {
		return fmt.Errorf("%s: %w", path, pathless(err))
	}
	if wait {
		syncFolder(filepath.Dir(at))
	}
	return nil
}

func buffered(to io.Writer, write func(w io.Writer) error) error {
	w := bufio.NewWriterSize(to, 1<<20)
	if err := write(w); err != nil {
		return err
	}
	return w.Flush()
}

// kept is a file that closing leaves open.
type kept struct{ io.Writer }

func (kept) Close() error { return nil }

// special opens a path that is no place for a file: a device, a pipe, or what standard output is. nil for all others.
func special(path string) (io.WriteCloser, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil // what hinders a file there will be said by who makes it
	}
	for _, f := range []*os.File{os.Stdout, os.Stderr} {
		if own, err := f.Stat(); err == nil && os.SameFile(own, info) && !own.IsDir() {
			return kept{f}, nil
		}
	}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil, nil
	case mode.IsDir():
		return nil, fmt.Errorf("%s: it is a folder", path)
	case mode&(fs.ModeDevice|fs.ModeNamedPipe) == 0:
		return nil, fmt.Errorf("%s: have a %s, want a file, a device or a pipe", path, mode.Type())
	case mode&fs.ModeNamedPipe != 0:
		f, err := openPipe(path)
		if err != nil {
			return nil, fmt.Errorf("%s: a pipe that nobody reads: %w", path, pathless(err))
		}
		return f, nil
	}
	return os.OpenFile(path, os.O_WRONLY, 0)
}

// Special reports whether a path is a device or a pipe, which is written through.
func Special(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&(fs.ModeDevice|fs.ModeNamedPipe) != 0
}

// EndsAs refuses a name whose ending is none of some: it says that the file is another kind than what is written. A name without an ending says
// nothing, nor does a device's.
func EndsAs(path string, endings ...string) error {
	name := strings.ToLower(filepath.Base(path))
	if filepath.Ext(name) == "" || Special(path) || slices.ContainsFunc(endings, func(end string) bool { return strings.HasSuffix(name, end) }) {
		return nil
	}
	return fmt.Errorf("%s: have the ending %s, want %s, which is what is written", path, filepath.Ext(name), strings.Join(endings, ", "))
}

// pathless takes the path out of an error of the file system.
func pathless(err error) error {
	var at *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &at):
		return at.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}

const maxLinks = 40

// Resolve follows links at a target, also those that lead nowhere yet. A link that another user put into a folder where everybody may is refused.
func Resolve(path string) (string, error) {
	at := filepath.Clean(path)
	for range maxLinks {
		info, err := os.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			return at, nil
		}
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			return at, nil
		}
		if planted(at, info) {
			return "", fmt.Errorf("%s: a link that another user put into a folder for everybody; it is not followed", path)
		}
		to, err := os.Readlink(at)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(to) {
			dir, err := filepath.EvalSymlinks(filepath.Dir(at))
			if err != nil {
				return "", err
			}
			to = filepath.Join(dir, to)
		}
		at = to
	}
	return "", fmt.Errorf("%s: more than %d links", path, maxLinks)
}

// syncFolder puts a folder's names on the disk, where its file system can.
func syncFolder(dir string) {
	if f, err := os.Open(dir); err == nil {
		_ = f.Sync() // some file systems have no such thing
		f.Close()
	}
}
