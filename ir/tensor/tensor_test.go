package tensor

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDims(t *testing.T) {
	for _, text := range []string{"0", "3", "N", "4*N", "P+1", "2*P+1", "3*N-2"} {
		d, err := ParseDim(text)
		require.NoError(t, err, text)
		require.Equal(t, text, d.String())
	}
	for _, text := range []string{"", "*N", "N+", "N*2", "-", "2*", "N M", "1e3"} {
		_, err := ParseDim(text)
		require.Error(t, err, text)
	}
	typ, err := ParseType("float16[N,3,2*P+1]")
	require.NoError(t, err)
	require.Equal(t, "float16[N,3,2*P+1]", typ.String())
	n, err := typ.Shape[2].Eval(map[string]int64{"P": 5})
	require.NoError(t, err)
	require.EqualValues(t, 11, n)
	_, err = typ.Shape[0].Eval(nil)
	require.ErrorContains(t, err, "N")
}

func TestMissing(t *testing.T) {
	n, three := Symbol("N"), Static(3)
	d, err := Missing([]Dim{n.Times(4), three, Static(5)}, []Dim{n, Static(15)})
	require.NoError(t, err)
	require.Equal(t, Static(4), d)
	d, err = Missing([]Dim{n, Static(8)}, []Dim{Static(4)})
	require.NoError(t, err)
	require.Equal(t, n.Times(2), d)
	_, err = Missing([]Dim{n, Static(8)}, []Dim{Static(3)})
	require.Error(t, err)
	require.NoError(t, SameElements([]Dim{n, Static(6)}, []Dim{n.Times(2), three}))
	require.Error(t, SameElements([]Dim{n, Static(6)}, []Dim{n, Static(7)}))
}

func TestElements(t *testing.T) {
	_, err := Elements([]int64{1 << 40, 1 << 40})
	require.Error(t, err, "overflow")
	_, err = Elements([]int64{-1, 2})
	require.Error(t, err)
	n, err := Elements(nil)
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
}

// Every half-precision number survives widening and rounding; rounding is to nearest, ties to even.
func TestHalf(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f := Float16ToFloat32(h)
		back := Float32ToFloat16(f)
		if f != f {
			require.True(t, Float16ToFloat32(back) != Float16ToFloat32(back), "%04x", h)
			continue
		}
		require.Equal(t, h, back, "%04x", h)
	}
	require.Equal(t, uint16(0x3c00), Float32ToFloat16(1+1.0/2048), "a tie goes to even")
	require.Equal(t, uint16(0x3c01), Float32ToFloat16(1+1.0/2048+1e-6))
	require.Equal(t, uint16(0x7c00), Float32ToFloat16(65520), "past the largest is infinity")
	require.Equal(t, uint16(0x7bff), Float32ToFloat16(65519))
	require.Equal(t, uint16(0x0001), Float32ToFloat16(5.9604645e-08), "the smallest subnormal")
	require.Equal(t, uint16(0x3f80), Float32ToBFloat16(1))
	require.Equal(t, uint16(0x3f80), Float32ToBFloat16(1+1.0/256), "a tie goes to even")
	require.Equal(t, uint16(0x3f82), Float32ToBFloat16(1+3.0/256))
	require.NotEqual(t, Float32ToBFloat16(float32(math.Inf(1))), Float32ToBFloat16(float32(math.NaN())))
}

// Transposition agrees with the definition for every rank and permutation tried.
func TestTranspose(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		rank := rng.IntN(5)
		dims, perm := make([]int64, rank), rng.Perm(rank)
		for i := range dims {
			dims[i] = 1 + rng.Int64N(7)
		}
		n, err := Elements(dims)
		require.NoError(t, err)
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(i)
		}
		y, err := Transpose(FromFloat32(dims, x), perm...)
		require.NoError(t, err)
		out := y.Float32s()
		at := make([]int64, rank) // index into the result
		for _, have := range out {
			offset, stride := int64(0), int64(1)
			for i := rank - 1; i >= 0; i-- {
				for k, p := range perm {
					if p == i {
						offset += at[k] * stride
					}
				}
				stride *= dims[i]
			}
			require.Equal(t, x[offset], have, "%v %v", dims, perm)
			for i := rank - 1; i >= 0; i-- {
				if at[i]++; at[i] < dims[perm[i]] {
					break
				}
				at[i] = 0
			}
		}
	}
	_, err := Transpose(FromFloat32([]int64{2, 2}, make([]float32, 4)), 0, 0)
	require.ErrorContains(t, err, "perm")
}

func TestLazyTensorsAreComputedEachTime(t *testing.T) {
	n := 0
	x, err := MapFloat32([]int64{2}, func() []float32 { n++; return []float32{1, 2} })
	require.NoError(t, err)
	require.True(t, x.IsLazy())
	var w bytes.Buffer
	_, err = x.WriteTo(&w)
	require.NoError(t, err)
	require.Equal(t, x.Bytes(), w.Bytes())
	require.Equal(t, 2, n)
	d := Dense(x)
	require.False(t, d.IsLazy())
	_, _ = d.Bytes(), d.Bytes()
	require.Equal(t, 3, n)
}

func TestCast(t *testing.T) {
	x := FromFloat32([]int64{5}, []float32{-1.5, 2.5, 300, -300, float32(math.Pi)})
	require.Equal(t, []int8{-2, 2, 127, -128, 3}, Dense(Cast(x, Int8)).Int8s(), "to nearest even, saturating")
	require.Equal(t, []int64{-1, 2, 300, -300, 3}, Dense(CastTruncating(x, Int64)).Int64s())
	require.Equal(t, x.Float32s(), Dense(Cast(Cast(x, Float64), Float32)).Float32s())
}

func TestCompare(t *testing.T) {
	a := FromFloat32([]int64{4}, []float32{1, 2, 3, 4})
	b := FromFloat32([]int64{4}, []float32{1, 2, 3.5, 4})
	d, err := Compare(b, a)
	require.NoError(t, err)
	require.Equal(t, 0.5, d.MaxAbs)
	require.EqualValues(t, 2, d.At)
	require.InDelta(t, math.Sqrt(1.25), d.Std, 1e-12)
	require.InDelta(t, 10*math.Log10(30/0.25), d.SNR, 1e-9)
	d, err = Compare(FromFloat32([]int64{4}, []float32{1, float32(math.NaN()), 3, 4}), a)
	require.NoError(t, err)
	require.True(t, math.IsNaN(d.MaxAbs), "a NaN never passes for small")
	require.False(t, d.Relative() <= 1)
	_, err = Compare(a, FromFloat32([]int64{2, 2}, make([]float32, 4)))
	require.Error(t, err)
}
