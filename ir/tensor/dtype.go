// Package tensor holds element types, symbolic shapes and immutable tensors.
package tensor

import "fmt"

// DType is an element type. Its text form is the ONNX one: "float32", "int64".
type DType uint8

// The element types. Values in memory and on disk are little-endian.
const (
	Invalid DType = iota
	Float32
	Float16
	BFloat16
	Float64
	Int64
	Int32
	Int16
	Int8
	Uint8
	Bool
)

var dtypes = [...]struct {
	name string
	size int64
}{
	Invalid: {"invalid", 0}, Float32: {"float32", 4}, Float16: {"float16", 2}, BFloat16: {"bfloat16", 2},
	Float64: {"float64", 8}, Int64: {"int64", 8}, Int32: {"int32", 4}, Int16: {"int16", 2},
	Int8: {"int8", 1}, Uint8: {"uint8", 1}, Bool: {"bool", 1},
}

func (d DType) String() string {
	if int(d) < len(dtypes) {
		return dtypes[d].name
	}
	return fmt.Sprintf("dtype(%d)", uint8(d))
}

// Size is the number of bytes of one element.
func (d DType) Size() int64 {
	if int(d) < len(dtypes) {
		return dtypes[d].size
	}
	return 0
}

// IsFloat reports whether d is a floating-point type.
func (d DType) IsFloat() bool {
	return d == Float32 || d == Float16 || d == BFloat16 || d == Float64
}

// ParseDType is the inverse of String.
func ParseDType(s string) (DType, error) {
	for d := Float32; int(d) < len(dtypes); d++ {
		if dtypes[d].name == s {
			return d, nil
		}
	}
	return Invalid, fmt.Errorf("dtype: have %q, want one of float32, float16, bfloat16, float64, int64, int32, int16, int8, uint8, bool", s)
}
