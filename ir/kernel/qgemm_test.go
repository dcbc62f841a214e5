package kernel

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Integer products are those of the definition, in the tile and without it, at sizes that do not divide into tiles.
func TestQGemm(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, d := range [][3]int{{1, 1, 1}, {8, 32, 4}, {9, 33, 5}, {70, 100, 67}, {200, 31, 768}, {3, 300, 2}, {65, 64, 0}} {
		m, n, k := d[0], d[1], d[2]
		a, b, want := make([]uint8, m*k), make([]int8, k*n), make([]int32, m*n)
		for i := range a {
			a[i] = uint8(random.IntN(256))
		}
		for i := range b {
			b[i] = int8(random.IntN(256) - 128)
		}
		for i := range m {
			for l := range k {
				for j := range n {
					want[i*n+j] += int32(a[i*k+l]) * int32(b[l*n+j])
				}
			}
		}
		p := PackInt8(k, n, b)
		for j := range n {
			sum := int32(0)
			for l := range k {
				sum += int32(b[l*n+j])
			}
			require.Equal(t, sum, p.Sums[j])
		}
		had := hasVNNI
		for _, vnni := range []bool{had, false} {
			setVNNI(vnni)
			have, seen := make([]int32, m*n), sync.Mutex{}
			QGemm(m, a, p, func(r, rows, c, cols int, acc []int32) {
				seen.Lock()
				defer seen.Unlock()
				for i := range rows {
					copy(have[(r+i)*n+c:][:cols], acc[i*qCols:])
				}
			})
			require.Equal(t, want, have, fmt.Sprint(d, vnni))
		}
		setVNNI(had)
	}
}

func BenchmarkQGemm(b *testing.B) {
	const m, n, k = 256, 3072, 768
	a, w := make([]uint8, m*k), make([]int8, k*n)
	p := PackInt8(k, n, w)
	for b.Loop() {
		QGemm(m, a, p, func(int, int, int, int, []int32) {})
	}
	b.ReportMetric(2*m*n*k*float64(b.N)/1e9/b.Elapsed().Seconds(), "GOP/s")
}
