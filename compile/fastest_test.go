package compile

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"syncsam-convert/artifact"
	"syncsam-convert/front"
	"syncsam-convert/golden"
	"syncsam-convert/golden/stats"
	"syncsam-convert/ir/quant"
)

// table is a hunt over made-up points: latencies fall with each step; those that hold, by the way to round, are given.
func table(steps int, r *rand.Rand, o Options, holds func(steps int, how string) bool) (h *hunt, tried *[]string) {
	c := &Calibrated{Lowered: &Lowered{Source: &Source{o: o.filled()}}, Plan: &quant.Plan{}}
	h = &hunt{search: &search{c: c, started: time.Now()}, front: &front.Front{}}
	for range steps {
		h.steps = append(h.steps, []*front.Group{{Name: "g", Float: 0.5 + r.Float64(), Layers: []string{"a"}}})
	}
	h.points(100)
	h.at = h.front.Points[0]
	h.at.Decision = string(stats.Equivalent)
	tried = &[]string{}
	h.build = func(p *front.Point, how string) (*trial, error) {
		n := len(p.Groups)
		*tried = append(*tried, fmt.Sprint(n, how))
		p.Predicted, p.Decision, p.Ratio = false, string(stats.Inferior), 1-0.03*float64(n)
		t := &trial{Compiled: &Compiled{rounding: how}, holds: holds(n, how)}
		if t.holds {
			p.Decision = string(stats.Equivalent)
		}
		return t, nil
	}
	return h, tried
}

// The search ends at the fastest point that holds, in few trials; at float where none does.
func TestFastest(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for steps := range 18 {
		for last := range steps + 1 {
			h, tried := table(steps, r, Options{Rounding: RoundNearest}, func(n int, _ string) bool { return n <= last })
			require.NoError(t, h.look())
			require.Equal(t, h.front.Points[last], h.at, "%d of %d", last, steps)
			require.Equal(t, last == 0, h.best == nil)
			require.LessOrEqual(t, len(*tried), 9)
		}
	}
}

// Whatever holds and does not, what is taken was tried and holds.
func TestFastestIsNeverOneThatDoesNotHold(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		held := map[string]bool{}
		h, tried := table(1+r.IntN(17), r, Options{Rounding: RoundAuto, Calibration: "pictures", Budget: time.Hour}, func(n int, how string) bool {
			key := fmt.Sprint(n, how)
			if _, known := held[key]; !known {
				held[key] = r.IntN(3) == 0
			}
			return held[key]
		})
		require.NoError(t, h.look())
		require.NoError(t, h.grow())
		require.NoError(t, h.fill())
		require.LessOrEqual(t, len(h.front.Points), mostPoints)
		if h.best == nil {
			require.Equal(t, h.front.Points[0], h.at)
		} else {
			require.True(t, h.best.holds)
			require.Equal(t, string(stats.Equivalent), h.at.Decision)
		}
		require.NotEmpty(t, *tried)
	}
}

// Where rounding to nearest does not hold, adaptive rounding is tried before a slower point; once the time is over nothing is.
func TestFastestRounds(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	h, tried := table(10, r, Options{Rounding: RoundAuto, Calibration: "pictures"}, func(n int, how string) bool { return how == RoundAdaptive })
	require.NoError(t, h.look())
	require.Equal(t, []string{"10nearest", "10adaptive"}, *tried)
	require.Equal(t, h.front.Points[10], h.at)

	h, tried = table(10, r, Options{Rounding: RoundNearest, Budget: time.Nanosecond}, func(int, string) bool { return true })
	time.Sleep(time.Microsecond)
	require.NoError(t, h.look())
	require.Empty(t, *tried)
	require.Nil(t, h.best)
}

// A group that fails does not keep those behind it in float; what was tried is not tried again.
func TestFastestGrows(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	h, tried := table(6, r, Options{Rounding: RoundNearest, Budget: time.Hour}, nil)
	bad := h.steps[2][0]
	h.build = func(p *front.Point, how string) (*trial, error) {
		t := &trial{Compiled: &Compiled{rounding: how}, holds: !slices.Contains(p.Groups, bad)}
		p.Ratio, p.Predicted, p.Decision = 1-0.03*float64(len(p.Groups)), false, string(stats.Inferior)
		if t.holds {
			p.Decision = string(stats.Equivalent)
		}
		*tried = append(*tried, fmt.Sprint(len(p.Groups)))
		return t, nil
	}
	for _, step := range h.steps {
		step[0].Float = 5 // of 100, with 0 in INT8
	}
	require.NoError(t, h.look())
	require.Len(t, h.at.Groups, 2)
	before := len(*tried)
	require.NoError(t, h.grow())
	require.Len(t, h.at.Groups, 5)
	require.False(t, slices.Contains(h.at.Groups, bad))
	require.Equal(t, before+3, len(*tried))
}

// A point says of a trial the mode that fell most, and takes not-inferior for what it is: not equivalent.
func TestSaw(t *testing.T) {
	mode := func(mean float64, d stats.Decision) *golden.Paired {
		return &golden.Paired{Paired: &stats.Paired{Mean: stats.Number(mean), CI95: [2]stats.Number{stats.Number(mean - 0.1), stats.Number(mean + 0.1)}, Decision: d, NeededItems: 300}}
	}
	for _, c := range []struct {
		box, point stats.Decision
		holds      bool
		decision   stats.Decision
	}{
		{stats.Equivalent, stats.Equivalent, true, stats.Equivalent}, {stats.Equivalent, stats.NotInferior, false, stats.NotInferior},
		{stats.Undecided, stats.NotInferior, false, stats.Undecided}, {stats.Undecided, stats.Inferior, false, stats.Inferior},
	} {
		r := &golden.Report{Modes: map[string]golden.Summary{"box": {Pass: true}, "point1": {Pass: true}}, Paired: map[string]*golden.Paired{"box": mode(0.3, c.box), "point1": mode(-0.2, c.point)}}
		tr, p := &trial{Compiled: &Compiled{rounding: RoundNearest}, report: r, holds: true, man: &artifact.Manifest{}}, &front.Point{Precision: INT8}
		(&hunt{}).saw(p, tr)
		require.Equal(t, c.holds, tr.holds)
		require.Equal(t, string(c.decision), p.Decision)
		require.Equal(t, "point1", p.Mode)
		require.InDelta(t, -0.2, *p.Delta, 1e-9)
		require.InDelta(t, -0.3, *p.Low, 1e-9)
		if c.decision == stats.Undecided {
			require.Contains(t, p.Found(), "not enough data (needs about 300 items)")
		}
	}
}

// What a search needs is asked for by name, before any work.
func TestAutoNeeds(t *testing.T) {
	drop := 0.1
	for want, o := range map[string]Options{
		"--precision auto: needs --golden":                  {Calibration: "x"},
		"--precision auto: needs --calib":                   {Golden: "x", MaxDrop: &drop},
		"--plan: not with --precision auto":                 {Golden: "x", Plan: "p"},
		"--precision auto: not with --target tensorrt":      {Golden: "x", Calibration: "x", Target: TensorRT},
		"--stop-after: not with --precision auto":           {Golden: "x", Calibration: "x", Debug: Debug{StopAfter: 2}},
		"--rounding adaptive: needs --precision int8 with ": {Golden: "x", Calibration: "x.safetensors", Rounding: RoundAdaptive},
	} {
		o.Precision = Auto
		require.ErrorContains(t, o.Validate(), want)
	}
}
