package stats

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// A TTest is the mean of differences with what Student's t tests need to know of it.
type TTest struct {
	Mean, SE float64
	DF       float64 // degrees of freedom
}

// PairedT takes the differences as independent of each other: SE is their standard deviation over the root of their number.
// Fewer than two give SE NaN and no degrees of freedom.
func PairedT(d []float64) TTest {
	m := &Moments{}
	for _, x := range d {
		m.Add(x)
	}
	return TTest{m.Mean(), math.Sqrt(m.Variance() / float64(m.N)), float64(m.N - 1)}
}

// Above is the p-value against the null hypothesis that the true mean is at most x: small when it is shown to be larger. Without any spread
// it is 0 or 1, and 1 when the mean is x; NaN without degrees of freedom.
func (t TTest) Above(x float64) float64 { return t.tail(t.Mean - x) }

// Below is the p-value against the null hypothesis that the true mean is at least x.
func (t TTest) Below(x float64) float64 { return t.tail(x - t.Mean) }

func (t TTest) tail(by float64) float64 {
	switch {
	case !(t.DF > 0):
		return math.NaN()
	case t.SE > 0:
		return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: t.DF}.CDF(-by / t.SE)
	case by > 0:
		return 0
	}
	return 1
}

// TOST is the p-value of two one-sided tests against "the true mean is low or less, or high or more" (Schuirmann 1987); statsmodels'
// ttost_paired on the same differences.
func (t TTest) TOST(low, high float64) float64 { return max(t.Above(low), t.Below(high)) }

// Interval is the mean's two-sided confidence interval at a level, 0.95 for example; NaN without degrees of freedom.
func (t TTest) Interval(level float64) (low, high float64) {
	if !(t.DF > 0) {
		return math.NaN(), math.NaN()
	}
	by := t.SE * quantileT((1+level)/2, t.DF)
	return t.Mean - by, t.Mean + by
}

func quantileT(p, df float64) float64 { return distuv.StudentsT{Mu: 0, Sigma: 1, Nu: df}.Quantile(p) }

// Wilcoxon is the signed-rank test of differences, two-sided, as SciPy's wilcoxon computes it by default (1.15 and later): zeros are left
// out and equal amounts share their mean rank; the p-value is exact up to 50 differences without zeros or ties and up to 13 with them,
// otherwise normal with the variance corrected for ties, without continuity correction. statistic is the smaller sum of ranks.
// Where all differences are zero p is 1, for any number of them (SciPy's is NaN for 14 and more).
func Wilcoxon(d []float64) (statistic, p float64) {
	var moved []float64
	for _, x := range d {
		if x != 0 {
			moved = append(moved, x)
		}
	}
	n := len(moved)
	if n == 0 {
		return 0, 1
	}
	slices.SortFunc(moved, func(a, b float64) int { return cmp.Compare(math.Abs(a), math.Abs(b)) })
	twice := make([]int, n) // ranks, doubled so that mean ranks are integers
	up, ties, tied := 0, 0.0, false
	for i := 0; i < n; {
		j := i + 1
		for j < n && math.Abs(moved[j]) == math.Abs(moved[i]) {
			j++
		}
		k := float64(j - i)
		ties, tied = ties+(k*k*k-k), tied || j > i+1
		for ; i < j; i++ {
			twice[i] = 2*j - int(k) + 1
			if moved[i] > 0 {
				up += twice[i]
			}
		}
	}
	all := n * (n + 1)
	statistic = float64(min(up, all-up)) / 2
	if plain := !tied && n == len(d); plain && n <= 50 || !plain && len(d) <= 13 {
		return statistic, exactRanks(twice, up)
	}
	f := float64(n)
	se := math.Sqrt((f*(f+1)*(2*f+1) - ties/2) / 24)
	z := (float64(up)/2 - f*(f+1)/4) / se
	return statistic, min(2*distuv.UnitNormal.CDF(-math.Abs(z)), 1)
}

// exactRanks is the two-sided p-value of a sum of ranks of which each is in it or not with equal chance.
func exactRanks(ranks []int, sum int) float64 {
	all := 0
	for _, r := range ranks {
		all += r
	}
	ways := make([]float64, all+1) // of each sum; at most 2^50 together, so exact
	ways[0] = 1
	for _, r := range ranks {
		for s := all; s >= r; s-- {
			ways[s] += ways[s-r]
		}
	}
	less, more := 0.0, 0.0
	for s, n := range ways {
		if s <= sum {
			less += n
		}
		if s >= sum {
			more += n
		}
	}
	return min(2*min(less, more)/math.Ldexp(1, len(ranks)), 1)
}
