package reconstruct

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"syncsam-convert/calib"
	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/ir/tensor"
	"syncsam-convert/passes"
	"syncsam-convert/quantizer"
)

const branch = `graph g {
  %0 = Input : float32[N,3,40,36] "image"
  %1 = Constant seed(1) : float32[8,3,3,3] "cnn.c1.weight"
  %2 = Constant seed(9) : float32[8] "cnn.c1.bias"
  %3 = Conv(%0, %1, %2) {pads=[1,1,1,1]} : float32[N,8,40,36] "cnn.c1"
  %4 = Relu(%3) : float32[N,8,40,36] "cnn.r1"
  %5 = Constant seed(2) : float32[16,8,3,3] "cnn.c2.weight"
  %6 = Conv(%4, %5) {strides=[2,2], pads=[1,1,1,1]} : float32[N,16,20,18] "cnn.c2"
  %7 = Constant seed(3) : float32[16,8,1,1] "cnn.side.weight"
  %8 = Conv(%4, %7) {strides=[2,2]} : float32[N,16,20,18] "cnn.side"
  %9 = Add(%6, %8) : float32[N,16,20,18] "cnn.sum"
  %10 = Relu(%9) : float32[N,16,20,18] "cnn.sum"
  %11 = Constant seed(4) : float32[16,1,3,3] "cnn.deep.weight"
  %12 = Conv(%10, %11) {pads=[1,1,1,1], group=16} : float32[N,16,20,18] "cnn.deep"
  %13 = Constant seed(5) : float32[5,16,3,3] "cnn.c3.weight"
  %14 = Conv(%12, %13) : float32[N,5,18,16] "cnn.c3"
  return "y" %14
}
`

// pictures are smooth random inputs, so that neighbouring pixels are correlated as those of photographs.
func pictures(seed uint64, n int) []map[string]*tensor.Tensor {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make([]map[string]*tensor.Tensor, n)
	for i := range out {
		x := make([]float32, 3*40*36)
		for range 6 {
			fx, fy, phase := rng.Float64()*0.3, rng.Float64()*0.3, rng.Float64()*6
			for p := range x {
				x[p] += float32(math.Sin(phase*float64(1+p/1440) + fx*float64(p%36) + fy*float64(p/36%40)))
			}
		}
		out[i] = map[string]*tensor.Tensor{"image": tensor.FromFloat32([]int64{1, 3, 40, 36}, x)}
	}
	return out
}

// quantized gives the float branch, its int8 form with ranges measured on inputs, and the layers.
func quantized(t *testing.T, spell quantizer.Spelling, inputs []map[string]*tensor.Tensor) (float, int8 *ir.Graph, layers []quantizer.Convolution) {
	g, err := ir.ParseGraph(branch)
	require.NoError(t, err)
	keys, stats := ir.Keys(g), calib.NewStats("")
	require.NoError(t, stats.Collect(context.Background(), len(inputs), func(i int) (map[string]*tensor.Tensor, error) {
		values := map[string]*tensor.Tensor{}
		for step, err := range ir.Steps(context.Background(), g, inputs[i:i+1]) {
			if err != nil {
				return nil, err
			}
			values[keys[step.Value]] = step.Results[0]
		}
		return values, nil
	}, nil))
	p, err := stats.Plan("minmax")
	require.NoError(t, err)
	for key, r := range p.Values { // weights and biases rounded to nearest, and no more
		r.Mean = nil
		p.Values[key] = r
	}
	float = g.Clone()
	g.Name = "encoder"
	results, err := passes.All(context.Background(), &ir.Module{Graphs: []*ir.Graph{g}}, passes.Pipeline(passes.Goal{Int8: true, Calibrated: true}),
		passes.Input{Plan: p, Scope: quant.Scope{Convolutions: []string{"cnn"}}, Spelling: spell}, passes.Options{})
	require.NoError(t, err)
	for _, r := range results {
		for _, report := range r.Reports {
			if q, ok := report.(*passes.Quantized); ok {
				layers = append(layers, q.Layers...)
			}
		}
	}
	require.Len(t, layers, 5)
	return float, g, layers
}

func results(t *testing.T, g *ir.Graph, inputs []map[string]*tensor.Tensor) []*tensor.Tensor {
	p, err := ir.Compile(g)
	require.NoError(t, err)
	var all []*tensor.Tensor
	for _, in := range inputs {
		out, err := p.Run(context.Background(), in)
		require.NoError(t, err)
		all = append(all, out["y"])
	}
	return all
}

func noise(have, want []*tensor.Tensor) float64 {
	signal, err := 0.0, 0.0
	for i := range want {
		for k, w := range want[i].Float32s() {
			d := float64(have[i].Float32s()[k] - w)
			signal, err = signal+float64(w)*float64(w), err+d*d
		}
	}
	return 10 * math.Log10(signal/err)
}

// Reconstructed weights and biases bring the results nearer to float's, on other inputs too, with the means of the last layer right.
func TestRun(t *testing.T) {
	for name, spell := range map[string]quantizer.Spelling{"onnxruntime": quantizer.ONNXRuntime, "tensorrt": quantizer.TensorRT} {
		t.Run(name, func(t *testing.T) {
			inputs, others := pictures(1, 8), pictures(2, 4)
			float, g, layers := quantized(t, spell, inputs)
			before, beforeOthers := noise(results(t, g, inputs), results(t, float, inputs)), noise(results(t, g, others), results(t, float, others))
			require.Greater(t, before, 30.0, "grouped, and with nothing between two convolutions")
			grouped := layers[slices.IndexFunc(layers, func(l quantizer.Convolution) bool { return l.Key == "cnn.deep/Conv" })].Conv.Args[1].Args[0].Const
			kept := slices.Clone(grouped.Int8s())
			seen := 0
			require.NoError(t, Run(context.Background(), float, g, layers, inputs, nil, func() { seen++ }))
			require.Equal(t, 5, seen)
			require.Equal(t, kept, grouped.Int8s(), "grouped convolutions keep their integers")
			require.NoError(t, ir.Check(g))
			have, want := results(t, g, inputs), results(t, float, inputs)
			t.Logf("%.1f to %.1f dB, others %.1f to %.1f dB", before, noise(have, want), beforeOthers, noise(results(t, g, others), results(t, float, others)))
			require.Greater(t, noise(have, want), before+0.3)
			require.Greater(t, noise(results(t, g, others), results(t, float, others)), beforeOthers+0.3)
			sum := make([]float64, 5)
			for i := range want {
				for k, w := range want[i].Float32s() {
					sum[k/(18*16)] += float64(have[i].Float32s()[k]-w) / float64(8*18*16)
				}
			}
			last := layers[len(layers)-1].Conv.Args[2]
			for o, mean := range sum {
				step := 0.0
				if !last.IsConst() {
					step = float64(last.Args[1].Const.Float32s()[o])
				}
				require.InDelta(t, 0, mean, 1e-3+step/2)
			}
		})
	}
	float, g, layers := quantized(t, quantizer.ONNXRuntime, pictures(1, 2))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, Run(ctx, float, g, layers, pictures(1, 2), nil, nil), context.Canceled)
}

// Each integer, in its turn, is the best with the others as they are then, whatever the blocks: as a plain descent in float64 finds them.
func TestDescend(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	const m, k = 3, 2*block + 5
	s := &sums{m: m, k: k, gram: make([]float32, k*k), pull: make([]float32, m*k)}
	samples := make([]float32, k*4*k)
	for i := range samples {
		samples[i] = float32(rng.NormFloat64())
		if i >= 4*k {
			samples[i] += samples[i-4*k] // neighbours correlate
		}
	}
	for i := range k {
		for j := range k {
			for n := range 4 * k {
				s.gram[i*k+j] += samples[i*4*k+n] * samples[j*4*k+n] / float32(4*k)
			}
		}
	}
	for i := range s.pull {
		s.pull[i] = float32(0.01 * rng.NormFloat64())
	}
	w, scales, start := make([]float32, m*k), []float32{0.02, 0.03, 1e-3}, make([]int8, m*k)
	for i := range w {
		w[i] = float32(rng.NormFloat64())
		start[i] = int8(min(max(math.RoundToEven(float64(w[i]/scales[i/k])), -127), 127))
	}
	objective := func(o int, q []int8) float64 {
		d, sum := make([]float64, k), 0.0
		for i := range d {
			d[i] = float64(w[o*k+i]) - float64(scales[o])*float64(q[o*k+i])
		}
		for i := range d {
			for j := range d {
				sum += d[i] * d[j] * float64(s.gram[i*k+j])
			}
			sum += 2 * float64(s.pull[o*k+i]) * d[i]
		}
		return sum
	}
	q := descend(w, scales, start, s)
	for o := range m {
		plain := slices.Clone(start)
		for i := range k {
			slope := float64(s.pull[o*k+i])
			for j := range k {
				slope += (float64(w[o*k+j]) - float64(scales[o])*float64(plain[o*k+j])) * float64(s.gram[i*k+j])
			}
			best := math.RoundToEven(float64(plain[o*k+i]) + slope/(float64(scales[o])*float64(s.gram[i*k+i])))
			plain[o*k+i] = int8(min(max(best, -127), 127))
		}
		differ := 0
		for i := range k {
			if q[o*k+i] != plain[o*k+i] {
				differ++
			}
		}
		require.Less(t, differ, k/20, "float32 may round a tie otherwise")
		require.InEpsilon(t, objective(o, plain), objective(o, q), 0.02)
		require.Less(t, objective(o, q), objective(o, start))
	}
	for _, v := range q {
		require.GreaterOrEqual(t, v, int8(-127))
	}
}

// What an image says of the errors before a layer is believed the more, the more samples an input has; pixels are spread over all.
func TestSamples(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	const k = 3
	p := func(n int) *pixels {
		out := &pixels{k: k, n: n, x: make([]float32, k*n), difference: make([]float32, k*n)}
		for i := range out.x {
			out.x[i] = float32(rng.NormFloat64()) + 5
			out.difference[i] = 0.1*out.x[i] + 1
		}
		return out
	}
	w := []float32{1, 0, 0}
	few, many := p(doubt*k).sums(w), p(1000*doubt*k).sums(w)
	require.InDelta(t, 0.05, few.pull[0]/few.gram[0], 0.001, "half of it")
	require.InDelta(t, 0.1, many.pull[0]/many.gram[0], 0.001)
	require.InDelta(t, 5, many.meanHave[0], 0.1)
	require.InDelta(t, 6.5, many.meanWant[0], 0.1)

	at := spread(100*100, 500)
	require.Len(t, at, 500)
	var rows [10]int
	for _, i := range at {
		rows[i/1000]++
	}
	for _, n := range rows {
		require.InDelta(t, 50, n, 3)
	}
	require.Equal(t, []int{0, 1, 2}, spread(3, 500))
}
