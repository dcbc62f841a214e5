package ir

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
)

func TestRoundFloat16IsTheFormatsRounding(t *testing.T) {
	var x []float32
	for b := uint64(0); b < 1<<32; b += 9973 { // a prime: all exponents and fractions
		x = append(x, math.Float32frombits(uint32(b)))
	}
	x = append(x, 65504, 65519.99, 65520, -65520, 5.9604645e-08, 2.9802322e-08, 2.98023224e-08, 8.940697e-08, 1+1.0/2048, 0, float32(math.Copysign(0, -1)))
	y := append([]float32(nil), x...)
	kernel.RoundFloat16(y)
	for i, v := range x {
		want := tensor.Float16ToFloat32(tensor.Float32ToFloat16(v))
		if v != v {
			require.True(t, y[i] != y[i], "%g", v)
			continue
		}
		require.Equal(t, math.Float32bits(want), math.Float32bits(y[i]), "%g: have %g, want %g", v, y[i], want)
	}
}

// Float16 values compute in float32 and round once; casts widen and round.
func TestHalfPrecision(t *testing.T) {
	b := NewBuilder("half")
	x := b.Input("x", tensor.Float32, tensor.Static(3))
	h := b.Op(Cast.With(CastAttrs{To: tensor.Float16}), x)
	sum := b.Add(h, b.Const(tensor.Dense(tensor.Cast(tensor.FromFloat32([]int64{3}, []float32{1, 2048, 1e-8}), tensor.Float16))))
	require.Equal(t, tensor.Float16, sum.Type.DType)
	b.Output("half", sum)
	b.Output("wide", b.Op(Cast.With(CastAttrs{To: tensor.Float32}), b.Reshape(sum, tensor.Static(3), tensor.Static(1))))
	require.NoError(t, b.Err())
	g, err := b.Graph()
	require.NoError(t, err)
	p, err := Compile(g)
	require.NoError(t, err)
	y, err := p.Run(context.Background(), map[string]*tensor.Tensor{"x": tensor.FromFloat32([]int64{3}, []float32{0.1, 1, 60000})})
	require.NoError(t, err)
	tenth := tensor.Float16ToFloat32(tensor.Float32ToFloat16(0.1))
	want := []float32{tensor.Float16ToFloat32(tensor.Float32ToFloat16(tenth + 1)), 2048, 60000} // 2049 is a tie, to even
	require.Equal(t, want, y["wide"].Float32s())
	require.Equal(t, tensor.Float16, y["half"].DType())
	require.Equal(t, want, y["half"].Float32s())

	require.Nil(t, NewBuilder("mixed").Op(Add, x, h).Type.Shape)
	mixed := NewBuilder("mixed")
	mixed.Add(x, h)
	require.ErrorContains(t, mixed.Err(), "want one floating-point type")
}

// What half precision needs of a product depends on whether it is a square.
func TestHalfNeeds(t *testing.T) {
	b := NewBuilder("g")
	x, y := b.Input("x", tensor.Float32, tensor.Static(2)), b.Input("y", tensor.Float32, tensor.Static(2))
	for want, v := range map[Half]*Value{HalfPlain: b.Mul(x, y), HalfSquares: b.Mul(x, x), HalfExponential: b.Op(Exp, x), HalfLogarithm: b.Op(Log, x), HalfPhase: b.Op(Sin, x)} {
		require.Equal(t, want, v.Half(), v)
	}
}
