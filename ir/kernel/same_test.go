package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// on runs f with a set of instructions.
func on(s set, f func()) {
	old := use
	use = s
	defer func() { use = old }()
	f()
}

// wild is random numbers with edges among them: infinities, NaN, subnormal and huge numbers.
func wild(rng *rand.Rand, n int) []float32 {
	x := random(rng, n)
	for i := range x {
		switch rng.IntN(16) {
		case 0:
			x[i] = edges[rng.IntN(len(edges))]
		case 1:
			x[i] = math.Float32frombits(rng.Uint32())
		}
	}
	return x
}

// sameBits computes a result with all sets of instructions and several threads, and holds them equal.
func sameBits(t *testing.T, name string, n int, f func(y []float32)) {
	t.Helper()
	var want []float32
	for _, s := range sets() {
		for _, threads := range []int{1, 2, 5} {
			y := make([]float32, n)
			for i := range y {
				y[i] = -12345
			}
			on(s, func() { atThreads(threads, func() { f(y) }) })
			if want == nil {
				want = y
			}
			for i := range y {
				if !sameFloat(y[i], want[i]) {
					t.Fatalf("%s: element %d with %s and %d threads: have %g (%x), want %g (%x) as with %s", name, i, s, threads,
						y[i], math.Float32bits(y[i]), want[i], math.Float32bits(want[i]), sets()[0])
				}
			}
		}
	}
}

// Products have the same bits with every set of instructions and any number of threads, and each element is one chain of roundings.
func TestSameProducts(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	sizes := [][3]int{{1, 1, 1}, {1, 40, 300}, {3, 5, 7}, {14, 32, 256}, {15, 33, 257}, {28, 64, 3}, {29, 70, 90}, {13, 16, 0}, {100, 17, 20}, {150, 90, 20}, {5, 600, 30}, {2, 1100, 3}}
	for range 30 {
		sizes = append(sizes, [3]int{1 + rng.IntN(60), 1 + rng.IntN(100), 1 + rng.IntN(40)})
	}
	for i, size := range sizes {
		m, n, k := size[0], size[1], size[2]
		make := random
		if i%2 == 1 {
			make = wild
		}
		for mode := range 4 {
			ta, tb := mode&1 != 0, mode&2 != 0
			alpha, beta := []float32{1, 0.7, 1}[i%3], []float32{0, 1, -0.3}[i%3]
			lda, ldb := k+1, n+2
			a, b := make(rng, m*lda), make(rng, k*ldb)
			if ta {
				lda = m + 3
				a = make(rng, k*lda)
			}
			if tb {
				ldb = k + 1
				b = make(rng, n*ldb)
			}
			c := make(rng, m*(n+1))
			sameBits(t, fmt.Sprint("Gemm ", size, ta, tb), len(c), func(y []float32) {
				copy(y, c)
				Gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, y, n+1)
			})
			y := slices.Clone(c)
			Gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, y, n+1)
			for e := range 10 { // the definition
				i, j := (e*7)%m, (e*11)%n
				want := float32(0)
				if beta != 0 {
					want = c[i*(n+1)+j] * beta
				}
				for l := range k {
					x, y := a[max(0, min(len(a)-1, i*lda+l))], b[max(0, min(len(b)-1, l*ldb+j))]
					if ta {
						x = a[l*lda+i]
					}
					if tb {
						y = b[j*ldb+l]
					}
					want = fma(float32(x*alpha), y, want)
				}
				require.True(t, sameFloat(want, y[i*(n+1)+j]), "Gemm %v: have %g, want %g", size, y[i*(n+1)+j], want)
			}
		}
		a, b := make(rng, m*k), make(rng, k*n)
		sameBits(t, fmt.Sprint("GemmRight ", size), m*n, func(y []float32) { GemmRight(m, a, PackRight(k, n, b), y) })
	}
}

// Convolutions have the same bits with weights laid out before or not, and are their definition.
func TestSameConvolutions(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for i := range 90 {
		p := Conv{N: 1 + rng.IntN(2), Groups: 1 + rng.IntN(2), H: 1 + rng.IntN(12), W: 1 + rng.IntN(45), KH: 1 + rng.IntN(3), KW: 1 + rng.IntN(3), StrideH: 1 + rng.IntN(4), StrideW: 1 + rng.IntN(4),
			PadTop: rng.IntN(3), PadLeft: rng.IntN(3), PadBottom: rng.IntN(3), PadRight: rng.IntN(3), DilH: 1 + rng.IntN(2), DilW: 1 + rng.IntN(2)}
		p.C, p.M = p.Groups*(1+rng.IntN(5)), p.Groups*(1+rng.IntN(20))
		if i%4 == 0 {
			p.KH, p.KW, p.StrideH, p.StrideW, p.PadTop, p.PadLeft, p.PadBottom, p.PadRight = 1, 1, 1, 1, 0, 0, 0, 0
		}
		if i%3 == 0 { // rows of whole vectors
			p.KW, p.PadLeft, p.PadRight, p.DilW = 3, 1, 1, 1
			p.W = 8 * p.StrideW * (1 + rng.IntN(6))
		}
		p.OutH = (p.H+p.PadTop+p.PadBottom-p.DilH*(p.KH-1)-1)/p.StrideH + 1
		p.OutW = (p.W+p.PadLeft+p.PadRight-p.DilW*(p.KW-1)-1)/p.StrideW + 1
		if p.H+p.PadTop+p.PadBottom < p.DilH*(p.KH-1)+1 || p.W+p.PadLeft+p.PadRight < p.DilW*(p.KW-1)+1 {
			continue
		}
		numbers := random
		if i%3 == 1 {
			numbers = wild
		}
		cg, mg := p.C/p.Groups, p.M/p.Groups
		x, w, bias := numbers(rng, p.N*p.C*p.H*p.W), numbers(rng, p.M*cg*p.KH*p.KW), numbers(rng, p.M)
		size := p.N * p.M * p.OutH * p.OutW
		y := make([]float32, size)
		Conv2D(p, x, w, nil, bias, y)
		sameBits(t, fmt.Sprintf("Conv2D %+v", p), size, func(z []float32) {
			Conv2D(p, x, w, PackConv(p, w), bias, z)
			for i := range z {
				require.True(t, sameFloat(y[i], z[i]), "laid out before")
			}
			Conv2D(p, x, w, nil, bias, z)
		})
		for e := range 20 {
			at := e * 7919 % size
			n, m, h, v := at/(p.M*p.OutH*p.OutW), at/(p.OutH*p.OutW)%p.M, at/p.OutW%p.OutH, at%p.OutW
			want := bias[m]
			for c := range cg {
				for kh := range p.KH {
					for kw := range p.KW {
						ih, iw := h*p.StrideH-p.PadTop+kh*p.DilH, v*p.StrideW-p.PadLeft+kw*p.DilW
						in := float32(0)
						if ih >= 0 && ih < p.H && iw >= 0 && iw < p.W {
							in = x[((n*p.C+m/mg*cg+c)*p.H+ih)*p.W+iw]
						}
						want = fma(w[((m*cg+c)*p.KH+kh)*p.KW+kw], in, want)
					}
				}
			}
			require.True(t, sameFloat(want, y[at]), "%+v: element %d: have %g, want %g", p, at, y[at], want)
		}
	}
}

// Transposed convolutions have the same bits, and are their definition.
func TestSameConvTranspose(t *testing.T) {
	rng := rand.New(rand.NewPCG(17, 18))
	for i := range 60 {
		p := Conv{N: 1 + rng.IntN(2), Groups: 1 + rng.IntN(2), H: 1 + rng.IntN(9), W: 1 + rng.IntN(30), KH: 1 + rng.IntN(4), KW: 1 + rng.IntN(4), StrideH: 1 + rng.IntN(3), StrideW: 1 + rng.IntN(3), PadTop: rng.IntN(2), PadLeft: rng.IntN(2), DilH: 1, DilW: 1}
		if i%2 == 0 {
			p.KH, p.KW, p.StrideH, p.StrideW, p.PadTop, p.PadLeft = 2, 2, 2, 2, 0, 0
		}
		if i%10 == 0 {
			p.H, p.W = 40, 70
		}
		p.C, p.M = p.Groups*(1+rng.IntN(5)), p.Groups*(1+rng.IntN(20))
		p.OutH, p.OutW = (p.H-1)*p.StrideH+p.KH-2*p.PadTop, (p.W-1)*p.StrideW+p.KW-2*p.PadLeft
		if p.OutH < 1 || p.OutW < 1 {
			continue
		}
		numbers := random
		if i%3 == 1 {
			numbers = wild
		}
		cg, mg := p.C/p.Groups, p.M/p.Groups
		x, w, bias := numbers(rng, p.N*p.C*p.H*p.W), numbers(rng, p.C*mg*p.KH*p.KW), numbers(rng, p.M)
		want := make([]float32, p.N*p.M*p.OutH*p.OutW)
		for at := range want {
			want[at] = bias[at/(p.OutH*p.OutW)%p.M]
		}
		for n := range p.N {
			for h := range p.H {
				for kh := range p.KH {
					for kw := range p.KW {
						for v := range p.W {
							for m := range p.M {
								sum := float32(0)
								for c := range cg {
									c += m / mg * cg
									sum = fma(w[((c*mg+m%mg)*p.KH+kh)*p.KW+kw], x[((n*p.C+c)*p.H+h)*p.W+v], sum)
								}
								if oh, ow := h*p.StrideH+kh-p.PadTop, v*p.StrideW+kw-p.PadLeft; oh >= 0 && oh < p.OutH && ow >= 0 && ow < p.OutW {
									want[((n*p.M+m)*p.OutH+oh)*p.OutW+ow] += sum
								}
							}
						}
					}
				}
			}
		}
		sameBits(t, fmt.Sprintf("ConvTranspose2D %+v", p), len(want), func(y []float32) {
			ConvTranspose2D(p, x, PackConvTranspose(p, w), bias, y)
			for i := range y {
				if !sameFloat(want[i], y[i]) {
					t.Fatalf("%+v: element %d: have %g, want %g", p, i, y[i], want[i])
				}
			}
		})
	}
}

// Pooling takes the maximum of every window, with NaN and infinities among the numbers.
func TestSameMaxPool(t *testing.T) {
	rng := rand.New(rand.NewPCG(19, 20))
	for range 60 {
		p := Conv{N: 1, C: 1 + rng.IntN(3), H: 1 + rng.IntN(9), W: 1 + rng.IntN(40), KH: 1 + rng.IntN(4), KW: 1 + rng.IntN(4), StrideH: 1 + rng.IntN(3), StrideW: 1 + rng.IntN(3), PadTop: rng.IntN(5), PadLeft: rng.IntN(5), PadBottom: 3, PadRight: 3, DilH: 1, DilW: 1, Groups: 1}
		p.M, p.OutH, p.OutW = p.C, (p.H+p.PadTop+3-p.KH)/p.StrideH+1, (p.W+p.PadLeft+3-p.KW)/p.StrideW+1
		x := wild(rng, p.C*p.H*p.W)
		want := make([]float32, p.C*p.OutH*p.OutW)
		for at := range want {
			c, h, w := at/(p.OutH*p.OutW), at/p.OutW%p.OutH*p.StrideH-p.PadTop, at%p.OutW*p.StrideW-p.PadLeft
			want[at] = negInf
			for i := max(0, h); i < min(p.H, h+p.KH); i++ {
				for j := max(0, w); j < min(p.W, w+p.KW); j++ {
					if v := x[(c*p.H+i)*p.W+j]; v > want[at] || v != v {
						want[at] = v
					}
				}
			}
		}
		sameBits(t, fmt.Sprintf("MaxPool2D %+v", p), len(want), func(y []float32) {
			MaxPool2D(p, x, y)
			for i := range y {
				require.True(t, y[i] == want[i] || y[i] != y[i] && want[i] != want[i], "%+v: element %d: have %g, want %g", p, i, y[i], want[i])
			}
		})
	}
}

// Transposing moves every element where it belongs, of each type and at sizes that are not whole vectors.
func TestTranspose(t *testing.T) {
	for _, s := range sets() {
		on(s, func() {
			for _, size := range [][2]int{{1, 1}, {3, 8}, {4, 7}, {4, 8}, {5, 19}, {8, 16}, {9, 17}, {14, 256}, {32, 32}, {33, 5}, {16, 40}} {
				checkTranspose(t, size, func(i int) float32 { return float32(i) })
				checkTranspose(t, size, func(i int) uint8 { return uint8(i) })
				checkTranspose(t, size, func(i int) int64 { return int64(i) })
			}
		})
	}
}

func checkTranspose[T comparable](t *testing.T, size [2]int, number func(i int) T) {
	rows, cols := size[0], size[1]
	ldx, ldy := cols+3, rows+2
	x, y := make([]T, rows*ldx), make([]T, cols*ldy)
	for i := range x {
		x[i] = number(i + 1)
	}
	Transpose(rows, cols, x, ldx, y, ldy)
	var none T
	for j := range cols {
		for i := range ldy {
			want := none
			if i < rows {
				want = x[i*ldx+j]
			}
			require.Equal(t, want, y[j*ldy+i], "%v: row %d, column %d", size, j, i)
		}
	}
}

// The variable picks the kernels, or is refused.
func TestChoose(t *testing.T) {
	for _, s := range sets() {
		have, err := choose(string(s))
		require.NoError(t, err)
		require.Equal(t, s, have)
	}
	best, err := choose("")
	require.NoError(t, err)
	require.Equal(t, sets()[len(sets())-1], best)
	_, err = choose("mmx")
	require.ErrorContains(t, err, `SYNCSAM_CPU: have "mmx", want one of generic`)
	name, err := CPU()
	require.Equal(t, os.Getenv("SYNCSAM_CPU") == "" || os.Getenv("SYNCSAM_CPU") == name, err == nil)
}

// Functions of elements have the same bits with every set of instructions, at lengths that do not divide into vectors.
func TestSameFunctions(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	for _, n := range []int{1, 7, 8, 15, 16, 17, 100, 1000, 20_000} {
		x := wild(rng, n)
		for i := range x {
			if i%3 == 0 {
				x[i] *= 30
			}
		}
		for _, f := range []struct {
			name string
			f    func(x, y []float32)
		}{{"Erf", Erf}, {"Exp", Exp}, {"Gelu", Gelu}, {"GeluTanh", GeluTanh}, {"Tanh", Tanh}, {"Sigmoid", Sigmoid}, {"Relu", Relu}, {"Log", Log}, {"Sqrt", Sqrt}} {
			sameBits(t, fmt.Sprint(f.name, n), n, func(y []float32) { f.f(x, y) })
			sameBits(t, fmt.Sprint(f.name, n, " in place"), n, func(y []float32) { copy(y, x); f.f(y, y) })
		}
		for _, op := range []string{"Add", "Sub", "Mul", "Div", "Min", "Max", "PRelu"} {
			y := wild(rng, n)
			sameBits(t, fmt.Sprint(op, n), n, func(z []float32) { Binary(op, []int{n}, x, []int{n}, y, []int{n}, z) })
			sameBits(t, fmt.Sprint(op, n, 1), n, func(z []float32) { Binary(op, []int{n}, x, []int{n}, y[:1], []int{1}, z) })
			sameBits(t, fmt.Sprint(op, 1, n), n, func(z []float32) { Binary(op, []int{n}, x[:1], []int{1}, y, []int{n}, z) })
		}
		for _, numbers := range []func(*rand.Rand, int) []float32{random, wild} {
			rows := []int{1, 3, 40}[n%3]
			x, gamma, beta := numbers(rng, rows*n), numbers(rng, n), numbers(rng, n)
			sameBits(t, fmt.Sprint("Softmax", n), rows*n, func(y []float32) { Softmax(rows, n, x, y) })
			sameBits(t, fmt.Sprint("LayerNorm", n), rows*n, func(y []float32) { LayerNorm(rows, n, x, gamma, beta, 1e-6, y) })
			sameBits(t, fmt.Sprint("LayerNorm2d", n), rows*n, func(y []float32) { LayerNorm2d(1, n, rows, x, gamma, beta, 1e-6, y) })
			sameBits(t, fmt.Sprint("LayerNorm2d of two ", n), 2*rows*n, func(y []float32) {
				LayerNorm2d(2, rows, n, slices.Concat(x, x), x[:rows], x[:rows], 1e-6, y)
			})
			sameBits(t, fmt.Sprint("LayerNorm without beta", n), rows*n, func(y []float32) { LayerNorm(rows, n, x, gamma, nil, 1e-6, y) })
			sameBits(t, fmt.Sprint("BatchNorm", n), rows*n, func(y []float32) { BatchNorm(1, rows, n, x, x[:rows], x[:rows], x[:rows], x[:rows], 1e-5, y) })
			for _, op := range []string{"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceLogSumExp"} {
				sameBits(t, fmt.Sprint(op, n), rows, func(y []float32) { Reduce(op, []int{rows, n}, []int{1}, x, y) })
			}
		}
		for _, scale := range []float32{0.03, 1, 1e-30, 1e30} {
			u, i8 := make([]uint8, n), make([]int8, n)
			sameBits(t, fmt.Sprint("QuantizeUint8", n, scale), n, func(y []float32) {
				QuantizeUint8(1, 1, n, x, []float32{scale}, []uint8{77}, u)
				for i, v := range u {
					y[i] = float32(v)
				}
			})
			sameBits(t, fmt.Sprint("QuantizeInt8", n, scale), n, func(y []float32) {
				QuantizeInt8(1, 1, n, x, []float32{scale}, []int8{-5}, i8)
				for i, v := range i8 {
					y[i] = float32(v)
				}
			})
			sameBits(t, fmt.Sprint("DequantizeUint8", n, scale), n, func(y []float32) { DequantizeUint8(u, scale, 77, y) })
		}
	}
}

// Errors of the functions, of all float32 bit patterns in steps and of a dense range.
func TestAccuracy(t *testing.T) {
	for _, c := range []struct {
		name  string
		f     func(x, y []float32)
		want  func(float64) float64
		ulps  int64   // of float32, or
		error float64 // absolute
	}{
		{"Exp", Exp, math.Exp, 1, 0},
		{"Tanh", Tanh, math.Tanh, 2, 0},
		{"Sigmoid", Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, 3, 0},
		{"Erf", Erf, math.Erf, 0, 4e-7},
		{"Gelu", Gelu, func(x float64) float64 { return x * math.Erfc(-x/math.Sqrt2) / 2 }, 0, 1e-6},
		{"GeluTanh", GeluTanh, func(x float64) float64 { return x / (1 + math.Exp(-2*0.7978845608028654*(x+0.044715*x*x*x))) }, 0, 1e-6},
		{"Log", Log, math.Log, 1, 0},
		{"Sin", Sin, math.Sin, 1, 0},
		{"Cos", Cos, math.Cos, 1, 0},
	} {
		var x []float32
		for bits := uint64(0); bits < 1<<32; bits += 40_009 {
			x = append(x, math.Float32frombits(uint32(bits)))
		}
		for i := range 200_000 {
			x = append(x, float32(i-100_000)/5000)
		}
		y := make([]float32, len(x))
		c.f(x, y)
		var worst int64
		var error float64
		for i, v := range x {
			want := c.want(float64(v))
			if math.Abs(want) < 0x1p-126 { // flushed results, by Exp and what uses it
				if want != 0 && y[i] == 0 {
					continue
				}
			}
			if want != want || y[i] != y[i] {
				require.True(t, want != want && y[i] != y[i] || math.IsInf(float64(v), 0), "%s(%g): have %g, want %g", c.name, v, y[i], want)
				continue
			}
			worst = max(worst, ulps(y[i], float32(want)))
			if !math.IsInf(float64(float32(want)), 0) {
				error = max(error, math.Abs(float64(y[i])-want)/max(1, math.Abs(want)))
			}
		}
		t.Logf("%s: at most %d ulp, error %.2g (absolute up to 1, relative beyond)", c.name, worst, error)
		if c.ulps > 0 {
			require.LessOrEqual(t, worst, c.ulps, c.name)
		} else {
			require.LessOrEqual(t, error, c.error, c.name)
		}
	}
}
