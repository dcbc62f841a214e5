package kernel

import "math"

// folds computes one result of a reduction from its elements. Sums are in float64; the logarithm of a sum of exponentials
// takes the largest exponent out first.
var folds = map[string]func(x []float32) float64{
	"ReduceSum":  sum,
	"ReduceMean": func(x []float32) float64 { return sum(x) / float64(len(x)) },
	"ReduceMax":  largest,
	"ReduceMin":  least,
	"ReduceLogSumExp": func(x []float32) float64 {
		most := largest(x)
		if math.IsInf(most, 0) || math.IsNaN(most) {
			return most
		}
		total := 0.0
		for _, v := range x {
			total += exp64(float64(v) - most)
		}
		return most + log64(total)
	},
}

// sum adds in 16 sums (see lanes).
func sum(x []float32) float64 {
	var s [16]float64
	whole := sumLanes(x, &s)
	for i, v := range x[whole:] {
		s[i&15] += float64(v)
	}
	return lanes(s)
}

// sumSquares is the sum of (x - mean)^2, each rounded to float32.
func sumSquares(x []float32, mean float32) float64 {
	var s [16]float64
	whole := squaresLanes(x, &s, mean)
	for i, v := range x[whole:] {
		d := v - mean
		s[i&15] += float64(d * d)
	}
	return lanes(s)
}

// greatest is the maximum of what is not NaN.
func greatest(x []float32) float32 {
	s := [16]float32{negInf, negInf, negInf, negInf, negInf, negInf, negInf, negInf, negInf, negInf, negInf, negInf, negInf, negInf, negInf, negInf}
	whole := largestLanes(x, &s)
	for i, v := range x[whole:] {
		if v > s[i&15] {
			s[i&15] = v
		}
	}
	m := negInf
	for _, v := range s {
		m = max(m, v)
	}
	return m
}

// largest is the maximum; NaN where one is among the elements.
func largest(x []float32) float64 {
	most := float32(math.Inf(-1))
	for _, v := range x {
		if v > most || v != v {
			most = v
		}
	}
	return float64(most)
}

// least is the minimum; NaN where one is among the elements.
func least(x []float32) float64 {
	most := float32(math.Inf(1))
	for _, v := range x {
		if v < most || v != v {
			most = v
		}
	}
	return float64(most)
}

// Reduce folds x over the axes by an ONNX operator of the table folds.
func Reduce(op string, dims, axes []int, x, y []float32) {
	fold := folds[op]
	reduce(func(row []float32) float32 { return float32(fold(row)) }, dims, axes, x, y)
}

// ReduceInts is Reduce of integers: ReduceSum, which wraps, ReduceMax and ReduceMin.
func ReduceInts(op string, dims, axes []int, x, y []int64) {
	two := map[string]func(a, b int64) int64{
		"ReduceSum": func(a, b int64) int64 { return a + b },
		"ReduceMax": func(a, b int64) int64 { return max(a, b) },
		"ReduceMin": func(a, b int64) int64 { return min(a, b) },
	}[op]
	reduce(func(row []int64) int64 {
		if len(row) == 0 {
			return 0
		}
		all := row[0]
		for _, v := range row[1:] {
			all = two(all, v)
		}
		return all
	}, dims, axes, x, y)
}

// reduce folds x over the axes.
func reduce[T Number](fold func(row []T) T, dims, axes []int, x, y []T) {
	reduced := map[int]bool{}
	n, last := 1, len(dims)
	for _, a := range axes {
		reduced[a] = true
		n *= dims[a]
		last = min(last, a)
	}
	if len(dims)-last == len(axes) { // the last axes: each result's elements lie side by side
		Parallel(len(y), max(1, grain/8/max(1, n)), func(lo, hi int) {
			for i := lo; i < hi; i++ {
				y[i] = fold(x[i*n : (i+1)*n])
			}
		})
		return
	}
	at, inner := []int{0}, []int{0} // offsets of the results' first elements, and of a result's elements from there
	for a, step := len(dims)-1, 1; a >= 0; a-- {
		list := &at
		if reduced[a] {
			list = &inner
		}
		wider := make([]int, 0, dims[a]*len(*list))
		for i := range dims[a] {
			for _, o := range *list {
				wider = append(wider, i*step+o)
			}
		}
		*list = wider
		step *= dims[a]
	}
	Parallel(len(at), max(1, grain/8/max(1, len(inner))), func(lo, hi int) {
		row := make([]T, len(inner))
		for i := lo; i < hi; i++ {
			for k, o := range inner {
				row[k] = x[at[i]+o]
			}
			y[i] = fold(row)
		}
	})
}

// ArgMax gives the index of the first maximum over the middle axis of [outer, n, inner].
func ArgMax[T Number](outer, n, inner int, x []T, y []int64) {
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
				a := float32(top[c.lo]*(1-c.part)) + float32(top[c.hi]*c.part)
				b := float32(bottom[c.lo]*(1-c.part)) + float32(bottom[c.hi]*c.part)
				out[j] = float32(a*(1-s.part)) + float32(b*s.part)
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
