package pictures

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir"
	"syncsam-convert/safetensors"
)

// The area resize is OpenCV's (testdata/make_area.py), but for a level in few places where OpenCV adds in float32: where both sides shrink, where they
// are halved, where one grows or both do.
func TestAreaIsOpenCVs(t *testing.T) {
	f, err := safetensors.Open("testdata/area.safetensors")
	require.NoError(t, err)
	defer f.Close()
	n, values, differ := 0, 0, 0
	for name, x := range inputs(f) {
		n++
		want := imageOf(f.Get(name + "/out"))
		have := area(x, want.W, want.H)
		require.Equal(t, [2]int{want.W, want.H}, [2]int{have.W, have.H}, name)
		for i, p := range want.Pix {
			if d := int(have.Pix[i]) - int(p); d != 0 {
				require.InDelta(t, 0, d, 1, "%s, element %d", name, i)
				differ++
			}
		}
		values += len(want.Pix)
	}
	require.Equal(t, 11, n)
	require.LessOrEqual(t, differ, values/1000)
}

// What covers an output pixel adds up to one, and every input pixel is covered once.
func TestCovered(t *testing.T) {
	for _, c := range [][2]int{{5, 5}, {7, 3}, {9, 1}, {1000, 256}, {257, 256}, {4096, 7}} {
		over := make([]float64, c[0])
		for _, x := range covered(c[0], c[1]) {
			sum := 0.0
			for i, p := range x.part {
				sum += p
				over[x.first+i] += p * float64(c[0]) / float64(c[1])
			}
			require.InDelta(t, 1, sum, 1e-12, "%v", c)
		}
		for i, p := range over {
			require.InDelta(t, 1, p, 1e-9, "%v, input %d", c, i)
		}
	}
}

// LiteMedSAM's pictures: over all pixels and channels to [0,1], then padded; prompts are whole pixels of the shrunk picture.
func TestPrepareByAreas(t *testing.T) {
	m := &Image{W: 6, H: 3, Pix: make([]uint8, 54)}
	for i := range m.Pix {
		m.Pix[i] = 20
	}
	m.Pix[0], m.Pix[1], m.Pix[53] = 220, 60, 0 // the mean of each pair of columns over 1.5 rows
	x, frame, err := Prepare(m, ir.Preprocess{Size: 4, Channels: "RGB", Resize: "longest_side", Interpolation: "area", Normalize: "min_max", Std: [3]float64{1, 1, 1}, Prompts: "whole"})
	require.NoError(t, err)
	require.Equal(t, Frame{6, 3, 4, 2, 4, true}, frame)
	have := x.Float32s()
	require.EqualValues(t, 1, have[0], "the greatest value of all channels")
	require.Zero(t, have[2*16+4+3], "the least of all channels")
	require.Zero(t, have[2*4], "padding")
	px, py := frame.Point(5.9, 2.9)
	require.Equal(t, [2]float32{3, 1}, [2]float32{px, py}, "5 * 4/6 and 2 * 4/6, truncated")
}

// SAMed's slices are made by SciPy's spline with aligned ends (testdata/make_zoom.py), by way of 224 x 224; they may leave the range of the picture.
func TestZoomIsSciPys(t *testing.T) {
	f, err := safetensors.Open("testdata/zoom.safetensors")
	require.NoError(t, err)
	defer f.Close()
	n, beyond := 0, false
	for name, x := range inputs(f) {
		n++
		s, err := strconv.Atoi(name[strings.Index(name, " ")+1:])
		require.NoError(t, err)
		want, have, step := f.Get(name+"/out").Float32s(), zoomCubic(x, s, s), max(1, s/32)
		i := 0
		for y := 0; y < s; y += step {
			for x := 0; x < s; x += step {
				for c := range 3 {
					require.InDelta(t, want[i], have[(y*s+x)*3+c]/255, 2e-6, "%s: %d %d %d", name, y, x, c)
					beyond = beyond || want[i] < 0 || want[i] > 1
					i++
				}
			}
		}
		require.Len(t, want, i)
	}
	require.Equal(t, 4, n)
	require.True(t, beyond)
}
