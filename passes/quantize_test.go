package passes

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/ir/tensor"
)

const branchGraph = `graph g {
  %0 = Input : float32[N,3,8,8] "image"
  %1 = Constant seed(1) : float32[6,3,3,3] "cnn.c1.weight"
  %2 = Constant seed(9) : float32[6] "cnn.c1.bias"
  %3 = Conv(%0, %1, %2) {pads=[1,1,1,1]} : float32[N,6,8,8] "cnn.c1"
  %4 = Relu(%3) : float32[N,6,8,8] "cnn.r1"
  %5 = MaxPool(%4) {kernel_shape=[2,2], strides=[2,2]} : float32[N,6,4,4] "cnn.pool"
  %6 = Constant seed(2) : float32[6,6,1,1] "cnn.c2.weight"
  %7 = Conv(%5, %6) : float32[N,6,4,4] "cnn.c2"
  %8 = Relu(%7) : float32[N,6,4,4] "cnn.r2"
  %9 = Constant seed(3) : float32[6,6,3,3] "cnn.c3.weight"
  %10 = Conv(%8, %9) {pads=[1,1,1,1]} : float32[N,6,4,4] "cnn.c3"
  %11 = Add(%10, %5) : float32[N,6,4,4] "cnn.sum"
  %12 = Relu(%11) : float32[N,6,4,4] "cnn.sum"
  %13 = Constant seed(4) : float32[6,4,2,2] "cnn.up.weight"
  %14 = Constant seed(5) : float32[4] "cnn.up.bias"
  %15 = ConvTranspose(%12, %13, %14) {strides=[2,2]} : float32[N,4,8,8] "cnn.up"
  return "y" %15
}
`

// planOf measures a graph's values on probes and takes their largest amplitudes.
func planOf(t *testing.T, g *ir.Graph, channels bool) *quant.Plan {
	p := &quant.Plan{Method: "minmax", Images: 1, Values: map[string]quant.Range{}, Float: map[string]string{}}
	keys, sites := quant.Keys(g), quant.FindSites(g, []string{"cnn"})
	program, err := ir.Compile(g)
	require.NoError(t, err)
	in, err := ir.Probe(g, 5, map[string]int64{"N": 4})
	require.NoError(t, err)
	note := func(v *ir.Value, x *tensor.Tensor) {
		r := quant.Range{NonNegative: true, Reason: "test", Mean: make([]float32, x.Dims()[1])}
		c, plane := int(x.Dims()[1]), int(x.Dims()[2]*x.Dims()[3])
		top := make([]float32, c)
		for i, f := range x.Float32s() {
			r.Max, r.NonNegative = max(r.Max, f, -f), r.NonNegative && f >= 0
			r.Mean[i/plane%c] += f * float32(c) / float32(x.Len())
			top[i/plane%c] = max(top[i/plane%c], f, -f)
		}
		if channels {
			r.Channels = top
		}
		p.Values[keys[v]] = r
	}
	observed := map[*ir.Value]bool{}
	for _, v := range sites.Observed() {
		observed[v] = true
		if v.IsInput() {
			note(v, in[v.Name])
		}
	}
	program.Observe = func(v *ir.Value, x *tensor.Tensor) {
		if observed[v] {
			note(v, x)
		}
	}
	_, err = program.Run(context.Background(), in)
	require.NoError(t, err)
	return p
}

func prepared(t *testing.T) *ir.Graph {
	g, err := ir.ParseGraph(branchGraph)
	require.NoError(t, err)
	through(t, g, Input{}, Options{Probe: true}, "upscale-to-conv") // a transposed convolution and its 1x1 form give the same
	return g
}

// The whole branch becomes INT8, in every spelling, and stays close to float.
func TestInsertQDQ(t *testing.T) {
	for name, c := range map[string]struct {
		spell    Spelling
		channels bool
		least    float64 // dB
	}{"onnxruntime": {ONNXRuntime, false, 30}, "onnxruntime equalized": {ONNXRuntime, true, 31}, "tensorrt": {TensorRT, false, 27}} {
		t.Run(name, func(t *testing.T) {
			g := prepared(t)
			plan := planOf(t, g, c.channels)
			in, err := ir.Probe(g, 5, map[string]int64{"N": 4}) // what the ranges were measured on: nothing is clipped
			require.NoError(t, err)
			want := run(t, g, in)
			done := toInt8(t, g, plan, c.spell, Options{Probe: true})
			require.Len(t, done.Nodes, 4)
			require.Empty(t, done.Float)
			require.Equal(t, done.All, done.Int8)
			count := map[string]int{}
			for _, v := range g.Values {
				count[v.Op.Name]++
				if ir.Conv.Is(v) {
					require.Equal(t, "DequantizeLinear", v.Args[0].Op.Name)
					require.Equal(t, tensor.Int8, v.Args[1].Args[0].Type.DType)
				}
				if ir.QuantizeLinear.Is(v) {
					require.Equal(t, c.spell.Activations, v.Type.DType)
				}
				if ir.Add.Is(v) || ir.MaxPool.Is(v) {
					var from []string
					for _, a := range v.Args {
						from = append(from, a.Op.Name)
					}
					if ir.Add.Is(v) && c.spell.FusedSum {
						require.ElementsMatch(t, []string{"Conv", "DequantizeLinear"}, from, "the shortcut is quantized, the convolution adds it")
						continue
					}
					require.NotContains(t, from, "Conv", "%s stays in integers", v.Op.Name)
				}
			}
			integers := 7 // image, r1, pool, r2, c3, sum, up
			if c.spell.FusedSum {
				integers-- // c3
			}
			require.Equal(t, integers, count["QuantizeLinear"])
			d, err := tensor.Compare(run(t, g, in)["y"], want["y"])
			require.NoError(t, err)
			t.Logf("%.1f dB", d.SNR)
			require.Greater(t, d.SNR, c.least)
		})
	}
}

func run(t *testing.T, g *ir.Graph, in map[string]*tensor.Tensor) map[string]*tensor.Tensor {
	p, err := ir.Compile(g)
	require.NoError(t, err)
	out, err := p.Run(context.Background(), in)
	require.NoError(t, err)
	return out
}

// What the plan keeps in float, or does not know, stays in float with its reason.
func TestKeptFloat(t *testing.T) {
	g := prepared(t)
	plan := planOf(t, g, true)
	plan.Float["cnn.c1/Conv"] = "first convolution"
	delete(plan.Values, "cnn.r2/Relu")
	done := toInt8(t, g, plan, ONNXRuntime, Options{})
	require.Equal(t, map[string]string{"cnn.c1/Conv": "first convolution", "cnn.c3/Conv": "the plan has no range for cnn.r2/Relu"}, done.Float)
	require.Equal(t, []string{"cnn.c2/Conv", "cnn.up/Conv"}, done.Nodes)
	require.Less(t, done.Int8, done.All)
}

// With every convolution in float nothing is quantized at all.
func TestAllFloat(t *testing.T) {
	g := prepared(t)
	plan := planOf(t, g, true)
	for _, key := range []string{"cnn.c1/Conv", "cnn.c2/Conv", "cnn.c3/Conv", "cnn.up/Conv"} {
		plan.Float[key] = "all"
	}
	g.Sweep()
	before := ir.PrintGraph(g)
	done := toInt8(t, g, plan, ONNXRuntime, Options{})
	require.Empty(t, done.Nodes)
	require.Equal(t, before, ir.PrintGraph(g))
}

// The chosen weight scale has no more error than the largest weight's, and all-zero channels are harmless.
func TestWeightScales(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	w := make([]float32, 8*100)
	for i := range w[:700] {
		w[i] = float32(rng.NormFloat64() * math.Exp(rng.NormFloat64()))
	}
	scales := weightScales(w, 8)
	require.Equal(t, float32(deadScale), scales[7])
	rounded := roundWeights(w, scales)
	for c := range 7 {
		err := func(s float32) (e float64) {
			for _, v := range w[c*100 : (c+1)*100] {
				q := min(max(math.RoundToEven(float64(v/s)), -127), 127)
				e += math.Pow(float64(v)-q*float64(s), 2)
			}
			return e
		}
		top := float32(0)
		for i, v := range w[c*100 : (c+1)*100] {
			top = max(top, v, -v)
			require.InDelta(t, v/scales[c], float64(int8(rounded[c*100+i])), 0.501+max(0, math.Abs(float64(v/scales[c]))-127))
		}
		require.LessOrEqual(t, err(scales[c]), err(top/127)*1.0001)
	}
}

// Bias correction removes the mean error that rounded weights cause.
func TestCorrectBias(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	w := make([]float32, 3*5)
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	mean := []float32{1, -2, 0.5, 3, 0.25}
	weights := tensor.FromFloat32([]int64{3, 5, 1, 1}, w)
	scales := []float32{0.3, 0.2, 0.4} // coarse, so that there is an error
	bias := make([]float32, 3)
	correctBias(bias, weights, scales, mean)
	for o := range 3 {
		exact, rounded := 0.0, float64(bias[o])
		for i, m := range mean {
			exact += float64(w[o*5+i]) * float64(m)
			rounded += math.RoundToEven(float64(w[o*5+i]/scales[o])) * float64(scales[o]) * float64(m)
		}
		require.InDelta(t, exact, rounded, 1e-5)
	}
}
