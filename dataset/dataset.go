// Package dataset lists the pairs of mask and image of a segmentation data set: from an index {mask: image}, streamed, or from the
// arrangement of its files.
package dataset

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"syncsam-convert/internal/mapfile"
)

// IndexName is the index that a data set folder holds.
const IndexName = "label2image_test.json"

// An Item is one mask and the image it belongs to, as the index spells them: slash-separated, relative to the index's folder.
type Item struct{ Mask, Image string }

// Items streams an index; memory does not grow with it. The last pair carries an error if there was one.
func Items(index string) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		f, err := mapfile.Reader(index)
		if err != nil {
			yield(Item{}, err)
			return
		}
		defer f.Close()
		s := newScanner(f)
		if err := s.pairs(func(i Item) bool { return yield(i, nil) }); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			yield(Item{}, fmt.Errorf("%s: at byte %d: %w", index, s.at, err))
		}
	}
}

// tokens reads JSON piece by piece; a piece of more than maxPiece bytes is an error before it is in memory.
type tokens struct {
	*json.Decoder
	in *pieces
}

// maxPiece is the longest name, or item of a list, in bytes, with the blanks before it.
const maxPiece = 1 << 20

type pieces struct {
	r    io.Reader
	left int
}

func (p *pieces) Read(b []byte) (int, error) {
	if p.left <= 0 {
		return 0, fmt.Errorf("have more than %d bytes without an end, want names", maxPiece)
	}
	n, err := p.r.Read(b[:min(len(b), p.left)])
	p.left -= n
	return n, err
}

func newTokens(f io.Reader) tokens {
	in := &pieces{r: text(f)}
	return tokens{json.NewDecoder(in), in}
}

// Token is the next piece.
func (t tokens) Token() (json.Token, error) {
	t.in.left = maxPiece
	return t.Decoder.Token()
}

// Decode is the next value.
func (t tokens) Decode(v any) error {
	t.in.left = maxPiece
	return t.Decoder.Decode(v)
}

// More reports whether the list or object goes on.
func (t tokens) More() bool {
	t.in.left = maxPiece
	return t.Decoder.More()
}

// text reads a file without the byte order mark that some editors put first.
func text(f io.Reader) *bufio.Reader {
	r := bufio.NewReaderSize(f, 1<<20)
	if mark, _ := r.Peek(3); string(mark) == "\xef\xbb\xbf" {
		r.Discard(3)
	}
	return r
}

// listed streams a list of IMed-361M's dataset.json: {"test": [{"image": ..., "label": ...}, ...], ...}.
func listed(index string, o Options) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		f, err := mapfile.Reader(index)
		if err != nil {
			yield(Item{}, err)
			return
		}
		defer f.Close()
		d := newTokens(f)
		fail := func(err error) {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			yield(Item{}, fmt.Errorf("%s: %s: at byte %d: %w", index, o.Split, d.InputOffset(), err))
		}
		if t, err := d.Token(); err != nil || t != json.Delim('{') {
			fail(fmt.Errorf("have %v, want an object of lists", t))
			return
		}
		for d.More() {
			key, err := d.Token()
			if err == nil && key != o.Split {
				err = skip(d)
			}
			if err != nil {
				fail(err)
				return
			}
			if key != o.Split {
				continue
			}
			if t, err := d.Token(); err != nil || t != json.Delim('[') {
				fail(fmt.Errorf("have %v, want a list", t))
				return
			}
			for i := 0; d.More(); i++ {
				var pair struct{ Image, Label string }
				if err := d.Decode(&pair); err != nil {
					fail(err)
					return
				}
				if pair.Image == "" || pair.Label == "" {
					fail(fmt.Errorf("item %d: image or label: missing", i))
					return
				}
				if !yield(Item{pair.Label, pair.Image}, nil) {
					return
				}
			}
			return
		}
		fail(fmt.Errorf("there is no such list"))
	}
}

// skip reads past one JSON value.
func skip(d tokens) error {
	for depth := 0; ; {
		t, err := d.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// Path resolves a name of the index; names that leave the data set's folder are refused.
func Path(dir, name string) (string, error) {
	local := filepath.FromSlash(name)
	if !filepath.IsLocal(local) {
		return "", fmt.Errorf("%q leaves the data set's folder", name)
	}
	return filepath.Join(dir, local), nil
}
