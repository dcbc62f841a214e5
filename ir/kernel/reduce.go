package kernel

import "math"

// Reduce folds x over the axes by an ONNX operator: ReduceMean, ReduceSum, ReduceMax, ReduceMin. Sums are in float64.
func Reduce(op string, dims, axes []int, x, y []float32) {
	kept := make([]int, len(dims)) // stride in y, 0 on reduced axes
	reduced := map[int]bool{}
	count := 1
	for _, a := range axes {
		reduced[a] = true
		count *= dims[a]
	}
	for i, step := len(dims)-1, 1; i >= 0; i-- {
		if !reduced[i] {
			kept[i] = step
			step *= dims[i]
		}
	}
	acc := make([]float64, len(y))
	combine := func(a, v float64) float64 { return a + v }
	start := 0.0
	switch op {
	case "ReduceMax":
		combine, start = math.Max, math.Inf(-1)
	case "ReduceMin":
		combine, start = math.Min, math.Inf(1)
	}
	for i := range acc {
		acc[i] = start
	}
	idx, at := make([]int, len(dims)), 0
	for _, v := range x {
		acc[at] = combine(acc[at], float64(v))
		for a := len(idx) - 1; a >= 0; a-- {
			idx[a]++
			at += kept[a]
			if idx[a] < dims[a] {
				break
			}
			at -= idx[a] * kept[a]
			idx[a] = 0
		}
	}
	for i, v := range acc {
		if op == "ReduceMean" {
			v /= float64(count)
		}
		y[i] = float32(v)
	}
}

// ArgMax gives the index of the first maximum over the middle axis of [outer, n, inner].
func ArgMax(outer, n, inner int, x []float32, y []int64) {
	for o := range outer {
		for i := range inner {
			best := 0
			for k := 1; k < n; k++ {
				if x[(o*n+k)*inner+i] > x[(o*n+best)*inner+i] {
					best = k
				}
			}
			y[o*inner+i] = int64(best)
		}
	}
}

// Resize scales planes of h x w to oh x ow: mode "linear" or "nearest" (halves round down), with ONNX's coordinate
// transformations half_pixel, align_corners and asymmetric.
func Resize(mode, coord string, planes, h, w, oh, ow int, x, y []float32) {
	rows, cols := samples(mode, coord, h, oh), samples(mode, coord, w, ow)
	Parallel(planes*oh, max(1, grain/8/max(1, ow)), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			plane, s := x[r/oh*h*w:][:h*w], rows[r%oh]
			top, bottom, out := plane[s.lo*w:][:w], plane[s.hi*w:][:w], y[r*ow:][:ow]
			for j, c := range cols {
				a := top[c.lo]*(1-c.part) + top[c.hi]*c.part
				b := bottom[c.lo]*(1-c.part) + bottom[c.hi]*c.part
				out[j] = a*(1-s.part) + b*s.part
			}
		}
	})
}

// sample says which two inputs an output position lies between, and how near the second.
type sample struct {
	lo, hi int
	part   float32
}

func samples(mode, coord string, n, out int) []sample {
	s := make([]sample, out)
	for i := range s {
		var at float64
		switch {
		case coord == "half_pixel":
			at = (float64(i)+0.5)*float64(n)/float64(out) - 0.5
		case coord == "asymmetric":
			at = float64(i) * float64(n) / float64(out)
		case out > 1: // align_corners
			at = float64(i) * float64(n-1) / float64(out-1)
		}
		if mode == "nearest" {
			at = math.Ceil(at - 0.5)
		}
		at = min(max(at, 0), float64(n-1))
		lo := int(at)
		s[i] = sample{lo, min(lo+1, n-1), float32(at - float64(lo))}
	}
	return s
}
