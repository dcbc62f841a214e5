package output

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// What is not finished has the name .NAME.syncsam-KIND-NUMBER beside its target. The process that makes it holds a lock on it (flock, which ends
// with the process), so that everybody sees whether anyone is still at it.
const (
	writing  = "writing"  // a file
	building = "building" // a folder
	replaced = "replaced" // a whole folder that made place, where the two cannot be exchanged in one step
	scratch  = "scratch"  // a folder for what nobody keeps
)

var unfinished = regexp.MustCompile(`^(\..+\.syncsam-(writing|building|replaced|scratch)-)\d+$`)

// longest bounds the part of a target's name that goes into an unfinished one's: names have at most 255 bytes.
const longest = 200

func prefix(name, kind string) string {
	if len(name) > longest {
		h := fnv.New64a()
		h.Write([]byte(name))
		name = fmt.Sprintf("%s~%x", name[:longest], h.Sum64())
	}
	return "." + name + ".syncsam-" + kind + "-"
}

// create makes an unfinished file or folder and locks it. Closing it ends the lock.
func create(dir, name, kind string, mode fs.FileMode) (*os.File, error) {
	for range 1000 {
		path := filepath.Join(dir, fmt.Sprint(prefix(name, kind), rand.Uint32()))
		f, err := make1(path, kind, mode)
		if errors.Is(err, fs.ErrExist) || err == errTaken {
			continue
		}
		if err != nil {
			return nil, err
		}
		// Whoever looked for dead ones before the lock was taken may have removed it.
		if tryLock(f) != held {
			own, err1 := f.Stat()
			there, err2 := os.Lstat(path)
			if err1 == nil && err2 == nil && os.SameFile(own, there) {
				return f, nil
			}
		}
		f.Close()
	}
	return nil, fmt.Errorf("cannot make a temporary name in %s", dir)
}

// errTaken says that somebody who looked for dead folders found the new one before it was locked.
var errTaken = errors.New("removed by another run")

func make1(path, kind string, mode fs.FileMode) (*os.File, error) {
	if kind == writing {
		return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	}
	if err := os.Mkdir(path, mode); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errTaken
	}
	return f, err
}

// removeDead removes what no living process works at: of some kinds, in a folder, or of one target in it (any where name is ".").
func removeDead(dir, name string, kinds ...string) error {
	return each(dir, name, kinds, func(path, kind string, living bool) {
		switch {
		case living:
		case kind != replaced:
			os.RemoveAll(path) // what cannot be removed is another user's, or will be removed by the next
		default: // the run ended between its two steps: the old folder is what there is
			if os.Rename(path, filepath.Join(dir, name)) != nil {
				os.RemoveAll(path)
			}
		}
	})
}

// each shows the unfinished files and folders of some kinds, those of one target unless name is ".".
func each(dir, name string, kinds []string, see func(path, kind string, living bool)) error {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil // a folder that may be written and not read
	}
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(1024)
		for _, n := range names {
			m := unfinished.FindStringSubmatch(n)
			if m == nil || name != "." && prefix(name, m[2]) != m[1] || !slices.Contains(kinds, m[2]) {
				continue
			}
			path := filepath.Join(dir, n)
			look(path, func(living bool) { see(path, m[2], living) })
		}
		if err != nil {
			return nil // the end, or a folder that changes: nothing depends on this
		}
	}
}

// look finds out whether a process works at a path, and tells; while it tells that none does, none can begin.
func look(path string, see func(living bool)) {
	info, err := os.Lstat(path)
	if err != nil || !info.IsDir() && !info.Mode().IsRegular() {
		return
	}
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	switch tryLock(f) {
	case locked:
		see(false)
	case held:
		see(true)
	}
}

// What came of trying a lock.
type attempt int

const (
	locked attempt = iota
	held           // by another
	unable         // there are no locks here
)

// patience is how long a run waits for others that begin or publish in the same folder: each takes moments.
const patience = 30 * time.Second

// hold lets one run at a time begin or publish in a folder, until release is called. Where there are no locks nobody waits.
func hold(dir string) (release func(), err error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrPermission) {
		return func() {}, nil
	}
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		switch tryLock(f) {
		case held:
			if time.Now().After(end) {
				f.Close()
				return nil, fmt.Errorf("%s: another process holds a lock on it", dir)
			}
			continue
		}
		return func() { f.Close() }, nil
	}
}

// Scratch makes a folder for files that nobody keeps, which only this user can read, and removes those of runs that were killed.
func Scratch() (dir string, remove func(), err error) {
	if err := removeDead(os.TempDir(), "convert", scratch); err != nil {
		return "", nil, err
	}
	f, err := create(os.TempDir(), "convert", scratch, 0o700)
	if err != nil {
		return "", nil, err
	}
	return f.Name(), func() {
		os.RemoveAll(f.Name())
		f.Close()
	}, nil
}
