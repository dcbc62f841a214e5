package kernel

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// ResizeCubicPoints is PyTorch's interpolate(mode="bicubic", align_corners=False): figures of PyTorch 2.15 in float64, of a 4 x 5 plane made smaller and larger,
// beside which a = -0.5, antialiasing and aligned corners are far off.
func TestResizeCubicPoints(t *testing.T) {
	x := make([]float32, 20)
	for i := range x {
		x[i] = float32(i * i * 7 % 23)
	}
	for _, c := range []struct {
		h, w int
		want []float32
	}{
		{3, 3, []float32{4.42623, 7.33102, 18.7885, 15.9225, 21.2188, 11.9983, 13.8469, 21.5347, 16.9818}},
		{6, 7, []float32{-1.75947, 3.01461, 5.29484, 3.61111, 13.441, 20.2038, 20.6633, 6.792, 11.8392, 15.1308, 13.1875, 13.4125, 15.6189, 17.7681, 13.9773, 19.4714, 24.0424, 22.0498, 12.8803, 10.7982, 14.8108, 10.0386, 15.8507, 20.8422, 19.3044, 11.6956, 10.693, 14.856, 9.36981, 15.6287, 21.2919, 20.3125, 13.5386, 13.3724, 17.9403, 10.2928, 16.8249, 22.9092, 22.2604, 15.8172, 16.0721, 20.9132}},
		{4, 5, []float32{0, 7, 5, 17, 20, 14, 22, 21, 11, 15, 10, 19, 19, 10, 15, 11, 21, 22, 14, 20}},
	} {
		y := make([]float32, c.h*c.w)
		ResizeCubicPoints(1, 4, 5, c.h, c.w, x, y)
		require.InDeltaSlice(t, c.want, y, 1e-4)
		two := make([]float32, 2*len(y))
		ResizeCubicPoints(2, 4, 5, c.h, c.w, append(x[:20:20], x...), two)
		require.Equal(t, append(y[:len(y):len(y)], y...), two, "planes are their own")
	}
}
