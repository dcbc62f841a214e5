package serve

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/engine"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/pictures"
	"syncsam-convert/prompt"
	"syncsam-convert/segment"
	"syncsam-convert/serve/page"
)

// The cache holds what was used last, within its bound, and makes what several want at a time once.
func TestCache(t *testing.T) {
	c := newCache(100)
	made := 0
	of := func(bytes int64) func() (*segment.Embedded, error) {
		return func() (*segment.Embedded, error) {
			made++
			return &segment.Embedded{Features: map[string]*tensor.Tensor{"x": tensor.FromUint8([]int64{bytes}, make([]byte, bytes))}}, nil
		}
	}
	get := func(k byte, bytes int64) bool {
		_, had, err := c.get(key{k}, of(bytes))
		require.NoError(t, err)
		return had
	}
	require.False(t, get(1, 40))
	require.False(t, get(2, 40))
	require.True(t, get(1, 40))
	require.False(t, get(3, 40)) // 2 goes
	require.True(t, get(1, 40))
	require.False(t, get(2, 40)) // 3 goes
	require.False(t, get(4, 101))
	require.False(t, get(4, 101)) // too large to keep
	n, bytes := c.size()
	require.Equal(t, 2, n)
	require.EqualValues(t, 80, bytes)
	_, _, err := c.get(key{9}, func() (*segment.Embedded, error) { return nil, fmt.Errorf("broken") })
	require.ErrorContains(t, err, "broken")
	require.False(t, get(9, 1)) // an error is not kept

	made = 0
	begun, all := make(chan struct{}), sync.WaitGroup{}
	for range 8 {
		all.Go(func() {
			_, _, err := c.get(key{7}, func() (*segment.Embedded, error) { <-begun; return of(10)() })
			if err != nil {
				t.Error(err)
			}
		})
	}
	close(begun)
	all.Wait()
	require.Equal(t, 1, made)
}

// Uploaded files stay within their bound, except those that are in use.
func TestFiles(t *testing.T) {
	f, err := newFiles(10)
	require.NoError(t, err)
	defer f.close()
	a, releaseA, err := f.put([]byte("aaaaaaa"))
	require.NoError(t, err)
	b, releaseB, err := f.put([]byte("bbbbbbb"))
	require.NoError(t, err)
	require.FileExists(t, f.path(a))
	releaseA()
	require.NoFileExists(t, f.path(a))
	releaseB()
	require.FileExists(t, f.path(b))
	_, ok := f.use(a)
	require.False(t, ok)
	info, err := os.Stat(f.dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	left, err := os.ReadDir(f.dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
}

// Whatever file a picture comes in, and whichever of its slices is meant, the mask is that of a prediction on what package pictures reads.
func TestFilesOfAllKinds(t *testing.T) {
	dir := artifactOf(t)
	_, h := opened(t, Options{}, dir)
	p, err := segment.Open(dir, engine.Embedded, engine.Options{})
	require.NoError(t, err)
	defer p.Close()
	for _, c := range []struct{ file, part string }{
		{"volumes/ct.nii.gz", "slice=1&window=-100:200"}, {"volumes/ct.nii.gz", "slice=2"}, {"volumes/frames.dcm", "slice=2"}, {"volumes/colour.dcm", ""},
		{"grey16.tiff", ""}, {"grey16.png", "window=0:30000"}, {"rgb.gif", ""}, {"cmyk.jpg", ""}, {"palette.png", ""}, {"one_bit.png", ""},
	} {
		name := "../pictures/testdata/" + c.file
		file, err := os.ReadFile(name)
		require.NoError(t, err)
		m, err := pictures.Read(name + "#" + c.part)
		if c.part == "" {
			m, err = pictures.Read(name)
		}
		require.NoError(t, err)
		e, err := p.Embed(context.Background(), m)
		require.NoError(t, err)
		x, y := float64(m.W)/2, float64(m.H)/3
		want, err := p.Predict(context.Background(), e, prompt.Prompt{Points: [][2]float64{{x, y}}, Labels: []int{1}})
		require.NoError(t, err)
		in := map[string]*Value{imageInput: {Dims: []int64{1}, Texts: [][]byte{file}}, pointsInput: numbers(tensor.FromFloat64([]int64{1, 2}, []float64{x, y}))}
		if c.part != "" {
			in[partInput] = &Value{Dims: []int64{1}, Texts: [][]byte{[]byte(c.part)}}
		}
		body, header := message(in, true, nil)
		out := answered(t, call(h, "POST", "/v2/models/segment/infer", body, headerLength, header))
		require.Equal(t, []int64{int64(m.H), int64(m.W)}, out[maskOutput].Dims, c.file)
		require.True(t, bytes.Equal(tensor.FromFloat32([]int64{int64(len(want.Logits))}, want.Logits).Bytes(), out[lowOutput].Numbers.Bytes()), "%v", c)
	}
}

func samePixels(a, b image.Image) bool {
	if a.Bounds() != b.Bounds() {
		return false
	}
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			r1, g1, b1, a1 := a.At(x, y).RGBA()
			r2, g2, b2, a2 := b.At(x, y).RGBA()
			if r1 != r2 || g1 != g2 || b1 != b2 || a1 != a2 {
				return false
			}
		}
	}
	return true
}

// The page asks nobody but its server, and shows of a file what the command picture writes.
func TestPage(t *testing.T) {
	_, h := opened(t, Options{}, artifactOf(t))
	w := call(h, "GET", "/", nil)
	require.Equal(t, page.HTML, w.Body.Bytes())
	require.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
	for _, no := range []string{"http://", "https://", "//cdn", "@import", "src=\"", "innerHTML", "eval("} {
		require.NotContains(t, string(page.HTML), no)
	}
	for _, c := range []struct {
		file, query, as string
		slices          int
	}{
		{"../golden/data/dataset/images/amos_0004_75.png", "", "", 1},
		{"../pictures/testdata/volumes/ct.nii.gz", "", "#slice=2", 4},
		{"../pictures/testdata/volumes/ct.nii.gz", "?part=slice%3D1%26window%3D-100:200", "#slice=1&window=-100:200", 4},
		{"../pictures/testdata/volumes/frames.dcm", "", "#slice=1", 3},
		{"../pictures/testdata/grey16.tiff", "", "", 1},
	} {
		file, err := os.ReadFile(c.file)
		require.NoError(t, err)
		w := call(h, "POST", "/page/picture"+c.query, file)
		require.Equal(t, http.StatusOK, w.Code, w.Body)
		m, err := png.Decode(w.Body)
		require.NoError(t, err)
		want, err := pictures.Read(c.file + c.as)
		require.NoError(t, err)
		require.True(t, samePixels(want.Picture(), m), c.file)
		told := w.Header().Get(pictureHeader)
		require.Contains(t, told, fmt.Sprintf("%%22slices%%22:%d", c.slices))
		id := told[strings.Index(told, "%22id%22:%22")+len("%22id%22:%22"):][:64]
		again := call(h, "GET", "/page/picture/"+id+c.query, nil)
		require.Equal(t, http.StatusOK, again.Code)
		require.Equal(t, told, again.Header().Get(pictureHeader))
	}
	mask, err := os.ReadFile("../golden/data/dataset/masks/amos_0004_75_aorta_000.png")
	require.NoError(t, err)
	m, err := png.Decode(call(h, "POST", "/page/picture?mask=1", mask).Body)
	require.NoError(t, err)
	want, err := pictures.ReadMask("../golden/data/dataset/masks/amos_0004_75_aorta_000.png")
	require.NoError(t, err)
	require.True(t, samePixels(want.Picture(), m))
	for query, body := range map[string]string{"": "no picture", "?part=slice%3D9": string(mask[:0]), "?part=nonsense": string(mask)} {
		w := call(h, "POST", "/page/picture"+query, []byte(body))
		require.Equal(t, http.StatusBadRequest, w.Code, query)
		require.NotContains(t, reason(t, w), os.TempDir())
	}
	require.Equal(t, http.StatusNotFound, call(h, "GET", "/page/picture/"+strings.Repeat("0", 64), nil).Code)
	require.Equal(t, http.StatusNotFound, call(h, "GET", "/page/picture/..%2f..%2fetc%2fpasswd", nil).Code)
}
