package quantizer

import (
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
)

const branchText = `graph g {
  %0 = Input : float32[N,3,8,8] "image"
  %1 = Constant seed(1) : float32[4,3,3,3] "cnn.c1.weight"
  %2 = Conv(%0, %1) {pads=[1,1,1,1]} : float32[N,4,8,8] "cnn.c1"
  %3 = Relu(%2) : float32[N,4,8,8] "cnn.r1"
  %4 = MaxPool(%3) {kernel_shape=[2,2], strides=[2,2]} : float32[N,4,4,4] "cnn.pool"
  %5 = Constant seed(2) : float32[4,4,1,1] "cnn.c2.weight"
  %6 = Conv(%4, %5) : float32[N,4,4,4] "cnn.c2"
  %7 = Add(%6, %4) : float32[N,4,4,4] "cnn.sum"
  %8 = Relu(%7) : float32[N,4,4,4] "cnn.sum"
  %9 = Sin(%8) : float32[N,4,4,4] "cnn.float"
  %10 = Conv(%9, %5) : float32[N,4,4,4] "cnn.c3"
  %11 = Conv(%9, %5) : float32[N,4,4,4] "vit.c4"
  return "y" %10
  return "z" %11
}
`

// The branch is quantized through ReLU, max-pooling and residual additions; what lies outside is not.
func TestFindSites(t *testing.T) {
	g, err := ir.ParseGraph(branchText)
	require.NoError(t, err)
	s, keys := FindSites(g, quant.Scope{Convolutions: []string{"cnn"}}), ir.Keys(g)
	names := func(vs []*ir.Value) []string {
		var out []string
		for _, v := range vs {
			out = append(out, keys[v])
		}
		return out
	}
	require.Equal(t, []string{"cnn.c1/Conv", "cnn.c2/Conv", "cnn.c3/Conv"}, names(s.Convs))
	require.Equal(t, []string{"image/Input", "cnn.float/Sin"}, names(s.Inputs))
	require.Equal(t, []string{"cnn.r1/Relu", "cnn.pool/MaxPool", "cnn.c2/Conv", "cnn.sum/Relu", "cnn.c3/Conv"}, names(s.Values))
	require.Equal(t, "cnn.r1/Relu", keys[s.Same[s.Values[1]]])
	require.EqualValues(t, 8*8*4*3*9, MultiplyAdds(s.Convs[0]))
}
