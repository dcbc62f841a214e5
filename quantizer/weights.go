package quantizer

import (
	"math"
	"slices"

	"syncsam-convert/internal/guard"
	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
)

// biasSteps bounds a bias in steps of its scales: half of int32's range, so that its correction has room.
const biasSteps = 1 << 30

// leastProduct is the least product of an activation's scale and a weight's: a normal number.
const leastProduct = 0x1p-125

// weights gives the layer's weights as [M,C,kH,kW] (a linear layer's [N,K,1,1]) with the factors in, computed anew each time and once for
// now, and the scale of each of the M channels: finite, above 0.
func (l *Layer) weights() (lazy, dense *tensor.Tensor, scales []float32, err error) {
	if lazy, err = l.shaped(); err != nil {
		return nil, nil, nil, err
	}
	dense = tensor.Dense(lazy)
	scales = weightScales(dense.Float32s(), int(dense.Dims()[0]))
	bias := l.plainBias()
	for o, s := range scales {
		least := leastProduct / float64(l.scale)
		if l.bias {
			least = max(least, math.Abs(float64(bias[o]))/float64(l.scale)/biasSteps)
		}
		if float64(s) < least {
			scales[o] = float32(least)
		}
	}
	return lazy, dense, scales, nil
}

func (l *Layer) shaped() (w *tensor.Tensor, err error) {
	w = l.v.Args[1].Const
	if l.Linear() {
		if w, err = tensor.Transpose(w, 1, 0); err != nil {
			return nil, err
		}
		if w, err = tensor.Reshape(w, append(slices.Clone(w.Dims()), 1, 1)...); err != nil {
			return nil, err
		}
	}
	if plain := w; l.In != nil || l.Out != nil {
		return tensor.MapFloat32(plain.Dims(), func() []float32 { return scaleWeights(plain, l.In, l.Out) })
	}
	return w, nil
}

// plainBias is a convolution's bias before correction, in the scale of its results; nil for a linear layer.
func (l *Layer) plainBias() []float32 {
	if l.Linear() {
		return nil
	}
	bias := make([]float32, l.v.Args[1].Type.Shape[0].B)
	if len(l.v.Args) > 2 {
		copy(bias, l.v.Args[2].Const.Float32s())
	}
	return divided(bias, l.Out)
}

// IntegerBias is a bias in steps of its scales, rounded half to even, in int32's range.
func IntegerBias[F float32 | float64](bias []F, scales []float32) []int32 {
	x := make([]int32, len(bias))
	for i, b := range bias {
		x[i] = int32(min(max(math.RoundToEven(float64(b)/float64(scales[i])), math.MinInt32), math.MaxInt32))
	}
	return x
}

// firstInput is the first channel, of so many, that weights [M,C/groups,kH,kW] of output channel o read.
func firstInput(dims []int64, channels, o int) int {
	perGroup := int(dims[1])
	return o * (channels / perGroup) / int(dims[0]) * perGroup
}

// scaleWeights multiplies weights [M,C,...] by in (per input channel) and divides them by out (per output channel); nil is ones.
func scaleWeights(w *tensor.Tensor, in, out []float32) []float32 {
	d := w.Dims()
	taps, row := int(d[2]*d[3]), int(d[1]*d[2]*d[3])
	x := slices.Clone(w.Float32s())
	for o := range int(d[0]) {
		first := firstInput(d, len(in), o)
		for i := range row {
			if in != nil {
				x[o*row+i] *= in[first+i/taps]
			}
			if out != nil {
				x[o*row+i] /= out[o]
			}
		}
	}
	return x
}

// divided is x / by, element for element; by nil is ones.
func divided(x, by []float32) []float32 {
	if by == nil || len(x) != len(by) {
		return x
	}
	y := make([]float32, len(x))
	for i := range x {
		y[i] = x[i] / by[i]
	}
	return y
}

func inverse(x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = 1 / v
	}
	return y
}

// A channel whose weights are all below leastWeight has integers of 0 alone, and deadScale for its scale.
const (
	leastWeight = 0x1p-113
	deadScale   = 1.0 / (1 << 20)
)

// weightScales chooses each output channel's scale: of some fractions of the largest weight / 127 the one with the least squared error.
func weightScales(w []float32, channels int) []float32 {
	scales, row := make([]float32, channels), len(w)/channels
	var wg guard.Group
	const parts = 8
	for p := range parts {
		wg.Go(func() {
			for c := channels * p / parts; c < channels*(p+1)/parts; c++ {
				scales[c] = bestScale(w[c*row : (c+1)*row])
			}
		})
	}
	wg.Wait()
	return scales
}

func bestScale(w []float32) float32 {
	top := kernel.Amplitude(w)
	if top < leastWeight {
		return deadScale
	}
	best, at := float32(math.Inf(1)), float32(1)
	try := func(fraction float32) {
		s := top / 127 * fraction
		inv, err := 1/s, float32(0)
		for _, v := range w {
			d := v - float32(s*roundClip(v*inv))
			if err += float32(d * d); err >= best {
				return
			}
		}
		best, at = err, fraction
	}
	for i := range 10 { // coarse, then fine around the best
		try(1 - float32(float32(i)*0.05))
	}
	for _, d := range []float32{-0.03, -0.02, -0.01, 0.01, 0.02, 0.03} {
		if f := at + d; f <= 1 {
			try(f)
		}
	}
	return top / 127 * at
}

// roundClip rounds half to even, by the float32 format itself, and clips to [-127, 127].
func roundClip(x float32) float32 {
	const magic = 3 << 22                                // 1.5 * 2^23: adding it leaves no fraction bits
	return min(max((float32(x)+magic)-magic, -127), 127) // the conversion forbids fusing with the caller's product
}

func roundWeights(w, scales []float32) []byte {
	out, row := make([]byte, len(w)), len(w)/len(scales)
	for i, v := range w {
		out[i] = byte(int8(roundClip(v * (1 / scales[i/row]))))
	}
	return out
}

// correctBias adds what rounding takes from each output channel's mean: sum over inputs of (w - rounded w) * mean(input).
func correctBias(bias []float32, weights *tensor.Tensor, scales, mean []float32) {
	d := weights.Dims()
	if len(mean) == 0 || int64(len(mean))%d[1] != 0 {
		return
	}
	w, row, taps := weights.Float32s(), int(d[1]*d[2]*d[3]), int(d[2]*d[3])
	for o := range bias {
		sum, s, first := 0.0, scales[o], firstInput(d, len(mean), o)
		for i, v := range w[o*row : (o+1)*row] {
			sum += float64(float64(v-float32(s*roundClip(v*(1/s)))) * float64(mean[first+i/taps]))
		}
		if by := float32(sum); by-by == 0 {
			bias[o] += by
		}
	}
}
