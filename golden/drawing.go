package golden

import (
	"bytes"
	"cmp"
	"errors"
	"image"
	"image/jpeg"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"syncsam-convert/ir/tensor"
	"syncsam-convert/pictures"
	"syncsam-convert/safetensors"
	"syncsam-convert/segment"
)

// A Drawing is an item as a page shows it: contours over a picture.
type Drawing struct {
	Result  Result
	Picture *Picture
	// Truth, A and B are outlines as SVG path data in pixels of the image: the true mask, what the result is held against (artifact A, the golden
	// logits; "" where there is nothing), the prediction that is judged.
	Truth, A, B string
	Marks       []pictures.Mark // the prompts
}

// A Picture is an image, reduced and in lossy JPEG, that items share.
type Picture struct {
	W, H int // pixels of the image
	JPEG []byte
}

const (
	pictureSide    = 384 // most pixels a side of a Picture
	pictureQuality = 72
	outlineSide    = 1536 // blocks a side that outlines are traced in, at most
)

func newPicture(m *pictures.Image) (*Picture, error) {
	p, small := &Picture{W: m.W, H: m.H}, m
	if side := max(m.W, m.H); side > pictureSide {
		small = pictures.Resize(m, max(1, m.W*pictureSide/side), max(1, m.H*pictureSide/side))
	}
	var out bytes.Buffer
	err := jpeg.Encode(&out, plainImage(small), &jpeg.Options{Quality: pictureQuality})
	p.JPEG = out.Bytes()
	return p, err
}

// plainImage is grey where all pixels are: a third of the bytes.
func plainImage(m *pictures.Image) image.Image {
	grey, colour := image.NewGray(image.Rect(0, 0, m.W, m.H)), image.NewRGBA(image.Rect(0, 0, m.W, m.H))
	isGrey := true
	for i := range m.W * m.H {
		p := m.Pix[3*i : 3*i+3]
		isGrey = isGrey && p[0] == p[1] && p[1] == p[2]
		grey.Pix[i] = p[0]
		copy(colour.Pix[4*i:], p)
		colour.Pix[4*i+3] = 255
	}
	if isGrey {
		return grey
	}
	return colour
}

// size is about what a drawing takes on a page, without its picture.
func (d *Drawing) size() int { return len(d.Truth) + len(d.A) + len(d.B) + 200 + 60*len(d.Marks) }

func (p *Picture) size() int { return len(p.JPEG)*4/3 + 100 }

// A shelf holds the drawings that a page should show most, as many as there is room for.
type shelf struct {
	room, size int
	list       []*Drawing // in the order of byRank
	users      map[*Picture]int
}

func newShelf(room int) *shelf { return &shelf{room: room, users: map[*Picture]int{}} }

func (s *shelf) put(d *Drawing) {
	at, _ := slices.BinarySearchFunc(s.list, d, byRank)
	s.list = slices.Insert(s.list, at, d)
	s.size += d.size()
	if s.users[d.Picture]++; s.users[d.Picture] == 1 {
		s.size += d.Picture.size()
	}
	for s.size > s.room {
		last := s.list[len(s.list)-1]
		s.list = s.list[:len(s.list)-1]
		s.size -= last.size()
		if s.users[last.Picture]--; s.users[last.Picture] == 0 {
			delete(s.users, last.Picture)
			s.size -= last.Picture.size()
		}
	}
}

// byRank puts what differs most first, and among equals the lowest DSC.
func byRank(a, b *Drawing) int {
	return cmp.Or(cmp.Compare(Rank(b.Result), Rank(a.Result)), cmp.Compare(a.Result.Index, b.Result.Index),
		cmp.Compare(slices.Index(Modes, a.Result.Mode), slices.Index(Modes, b.Result.Mode)))
}

// draw makes an item's drawings, one for each of its modes that was run.
func (v *verification) draw(image *loaded, o *outcome) (err error) {
	if image.drawn == nil {
		if image.drawn, err = newPicture(image.picture); err != nil {
			return err
		}
	}
	truth := ""
	for i := range o.modes {
		m := &o.modes[i]
		if m.run == nil {
			continue
		}
		if truth == "" {
			truth = o.truth.Outline(outlineSide)
		}
		d := &Drawing{Picture: image.drawn, Truth: truth, B: m.run.Mask.Outline(outlineSide), Marks: m.run.marks()}
		a := m.a
		if a == nil && o.gold != nil {
			if a, err = v.goldenMask(image.emb[0], o.mask, m.Mode); err != nil {
				return err
			}
		}
		if a != nil {
			d.A = a.Outline(outlineSide)
		}
		m.drawing = d
	}
	return nil
}

// goldenMask is what the golden logits give, nil where the golden folder has none for the item.
func (v *verification) goldenMask(e *segment.Embedded, mask, mode string) (*pictures.Mask, error) {
	if v.logits == nil {
		return nil, nil
	}
	t := v.logits.Get(mask + "/" + mode)
	if t == nil || t.DType() != tensor.Float32 || len(t.Dims()) == 0 {
		return nil, nil
	}
	n := t.Dims()[len(t.Dims())-1]
	if n < 1 || t.Len() != n*n {
		return nil, nil
	}
	return pictures.MaskOf(t.Float32s(), int(n), e.Frame, v.p[0].Manifest().Postprocess)
}

// openLogits opens a golden folder's reference tensors, nil where it has none.
func openLogits(dir string) (*safetensors.File, error) {
	path := filepath.Join(dir, "reference.safetensors")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return safetensors.Open(path)
}

func (v *verification) closeLogits() {
	if v.logits != nil {
		_ = v.logits.Close() // it was only read
	}
}

// marks draws a run's prompts.
func (r *Run) marks() []pictures.Mark {
	var marks []pictures.Mark
	if b := r.Box; b != nil {
		marks = append(marks, pictures.Mark{X0: b[0], Y0: b[1], X1: b[2], Y1: b[3]})
	}
	for i, c := range r.Coords {
		marks = append(marks, pictures.Mark{X0: c[0], Y0: c[1], X1: c[0], Y1: c[1], Label: r.Labels[i]})
	}
	return marks
}

// Reserve says how many bytes of drawings a report keeps: a quarter is for unstable items.
func (r *Report) Reserve(bytes int) { r.worst, r.unstable = newShelf(bytes*3/4), newShelf(bytes/4) }

// Show keeps a drawing as long as there is room for it: what is worse stays.
func (r *Report) Show(d *Drawing) {
	if d.Result.Unstable {
		r.unstable.put(d)
	} else {
		r.worst.put(d)
	}
}

// Drawings are those that the report keeps, the worst first: of stable items, and of those whose result hangs on rounding.
func (r *Report) Drawings() (worst, unstable []*Drawing) {
	if r.worst == nil {
		return nil, nil
	}
	return r.worst.list, r.unstable.list
}
