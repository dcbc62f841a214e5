package serve

import (
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"syncsam-convert/internal/output"
	"syncsam-convert/pictures"
)

// files are uploaded pictures, which package pictures reads by name. They lie in a folder for temporary files that only this user can read, each
// under its hash, and are removed when others need the room, and when the server ends.
type files struct {
	dir   string
	close func()
	most  int64
	mutex sync.Mutex
	bytes int64
	order *list.List // of *stored, the last used first
	by    map[string]*list.Element
}

type stored struct {
	name  string
	bytes int64
	users int
}

func newFiles(most int64) (*files, error) {
	dir, remove, err := output.Scratch()
	return &files{dir: dir, close: remove, most: most, order: list.New(), by: map[string]*list.Element{}}, err
}

// put stores a file and gives its name; release ends its use. It stays for later as long as there is room.
func (f *files) put(data []byte) (name string, release func(), err error) {
	sum := sha256.Sum256(data)
	name = hex.EncodeToString(sum[:])
	if release, ok := f.use(name); ok {
		return name, release, nil
	}
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if at := f.by[name]; at == nil {
		part, err := os.CreateTemp(f.dir, "part-")
		if err != nil {
			return "", nil, err
		}
		_, err = part.Write(data)
		if closed := part.Close(); err == nil {
			err = closed
		}
		if err == nil {
			err = os.Rename(part.Name(), f.path(name))
		}
		if err != nil {
			os.Remove(part.Name())
			return "", nil, err
		}
		f.by[name] = f.order.PushFront(&stored{name: name, bytes: int64(len(data))})
		f.bytes += int64(len(data))
	}
	f.by[name].Value.(*stored).users++
	f.trim()
	return name, f.releaser(name), nil
}

// use keeps a stored file until release; ok is false where it is not there (any more).
func (f *files) use(name string) (release func(), ok bool) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	at := f.by[name]
	if at == nil {
		return nil, false
	}
	f.order.MoveToFront(at)
	at.Value.(*stored).users++
	return f.releaser(name), true
}

func (f *files) releaser(name string) func() {
	return func() {
		f.mutex.Lock()
		defer f.mutex.Unlock()
		f.by[name].Value.(*stored).users--
		f.trim()
	}
}

// trim removes what was not used for longest, but nothing that is in use.
func (f *files) trim() {
	for at := f.order.Back(); at != nil && f.bytes > f.most; {
		s, before := at.Value.(*stored), at.Prev()
		if s.users == 0 {
			os.Remove(f.path(s.name))
			f.order.Remove(at)
			delete(f.by, s.name)
			f.bytes -= s.bytes
		}
		at = before
	}
}

func (f *files) path(name string) string { return filepath.Join(f.dir, name) }

// partOf reads what of a file is meant, such as "slice=12&window=-160:240".
func partOf(text string) (pictures.Part, error) {
	if text == "" {
		return pictures.Part{}, nil
	}
	path, part, err := pictures.SplitName("x#" + text)
	if err != nil || path != "x" {
		return part, fmt.Errorf("part: have %q, want fields such as slice=12&volume=0&window=-160:240", text)
	}
	return part, nil
}

// nameless takes the file's path out of an error, which means nothing to who sent it.
func (f *files) nameless(err error) error {
	if err == nil || !strings.Contains(err.Error(), f.dir) {
		return err
	}
	text := strings.TrimPrefix(err.Error(), f.dir) // who sent one file knows which
	if len(text) < len(err.Error()) {
		if _, why, ok := strings.Cut(text, ": "); ok {
			text = why
		}
	}
	for at := strings.Index(text, f.dir); at >= 0; at = strings.Index(text, f.dir) {
		end := at + len(f.dir)
		for end < len(text) && (text[end] == filepath.Separator || isHex(text[end])) {
			end++
		}
		text = text[:at] + "the picture" + text[end:]
	}
	return errors.New(text)
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' }
