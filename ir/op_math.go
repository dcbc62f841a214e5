package ir

import (
	"fmt"

	"syncsam-convert/ir/kernel"
	"syncsam-convert/ir/tensor"
)

// GeluAttrs of Gelu; approximate "" or "none" is by erf, "tanh" the approximation.
type GeluAttrs struct {
	Approximate string `ir:"approximate"`
}

// AlphaAttrs of LeakyRelu: the slope below 0.
type AlphaAttrs struct {
	Alpha float32 `ir:"alpha"`
}

// ClipAttrs of Clip.
type ClipAttrs struct {
	Min float32 `ir:"min"`
	Max float32 `ir:"max"`
}

// Gelu is x times the normal distribution function of x.
var Gelu = newOp("Gelu", 1, 1, Pointwise, HalfPlain, func(a GeluAttrs, in []tensor.Type) (tensor.Type, error) {
	if a.Approximate != "" && a.Approximate != "none" && a.Approximate != "tanh" {
		return tensor.Type{}, fmt.Errorf("approximate: have %q, want none or tanh", a.Approximate)
	}
	return in[0], want(in, 0, tensor.Float32, -1)
}, func(e *Env, a GeluAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	f := kernel.Gelu
	if a.Approximate == "tanh" {
		f = kernel.GeluTanh
	}
	return e.float32(func(y []float32) { f(in[0].Float32s(), y) })
}).expands(expandGelu)

// Functions of one element.
var (
	Relu       = unary("Relu", HalfPlain, kernel.Relu)
	Erf        = unary("Erf", HalfPlain, kernel.Erf)
	Exp        = unary("Exp", HalfExponential, kernel.Exp)
	Log        = unary("Log", HalfLogarithm, kernel.Log)
	Sqrt       = unary("Sqrt", HalfPlain, kernel.Sqrt)
	Sin        = unary("Sin", HalfPhase, kernel.Sin)
	Cos        = unary("Cos", HalfPhase, kernel.Cos)
	Tanh       = unary("Tanh", HalfPlain, kernel.Tanh)
	Sigmoid    = unary("Sigmoid", HalfPlain, kernel.Sigmoid)
	Neg        = unary("Neg", HalfPlain, kernel.Neg)
	Abs        = unary("Abs", HalfPlain, kernel.Abs)
	Reciprocal = unary("Reciprocal", HalfPlain, kernel.Reciprocal)
	Floor      = unary("Floor", HalfPlain, kernel.Floor)
	Ceil       = unary("Ceil", HalfPlain, kernel.Ceil)
	Round      = unary("Round", HalfPlain, kernel.Round)
	LeakyRelu  = unaryWith("LeakyRelu", HalfPlain, func(a AlphaAttrs, x, y []float32) { kernel.LeakyRelu(a.Alpha, x, y) })
	Clip       = unaryWith("Clip", HalfPlain, func(a ClipAttrs, x, y []float32) { kernel.Clip(a.Min, a.Max, x, y) })
	Not        = newOp("Not", 1, 1, Pointwise, HalfPlain, func(_ NoAttrs, in []tensor.Type) (tensor.Type, error) {
		return in[0], want(in, 0, tensor.Bool, -1)
	}, func(e *Env, _ NoAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
		return e.bytes(func(y []byte, _ int) {
			for i, b := range in[0].Bytes() {
				y[i] = b ^ 1
			}
		})
	})
)

func unary(name string, half Half, eval func(x, y []float32)) Kind[NoAttrs] {
	return unaryWith(name, half, func(_ NoAttrs, x, y []float32) { eval(x, y) })
}

func unaryWith[A any](name string, half Half, eval func(a A, x, y []float32)) Kind[A] {
	return newOp(name, 1, 1, Pointwise, half, func(_ A, in []tensor.Type) (tensor.Type, error) { return in[0], want(in, 0, tensor.Float32, -1) },
		func(e *Env, a A, in []*tensor.Tensor) (*tensor.Tensor, error) {
			return e.float32(func(y []float32) { eval(a, in[0].Float32s(), y) })
		})
}

// expandGelu spells x * (1 + erf(x / sqrt 2)) / 2 as PyTorch's exporter does, which ONNX Runtime fuses again.
func expandGelu(b *Builder, v *Value) *Value {
	x := v.Args[0]
	if v.Attrs.(GeluAttrs).Approximate == "tanh" { // x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
		cube := b.Mul(b.Mul(x, x), x)
		inner := b.Mul(b.Add(x, b.Mul(cube, b.ScalarLike(x, 0.044715))), b.ScalarLike(x, 0.7978845608028654))
		return b.Mul(b.Mul(x, b.ScalarLike(x, 0.5)), b.Add(b.Op(Tanh, inner), b.ScalarLike(x, 1)))
	}
	erf := b.Op(Erf, b.Op(Div, x, b.ScalarLike(x, 1.4142135623730951)))
	return b.Mul(b.Mul(x, b.Add(erf, b.ScalarLike(x, 1))), b.ScalarLike(x, 0.5))
}

// Functions of two elements, with broadcasting.
var (
	Add            = binary("Add", HalfPlain, tensor.Invalid)
	Sub            = binary("Sub", HalfPlain, tensor.Invalid)
	Mul            = binary("Mul", HalfProduct, tensor.Invalid)
	Div            = binary("Div", HalfPlain, tensor.Invalid)
	Pow            = binary("Pow", HalfSquares, tensor.Invalid)
	Min            = binary("Min", HalfPlain, tensor.Invalid)
	Max            = binary("Max", HalfPlain, tensor.Invalid)
	PRelu          = binary("PRelu", HalfPlain, tensor.Invalid)
	Equal          = binary("Equal", HalfPlain, tensor.Bool)
	Less           = binary("Less", HalfPlain, tensor.Bool)
	Greater        = binary("Greater", HalfPlain, tensor.Bool)
	LessOrEqual    = binary("LessOrEqual", HalfPlain, tensor.Bool)
	GreaterOrEqual = binary("GreaterOrEqual", HalfPlain, tensor.Bool)
	And            = binary("And", HalfPlain, tensor.Bool)
	Or             = binary("Or", HalfPlain, tensor.Bool)
	Xor            = binary("Xor", HalfPlain, tensor.Bool)
)

// ModAttrs of Mod: with fmod 0 the result has the divisor's sign, which is for integers alone, otherwise the dividend's.
type ModAttrs struct {
	Fmod int64 `ir:"fmod"`
}

// Mod is what a division leaves, with broadcasting.
var Mod = newOp("Mod", 2, 2, Pointwise, HalfPhase, func(a ModAttrs, in []tensor.Type) (tensor.Type, error) {
	if a.Fmod == 0 && in[0].DType == tensor.Float32 {
		return tensor.Type{}, fmt.Errorf("fmod: have 0 of %s, want 1", in[0])
	}
	return inferBinary("Mod", tensor.Invalid, in)
}, func(e *Env, a ModAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	if a.Fmod != 0 {
		return evalBinary(e, "Fmod", in[0], in[1])
	}
	return evalBinary(e, "Mod", in[0], in[1])
})

// binary is a row whose results have the arguments' element type (Invalid) or another.
func binary(name string, half Half, result tensor.DType) Kind[NoAttrs] {
	return newOp(name, 2, 2, Pointwise, half, func(_ NoAttrs, in []tensor.Type) (tensor.Type, error) { return inferBinary(name, result, in) },
		func(e *Env, _ NoAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
			return evalBinary(e, name, in[0], in[1])
		})
}

// Where takes elements of the second argument where the first is true, else of the third.
var Where = newOp("Where", 3, 3, Pointwise, HalfPlain, func(_ NoAttrs, in []tensor.Type) (tensor.Type, error) {
	if in[1].DType != in[2].DType {
		return tensor.Type{}, fmt.Errorf("have %s and %s, want one element type", in[1], in[2])
	}
	shape, err := broadcast(in[1].Shape, in[2].Shape)
	if err == nil {
		shape, err = broadcast(in[0].Shape, shape)
	}
	return tensor.Type{DType: in[1].DType, Shape: shape}, firstError(want(in, 0, tensor.Bool, -1), err)
}, func(e *Env, _ NoAttrs, in []*tensor.Tensor) (*tensor.Tensor, error) {
	return e.bytes(func(y []byte, size int) {
		kernel.Where(size, ints(e.Dims), in[0].Bytes(), ints(in[0].Dims()), in[1].Bytes(), ints(in[1].Dims()), in[2].Bytes(), ints(in[2].Dims()), y)
	})
})

func inferBinary(name string, result tensor.DType, in []tensor.Type) (tensor.Type, error) {
	d := in[0].DType
	logical := name == "And" || name == "Or" || name == "Xor"
	switch {
	case d != in[1].DType:
		return tensor.Type{}, fmt.Errorf("have %s and %s, want one element type", in[0], in[1])
	case logical != (d == tensor.Bool) || !logical && d != tensor.Float32 && d != tensor.Int64 && d != tensor.Int32:
		return tensor.Type{}, fmt.Errorf("have %s, want %s", in[0], map[bool]string{true: "bool", false: "float32, int64 or int32"}[logical])
	}
	if result == tensor.Invalid {
		result = d
	}
	if name == "PRelu" { // the slope broadcasts to x, not the other way
		shape, err := broadcast(in[0].Shape, in[1].Shape)
		if err == nil && tensor.ShapeString(shape) != tensor.ShapeString(in[0].Shape) {
			err = fmt.Errorf("slope %s does not broadcast to %s", in[1], in[0])
		}
		return tensor.Type{DType: result, Shape: in[0].Shape}, err
	}
	shape, err := broadcast(in[0].Shape, in[1].Shape)
	return tensor.Type{DType: result, Shape: shape}, err
}

func evalBinary(e *Env, name string, x, y *tensor.Tensor) (*tensor.Tensor, error) {
	out, xd, yd := ints(e.Dims), ints(x.Dims()), ints(y.Dims())
	if e.Type.DType == tensor.Bool {
		return e.bytes(func(z []byte, _ int) {
			switch x.DType() {
			case tensor.Float32:
				kernel.Compare(name, out, x.Float32s(), xd, y.Float32s(), yd, z)
			case tensor.Bool:
				kernel.Logical(name, out, x.Bytes(), xd, y.Bytes(), yd, z)
			default:
				kernel.Compare(name, out, x.Int64s(), xd, y.Int64s(), yd, z)
			}
		})
	}
	if x.DType() == tensor.Float32 {
		return e.float32(func(z []float32) { kernel.Binary(name, out, x.Float32s(), xd, y.Float32s(), yd, z) })
	}
	if name == "Div" || name == "Mod" || name == "Fmod" {
		for _, v := range y.Int64s() {
			if v == 0 {
				return nil, fmt.Errorf("integer division by 0")
			}
		}
	}
	z := make([]int64, product(e.Dims))
	kernel.Binary(name, out, x.Int64s(), xd, y.Int64s(), yd, z)
	return tensor.Dense(tensor.Cast(tensor.FromInt64(e.Dims, z), e.Type.DType)), nil
}
