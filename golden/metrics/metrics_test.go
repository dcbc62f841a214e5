package metrics

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/pictures"
)

// A peerCase is one pair of masks with what surface-distance, MONAI and scikit-image compute from it; scripts/check_stats.py writes them.
// null is a value that is not finite.
type peerCase struct {
	Kind             string
	W, H             int
	Truth, Predicted string // bits, row-major
	Spacing          [2]float64
	Tolerance        float64
	HD95, HD100      *float64
	NSD, Dice        *float64
	MonaiIoU         *float64 `json:"monai_iou"`
	MonaiNSD         *float64 `json:"monai_nsd"`
	MonaiHD95        *float64 `json:"monai_hd95"`
	MonaiHD          *float64 `json:"monai_hd"`
	SkimageHD        *float64 `json:"skimage_hd"`
}

func unpack(t *testing.T, text string, w, h int) *pictures.Mask {
	bits, err := base64.StdEncoding.DecodeString(text)
	require.NoError(t, err)
	m := pictures.NewMask(w, h)
	for i := range m.Pix {
		m.Pix[i] = bits[i/8] >> (7 - i%8) & 1
	}
	return m
}

// The pairs of testdata agree with the libraries to 1e-6; METRICS_PEERS names another table, which make test-stats writes.
func TestPeers(t *testing.T) {
	path := "testdata/peers.json"
	if p := os.Getenv("METRICS_PEERS"); p != "" {
		path = p
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var cases []peerCase
	require.NoError(t, json.Unmarshal(text, &cases))
	require.Greater(t, len(cases), 40)
	worst, values := map[string]float64{}, 0
	for i, c := range cases {
		near := func(what string, have float64, want *float64) {
			if want == nil {
				require.True(t, math.IsNaN(have), "case %d (%s): %s is %g, want none", i, c.Kind, what, have)
				return
			}
			off := math.Abs(have-*want) / max(1, math.Abs(*want)) // MONAI's are float32
			require.LessOrEqual(t, off, 1e-6, "case %d (%s): %s is %g, want %g", i, c.Kind, what, have, *want)
			worst[what], values = max(worst[what], off), values+1
		}
		truth, predicted := unpack(t, c.Truth, c.W, c.H), unpack(t, c.Predicted, c.W, c.H)
		s := Spacing{c.Spacing[0], c.Spacing[1]}
		v, err := Measure(truth, predicted, s, c.Tolerance)
		require.NoError(t, err)
		near("hd95", v.HD95, c.HD95)
		near("nsd", v.NSD, c.NSD)
		near("monai nsd", v.NSD, c.MonaiNSD)
		if c.Dice == nil { // both empty: surface-distance and MONAI have none, this package has 1
			require.Equal(t, 1.0, v.DSC)
			require.Equal(t, 1.0, v.IoU)
		} else {
			near("dice", v.DSC, c.Dice)
			near("monai iou", v.IoU, c.MonaiIoU)
		}
		contours, err := Compare(truth, predicted, s)
		require.NoError(t, err)
		near("hd100", contours.Hausdorff(100), c.HD100)
		edge95, err := HausdorffEdges(truth, predicted, s, 95)
		require.NoError(t, err)
		near("monai hd95", edge95, c.MonaiHD95)
		edge, err := HausdorffEdges(truth, predicted, s, 100)
		require.NoError(t, err)
		near("monai hd", edge, c.MonaiHD)
		pixels, err := HausdorffPixels(truth, predicted, Spacing{})
		require.NoError(t, err)
		near("skimage hd", pixels, c.SkimageHD)
	}
	t.Logf("%d pairs, %d values; largest differences: %v", len(cases), values, worst)
}

// Shapes whose values are known without a library.
func TestKnown(t *testing.T) {
	square := func(x, y, side int) *pictures.Mask {
		m := pictures.NewMask(40, 30)
		for i := range side * side {
			m.Pix[(y+i/side)*40+x+i%side] = 1
		}
		return m
	}
	a, b, empty := square(5, 5, 10), square(8, 5, 10), pictures.NewMask(40, 30)
	v, err := Measure(a, b, Spacing{}, 0)
	require.NoError(t, err)
	require.InDelta(t, 0.7, v.DSC, 1e-9)
	require.InDelta(t, 70./130, v.IoU, 1e-12)
	require.Equal(t, 3.0, v.HD95)
	require.Zero(t, v.AreaDifference)
	v, err = Measure(a, b, Spacing{2, 0.5}, 6)
	require.NoError(t, err)
	require.Equal(t, 1.0, v.NSD, "nothing is farther than 3 pixels of 2 mm")
	require.LessOrEqual(t, v.HD95, 6.0)
	same, err := Measure(a, a, Spacing{}, 0)
	require.NoError(t, err)
	require.Equal(t, Values{DSC: 1, IoU: 1, NSD: 1}, same)
	difference, ratio := AreaDifference(a, square(5, 5, 5), Spacing{2, 3})
	require.Equal(t, []float64{-75 * 6, -0.75}, []float64{difference, ratio})

	// what an empty mask leaves undefined, and what not
	v, err = Measure(a, empty, Spacing{}, 1)
	require.NoError(t, err)
	require.InDelta(t, 0, v.DSC, 1e-8)
	require.Equal(t, []float64{0, 0, -100, -1}, []float64{v.IoU, v.NSD, v.AreaDifference, v.AreaRatio})
	require.True(t, math.IsNaN(v.HD95))
	v, err = Measure(empty, a, Spacing{}, 1)
	require.NoError(t, err)
	require.True(t, math.IsNaN(v.HD95) && math.IsNaN(v.AreaRatio))
	require.Equal(t, []float64{0, 0}, []float64{v.IoU, v.NSD})
	v, err = Measure(empty, empty, Spacing{}, 1)
	require.NoError(t, err)
	require.Equal(t, []float64{1, 1}, []float64{v.DSC, v.IoU})
	require.True(t, math.IsNaN(v.HD95) && math.IsNaN(v.NSD) && math.IsNaN(v.AreaRatio))
}

// Both masks may change places; a picture turned by a quarter with its spacing has the same values.
func TestSymmetry(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 200 {
		w, h, s := 1+rng.IntN(30), 1+rng.IntN(30), Spacing{math.Exp(rng.NormFloat64()), math.Exp(rng.NormFloat64())}
		var masks, turned [2]*pictures.Mask
		for k := range masks {
			masks[k], turned[k] = pictures.NewMask(w, h), pictures.NewMask(h, w)
			x0, y0 := rng.IntN(w), rng.IntN(h)
			for y := y0; y < h; y++ {
				for x := x0; x < w; x++ {
					if rng.IntN(9) > 0 {
						masks[k].Pix[y*w+x], turned[k].Pix[x*h+y] = 1, 1
					}
				}
			}
		}
		one, err := Measure(masks[0], masks[1], s, 1.3)
		require.NoError(t, err)
		for _, other := range []struct {
			a, b *pictures.Mask
			s    Spacing
		}{{masks[1], masks[0], s}, {turned[0], turned[1], Spacing{s.Y, s.X}}} {
			v, err := Measure(other.a, other.b, other.s, 1.3)
			require.NoError(t, err)
			for _, pair := range [][2]float64{{one.HD95, v.HD95}, {one.NSD, v.NSD}, {one.DSC, v.DSC}} {
				if !math.IsNaN(pair[0]) || !math.IsNaN(pair[1]) {
					require.InDelta(t, pair[0], pair[1], 1e-9)
				}
			}
		}
	}
}

func TestRefuses(t *testing.T) {
	m := pictures.NewMask(4, 3)
	for _, c := range []struct {
		other     *pictures.Mask
		s         Spacing
		tolerance float64
		want      string
	}{
		{pictures.NewMask(3, 4), Spacing{}, 1, "have 3 x 4, want 4 x 3"},
		{&pictures.Mask{W: 4, H: 3, Pix: make([]uint8, 5)}, Spacing{}, 1, "have 5 pixels"},
		{pictures.NewMask(4, 3), Spacing{1, 0}, 1, "spacing"},
		{pictures.NewMask(4, 3), Spacing{-1, 1}, 1, "spacing"},
		{pictures.NewMask(4, 3), Spacing{math.NaN(), 1}, 1, "spacing"},
		{pictures.NewMask(4, 3), Spacing{}, -1, "tolerance"},
		{pictures.NewMask(4, 3), Spacing{}, math.NaN(), "tolerance"},
	} {
		_, err := Measure(m, c.other, c.s, c.tolerance)
		require.ErrorContains(t, err, c.want)
	}
}

func BenchmarkMeasure(b *testing.B) { // a large object of a large picture
	masks := [2]*pictures.Mask{pictures.NewMask(1024, 1024), pictures.NewMask(1024, 1024)}
	for k, m := range masks {
		for i := range m.Pix {
			if x, y := i%1024-500-5*k, i/1024-500; x*x+y*y < 400*400 {
				m.Pix[i] = 1
			}
		}
	}
	for b.Loop() {
		if _, err := Measure(masks[0], masks[1], Spacing{}, 2); err != nil {
			b.Fatal(err)
		}
	}
}
