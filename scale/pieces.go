package scale

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
)

// A Piece is a part of a file that workers get as a side input: an artifact's folder or a checkpoint, whichever machine they run on.
type Piece struct {
	Name   string // slash-separated, within the folder; of a single file its own
	Offset int64
	Size   int64 // of the file
	Data   []byte
}

// pieceBytes is what a runner carries well as one element.
const pieceBytes = 4 << 20

// eachFile gives the files of a folder, or the one that a path names.
func eachFile(path string, f func(name, at string, size int64) error) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return f(filepath.Base(path), path, info.Size())
	}
	return filepath.WalkDir(path, func(at string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Stat(at)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(path, at)
		if err != nil {
			return err
		}
		return f(filepath.ToSlash(name), at, info.Size())
	})
}

// nameOf names what pieces are of: a hash of the files' bytes and names.
func nameOf(path string) (string, error) {
	h := sha256.New()
	err := eachFile(path, func(name, at string, size int64) error {
		f, err := os.Open(at)
		if err != nil {
			return err
		}
		defer f.Close()
		fmt.Fprintf(h, "%q %d\n", name, size)
		_, err = io.Copy(h, f)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)), err
}

// PiecesFn reads a folder or a file where the pipeline starts.
type PiecesFn struct{ Path string }

// ProcessElement emits all pieces.
func (p *PiecesFn) ProcessElement(_ []byte, emit func(Piece)) error {
	return eachFile(p.Path, func(name, at string, size int64) error {
		f, err := os.Open(at)
		if err != nil {
			return err
		}
		defer f.Close()
		for offset := int64(0); offset < size || offset == 0; offset += pieceBytes {
			data := make([]byte, min(pieceBytes, size-offset))
			if _, err := io.ReadFull(f, data); err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
			emit(Piece{name, offset, size, data})
		}
		return nil
	})
}

// pieces is the side input of a path's files.
func pieces(s beam.Scope, path string) beam.PCollection {
	return beam.ParDo(s.Scope("files"), &PiecesFn{path}, beam.Impulse(s))
}

var unpacked struct {
	sync.Mutex
	at map[string]string
}

// unpack writes pieces into a folder of this worker, once in a process; name is what they must come to.
func unpack(name string, next func(*Piece) bool) (string, error) {
	unpacked.Lock()
	defer unpacked.Unlock()
	if at, ok := unpacked.at[name]; ok {
		return at, nil
	}
	dir, err := os.MkdirTemp("", "syncsam-beam-")
	if err != nil {
		return "", err
	}
	var p Piece
	for next(&p) {
		if err := p.write(dir); err != nil {
			return "", err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	have, err := nameOf(dir)
	if err != nil {
		return "", err
	}
	if have != name {
		return "", fmt.Errorf("side input: have files of hash %.16s (%d), want %.16s", have, len(entries), name)
	}
	if unpacked.at == nil {
		unpacked.at = map[string]string{}
	}
	unpacked.at[name] = dir
	return dir, nil
}

func (p *Piece) write(dir string) error {
	if !filepath.IsLocal(filepath.FromSlash(p.Name)) {
		return fmt.Errorf("side input: %q leaves its folder", p.Name)
	}
	at := filepath.Join(dir, filepath.FromSlash(p.Name))
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(at, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(p.Data, p.Offset); err == nil {
		err = f.Truncate(p.Size)
	}
	if failed := f.Close(); err == nil {
		err = failed
	}
	return err
}

// Clean removes what workers of this process have unpacked.
func Clean() {
	unpacked.Lock()
	defer unpacked.Unlock()
	for _, dir := range unpacked.at {
		os.RemoveAll(dir)
	}
	unpacked.at = nil
}
