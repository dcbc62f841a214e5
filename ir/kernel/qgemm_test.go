package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Integer products are those of the definition, with every set of instructions, at sizes that do not divide into tiles.
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
		for _, s := range sets() {
			have, seen := make([]int32, m*n), sync.Mutex{}
			on(s, func() {
				QGemm(m, a, p, func(r, rows, c, cols int, acc []int32) {
					seen.Lock()
					defer seen.Unlock()
					for i := range rows {
						copy(have[(r+i)*n+c:][:cols], acc[i*qCols:])
					}
				})
			})
			require.Equal(t, want, have, fmt.Sprint(d, s))
		}
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

// Integer convolutions are their definition with every set of instructions and any number of threads.
func TestSameQConv(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 16))
	for i := range 40 {
		p := Conv{N: 1 + rng.IntN(2), Groups: 1, C: 1 + rng.IntN(40), M: 1 + rng.IntN(70), H: 1 + rng.IntN(12), W: 1 + rng.IntN(20), KH: 1 + rng.IntN(3), KW: 1 + rng.IntN(3), StrideH: 1 + rng.IntN(2), StrideW: 1 + rng.IntN(2),
			PadTop: rng.IntN(3), PadLeft: rng.IntN(3), PadBottom: 2, PadRight: 2, DilH: 1 + rng.IntN(2), DilW: 1}
		if i%3 == 0 {
			p.KH, p.KW, p.StrideH, p.StrideW, p.PadTop, p.PadLeft, p.PadBottom, p.PadRight = 1, 1, 1, 1, 0, 0, 0, 0
		}
		if p.H+p.PadTop+p.PadBottom < p.DilH*(p.KH-1)+1 {
			continue
		}
		p.OutH = (p.H+p.PadTop+p.PadBottom-p.DilH*(p.KH-1)-1)/p.StrideH + 1
		p.OutW = (p.W+p.PadLeft+p.PadRight-p.KW)/p.StrideW + 1
		x, w, bias, scales := make([]uint8, p.N*p.C*p.H*p.W), make([]int8, p.KH*p.KW*p.C*p.M), make([]int32, p.M), make([]float32, p.M)
		for i := range x {
			x[i] = uint8(rng.IntN(256))
		}
		for i := range w {
			w[i] = int8(rng.IntN(256) - 128)
		}
		for i := range bias {
			bias[i], scales[i] = int32(rng.IntN(20000)-10000), rng.Float32()*0.01
		}
		const zero, point = 7, 100
		packed := PackInt8(p.KH*p.KW*p.C, p.M, w)
		want := make([]float32, p.N*p.M*p.OutH*p.OutW)
		for at := range want {
			n, m, h, v := at/(p.M*p.OutH*p.OutW), at/(p.OutH*p.OutW)%p.M, at/p.OutW%p.OutH, at%p.OutW
			sum := bias[m]
			for k := range p.KH * p.KW * p.C {
				ih, iw, c := h*p.StrideH-p.PadTop+k/(p.KW*p.C)*p.DilH, v*p.StrideW-p.PadLeft+k/p.C%p.KW, k%p.C
				in := int32(zero)
				if ih >= 0 && ih < p.H && iw >= 0 && iw < p.W {
					in = int32(x[((n*p.C+c)*p.H+ih)*p.W+iw])
				}
				sum += in * int32(w[k*p.M+m])
			}
			want[at] = float32(min(max(math.RoundToEven(float64(float32(sum)*scales[m]))+point, 0), 255))
		}
		y := make([]uint8, len(want))
		sameBits(t, fmt.Sprintf("QConv2D %+v", p), len(want), func(z []float32) {
			QConv2D(p, x, zero, packed, bias, scales, point, y)
			for i, v := range y {
				z[i] = float32(v)
			}
			require.Equal(t, want, z)
		})
		sameBits(t, "QMatMul", p.H*p.M, func(z []float32) { QMatMul(p.H, make([]uint8, p.H*packed.K), zero, packed, scales, z) })
	}
}
