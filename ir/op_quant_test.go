package ir

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A scale of 0, below 0, NaN or infinity is refused wherever it is a constant, and a zero point that int32 does not have.
func TestCheckRefusesScales(t *testing.T) {
	const text = `graph g {
  %0 = Input : float32[N,2] "x"
  %1 = Constant {SCALE} : float32[] "x.scale"
  %2 = Constant {128} : uint8[] "x.zero"
  %3 = QuantizeLinear(%0, %1, %2) : uint8[N,2]
  %4 = Constant {0.5} : float32[] "good"
  %5 = DequantizeLinear(%3, %4, %2) : float32[N,2]
  %6 = Constant {1, 2, 3, 4} : int8[2,2] "w"
  %7 = Constant {0.5, COLUMN} : float32[2] "w.scale"
  %8 = QLinearMatMulFloat(%3, %4, %2, %6, %7) : float32[N,2]
  %9 = Constant {7, 8} : int32[2] "bias"
  %10 = Constant {0.5, 0.25} : float32[2] "bias.scale"
  %11 = Constant {0, ZERO} : int32[2] "bias.zero"
  %12 = DequantizeLinear(%9, %10, %11) : float32[2]
  %13 = Add(%8, %12) : float32[N,2]
  %14 = Add(%5, %13) : float32[N,2]
  return "y" %14
}
`
	for _, c := range []struct{ scale, column, zero, want string }{
		{"1", "1", "0", ""},
		{"1e-40", "1", "0", ""},
		{"0", "1", "0", `scale "x.scale": element 0: have 0`},
		{"-1", "1", "0", `have -1, want a finite number above 0`},
		{"NaN", "1", "0", `have NaN`},
		{"1", "0", "0", `scale "w.scale": element 1: have 0`},
		{"1", "1e39", "0", `scale "w.scale": element 1: have +Inf`},
		{"1", "1", "3", `zero_point "bias.zero": element 1: have 3, want 0 for int32`},
	} {
		g, err := ParseGraph(strings.NewReplacer("SCALE", c.scale, "COLUMN", c.column, "ZERO", c.zero).Replace(text))
		if err == nil {
			err = Check(g)
		}
		if c.want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, c.want)
		}
	}
}
