package calib

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir/tensor"
)

// images makes the observed values of n images: a ReLU's, a signed one with outliers, and one that is always 0.
func images(n int) []map[string]*tensor.Tensor {
	var out []map[string]*tensor.Tensor
	for i := range n {
		rng := rand.New(rand.NewPCG(7, uint64(i)))
		relu, signed := make([]float32, 2*3*16), make([]float32, 2*3*16)
		for k := range relu {
			relu[k] = float32(max(rng.NormFloat64(), 0) * math.Exp(rng.NormFloat64()))
			signed[k] = float32(rng.NormFloat64())
		}
		signed[0] = float32(100 * rng.Float64())
		dims := []int64{2, 3, 4, 4}
		out = append(out, map[string]*tensor.Tensor{"relu": tensor.FromFloat32(dims, relu), "signed": tensor.FromFloat32(dims, signed),
			"dead": tensor.FromFloat32(dims, make([]float32, len(relu)))})
	}
	return out
}

func collected(t *testing.T, all []map[string]*tensor.Tensor) *Stats {
	s := NewStats("source")
	require.NoError(t, s.Collect(context.Background(), len(all), func(i int) (map[string]*tensor.Tensor, error) { return all[i], nil }, nil))
	return s
}

func merged(t *testing.T, parts ...*Stats) *Stats {
	s := NewStats("source")
	for _, p := range parts {
		require.NoError(t, s.Merge(p))
	}
	return s
}

// Statistics of shards merge to those of the whole, to the bit, in any order and grouping.
func TestMergingIsCommutativeAndAssociative(t *testing.T) {
	all := images(23)
	whole := collected(t, all)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		parts := make([][]map[string]*tensor.Tensor, 1+rng.IntN(5))
		for _, i := range rng.Perm(len(all)) {
			p := rng.IntN(len(parts))
			parts[p] = append(parts[p], all[i])
		}
		var stats []*Stats
		for _, p := range parts {
			stats = append(stats, collected(t, p))
		}
		left := merged(t, stats...)
		right := NewStats("source")
		for i := len(stats) - 1; i >= 0; i-- {
			right = merged(t, stats[i], right)
		}
		require.Equal(t, whole, left)
		require.Equal(t, whole, right)
	}
	require.ErrorContains(t, whole.Merge(NewStats("other")), "cannot be merged")
}

func TestFile(t *testing.T) {
	s := collected(t, images(5))
	path := filepath.Join(t.TempDir(), "s.safetensors")
	require.NoError(t, s.WriteFile(path))
	back, err := ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, s, back)
	_, err = ReadFile("calib_test.go")
	require.Error(t, err)
}

// Statistics with numbers that no values have are refused by the value's name.
func TestFileWithWrongNumbers(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for want, change := range map[string]func(s *Stats){
		`value "relu": largest amplitude: have NaN`:                func(s *Stats) { s.Values["relu"].Max = nan },
		`value "relu": largest amplitude: have -1`:                 func(s *Stats) { s.Values["relu"].Max = -1 },
		`value "relu": largest amplitude: have +Inf`:               func(s *Stats) { s.Values["relu"].Max = inf },
		`value "relu": largest amplitude: have 1e+30, want a numb`: func(s *Stats) { s.Values["relu"].Max = 1e30 },
		`value "relu": channel 1: amplitude: have NaN`:             func(s *Stats) { s.Values["relu"].Channels[1] = nan },
		`value "relu": channel 0: amplitude: have -2`:              func(s *Stats) { s.Values["relu"].Channels[0] = -2 },
		`value "signed": histogram: have a count below 0`:          func(s *Stats) { s.Values["signed"].Counts[3] = -1 },
		`value "signed": its peak is no finite number`:             func(s *Stats) { s.Peaks["signed"] = nan },
		`value "dead": its peak is no finite number`:               func(s *Stats) { s.Peaks["dead"] = inf },
	} {
		s := collected(t, images(2))
		change(s)
		path := filepath.Join(t.TempDir(), "s.safetensors")
		require.NoError(t, s.WriteFile(path))
		_, err := ReadFile(path)
		require.ErrorContains(t, err, path+": "+want)
	}
}

// A histogram holds every amplitude in its bin, whatever came first.
func TestHistogram(t *testing.T) {
	x := []float32{0, 1e-9, 0.3, -0.7, 5, 1023.5, 1e-20}
	var h Histogram
	for _, v := range x {
		require.NoError(t, h.Add([]float32{v}))
	}
	require.Equal(t, 10, h.Exp)
	require.True(t, h.Negative)
	want := make([]int64, Bins)
	for _, v := range x {
		want[int(math.Abs(float64(v))/h.width())]++
	}
	require.Equal(t, want, h.Counts)
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		err := (&Histogram{}).Add([]float32{1, bad})
		require.ErrorContains(t, err, "element 1 is")
	}
	err := NewStats("").add(map[string]*tensor.Tensor{"layer": tensor.FromFloat32([]int64{1}, []float32{float32(math.Inf(1))})})
	require.ErrorContains(t, err, `value "layer"`)
}

// error of quantizing x to the amplitude t, symmetric or with 256 steps.
func quantizationError(x []float32, t, steps float64) float64 {
	e, s := 0.0, t/steps
	for _, v := range x {
		q := min(max(math.RoundToEven(float64(v)/s), -steps), steps) * s
		e += (float64(v) - q) * (float64(v) - q)
	}
	return e
}

// The mse method is near the best that a fine search over the data itself finds; every method stays within the data.
func TestMethods(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, shape := range []string{"normal", "heavy", "relu"} {
		x := make([]float32, 20000)
		for i := range x {
			v := rng.NormFloat64()
			switch shape {
			case "heavy":
				v *= math.Exp(1.2 * rng.NormFloat64())
			case "relu":
				v = max(v, 0)
			}
			x[i] = float32(v)
		}
		var h Histogram
		require.NoError(t, h.Add(x))
		best := math.Inf(1)
		for i := 1; i <= 400; i++ {
			best = min(best, quantizationError(x, float64(h.Max)*float64(i)/400, h.steps()))
		}
		for _, m := range MethodNames() {
			a, err := Amplitude(m, &h)
			require.NoError(t, err)
			require.Greater(t, a, float32(0), "%s %s", shape, m)
			require.LessOrEqual(t, a, h.Max, "%s %s", shape, m)
		}
		a, err := Amplitude("mse", &h)
		require.NoError(t, err)
		require.LessOrEqual(t, quantizationError(x, float64(a), h.steps()), 1.03*best, shape)
	}
	_, err := Amplitude("guess", &Histogram{})
	require.ErrorContains(t, err, "want one of entropy, minmax, mse, percentile")
	_, err = Amplitude("mse", &Histogram{})
	require.ErrorContains(t, err, "all values are 0")
}

// Errors of a run and a cancelled context end the collection; nothing runs on behind it.
func TestCollectEnds(t *testing.T) {
	all, running := images(4), 0
	s := NewStats("source")
	err := s.Collect(context.Background(), 4, func(i int) (map[string]*tensor.Tensor, error) {
		running++
		if i == 2 {
			return nil, fmt.Errorf("image %d is broken", i)
		}
		return all[i], nil
	}, nil)
	require.ErrorContains(t, err, "image 2 is broken")
	require.Equal(t, 3, running)
	ctx, cancel := context.WithCancel(context.Background())
	err = NewStats("source").Collect(ctx, 4, func(i int) (map[string]*tensor.Tensor, error) { return all[i], nil }, cancel)
	require.ErrorIs(t, err, context.Canceled)
}

func TestPlan(t *testing.T) {
	s := collected(t, images(4))
	p, err := s.Plan("minmax")
	require.NoError(t, err)
	require.EqualValues(t, 4, p.Images)
	require.True(t, p.Values["relu"].NonNegative)
	require.False(t, p.Values["signed"].NonNegative)
	require.Equal(t, "0 on all images", p.Values["dead"].Reason)
	require.Len(t, p.Values["relu"].Mean, 3)
	var sum float64
	for _, m := range images(4) {
		for i, v := range m["relu"].Float32s() {
			if i/16%3 == 1 {
				sum += float64(v)
			}
		}
	}
	require.InDelta(t, sum/(4*2*16), p.Values["relu"].Mean[1], 1e-6)
}

func BenchmarkCollect(b *testing.B) {
	x := make([]float32, 1<<20)
	for i := range x {
		x[i] = float32(i%977) / 977
	}
	v := map[string]*tensor.Tensor{}
	for i := range 4 {
		v[fmt.Sprint(i)] = tensor.FromFloat32([]int64{1, 64, 128, 128}, x)
	}
	b.SetBytes(4 * 4 << 20)
	for b.Loop() {
		require.NoError(b, NewStats("").add(v))
	}
}
