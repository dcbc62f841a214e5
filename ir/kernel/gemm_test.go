package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func random(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// naiveGemm is the definition, in float64.
func naiveGemm(transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) []float64 {
	out := make([]float64, m*n)
	for i := range m {
		for j := range n {
			var sum float64
			for l := range k {
				x, y := i*lda+l, l*ldb+j
				if transA {
					x = l*lda + i
				}
				if transB {
					y = j*ldb + l
				}
				sum += float64(a[x]) * float64(b[y])
			}
			out[i*n+j] = float64(alpha) * sum
			if beta != 0 {
				out[i*n+j] += float64(beta) * float64(c[i*ldc+j])
			}
		}
	}
	return out
}

// Every path (tiles, edges, small products, both transposes, row lengths beyond the matrix) agrees with the definition.
func TestGemm(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range [][3]int{{1, 1, 1}, {1, 17, 300}, {3, 5, 7}, {6, 16, 256}, {7, 17, 257}, {13, 100, 33}, {73, 31, 513}, {72, 512, 256}, {145, 530, 40}, {200, 3, 64}} {
		for _, mode := range []struct{ ta, tb bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
			for _, f := range [][2]float32{{1, 0}, {1, 1}, {-0.5, -2}} {
				t.Run(fmt.Sprintf("%v %v %v", size, mode, f), func(t *testing.T) {
					m, n, k := size[0], size[1], size[2]
					lda, ldb, ldc := k+3, n+1, n+2
					aLen, bLen := m*lda, k*ldb
					if mode.ta {
						lda = m + 3
						aLen = k * lda
					}
					if mode.tb {
						ldb = k + 1
						bLen = n * ldb
					}
					a, b, c := random(rng, aLen), random(rng, bLen), random(rng, m*ldc)
					if f[1] == 0 {
						c[0] = float32(math.NaN()) // beta 0 must not read c
					}
					want := naiveGemm(mode.ta, mode.tb, m, n, k, f[0], a, lda, b, ldb, f[1], c, ldc)
					outside := c[n]
					Gemm(mode.ta, mode.tb, m, n, k, f[0], a, lda, b, ldb, f[1], c, ldc)
					require.Equal(t, outside, c[n], "it writes beyond the row")
					for i := range m {
						for j := range n {
							require.InDelta(t, want[i*n+j], c[i*ldc+j], 1e-5*math.Sqrt(float64(k))+1e-5)
						}
					}
				})
			}
		}
	}
}

// The number of threads does not change a bit.
func TestGemmThreads(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	a, b := random(rng, 150*300), random(rng, 300*600)
	one, many := make([]float32, 150*600), make([]float32, 150*600)
	Gemm(false, false, 150, 600, 300, 1, a, 300, b, 600, 0, many, 600)
	atThreads(1, func() { Gemm(false, false, 150, 600, 300, 1, a, 300, b, 600, 0, one, 600) })
	require.Equal(t, one, many)
}

func BenchmarkGemm(b *testing.B) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, size := range [][3]int{{256, 768, 768}, {784, 2304, 768}, {196, 196, 64}, {64, 16384, 147}, {1, 768, 768}} {
		b.Run(fmt.Sprintf("%dx%dx%d", size[0], size[1], size[2]), func(b *testing.B) {
			m, n, k := size[0], size[1], size[2]
			x, y, z := random(rng, m*k), random(rng, k*n), make([]float32, m*n)
			for b.Loop() {
				Gemm(false, false, m, n, k, 1, x, k, y, n, 0, z, n)
			}
			b.ReportMetric(2*float64(m)*float64(n)*float64(k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}

func BenchmarkConv(b *testing.B) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, size := range [][4]int{{64, 64, 64, 3}, {256, 256, 16, 3}, {512, 512, 8, 3}, {256, 64, 64, 1}, {64, 3, 128, 7}} {
		b.Run(fmt.Sprintf("%dto%d_%dx%d_%d", size[1], size[0], size[2], size[2], size[3]), func(b *testing.B) {
			m, c, w, k := size[0], size[1], size[2], size[3]
			p := Conv{N: 1, C: c, H: w, W: w, M: m, OutH: w, OutW: w, KH: k, KW: k, StrideH: 1, StrideW: 1, PadTop: k / 2, PadLeft: k / 2, PadBottom: k / 2, PadRight: k / 2, DilH: 1, DilW: 1, Groups: 1}
			x, weights, y := random(rng, c*w*w), random(rng, m*c*k*k), make([]float32, m*w*w)
			packed := PackConv(p, weights)
			for b.Loop() {
				Conv2D(p, x, weights, packed, nil, y)
			}
			b.ReportMetric(2*float64(m*c*k*k*w*w)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}

func BenchmarkFunctions(b *testing.B) {
	rng := rand.New(rand.NewPCG(5, 6))
	const rows, cols = 1024, 196
	x, y, q := random(rng, rows*cols), make([]float32, rows*cols), make([]uint8, rows*cols)
	for _, f := range []struct {
		name string
		f    func()
	}{
		{"Exp", func() { Exp(x, y) }},
		{"Gelu", func() { Gelu(x, y) }},
		{"GeluTanh", func() { GeluTanh(x, y) }},
		{"Tanh", func() { Tanh(x, y) }},
		{"Relu", func() { Relu(x, y) }},
		{"Softmax", func() { Softmax(rows, cols, x, y) }},
		{"LayerNorm", func() { LayerNorm(rows, cols, x, x[:cols], x[:cols], 1e-6, y) }},
		{"Add", func() { Binary("Add", []int{rows, cols}, x, []int{rows, cols}, x[:cols], []int{cols}, y) }},
		{"Quantize", func() { QuantizeUint8(1, 1, len(x), x, []float32{0.02}, []uint8{128}, q) }},
		{"Dequantize", func() { DequantizeUint8(q, 0.02, 128, y) }},
	} {
		b.Run(f.name, func(b *testing.B) {
			for b.Loop() {
				f.f()
			}
			b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N)/rows/cols, "ns/element")
		})
	}
}
