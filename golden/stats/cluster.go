package stats

import (
	"cmp"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Clusters are differences summed by what they belong to (an image, a patient): items of one cluster are not independent of each other,
// clusters are. They are in the order of their keys, so that nothing depends on the order of the items.
type Clusters struct {
	items int
	mean  float64
	sum   []float64
	count []float64
}

// Cluster sums differences by key.
func Cluster(d []float64, keys []string) *Clusters {
	order := make([]int, len(d))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(keys[a], keys[b]) })
	c, all := &Clusters{items: len(d)}, &Moments{}
	for i := 0; i < len(order); {
		one, key := &Moments{}, keys[order[i]]
		for ; i < len(order) && keys[order[i]] == key; i++ {
			one.Add(d[order[i]])
		}
		c.sum, c.count = append(c.sum, one.Sum.Float64()), append(c.count, float64(one.N))
		all.Merge(one)
	}
	c.mean = all.Mean()
	return c
}

// Len is the number of clusters.
func (c *Clusters) Len() int { return len(c.sum) }

// Effective is the number of clusters of one size that tell as much as these (Kish 1965): (sum n)^2 / sum n^2.
func (c *Clusters) Effective() float64 {
	square := 0.0
	for _, n := range c.count {
		square += n * n
	}
	return float64(c.items) * float64(c.items) / square
}

// df is the degrees of freedom: those of the effective number of clusters, at least 1.
func (c *Clusters) df() float64 { return max(c.Effective()-1, 1) }

// T is the mean over items with its standard error between clusters (Liang and Zeger's sandwich with the factor K/(K-1)). With one item in
// every cluster it is PairedT. Fewer than two clusters have no degrees of freedom.
func (c *Clusters) T() TTest {
	k, square := float64(c.Len()), &Sum{}
	if k < 2 {
		return TTest{Mean: c.mean, SE: math.NaN()}
	}
	for i, s := range c.sum {
		e := s - float64(c.count[i]*c.mean)
		square.Add(e * e)
	}
	return TTest{c.mean, math.Sqrt(k/(k-1)*square.Float64()) / float64(c.items), c.df()}
}

// Carried is the share of the spread between clusters that the n with the largest deviations make, 0 to 1; 0 when there is no spread.
func (c *Clusters) Carried(n int) float64 {
	square, all := make([]float64, c.Len()), 0.0
	for i, s := range c.sum {
		e := s - float64(c.count[i]*c.mean)
		square[i] = e * e
		all += square[i]
	}
	if all == 0 {
		return 0
	}
	slices.Sort(square)
	top := 0.0
	for _, s := range square[max(len(square)-n, 0):] {
		top += s
	}
	return top / all
}

// Bootstrap is the percentile interval of the mean over items at a level, over draws of K clusters with replacement. Its tails are those of
// Student's t in place of the normal ones (Hesterberg's expanded percentile, The American Statistician 2015): without that, 10 clusters
// cover 87 to 91 % in place of 95 %. A seed gives the same bits always. NaN of fewer than two clusters.
func (c *Clusters) Bootstrap(level float64, seed uint64) (low, high float64) {
	return c.bootstrap(level, seed, max(1000, min(10000, 200_000_000/max(c.Len(), 1)))) // a second or two at most
}

func (c *Clusters) bootstrap(level float64, seed uint64, draws int) (low, high float64) {
	k := c.Len()
	if k < 2 {
		return math.NaN(), math.NaN()
	}
	means := make([]float64, draws)
	pcg := rand.NewPCG(seed, uint64(k))
	for r := range means {
		sum, count := 0.0, 0.0
		for range k {
			i, _ := bits.Mul64(pcg.Uint64(), uint64(k))
			sum, count = sum+c.sum[i], count+c.count[i]
		}
		means[r] = sum / count
	}
	slices.Sort(means)
	f := float64(k)
	tail := distuv.UnitNormal.CDF(-math.Sqrt(f/(f-1)) * quantileT((1+level)/2, c.df()))
	return quantile(means, tail), quantile(means, 1-tail)
}

// quantile interpolates between sorted numbers, as NumPy does by default.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	lo := min(int(at), len(sorted)-1)
	hi := min(lo+1, len(sorted)-1)
	return sorted[lo] + float64((at-float64(lo))*(sorted[hi]-sorted[lo]))
}
