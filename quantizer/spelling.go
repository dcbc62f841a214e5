package quantizer

import (
	"fmt"
	"math"
	"strings"

	"syncsam-convert/ir"
	"syncsam-convert/ir/quant"
	"syncsam-convert/ir/tensor"
)

// A Spelling is how a target wants integers written: one row of Spellings.
type Spelling struct {
	Name        string
	Activations tensor.DType // Uint8: zero point 128, or another and 256 steps for what is never below some number; Int8: zero point 0
	IntegerBias bool         // a convolution's bias as int32 with scale scale(x)*scale(w), else in float
	FusedSum    bool         // a residual addition is part of the convolution before it, whose result is not quantized on its way there
}

// ONNXRuntime's integer convolutions are fast for UINT8 activations on x86, and take an int32 bias. TensorRT takes INT8 with
// zero point 0 and a float bias, and adds the shortcut, quantized, in the kernel of the block's last convolution.
var (
	ONNXRuntime = Spelling{"onnxruntime", tensor.Uint8, true, false}
	TensorRT    = Spelling{"tensorrt", tensor.Int8, false, true}
)

// Spellings is the table of targets.
var Spellings = []Spelling{ONNXRuntime, TensorRT}

// SpellingOf finds a target's row.
func SpellingOf(target string) (Spelling, error) {
	var names []string
	for _, s := range Spellings {
		if s.Name == target {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Spelling{}, fmt.Errorf("target: have %q, want one of %s", target, strings.Join(names, ", "))
}

// Amplitudes between these become integers. Below the least there is nothing but 0 in INT8; what may pass the most stays in float. With
// both, every scale, and every product of two, is a normal number of float32.
const (
	leastAmplitude = 0x1p-100
	mostAmplitude  = 0x1p+100
)

// geluFloor is the least value of GELU, at x = -0.7518.
const geluFloor = -0.17

// grid gives scale and zero point for amplitudes up to top. UINT8 takes no steps for what cannot be: below 0 after ReLU, below GELU's
// least value (times the largest factor per channel, where there are any).
func (s Spelling) grid(producer *ir.Value, r quant.Range, top float32, factors []float32) (scale float32, zero int) {
	top = max(top, leastAmplitude)
	low := -top
	switch {
	case r.NonNegative:
		low = 0
	case ir.Gelu.Is(producer):
		most := float32(1)
		for _, f := range factors {
			most = max(most, f)
		}
		low = max(low, geluFloor*most)
	}
	switch {
	case s.Activations != tensor.Uint8:
		return top / 127, 0
	case low > -top:
		scale = (top - low) / 255
		return scale, int(uint8(math.Round(float64(-low / scale))))
	}
	return top / 127, 128
}

// point is a zero point as a constant.
func (s Spelling) point(zero int) *tensor.Tensor {
	if s.Activations == tensor.Uint8 {
		return tensor.FromUint8([]int64{}, []uint8{uint8(zero)})
	}
	return tensor.FromInt8([]int64{}, []int8{int8(zero)})
}
