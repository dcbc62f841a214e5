package ir

import (
	"fmt"

	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
)

// ConvAttrs of Conv over NCHW; absent lists are ONNX's defaults (strides and dilations 1, pads 0, group 0 means 1).
// Pads are top, left, bottom, right.
type ConvAttrs struct {
	Strides   []int64 `ir:"strides"`
	Pads      []int64 `ir:"pads"`
	Dilations []int64 `ir:"dilations"`
	Group     int64   `ir:"group"`
}

// ConvTransposeAttrs of ConvTranspose; weights are [C, M/group, kH, kW].
type ConvTransposeAttrs struct {
	Strides       []int64 `ir:"strides"`
	Pads          []int64 `ir:"pads"`
	OutputPadding []int64 `ir:"output_padding"`
	Group         int64   `ir:"group"`
}

// MaxPoolAttrs of MaxPool.
type MaxPoolAttrs struct {
	Kernel  []int64 `ir:"kernel_shape"`
	Strides []int64 `ir:"strides"`
	Pads    []int64 `ir:"pads"`
}

// AveragePoolAttrs of AveragePool, which leaves padding out of its mean unless CountIncludePad is 1.
type AveragePoolAttrs struct {
	Kernel          []int64 `ir:"kernel_shape"`
	Strides         []int64 `ir:"strides"`
	Pads            []int64 `ir:"pads"`
	CountIncludePad int64   `ir:"count_include_pad"`
}

// EpsilonAttrs of BatchNormalization: y = (x - mean) / sqrt(var + epsilon) * scale + bias, arguments x, scale, bias, mean, var.
type EpsilonAttrs struct {
	Epsilon float32 `ir:"epsilon"`
}

// The convolutions and poolings over NCHW.
var Conv = newOp("Conv", 2, 3, Product, HalfPlain, inferConv, evalConv).multiplies(func(_ ConvAttrs, out int64, in [][]int64) int64 { return out * int64(product(in[1][1:])) })

var ConvTranspose = newOp("ConvTranspose", 2, 3, Product, HalfPlain, inferConvTranspose, evalConvTranspose).multiplies(func(_ ConvTransposeAttrs, _ int64, in [][]int64) int64 {
	return int64(product(in[0])) * int64(product(in[1][1:]))
})

var MaxPool = newOp("MaxPool", 1, 1, Moving, HalfPlain, func(a MaxPoolAttrs, in []tensor.Type) (tensor.Type, error) {
	return inferPool(a.Kernel, a.Strides, a.Pads, in)
}, evalMaxPool)

var AveragePool = newOp("AveragePool", 1, 1, Moving, HalfPlain, func(a AveragePoolAttrs, in []tensor.Type) (tensor.Type, error) {
	return inferPool(a.Kernel, a.Strides, a.Pads, in)
}, evalAveragePool)

var BatchNormalization = newOp("BatchNormalization", 5, 5, Pointwise, HalfPlain, inferBatchNorm, func(e *Env, a EpsilonAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	d := ints(e.Dims)
	return e.float32(func(y []float32) {
		kernel.BatchNorm(d[0], d[1], product(e.Dims[2:]), in[0].Float32s(), in[1].Float32s(), in[2].Float32s(), in[3].Float32s(), in[4].Float32s(), a.Epsilon, y)
	})
})

// window is one spatial axis of a sliding window.
type window struct{ kernel, stride, lo, hi, dilation int64 }

func newWindows(kernel, strides, pads, dilations []int64) ([2]window, error) {
	var w [2]window
	for _, l := range []struct {
		name string
		v    []int64
		n    int
	}{{"kernel_shape", kernel, 2}, {"strides", strides, 2}, {"pads", pads, 4}, {"dilations", dilations, 2}} {
		if l.v != nil && len(l.v) != l.n {
			return w, fmt.Errorf("%s: have %v, want %d numbers (2-D only)", l.name, l.v, l.n)
		}
		if err := within(l.name, l.v, 0); err != nil {
			return w, err
		}
	}
	for i := range w {
		w[i] = window{kernel[i], 1, 0, 0, 1}
		if strides != nil {
			w[i].stride = strides[i]
		}
		if pads != nil {
			w[i].lo, w[i].hi = pads[i], pads[i+2]
		}
		if dilations != nil {
			w[i].dilation = dilations[i]
		}
		if w[i].kernel < 1 || w[i].stride < 1 || w[i].lo < 0 || w[i].hi < 0 || w[i].dilation < 1 {
			return w, fmt.Errorf("kernel %d, stride %d, pads %d %d, dilation %d: out of range", w[i].kernel, w[i].stride, w[i].lo, w[i].hi, w[i].dilation)
		}
	}
	return w, nil
}

// size is the number of window positions along an axis; symbolic axes work when the stride divides them.
func (w window) size(d tensor.Dim) (tensor.Dim, error) {
	d.B += w.lo + w.hi - w.dilation*(w.kernel-1) - 1
	if d.IsStatic() {
		if d.B < 0 {
			return d, fmt.Errorf("window of %d is larger than the padded input", w.dilation*(w.kernel-1)+1)
		}
		return tensor.Static(d.B/w.stride + 1), nil
	}
	r := ((d.B % w.stride) + w.stride) % w.stride // floor, also for negative B
	d.B -= r
	q, ok := d.Over(w.stride)
	if !ok {
		return d, fmt.Errorf("stride %d does not divide the symbolic axis %s", w.stride, d)
	}
	q.B++
	return q, nil
}

// convTypes checks what both convolutions share: x and w of rank 4, a bias of as many elements as result channels.
func convTypes(in []tensor.Type) (channels int64, weights []int64, err error) {
	if err := firstError(want(in, 0, tensor.Float32, 4), want(in, 1, tensor.Float32, 4)); err != nil {
		return 0, nil, err
	}
	weights, ok := in[1].Static()
	if !ok || !in[0].Shape[1].IsStatic() {
		return 0, nil, fmt.Errorf("have %s and %s, want static channels and weights", in[0], in[1])
	}
	return in[0].Shape[1].B, weights, nil
}

func checkBias(in []tensor.Type, m int64) error {
	if len(in) > 2 && !in[2].Equal(tensor.Of(tensor.Float32, m)) {
		return fmt.Errorf("bias: have %s, want %s", in[2], tensor.Of(tensor.Float32, m))
	}
	return nil
}

func inferConv(a ConvAttrs, in []tensor.Type) (tensor.Type, error) {
	c, w, err := convTypes(in)
	if err != nil {
		return tensor.Type{}, err
	}
	g := max(1, a.Group)
	if a.Group < 0 || g > tensor.MaxDim || c != w[1]*g || w[0]%g != 0 {
		return tensor.Type{}, fmt.Errorf("weights: have %s and group %d for %d channels", in[1], a.Group, c)
	}
	win, err := newWindows(w[2:], a.Strides, a.Pads, a.Dilations)
	if err != nil {
		return tensor.Type{}, err
	}
	h, err1 := win[0].size(in[0].Shape[2])
	v, err2 := win[1].size(in[0].Shape[3])
	return tensor.Type{DType: tensor.Float32, Shape: []tensor.Dim{in[0].Shape[0], tensor.Static(w[0]), h, v}}, firstError(err1, err2, checkBias(in, w[0]))
}

// kernelConv describes a convolution to the kernels.
func kernelConv(win [2]window, x, y []int64, group int64) kernel.Conv {
	d, o := ints(x), ints(y)
	return kernel.Conv{N: d[0], C: d[1], H: d[2], W: d[3], M: o[1], OutH: o[2], OutW: o[3], Groups: int(max(1, group)),
		KH: int(win[0].kernel), KW: int(win[1].kernel), StrideH: int(win[0].stride), StrideW: int(win[1].stride),
		PadTop: int(win[0].lo), PadLeft: int(win[1].lo), PadBottom: int(win[0].hi), PadRight: int(win[1].hi),
		DilH: int(win[0].dilation), DilW: int(win[1].dilation)}
}

// Geometry describes a convolution of x [N,C,H,W] with weights of the given shape into y [N,M,OutH,OutW] to the kernels.
func (a ConvAttrs) Geometry(x, weights, y []int64) (kernel.Conv, error) {
	win, err := newWindows(weights[2:], a.Strides, a.Pads, a.Dilations)
	if err != nil {
		return kernel.Conv{}, err
	}
	return kernelConv(win, x, y, a.Group), nil
}

func bias(in []*tensor.Tensor) []float32 {
	if len(in) > 2 {
		return float32s(in[2])
	}
	return nil
}

func evalConv(e *Env, a ConvAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	p, err := a.Geometry(in[0].Dims(), in[1].Dims(), e.Dims)
	if err != nil {
		return nil, err
	}
	var packed []*kernel.Packed
	if e.Constant() {
		packed = e.Memo(func() any {
			defer in[1].Release()
			return kernel.PackConv(p, in[1].Float32s())
		}).([]*kernel.Packed)
	}
	return e.float32(func(y []float32) {
		var w []float32
		if packed == nil {
			w = in[1].Float32s()
		}
		kernel.Conv2D(p, in[0].Float32s(), w, packed, bias(in), y)
	})
}

func inferConvTranspose(a ConvTransposeAttrs, in []tensor.Type) (tensor.Type, error) {
	c, w, err := convTypes(in)
	if err != nil {
		return tensor.Type{}, err
	}
	g := max(1, a.Group)
	if a.Group < 0 || g > tensor.MaxDim || c != w[0] || c%g != 0 {
		return tensor.Type{}, fmt.Errorf("weights: have %s and group %d for %d channels", in[1], a.Group, c)
	}
	if err := within("output_padding", a.OutputPadding, 0); err != nil {
		return tensor.Type{}, err
	}
	win, err := newWindows(w[2:], a.Strides, a.Pads, nil)
	if err != nil {
		return tensor.Type{}, err
	}
	shape := []tensor.Dim{in[0].Shape[0], tensor.Static(w[1] * g), {}, {}}
	for i, wd := range win {
		d := in[0].Shape[i+2].Times(wd.stride)
		d.B += wd.kernel - wd.stride - wd.lo - wd.hi
		if a.OutputPadding != nil {
			if len(a.OutputPadding) != 2 {
				return tensor.Type{}, fmt.Errorf("output_padding: have %v, want 2 numbers", a.OutputPadding)
			}
			if a.OutputPadding[i] >= wd.stride {
				return tensor.Type{}, fmt.Errorf("output_padding: have %v, want less than the stride of %d", a.OutputPadding, wd.stride)
			}
			d.B += a.OutputPadding[i]
		}
		shape[i+2] = d
		if d.IsStatic() && d.B < 1 {
			return tensor.Type{}, fmt.Errorf("pads: have %v, which leave %d elements of axis %d", a.Pads, d.B, i+2)
		}
	}
	return tensor.Type{DType: tensor.Float32, Shape: shape}, checkBias(in, w[1]*g)
}

func evalConvTranspose(e *Env, a ConvTransposeAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	win, err := newWindows(in[1].Dims()[2:], a.Strides, a.Pads, nil)
	if err != nil {
		return nil, err
	}
	p := kernelConv(win, in[0].Dims(), e.Dims, a.Group)
	packed := e.Memo(func() any {
		if e.Constant() {
			defer in[1].Release()
		}
		return kernel.PackConvTranspose(p, in[1].Float32s())
	}).([]*kernel.Packed)
	return e.float32(func(y []float32) { kernel.ConvTranspose2D(p, in[0].Float32s(), packed, bias(in), y) })
}

func inferPool(size, strides, pads []int64, in []tensor.Type) (tensor.Type, error) {
	if err := want(in, 0, tensor.Float32, 4); err != nil {
		return tensor.Type{}, err
	}
	if len(size) != 2 {
		return tensor.Type{}, fmt.Errorf("kernel_shape: have %v, want 2 numbers (2-D only)", size)
	}
	win, err := newWindows(size, strides, pads, nil)
	if err != nil {
		return tensor.Type{}, err
	}
	for _, w := range win {
		if w.lo >= w.kernel || w.hi >= w.kernel { // a window of padding alone has no values
			return tensor.Type{}, fmt.Errorf("pads: have %v, want less than the kernel %v", pads, size)
		}
	}
	h, err1 := win[0].size(in[0].Shape[2])
	w, err2 := win[1].size(in[0].Shape[3])
	return tensor.Type{DType: tensor.Float32, Shape: []tensor.Dim{in[0].Shape[0], in[0].Shape[1], h, w}}, firstError(err1, err2)
}

func evalMaxPool(e *Env, a MaxPoolAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	win, err := newWindows(a.Kernel, a.Strides, a.Pads, nil)
	if err != nil {
		return nil, err
	}
	p := kernelConv(win, in[0].Dims(), e.Dims, 1)
	return e.float32(func(y []float32) { kernel.MaxPool2D(p, in[0].Float32s(), y) })
}

func evalAveragePool(e *Env, a AveragePoolAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	win, err := newWindows(a.Kernel, a.Strides, a.Pads, nil)
	if err != nil {
		return nil, err
	}
	p := kernelConv(win, in[0].Dims(), e.Dims, 1)
	return e.float32(func(y []float32) { kernel.AveragePool2D(p, a.CountIncludePad != 0, in[0].Float32s(), y) })
}

func inferBatchNorm(_ EpsilonAttrs, in []tensor.Type) (tensor.Type, error) {
	if in[0].DType != tensor.Float32 || in[0].Rank() < 2 || !in[0].Shape[1].IsStatic() {
		return tensor.Type{}, fmt.Errorf("argument 0: have %s, want float32[N,C,...] with static C", in[0])
	}
	for i := 1; i < 5; i++ {
		if w := tensor.Of(tensor.Float32, in[0].Shape[1].B); !in[i].Equal(w) {
			return tensor.Type{}, fmt.Errorf("argument %d: have %s, want %s", i, in[i], w)
		}
	}
	return in[0], nil
}
