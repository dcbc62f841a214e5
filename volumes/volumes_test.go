package volumes

import (
	"context"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/pictures"
	"syncsam-convert/prompt"
	"syncsam-convert/segment"
)

// bright is a model that finds what is white within two pixels of a box, or at points; it counts its work.
type bright struct {
	seen    *pictures.Image
	embeds  int
	prompts []prompt.Prompt
	nan     bool
}

func (b *bright) Embed(_ context.Context, m *pictures.Image) (*segment.Embedded, error) {
	b.seen, b.embeds = m, b.embeds+1
	return &segment.Embedded{}, nil
}

func (b *bright) Text(_ context.Context, ids []int64) ([]float32, error) {
	return []float32{float32(len(ids))}, nil
}

func (b *bright) Predict(_ context.Context, _ *segment.Embedded, p prompt.Prompt) (*segment.Prediction, error) {
	b.prompts = append(b.prompts, p)
	out := &segment.Prediction{Mask: pictures.NewMask(b.seen.W, b.seen.H), Logits: []float32{0}}
	if b.nan {
		out.Logits[0] = float32(math.NaN())
	}
	for i := range out.Mask.Pix {
		x, y := float64(i%b.seen.W), float64(i/b.seen.W)
		if box := p.Box; b.seen.Pix[3*i] > 200 && (box == nil || x >= box[0]-2 && y >= box[1]-2 && x < box[2]+2 && y < box[3]+2) {
			out.Mask.Pix[i] = 1
		}
	}
	return out, nil
}

// volumeOf writes a NIfTI file of w x h x d voxels of 0 and 255.
func volumeOf(t *testing.T, w, h, d int, white func(x, y, z int) bool) *pictures.Scan {
	t.Helper()
	b := make([]byte, 352, 352+w*h*d)
	binary.LittleEndian.PutUint32(b, 348)
	for i, n := range []int{3, w, h, d, 1, 1, 1, 1} {
		binary.LittleEndian.PutUint16(b[40+2*i:], uint16(n))
		binary.LittleEndian.PutUint32(b[76+4*i:], math.Float32bits(1))
	}
	binary.LittleEndian.PutUint16(b[70:], 2)
	binary.LittleEndian.PutUint16(b[72:], 8)
	binary.LittleEndian.PutUint32(b[108:], math.Float32bits(352))
	copy(b[344:], "n+1\x00")
	for i := range w * h * d {
		v := byte(0)
		if white(i%w, i/w%h, i/w/h) {
			v = 255
		}
		b = append(b, v)
	}
	path := filepath.Join(t.TempDir(), "v.nii")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	s, err := pictures.OpenScan(path + "#window=0:255")
	require.NoError(t, err)
	return s
}

// square is an object of side 6 that moves a column a slice, on slices 3 to 9; a speck of one pixel lies apart on slice 5.
func square(x, y, z int) bool {
	return z >= 3 && z <= 9 && x >= 4+z && x < 10+z && y >= 7 && y < 13 || z == 5 && x == 17 && y == 8
}

func TestPropagation(t *testing.T) {
	scan := volumeOf(t, 31, 20, 14, square)
	b := &bright{}
	box := [4]float64{10, 7, 16, 13}
	var seen [][2]int
	r := Request{Scan: scan, From: 1, To: 14, At: 6, Propagate: true, Objects: []Object{{Label: 3, Prompt: prompt.Prompt{Box: &box}, IDs: []int64{1, 2}}},
		Progress: func(done, total int) { seen = append(seen, [2]int{done, total}) }}
	found, err := r.Run(t.Context(), b)
	require.NoError(t, err)
	require.Equal(t, 9, b.embeds, "slices 2 to 10: the object's seven and an empty one at each end, each once")
	require.Equal(t, [2]int{9, 13}, seen[8])
	for k, m := range found.Masks {
		require.Equal(t, k+2, m.Slice)
		if m.Slice < 3 || m.Slice > 9 {
			require.Zero(t, m.Pixels)
			require.Nil(t, m.Box)
			continue
		}
		require.Equal(t, &[4]int{4 + m.Slice, 7, 10 + m.Slice + map[bool]int{true: 3}[m.Slice == 5], 13}, m.Box, "with the speck")
		from := m.Slice + map[bool]int{true: -1, false: 1}[m.Slice > 6]
		if m.Slice != 6 {
			require.Equal(t, &[4]float64{float64(4 + from), 7, float64(10 + from), 13}, m.PromptBox, "the box of the largest part of the slice before")
		}
	}
	for _, p := range b.prompts {
		require.Equal(t, []float32{2}, p.Text, "a text goes along")
	}
	for z := range 14 {
		for i, l := range found.Labels(z) {
			want := uint8(0)
			if square(i%31, i/31, z) {
				want = 3
			}
			require.Equal(t, want, l, "slice %d, pixel %d", z, i)
		}
	}
	require.Equal(t, 7*36+1, found.Pixels())
	report := r.Report(found)
	require.Equal(t, &[4]int{7, 7, 19, 13}, report.Box)
	require.Equal(t, 7*36+1, report.Objects[0].Pixels)
	require.Equal(t, "253 pixels on 7 slices, 3 to 9; segmented 1 to 13 of 14 from slice 6", r.Summary(found))
}

// A box may grow on its way, up to the picture's edges.
func TestGrowth(t *testing.T) {
	scan := volumeOf(t, 31, 20, 14, func(x, y, z int) bool { return x < 10 && y >= 15 })
	b := &bright{}
	box := [4]float64{0, 15, 10, 20}
	r := Request{Scan: scan, From: 0, To: 3, Propagate: true, Grow: 2, Objects: []Object{{Label: 1, Prompt: prompt.Prompt{Box: &box}}}}
	found, err := r.Run(t.Context(), b)
	require.NoError(t, err)
	require.Equal(t, []*[4]float64{&box, {0, 13, 12, 20}, {0, 13, 12, 20}}, []*[4]float64{found.Masks[0].PromptBox, found.Masks[1].PromptBox, found.Masks[2].PromptBox})
}

// Several objects share a slice's encoding; one that has ended does not stop the other, and the later label stands where two lie over each other.
func TestSeveralObjects(t *testing.T) {
	scan := volumeOf(t, 31, 20, 14, func(x, y, z int) bool { return square(x, y, z) || x < 3 && y < 3 })
	b := &bright{}
	one, two := [4]float64{7, 7, 13, 13}, [4]float64{0, 0, 3, 3}
	r := Request{Scan: scan, From: 0, To: 14, At: 3, Propagate: true, Objects: []Object{{Label: 1, Prompt: prompt.Prompt{Box: &one}}, {Label: 2, Prompt: prompt.Prompt{Box: &two}}}}
	found, err := r.Run(t.Context(), b)
	require.NoError(t, err)
	require.Equal(t, 14, b.embeds)
	require.Len(t, found.Masks, 14+9)
	require.True(t, found.Has(1, 13))
	require.False(t, found.Has(0, 10))
	r.Objects[1].Prompt.Box, r.Propagate, r.From, r.To = &one, false, 3, 4
	found, err = r.Run(t.Context(), b)
	require.NoError(t, err)
	require.Equal(t, uint8(2), found.Labels(3)[7*31+8])
}

// Without propagation every slice has the prompts; what is no number is no empty mask.
func TestSamePromptsOnEverySlice(t *testing.T) {
	scan := volumeOf(t, 31, 20, 14, square)
	b := &bright{}
	r := Request{Scan: scan, From: 2, To: 6, Objects: []Object{{Label: 1, Prompt: prompt.Prompt{Points: [][2]float64{{1, 1}}, Labels: []int{1}}}}}
	found, err := r.Run(t.Context(), b)
	require.NoError(t, err)
	require.Len(t, found.Masks, 4)
	require.Equal(t, 4, b.embeds)
	for _, p := range b.prompts {
		require.Equal(t, r.Objects[0].Prompt, p)
	}
	b.nan = true
	_, err = r.Run(t.Context(), b)
	require.ErrorContains(t, err, "slice 2: the model's logits are not numbers")
}

func TestCheck(t *testing.T) {
	scan := volumeOf(t, 31, 20, 14, square)
	box := [4]float64{1, 1, 9, 9}
	good := Request{Scan: scan, From: 2, To: 6, At: 2, Objects: []Object{{Label: 1, Prompt: prompt.Prompt{Box: &box}}}}
	require.NoError(t, good.Check())
	for want, change := range map[string]func(r *Request){
		"have 14 slices":             func(r *Request) { r.To = 15 },
		"slices 4 to 3":              func(r *Request) { r.From, r.To = 4, 4 },
		"the prompts are of slice 6": func(r *Request) { r.Propagate, r.At = true, 6 },
		"have no prompt":             func(r *Request) { r.Objects = nil },
		"label 256: want 1 to 255":   func(r *Request) { r.Objects = []Object{{Label: 256}} },
		"is outside its 31 x 20": func(r *Request) {
			r.Objects = []Object{{Label: 1, Prompt: prompt.Prompt{Box: &[4]float64{0, 0, 32, 9}}}}
		},
		"a prompt at NaN,2 is outside": func(r *Request) {
			r.Objects = []Object{{Label: 1, Prompt: prompt.Prompt{Points: [][2]float64{{math.NaN(), 2}}, Labels: []int{1}}}}
		},
	} {
		r := good
		change(&r)
		require.ErrorContains(t, r.Check(), want)
	}
}
