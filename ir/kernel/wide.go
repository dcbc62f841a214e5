package kernel

import (
	"math"
	"math/big"
)

// Functions in float64 for those that are rare: the packages math of Go's ports differ in the last bit, and so do compilers that fuse. Here every
// product is rounded by itself. Errors are below 2 ulp of float64, so the float32 nearest to a result is nearest to the truth but for one
// time in some hundred million. Coefficients are those of FreeBSD's msun (e_log.c, k_sin.c, k_cos.c).

// poly is c0 + c1 x + ... .
func poly(x float64, c ...float64) float64 {
	p := c[len(c)-1]
	for i := len(c) - 2; i >= 0; i-- {
		p = float64(p*x) + c[i]
	}
	return p
}

// exp64 is e^x: x = n ln2 + r, e^r by its series.
func exp64(x float64) float64 {
	switch {
	case x != x || x > 709.7:
		return x + math.Inf(1) // NaN stays
	case x < -745.2:
		return 0
	}
	n := math.RoundToEven(x * math.Log2E)
	r := (x - float64(n*6.93147180369123816490e-01)) - float64(n*1.90821492927058770002e-10)
	return math.Ldexp(poly(r, 1, 1, 1.0/2, 1.0/6, 1.0/24, 1.0/120, 1.0/720, 1.0/5040, 1.0/40320, 1.0/362880, 1.0/3628800, 1.0/39916800, 1.0/479001600, 1.0/6227020800), int(n))
}

// log64 is the natural logarithm: x = 2^n (1+f), with s = f/(2+f), log(1+f) = 2 s + s R(s^2).
func log64(x float64) float64 {
	switch {
	case x != x || math.IsInf(x, 1):
		return x
	case x < 0:
		return math.NaN()
	case x == 0:
		return math.Inf(-1)
	}
	m, e := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m, e = m*2, e-1
	}
	f, n := m-1, float64(e)
	s := f / (2 + f)
	z := float64(s * s)
	r := float64(z * poly(z, 6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01))
	half := float64(float64(0.5*f) * f)
	return float64(n*6.93147180369123816490e-01) - ((half - (float64(s*(half+r)) + float64(n*1.90821492927058770002e-10))) - f)
}

// quarters takes quarters of the circle out of x: x = n pi/2 + r, |r| <= pi/4, n modulo 4.
func quarters(x float64) (n int, r float64) {
	if math.Abs(x) < 1<<20 {
		k := math.RoundToEven(x * (2 / math.Pi))
		r = ((x - float64(k*1.57079632673412561417e+00)) - float64(k*6.07710050630396597660e-11)) - float64(k*2.02226624879595063154e-21)
		return int(k) & 3, r
	}
	const precision = 400
	pi, _, _ := big.ParseFloat("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798214808651", 10, precision, big.ToNearestEven)
	half := new(big.Float).SetPrec(precision).Quo(pi, big.NewFloat(2))
	wide := new(big.Float).SetPrec(precision).SetFloat64(x)
	turns, _ := new(big.Float).SetPrec(precision).Add(new(big.Float).SetPrec(precision).Quo(wide, half), big.NewFloat(math.Copysign(0.5, x))).Int(nil)
	rest := new(big.Float).SetPrec(precision).Sub(wide, new(big.Float).SetPrec(precision).Mul(new(big.Float).SetPrec(precision).SetInt(turns), half))
	r, _ = rest.Float64()
	return int(new(big.Int).And(turns, big.NewInt(3)).Int64()), r
}

func sin64(x float64) float64 { return circle(x, 0) }
func cos64(x float64) float64 { return circle(x, 1) }

// circle is the sine of x and so many quarters.
func circle(x float64, ahead int) float64 {
	if x != x || math.IsInf(x, 0) {
		return math.NaN()
	}
	if x == 0 && ahead == 0 {
		return x
	}
	n, r := quarters(x)
	n = (n + ahead) & 3
	z := float64(r * r)
	var y float64
	if n&1 == 0 {
		y = r + float64(float64(r*z)*poly(z, -1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04, 2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10))
	} else {
		y = (1 - float64(0.5*z)) + float64(float64(z*z)*poly(z, 4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05, -2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11))
	}
	if n&2 != 0 {
		return -y
	}
	return y
}

// pow64 is x^y. Whole exponents and halves are products and roots; only what is left needs a logarithm.
func pow64(x, y float64) float64 {
	if !(x > 0) || math.IsInf(x, 0) || y != y || math.IsInf(y, 0) || y == math.Trunc(y) || math.Abs(y) == 0.5 {
		return math.Pow(x, y)
	}
	return exp64(float64(y * log64(x)))
}
