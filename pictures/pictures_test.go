package pictures

import (
	"image"
	"image/color"
	"image/png"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/safetensors"
)

// testdata/pil.safetensors is what PIL gives; testdata/make.py made it.
func pil(t *testing.T) *safetensors.File {
	f, err := safetensors.Open("testdata/pil.safetensors")
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// inputs are the tensors NAME/in of a file, by name.
func inputs(f *safetensors.File) iter.Seq2[string, *Image] {
	return func(yield func(string, *Image) bool) {
		for _, x := range f.Tensors {
			if name, ok := strings.CutSuffix(x.Name, "/in"); ok && !yield(name, imageOf(x.Tensor)) {
				return
			}
		}
	}
}

func imageOf(x *tensor.Tensor) *Image {
	return &Image{W: int(x.Dims()[1]), H: int(x.Dims()[0]), Pix: x.Bytes()}
}

func TestResizeIsPILToTheBit(t *testing.T) {
	f, n := pil(t), 0
	for name, x := range inputs(f) {
		n++
		want := imageOf(f.Get(name + "/out"))
		require.Equal(t, want, Resize(x, want.W, want.H), name)
	}
	require.Equal(t, 9, n)
}

func TestReadIsPILsRGB(t *testing.T) {
	f, n := pil(t), 0
	for _, x := range f.Tensors {
		name, ok := strings.CutPrefix(x.Name, "decode/")
		if !ok {
			continue
		}
		n++
		have, err := Read(filepath.Join("testdata", name))
		require.NoError(t, err)
		want := imageOf(x.Tensor)
		require.Equal(t, [2]int{want.W, want.H}, [2]int{have.W, have.H}, name)
		require.Equal(t, want.Pix, have.Pix, name)
	}
	require.Equal(t, 13, n)
}

// The reference inputs were computed by the model's own pipeline.
func TestPrepareIsTheReferenceInput(t *testing.T) {
	golden := filepath.Join("..", "golden", "data")
	ref, err := safetensors.Open(filepath.Join(golden, "syncsam-tiny-34", "reference.safetensors"))
	require.NoError(t, err)
	defer ref.Close()
	p := ir.Preprocess{Size: 256, Channels: "RGB", Resize: "longest_side", Interpolation: "pil_bilinear", Pad: "after_normalize",
		Mean: [3]float64{123.675, 116.28, 103.53}, Std: [3]float64{58.395, 57.12, 57.375}}
	n := 0
	for _, x := range ref.Tensors {
		name, ok := strings.CutSuffix(x.Name, "/input")
		if !ok {
			continue
		}
		n++
		m, err := Read(filepath.Join(golden, "dataset", name))
		require.NoError(t, err)
		have, _, err := Prepare(m, p)
		require.NoError(t, err)
		require.True(t, tensor.Equal(have, x.Tensor), name)
	}
	require.Equal(t, 3, n)
}

func TestFrame(t *testing.T) {
	require.Equal(t, Frame{225, 155, 256, 176, 256, false}, NewFrame(225, 155, 256))
	require.Equal(t, Frame{1, 1, 256, 256, 256, false}, NewFrame(1, 1, 256))
	require.Equal(t, Frame{10000, 1, 256, 1, 256, false}, NewFrame(10000, 1, 256), "a side never vanishes")
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	good, err := os.ReadFile("testdata/rgb.png")
	require.NoError(t, err)
	huge := append([]byte{}, good...)
	copy(huge[16:], "\x00\x0f\x42\x40\x00\x0f\x42\x40") // IHDR: a million by a million
	for path, want := range map[string]string{
		write("truncated.png", good[:len(good)/2]): "not a readable picture",
		write("empty.png", nil):                    "not a readable picture",
		write("text.png", []byte("hello")):         "not a readable picture",
		write("huge.png", huge):                    "have 1000000 x 1000000 pixels",
		filepath.Join(dir, "none.png"):             "no such file",
	} {
		_, err := Read(path)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, filepath.Base(path))
		require.NotContains(t, err.Error(), "\n")
	}
}

// A picture past the limit is refused by its header alone.
func TestTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.png")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, png.Encode(f, &wide{image.Rect(0, 0, 20000, 6000)}))
	require.NoError(t, f.Close())
	_, err = Read(path)
	require.ErrorContains(t, err, "have 20000 x 6000 pixels, want at most "+strconv.Itoa(MaxPixels/1_000_000)+" million")
}

type wide struct{ r image.Rectangle }

func (w *wide) Bounds() image.Rectangle { return w.r }
func (w *wide) ColorModel() color.Model { return color.GrayModel }
func (w *wide) At(int, int) color.Color { return color.Gray{} }

func TestMaskOf(t *testing.T) {
	// one bright corner of the low-resolution logits covers its share of the image
	logits := make([]float32, 64*64)
	for i := range logits {
		logits[i] = -1
		if i%64 < 32 && i/64 < 16 {
			logits[i] = 1
		}
	}
	m, err := MaskOf(logits, 64, NewFrame(512, 512, 256), ir.Postprocess{Upsample: "bilinear"})
	require.NoError(t, err)
	require.InDelta(t, 256*128, m.Count(), 16, "but for the rounded corner")
	require.EqualValues(t, 1, m.Pix[120*512+255])
	require.EqualValues(t, 0, m.Pix[120*512+256])
	_, err = MaskOf(logits, 63, NewFrame(512, 512, 256), ir.Postprocess{Upsample: "bilinear"})
	require.ErrorContains(t, err, "logits: have 4096 values, want 63 x 63")
	_, err = MaskOf(logits, 64, NewFrame(512, 512, 256), ir.Postprocess{Upsample: "nearest"})
	require.ErrorContains(t, err, "postprocess.upsample")
}

func TestWriteMask(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.png")
	m := NewMask(5, 3)
	m.Pix[7] = 1
	require.NoError(t, WriteMask(path, m))
	back, err := ReadMask(path)
	require.NoError(t, err)
	require.Equal(t, m, back)
	o := Overlay(&Image{5, 3, make([]uint8, 45)}, m, nil, []Mark{{0, 0, 5, 3, 0}, {4, 2, 4, 2, 1}})
	require.Equal(t, image.Rect(0, 0, 5, 3), o.Bounds())
	require.NoError(t, png.Encode(io.Discard, o))
}

// The stretches are those of OpenCV, PIL, PyTorch and scikit-image (testdata/make_stretch.py). Truncation to 8 bits may turn float64
// rounding into a step of one.
func TestStretchIsTheOthers(t *testing.T) {
	f, err := safetensors.Open(filepath.Join("testdata", "stretch.safetensors"))
	require.NoError(t, err)
	defer f.Close()
	n := 0
	for _, x := range f.Tensors {
		picture, how, _ := strings.Cut(x.Name, "/")
		if how == "image" {
			continue
		}
		n++
		s := int(x.Tensor.Dims()[0])
		have := resizers[how](imageOf(f.Get(picture+"/image")), s, s)
		off := 0
		for i, v := range x.Tensor.Float32s() {
			if how == "bilinear" {
				require.InDelta(t, v*255, have[i], 1e-4, x.Name)
				continue
			}
			require.InDelta(t, v, have[i], 1, "%s: value %d", x.Name, i)
			if v != have[i] {
				off++
			}
		}
		require.LessOrEqual(t, off, map[bool]int{true: 2, false: 0}[how == "skimage_cubic"], x.Name)
	}
	require.Equal(t, 16, n)
}
