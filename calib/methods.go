package calib

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Methods choose a clipping amplitude from a histogram.
var methods = map[string]func(h *Histogram) float32{
	"minmax":     func(h *Histogram) float32 { return h.Max },
	"percentile": percentile,
	"mse":        mse,
	"entropy":    entropy,
}

// DefaultMethod is the one that measured best on the golden sets.
const DefaultMethod = "mse"

// MethodNames lists the methods.
func MethodNames() []string { return slices.Sorted(maps.Keys(methods)) }

// Amplitude applies a method. An empty or all-zero histogram is an error.
func Amplitude(method string, h *Histogram) (float32, error) {
	f := methods[method]
	if f == nil {
		return 0, fmt.Errorf("method: have %q, want one of %s", method, strings.Join(MethodNames(), ", "))
	}
	if h.Counts == nil || h.Max == 0 {
		return 0, fmt.Errorf("all values are 0")
	}
	return min(f(h), h.Max), nil
}

// keptShare is the share of values that percentile does not clip.
const keptShare = 0.9999

func percentile(h *Histogram) float32 {
	total := int64(0)
	for _, n := range h.Counts {
		total += n
	}
	left := int64(float64(total) * (1 - keptShare))
	for i := Bins - 1; i >= 0; i-- {
		if left -= h.Counts[i]; left < 0 {
			return float32(float64(i+1) * h.width())
		}
	}
	return h.Max
}

// candidates are the clipping amplitudes that a search tries, in bins: 128 of them down from the largest amplitude.
func candidates(h *Histogram) []int {
	top := int(math.Ceil(float64(h.Max) / h.width()))
	var out []int
	for i := 128; i > 8; i-- {
		if c := (top*i + 127) / 128; len(out) == 0 || out[len(out)-1] != c {
			out = append(out, max(c, 1))
		}
	}
	return out
}

// mse minimises the expected squared error of rounding to steps and clipping.
func mse(h *Histogram) float32 {
	w := h.width()
	best, at := math.Inf(1), h.Max
	for _, c := range candidates(h) {
		t := float64(float64(c) * w)
		step := t / h.steps()
		err := 0.0
		for i, n := range h.Counts {
			if n == 0 {
				continue
			}
			x := float64((float64(i) + 0.5) * w)
			var e float64
			switch {
			case x >= t:
				e = float64((x - t) * (x - t))
			case step < 2*w: // bins are coarser than steps: the error is uniform within a step
				e = step * step / 12
			default:
				d := x - float64(step*math.Round(x/step))
				e = float64(d*d) + w*w/12
			}
			err += float64(e * float64(n))
		}
		if err < best {
			best, at = err, float32(t)
		}
	}
	return at
}

// entropy minimises the Kullback-Leibler divergence between the clipped distribution and its quantized form.
func entropy(h *Histogram) float32 {
	best, at := math.Inf(1), h.Max
	levels := int(h.steps()) + 1
	for _, c := range candidates(h) {
		if c < levels {
			break
		}
		if d := divergence(h.Counts, c, levels); d < best {
			best, at = d, float32(float64(c)*h.width())
		}
	}
	return at
}

// divergence compares the first c bins (what lies beyond is added to the last) with their average over levels groups. The
// first bin, which holds the zeros of a ReLU, is left out: every range represents it exactly.
func divergence(counts []int64, c, levels int) float64 {
	counts = counts[1:]
	c--
	p, total := make([]float64, c), 0.0
	for i, n := range counts {
		p[min(i, c-1)] += float64(n)
		total += float64(n)
	}
	d := 0.0
	for g := range levels {
		lo, hi := g*c/levels, (g+1)*c/levels
		sum, filled := 0.0, 0
		for i := lo; i < hi; i++ {
			sum += float64(counts[i])
			if counts[i] > 0 {
				filled++
			}
		}
		for i := lo; i < hi; i++ {
			if p[i] == 0 {
				continue
			}
			q := 1e-9 * total
			if counts[i] > 0 {
				q = max(q, sum/float64(filled))
			}
			d += float64(p[i] / total * math.Log(p[i]/q))
		}
	}
	return d
}
