package golden

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/golden/stats"
	"syncsam-convert/pictures"
)

// Pictures are reduced, and grey where all their pixels are.
func TestPicture(t *testing.T) {
	for _, colour := range []uint8{0, 40} {
		m := &pictures.Image{W: 1000, H: 500, Pix: make([]uint8, 3*1000*500)}
		for i := range m.W * m.H {
			m.Pix[3*i], m.Pix[3*i+1], m.Pix[3*i+2] = 100, 100, 100+colour
		}
		p, err := newPicture(m)
		require.NoError(t, err)
		require.Equal(t, [2]int{1000, 500}, [2]int{p.W, p.H}, "coordinates are the image's")
		back, err := jpeg.Decode(bytes.NewReader(p.JPEG))
		require.NoError(t, err)
		require.Equal(t, image.Pt(384, 192), back.Bounds().Size())
		_, grey := back.(*image.Gray)
		require.Equal(t, colour == 0, grey)
	}
}

// A shelf holds the worst that there is room for; a picture that several share counts once; unstable items take no place of others.
func TestShelf(t *testing.T) {
	r := &Report{}
	r.Reserve(4 * 3000)
	shared := &Picture{JPEG: make([]byte, 300)}
	for i := range 100 {
		p := shared
		if i%2 == 1 {
			p = &Picture{JPEG: make([]byte, 900)}
		}
		r.Show(&Drawing{Result: Result{Index: i, Mode: "box", Points: stats.Number((i*37)%100) - 50, Have: 0.5, Unstable: i%10 == 0}, Picture: p, Truth: "M0 0z"})
	}
	worst, unstable := r.Drawings()
	require.NotEmpty(t, unstable)
	for _, list := range [][]*Drawing{worst, unstable} {
		size, seen := 0, map[*Picture]bool{}
		for i, d := range list {
			size += d.size()
			if !seen[d.Picture] {
				seen[d.Picture] = true
				size += d.Picture.size()
			}
			require.Equal(t, d.Result.Unstable, list[0].Result.Unstable)
			require.True(t, i == 0 || Rank(list[i-1].Result) >= Rank(d.Result))
		}
		require.LessOrEqual(t, size, 9000)
	}
	require.Equal(t, 49.0, math.Abs(float64(worst[0].Result.Points)), "the one with 50 is unstable")
	require.Equal(t, 50.0, math.Abs(float64(unstable[0].Result.Points)))
	require.Less(t, len(worst)+len(unstable), 100)
}

// A distribution counts every item once; what is 100 points or 1 is in the last bin.
func TestDistribution(t *testing.T) {
	r := &Report{}
	for i, points := range []float64{-100, -3, -0.05, -0.049, 0, 0.049, 0.05, 1, 100} {
		r.Items = append(r.Items, Result{Mask: fmt.Sprint(i), Mode: "box", Points: stats.Number(points), Want: 0.5, Have: 0.5})
	}
	for _, dsc := range []float64{0, 0.5, 1} {
		r.Items = append(r.Items, Result{Mode: "point1", Have: dsc, Points: stats.Number(math.NaN())})
	}
	d := r.distribution("box")
	require.Equal(t, OfPoints, d.Of)
	counts := map[float64]int{}
	for _, b := range d.Bins {
		counts[b.Low] = b.Items
	}
	require.Equal(t, map[float64]int{-100: 1, -5: 1, -0.05: 4, 0.05: 1, 1: 1, 50: 1}, func() map[float64]int {
		for low, n := range counts {
			if n == 0 {
				delete(counts, low)
			}
		}
		return counts
	}())
	require.Equal(t, [3]float64{0, -100, 100}, [3]float64{d.Median, d.Least, d.Most})
	p := r.distribution("point1")
	require.Equal(t, OfDSC, p.Of)
	require.Nil(t, p.Agreement)
	require.Equal(t, [3]int{1, 1, 1}, [3]int{p.Bins[0].Items, p.Bins[10].Items, p.Bins[19].Items})
	require.Nil(t, r.distribution("points5"))
}
