package stats

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// A peerCase is one sample with what SciPy, statsmodels and NumPy compute from it; scripts/check_stats.py writes them. NaN is null.
type peerCase struct {
	Name      string    `json:"name"`
	D         []float64 `json:"d"`
	Clusters  []int     `json:"clusters"`
	Margin    float64   `json:"margin"` // in units of 1
	Mean      Number    `json:"mean"`
	Variance  Number    `json:"variance"`
	Statistic Number    `json:"wilcoxon_statistic"`
	Wilcoxon  Number    `json:"wilcoxon_p"`
	TOST      Number    `json:"tost_p"`
	CI        [2]Number `json:"t_ci95"`
	ClusterSE Number    `json:"cluster_se"`
	Bootstrap [2]Number `json:"bootstrap_ci95"` // percentile, over clusters, at the expanded tails
	Error     Number    `json:"bootstrap_error"`
}

// The samples of testdata agree with the libraries; STATS_PEERS names another table, which make test-stats writes.
func TestPeers(t *testing.T) {
	path := "testdata/peers.json"
	if p := os.Getenv("STATS_PEERS"); p != "" {
		path = p
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var cases []peerCase
	require.NoError(t, json.Unmarshal(text, &cases))
	require.Greater(t, len(cases), 40)
	worst := map[string]float64{}
	for i, c := range cases {
		near := func(what string, have float64, want Number, tolerance float64) {
			if math.IsNaN(float64(want)) {
				require.True(t, math.IsNaN(have), "case %d (%s): %s is %g, want none", i, c.Name, what, have)
				return
			}
			off := math.Abs(have - float64(want))
			require.LessOrEqual(t, off, tolerance, "case %d (%s): %s is %g, want %g", i, c.Name, what, have, want)
			worst[what] = max(worst[what], off)
		}
		statistic, p := Wilcoxon(c.D)
		if math.IsNaN(float64(c.Wilcoxon)) { // SciPy's answer to 14 and more zeros
			for _, x := range c.D {
				require.Zero(t, x)
			}
			c.Wilcoxon = 1
		}
		near("wilcoxon p", p, c.Wilcoxon, 1e-6)
		near("wilcoxon statistic", statistic, c.Statistic, 1e-9)
		plain := PairedT(c.D)
		near("mean", plain.Mean, c.Mean, 1e-12)
		near("variance", plain.SE*plain.SE*float64(len(c.D)), c.Variance, 1e-12)
		near("tost p", plain.TOST(-c.Margin, c.Margin), c.TOST, 1e-6)
		low, high := plain.Interval(0.95)
		near("t interval", low, c.CI[0], 1e-6)
		near("t interval", high, c.CI[1], 1e-6)
		keys := make([]string, len(c.D))
		for i, k := range c.Clusters {
			keys[i] = fmt.Sprint(k)
		}
		cluster := Cluster(c.D, keys)
		near("cluster se", cluster.T().SE, c.ClusterSE, 1e-9)
		low, high = cluster.Bootstrap(0.95, 1)
		near("bootstrap", low, c.Bootstrap[0], float64(c.Error))
		near("bootstrap", high, c.Bootstrap[1], float64(c.Error))
	}
	t.Logf("%d samples; largest differences: %v", len(cases), worst)
}

// clustered draws items of a mean: k clusters of 1 to most items, with a share icc of the variance between clusters.
func clustered(rng *rand.Rand, k, most int, icc, mean float64, draw func() float64) (d []float64, keys []string) {
	for c := range k {
		common := math.Sqrt(icc) * draw()
		for range 1 + rng.IntN(most) {
			d = append(d, mean+common+math.Sqrt(1-icc)*draw())
			keys = append(keys, fmt.Sprint(c))
		}
	}
	return d, keys
}

// A 95 % interval holds the truth 93 to 97 times in 100, where items of one image are alike; one that takes them as independent does not.
func TestBootstrapCoverage(t *testing.T) {
	times := 1000
	if os.Getenv("STATS_PEERS") != "" {
		times = 10000
	}
	rng := rand.New(rand.NewPCG(8, 8))
	normal := rng.NormFloat64
	skewed := func() float64 { return 1 - rng.ExpFloat64() }
	rare := func() float64 { // mostly nothing, and then much
		if rng.IntN(100) < 15 {
			return 0.15 - rng.ExpFloat64()
		}
		return 0.15
	}
	tailed := func() float64 { // Student's t with 4 degrees of freedom
		square := 0.0
		for range 4 {
			square += math.Pow(normal(), 2) / 4
		}
		return normal() / math.Sqrt(square)
	}
	for _, c := range []struct {
		name       string
		k, most    int
		icc        float64
		draw       func() float64
		off        float64 // from 95, at most
		plainFails bool
	}{
		{"12 images, normal", 12, 4, 0.5, normal, 2, true},
		{"30 images, normal", 30, 8, 0.5, normal, 2, true},
		{"60 images, alike", 60, 8, 0.9, normal, 2, true},
		{"100 images, heavy tails", 100, 6, 0.3, tailed, 2, true},
		{"100 images of one item", 100, 1, 0, normal, 2, false},
		{"150 images, skewed", 150, 6, 0.5, skewed, 2, true},
		{"40 images, skewed", 40, 8, 0.5, skewed, 4, true}, // what few images of a skewed kind cost
		{"100 images, rare", 100, 1, 0, rare, 6, true},     // and of a kind that seldom moves: docs/statistics.md says so
		{"20 images, rare", 20, 1, 0, rare, 18, true},
	} {
		hit, hitT, plain := 0, 0, 0
		for n := range times {
			d, keys := clustered(rng, c.k, c.most, c.icc, 0, c.draw)
			within := func(low, high float64) int {
				if low <= 0 && high >= 0 {
					return 1
				}
				return 0
			}
			cluster := Cluster(d, keys)
			hit += within(cluster.bootstrap(0.95, uint64(n), 1000))
			hitT += within(cluster.T().Interval(0.95))
			plain += within(PairedT(d).Interval(0.95))
		}
		share := func(n int) float64 { return 100 * float64(n) / float64(times) }
		t.Logf("%-24s bootstrap %.1f %%, clustered t %.1f %%, items as if independent %.1f %%", c.name, share(hit), share(hitT), share(plain))
		require.InDelta(t, 95, share(hit), c.off, c.name)
		require.InDelta(t, 95, share(hitT), c.off, c.name)
		require.Equal(t, c.plainFails, share(plain) < 93, c.name)
	}
}

// decision is Compare's without its interval.
func decision(d []float64, keys []string, margin float64) *Paired {
	c := Cluster(d, keys)
	p := &Paired{Items: len(d), Clusters: c.Len(), Margin: margin}
	p.decide(PairedT(d), c.T(), margin/100)
	return p
}

// A true mean on the edge of the margin is called acceptable about 5 times in 100, and a good one nearly always.
func TestDecisionErrors(t *testing.T) {
	const times = 1000
	rng := rand.New(rand.NewPCG(9, 9))
	count := func(mean float64) map[Decision]int {
		n := map[Decision]int{}
		for range times {
			d, keys := clustered(rng, 60, 6, 0.5, mean, func() float64 { return 0.005 * rng.NormFloat64() })
			n[decision(d, keys, 0.25).Decision]++
		}
		t.Logf("true mean %+.2f points: %v", 100*mean, n)
		return n
	}
	edge := count(-0.0025)
	require.InDelta(t, 0.05*times, edge[Equivalent]+edge[NotInferior], 0.025*times)
	require.InDelta(t, 0.05*times, edge[Inferior], 0.025*times)
	require.Greater(t, count(0)[Equivalent], times*9/10)
	require.Greater(t, count(-0.006)[Inferior], times*9/10)
	better := count(0.006)
	require.Zero(t, better[Inferior]+better[Undecided])
	require.Greater(t, better[NotInferior], times*9/10)
}

// The number of items that an undecided comparison asks for decides about four of five new ones of the same kind.
func TestNeededItems(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 10))
	draw := func(n int) *Paired {
		var d []float64
		var keys []string
		for i := range n {
			d, keys = append(d, -0.001+0.02*rng.NormFloat64()), append(keys, fmt.Sprint(i))
		}
		return decision(d, keys, 0.25)
	}
	// the mean is 0.15 points above -margin: n = ((1.645 + 0.842) * 2 / 0.15)^2 = 1100
	m := TTest{Mean: -0.001, SE: 0.02 / 10, DF: 99}
	n := needed(m, m, 0.0025)
	require.InDelta(t, 1100, n, 40)
	decided := 0
	for range 100 {
		if draw(n).Decision != Undecided {
			decided++
		}
	}
	require.InDelta(t, 80, decided, 12)
	require.Zero(t, needed(TTest{Mean: -0.0025, SE: 1, DF: 9}, TTest{Mean: -0.0025, SE: 1, DF: 9}, 0.0025), "a mean on the margin decides nothing")
}

func TestCompareEdges(t *testing.T) {
	keys := func(n int) (k []string) {
		for i := range n {
			k = append(k, fmt.Sprint(i))
		}
		return k
	}
	o := Options{Margin: 0.25, MovedBy: 0.1}
	p, err := Compare(make([]float64, 30), keys(30), o)
	require.NoError(t, err)
	require.Equal(t, Equivalent, p.Decision, "the same results")
	require.Equal(t, [2]Number{0, 0}, p.CI95)
	require.EqualValues(t, 1, p.WilcoxonP)
	require.EqualValues(t, 0, p.TOSTP)

	same := make([]float64, 30)
	for i := range same {
		same[i] = -0.01
	}
	p, err = Compare(same, keys(30), o)
	require.NoError(t, err)
	require.Equal(t, Inferior, p.Decision)
	require.EqualValues(t, 1, p.MovedShare)

	// one image, however many items, decides nothing; what is undefined is null
	one := make([]string, 30)
	p, err = Compare(same, one, o)
	require.NoError(t, err)
	require.Equal(t, Undecided, p.Decision)
	text, err := json.Marshal(p)
	require.NoError(t, err)
	require.Contains(t, string(text), `"ci95_points":[null,null]`)
	var back Paired
	require.NoError(t, json.Unmarshal(text, &back))
	require.True(t, math.IsNaN(float64(back.CI95[0])))

	p, err = Compare([]float64{0.5}, []string{"a"}, o)
	require.NoError(t, err)
	require.Equal(t, Undecided, p.Decision)

	p, err = Compare([]float64{-0.02, 0.01, 0.003}, keys(3), o)
	require.NoError(t, err)
	require.Equal(t, Undecided, p.Decision)
	require.Greater(t, p.NeededItems, 3)
	require.Contains(t, p.Reason, "of 3 images or patients only")

	rare := make([]float64, 100)
	rare[7], rare[70] = -0.1, -0.02
	p, err = Compare(rare, keys(100), o)
	require.NoError(t, err)
	require.Contains(t, p.Reason, "3 images or patients make most of the spread")
	require.EqualValues(t, 0.02, p.MovedShare)

	for _, c := range []struct {
		d    []float64
		keys []string
		o    Options
		want string
	}{
		{nil, nil, o, "there are none"},
		{same, keys(2), o, "have 2, want one for each of 30"},
		{same, keys(30), Options{}, "have 0 points, want more than 0"},
		{same, keys(30), Options{Margin: math.NaN()}, "margin"},
		{same, keys(30), Options{Margin: 1, MovedBy: -1}, "moved by"},
		{[]float64{0, math.NaN()}, keys(2), o, "differences[1]: have NaN"},
	} {
		_, err := Compare(c.d, c.keys, c.o)
		require.ErrorContains(t, err, c.want)
	}
}

// Nothing depends on the order of the items, not even a bit.
func TestCompareInAnyOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 11))
	d, keys := clustered(rng, 25, 5, 0.4, -0.001, func() float64 { return 0.01 * rng.NormFloat64() })
	want, err := Compare(d, keys, Options{Margin: 0.5, Seed: 3})
	require.NoError(t, err)
	for range 10 {
		order := rng.Perm(len(d))
		have, err := Compare(Take(d, order), Take(keys, order), Options{Margin: 0.5, Seed: 3})
		require.NoError(t, err)
		require.Equal(t, want, have)
	}
	other, err := Compare(d, keys, Options{Margin: 0.5, Seed: 4})
	require.NoError(t, err)
	require.NotEqual(t, want.CI95, other.CI95)
	require.InDelta(t, float64(want.CI95[0]), float64(other.CI95[0]), 0.05*float64(want.SE))
}

func TestGroups(t *testing.T) {
	d, organs := []float64{0, -0.02, 0.01, 0.03, -0.02}, []string{"liver", "aorta", "liver", "aorta", "spleen"}
	require.Equal(t, []Group{{"aorta", []int{1, 3}}, {"liver", []int{0, 2}}, {"spleen", []int{4}}}, Groups(organs))
	require.Equal(t, []int{3, 1, 4}, Moved(d, 1))
	by, err := CompareGroups(d, []string{"a", "b", "c", "d", "e"}, organs, Options{Margin: 1})
	require.NoError(t, err)
	require.Len(t, by, 3)
	require.Equal(t, 2, by["aorta"].Items)
	require.InDelta(t, 0.5, float64(by["aorta"].Mean), 1e-12)
	_, err = CompareGroups(d, organs, organs[:2], Options{Margin: 1})
	require.Error(t, err)
	require.Equal(t, []string{"small", "medium", "large"}, []string{SizeClass(1023), SizeClass(1024), SizeClass(9216)})
	mean, low, high := Agreement([]float64{1, 2, 3})
	require.InDeltaSlice(t, []float64{2, 0.04, 3.96}, []float64{mean, low, high}, 1e-12)
}
