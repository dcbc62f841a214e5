package kernel

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// exact is seeded numbers that are the same on every machine: integers over a power of two.
func exact(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(int32(rng.Uint32())>>8) / (1 << 22)
	}
	return x
}

// Results have these bits on every processor: what amd64 computes and what arm64 computes is one thing.
func TestBitsEverywhere(t *testing.T) {
	conv := Conv{N: 1, C: 12, H: 16, W: 24, M: 20, OutH: 8, OutW: 12, KH: 3, KW: 3, StrideH: 2, StrideW: 2, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1, DilH: 1, DilW: 1, Groups: 1}
	up := Conv{N: 1, C: 12, H: 7, W: 9, M: 5, OutH: 14, OutW: 18, KH: 2, KW: 2, StrideH: 2, StrideW: 2, DilH: 1, DilW: 1, Groups: 1}
	rng := rand.New(rand.NewPCG(21, 22))
	x, w, b := exact(rng, 40_000), exact(rng, 40_000), exact(rng, 4000)
	one := func(f func(x, y []float32)) func(y []float32) { return func(y []float32) { f(x[:len(y)], y) } }
	for _, c := range []struct {
		name string
		n    int
		want uint64
		f    func(y []float32)
	}{
		{"Gemm", 100 * 90, 0xfc20ec75db809a40, func(y []float32) { Gemm(false, true, 100, 90, 300, 0.7, x, 300, w, 300, 0, y, 90) }},
		{"Conv2D", 20 * 8 * 12, 0xc07ee4dccbbd3a53, func(y []float32) { Conv2D(conv, x, w, nil, b[:20], y) }},
		{"ConvTranspose2D", 5 * 14 * 18, 0xa718ca18f78560ee, func(y []float32) { ConvTranspose2D(up, x, PackConvTranspose(up, w[:12*5*4]), b[:5], y) }},
		{"Exp", 9000, 0x1fcca50e8bab70f1, one(Exp)},
		{"Erf", 9000, 0xc95f542ca0b3311b, one(Erf)},
		{"Gelu", 9000, 0xd77d6ba774321657, one(Gelu)},
		{"GeluTanh", 9000, 0xbf4048a866b16d29, one(GeluTanh)},
		{"Tanh", 9000, 0x17b8c51394abd1b7, one(Tanh)},
		{"Sigmoid", 9000, 0x1a3abcd93750c6a0, one(Sigmoid)},
		{"Log", 9000, 0xee524df8b46473a0, func(y []float32) { Exp(x[:len(y)], y); Log(y, y) }},
		{"Sin", 9000, 0x8639fb81ce39f551, func(y []float32) {
			Binary("Mul", []int{len(y)}, x[:len(y)], []int{len(y)}, []float32{3e5}, []int{1}, y)
			Sin(y, y)
		}},
		{"Cos", 9000, 0x59ba7a263f527788, one(Cos)},
		{"Pow", 9000, 0xb3b0cf3b73932117, func(y []float32) {
			Exp(x[:len(y)], y)
			Binary("Pow", []int{len(y)}, y, []int{len(y)}, b[:1], []int{1}, y)
		}},
		{"Softmax", 45 * 200, 0x9f35c12abeaf329a, func(y []float32) { Softmax(45, 200, x, y) }},
		{"LayerNorm", 45 * 200, 0xbed716f30794e6c1, func(y []float32) { LayerNorm(45, 200, x, w[:200], b[:200], 1e-6, y) }},
		{"BatchNorm", 45 * 200, 0xe10ef7f752d8699b, func(y []float32) {
			variance := make([]float32, 45)
			Exp(b[:45], variance)
			BatchNorm(1, 45, 200, x, w, w, x, variance, 1e-5, y)
		}},
		{"ReduceLogSumExp", 45, 0x9ca3abfb2170cbc0, func(y []float32) { Reduce("ReduceLogSumExp", []int{45, 200}, []int{1}, x, y) }},
		{"Resize", 3 * 50 * 70, 0x64c1aed4bc4011bb, func(y []float32) { Resize("linear", "half_pixel", 3, 20, 30, 50, 70, x, y) }},
		{"ResizeCubic", 3 * 10 * 14, 0x89e4a9668dda8ee0, func(y []float32) { ResizeCubic(3, 20, 30, 10, 14, x, y) }},
		{"AveragePool2D", 12 * 8 * 12, 0x6a54cc675944cc27, func(y []float32) { AveragePool2D(conv, false, x, y) }},
		{"Quantize", 9000, 0x6023af4c34705f3d, func(y []float32) {
			q := make([]uint8, len(y))
			QuantizeUint8(1, 1, len(y), x, []float32{0.0173}, []uint8{100}, q)
			DequantizeUint8(q, 0.0173, 100, y)
		}},
	} {
		for _, s := range sets() {
			y := make([]float32, c.n)
			on(s, func() { c.f(y) })
			hash := fnv.New64a()
			for _, v := range y {
				require.False(t, v != v, c.name)
				require.NoError(t, binary.Write(hash, binary.LittleEndian, math.Float32bits(v)))
			}
			if hash.Sum64() != c.want {
				t.Errorf("%s with %s: have %#x, want %#x", c.name, s, hash.Sum64(), c.want)
			}
		}
	}
}
